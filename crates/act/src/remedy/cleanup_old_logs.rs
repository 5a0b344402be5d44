//! Deletes logs that were rotated away long ago.
//!
//! Only what a rotation has named (`syslog.2.gz`, `dnf.log-20240131`), never the newest of a log's files,
//! never what a process holds open, and nothing in Farol's own folders.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use farol_model::Timestamp;

use super::{
    BuiltIn, DAY, Fault, Field, FieldKind, Fields, Job, NotGranted, Outcome, Surroundings,
    Treatment,
    cleanup_temp_files::{at_least, below, folders, listed, may_delete, sweep_all},
    fields::Default,
    glob, show_duration,
    tree::{self, File, Step, Sweep},
};

pub(super) const BUILT_IN: BuiltIn = BuiltIn {
    name: "cleanup_old_logs",
    about: "Deletes rotated logs below `folders` whose name matches one of `names` and that nobody has \
            written for `older_than`; never the newest file of a log, never one that is open.",
    cooldown: DAY,
    is_default: true,
    fields: &[
        Field {
            name: "folders",
            kind: FieldKind::Texts,
            default: Some(Default::Texts(&["/var/log"])),
            help: "Folders to clean, with all below them.",
        },
        Field {
            name: "names",
            kind: FieldKind::Texts,
            default: Some(Default::Texts(&[
                "*.gz",
                "*.xz",
                "*.zst",
                "*.bz2",
                "*.old",
                "*.[0-9]",
                "*.[0-9][0-9]",
                "*-[12][0-9][0-9][0-9][01][0-9][0-3][0-9]",
            ])),
            help: "Names of files that a rotation has set aside, with `*`, `?` and `[0-9]`.",
        },
        Field {
            name: "older_than",
            kind: FieldKind::Duration,
            default: Some(Default::Duration(Duration::from_secs(7 * 86_400))),
            help: "The age from which on a file may go; at least 1d.",
        },
    ],
    build,
};

#[derive(Clone, Debug, PartialEq, Eq)]
struct CleanupOldLogs {
    folders: Vec<PathBuf>,
    names: Vec<String>,
    older_than: Duration,
}

fn build(fields: &Fields) -> Result<Arc<dyn Treatment>, Fault> {
    let names = fields.texts("names");
    if names.is_empty() {
        return Err(Fault::new("names", "is empty"));
    }
    for name in &names {
        if name.contains('/') {
            return Err(Fault::new(
                "names",
                format!("{name} holds a /: it is of names, not paths"),
            ));
        }
        if name.chars().all(|c| c == '*') {
            return Err(Fault::new("names", format!("{name} is every file, rotated or not")));
        }
    }
    let older_than = at_least(fields, DAY)?;
    Ok(Arc::new(CleanupOldLogs { folders: folders(fields)?, names, older_than }))
}

impl Treatment for CleanupOldLogs {
    fn what(&self) -> String {
        let (age, folders) = (show_duration(self.older_than), listed(&self.folders));
        format!("delete rotated logs that nobody has written for {age} below {folders}")
    }

    fn granted(&self, surroundings: &Surroundings) -> Result<(), NotGranted> {
        may_delete(&below(&surroundings.root, &self.folders))
    }

    fn rehearse(&self, job: &Job<'_>) -> Outcome {
        self.sweep(job, true, &mut |_| {})
    }

    fn run(&self, job: &Job<'_>) -> Outcome {
        self.sweep(job, false, &mut |_| {})
    }
}

impl CleanupOldLogs {
    fn sweep(&self, job: &Job<'_>, is_dry: bool, step: &mut dyn FnMut(Step)) -> Outcome {
        let folders = below(&job.surroundings.root, &self.folders);
        let sweep = Sweep {
            now: job.now,
            older_than: self.older_than,
            leash: job.leash,
            spared: &tree::places(&job.surroundings.own),
            choose: &|files| self.choose(files),
            is_left: &|name| name.to_bytes() == b"lost+found",
            with_folders: false,
            is_dry,
            in_use: &tree::open_files(&folders, job.leash),
        };
        sweep_all(&sweep, &folders, step)
    }

    fn choose(&self, files: &[File]) -> Vec<usize> {
        let mut newest: BTreeMap<&str, (Timestamp, usize)> = BTreeMap::new();
        let names: Vec<&str> =
            files.iter().map(|file| file.name.to_str().unwrap_or_default()).collect();
        for (index, (file, name)) in files.iter().zip(&names).enumerate() {
            let found = (file.stat.written, index);
            let held = newest.entry(log_of(name)).or_insert(found);
            *held = (*held).max(found);
        }
        let is_newest = |index: &usize| {
            let of = names.get(*index).and_then(|name| newest.get(log_of(name)));
            of.is_some_and(|(_, newest)| newest == index)
        };
        let is_rotated = |index: &usize| {
            let name = names.get(*index).copied().unwrap_or_default();
            self.names.iter().any(|pattern| glob::matches(pattern, name))
        };
        (0..files.len()).filter(|index| is_rotated(index) && !is_newest(index)).collect()
    }
}

/// `syslog` of `syslog.2.gz`; a log's files share it.
fn log_of(name: &str) -> &str {
    const ENDINGS: [&str; 5] = [".gz", ".xz", ".zst", ".bz2", ".old"];
    let mut rest = name;
    loop {
        let shorter = ENDINGS.iter().find_map(|ending| rest.strip_suffix(ending));
        let without_number = || {
            let trimmed = rest.trim_end_matches(|c: char| c.is_ascii_digit());
            let is_numbered = trimmed.len() < rest.len();
            let bare = trimmed.strip_suffix('.').or_else(|| trimmed.strip_suffix('-'));
            bare.filter(|_| is_numbered)
        };
        match shorter.or_else(without_number) {
            Some(shorter) if !shorter.is_empty() => rest = shorter,
            _ => return rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::remedy::Leash;

    #[test]
    fn the_files_of_one_log_are_told_from_those_of_another() {
        for (name, log) in [
            ("syslog", "syslog"),
            ("syslog.1", "syslog"),
            ("syslog.12.gz", "syslog"),
            ("dnf.log-20240131", "dnf.log"),
            ("dnf.log-20240131.xz", "dnf.log"),
            ("Xorg.0.log.old", "Xorg.0.log"),
            ("2024", "2024"),
            (".gz", ".gz"),
        ] {
            assert_eq!(log_of(name), log, "{name}");
        }
    }

    /// After 30 days; all files were written just now.
    fn clean(folder: &Path, own: &[PathBuf], is_dry: bool) -> Outcome {
        let remedy = CleanupOldLogs {
            folders: vec![folder.to_owned()],
            names: vec!["*.gz".into(), "*.[0-9]".into()],
            older_than: DAY,
        };
        let written = fs::metadata(folder).unwrap().modified().unwrap();
        let now = written.duration_since(std::time::UNIX_EPOCH).unwrap() + 30 * DAY;
        let now = Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap());
        let surroundings = Surroundings { root: PathBuf::new(), own: own.to_vec() };
        let leash = Leash::default();
        let job = Job { name: "x", now, alert: None, leash: &leash, surroundings: &surroundings };
        remedy.sweep(&job, is_dry, &mut |_| {})
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test makes the files that it looks at")]
    fn rotated_logs_go_and_the_newest_of_each_log_and_farol_s_own_stay() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let own = folder.join("farol");
        fs::create_dir(&own).unwrap();
        // In the order in which they were written.
        for name in
            ["syslog.3.gz", "syslog.2.gz", "only.1", "syslog.1", "syslog", "farol/a.1", "farol/a"]
        {
            fs::write(folder.join(name), "x").unwrap();
            std::thread::yield_now();
        }
        // Two that were written in one moment are told apart by nothing: set the times.
        for (index, name) in ["syslog.3.gz", "syslog.2.gz", "syslog.1", "syslog"].iter().enumerate()
        {
            let file = fs::File::options().append(true).open(folder.join(name)).unwrap();
            let at = std::time::UNIX_EPOCH + DAY * u32::try_from(index).unwrap();
            file.set_modified(at).unwrap();
        }
        let rehearsed = clean(&folder, std::slice::from_ref(&own), true);
        assert!(rehearsed.summary.starts_with("would delete 3 files"), "{rehearsed:?}");
        assert_eq!(names(&folder).len(), 6);
        let open = fs::File::open(folder.join("syslog.2.gz")).unwrap();
        let outcome = clean(&folder, std::slice::from_ref(&own), false);
        assert!(outcome.ok && outcome.summary.contains("1 in use"), "{outcome:?}");
        drop(open);
        clean(&folder, std::slice::from_ref(&own), false);
        assert_eq!(names(&folder), ["farol", "only.1", "syslog"]);
        assert_eq!(names(&own), ["a", "a.1"]);
    }
}
