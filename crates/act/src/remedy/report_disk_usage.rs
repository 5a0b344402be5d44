//! Says what takes the room of a full file system: its largest folders and files.

use std::{
    cmp::Reverse,
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{fs::FileType, io::Errno};

use super::{
    BuiltIn, DAY, Fault, Field, FieldKind, Fields, Job, NotGranted, Outcome, Surroundings,
    Treatment,
    fields::Default,
    show_size,
    tree::{Folder, Place},
};

pub(super) const BUILT_IN: BuiltIn = BuiltIn {
    name: "report_disk_usage",
    about: "Finds the largest folders and files of the file system that the alert's label `mountpoint` \
            names, else of `folder`. Changes nothing.",
    cooldown: DAY,
    is_default: true,
    fields: &[Field {
        name: "folder",
        kind: FieldKind::Text,
        default: Some(Default::Text("/")),
        help: "Where to begin when the alert names no mount point.",
    }],
    build,
};

#[derive(Clone, Debug, PartialEq, Eq)]
struct ReportDiskUsage {
    folder: PathBuf,
}

fn build(fields: &Fields) -> Result<Arc<dyn Treatment>, Fault> {
    let folder = PathBuf::from(fields.text("folder"));
    if !folder.is_absolute() {
        let why = format!("{} is not an absolute path", folder.display());
        return Err(Fault::new("folder", why));
    }
    Ok(Arc::new(ReportDiskUsage { folder }))
}

impl Treatment for ReportDiskUsage {
    fn what(&self) -> String {
        "find the largest folders and files of a file system".to_owned()
    }

    fn granted(&self, _surroundings: &Surroundings) -> Result<(), NotGranted> {
        Ok(())
    }

    fn is_cure(&self) -> bool {
        false
    }

    /// Looking is all it does.
    fn rehearse(&self, job: &Job<'_>) -> Outcome {
        self.run(job)
    }

    fn run(&self, job: &Job<'_>) -> Outcome {
        let begin = job.alert.and_then(|alert| alert.labels.get("mountpoint")).map(Path::new);
        let begin = begin.filter(|path| path.is_absolute()).unwrap_or(&self.folder);
        let inside = begin.strip_prefix("/").unwrap_or(begin);
        let real = match job.surroundings.root.as_os_str().is_empty() {
            true => begin.to_owned(),
            false => job.surroundings.root.join(inside),
        };
        report(&real, begin, job)
    }
}

const MOST_FILES: u64 = 1_000_000;
const MOST_DEPTH: usize = 64;
const MOST_NAMES: usize = 200_000;
/// Files of several names that are remembered, so that each counts once.
const MOST_LINKED: usize = 100_000;
const SHOWN: usize = 12;
/// The deepest folders that are named by themselves.
const SHOWN_DEPTH: usize = 4;

#[derive(Default)]
struct Usage {
    files: u64,
    denied: u64,
    is_cut: bool,
    linked: HashSet<Place>,
    folders: Vec<(u64, PathBuf)>,
    largest: Vec<(u64, PathBuf)>,
}

fn report(real: &Path, shown: &Path, job: &Job<'_>) -> Outcome {
    let folder = match Folder::open(real) {
        Ok(folder) => folder,
        Err(error) => return Outcome::bad(format!("{}: {error}", real.display())),
    };
    let mut usage = Usage::default();
    let total = measure(&folder, 0, job, &mut usage);
    let name = |path: &Path| match path.strip_prefix(real) {
        Ok(inside) => shown.join(inside).display().to_string(),
        Err(_) => path.display().to_string(),
    };
    let mut lines = Vec::new();
    for (title, found) in [("folders:", &mut usage.folders), ("files:", &mut usage.largest)] {
        keep_largest(found);
        lines.push(title.to_owned());
        lines.extend(
            found.iter().map(|(bytes, path)| format!("{:>10}  {}", show_size(*bytes), name(path))),
        );
    }
    let files = usage.files;
    let mut summary = format!("{files} files below {} take {}", shown.display(), show_size(total));
    if usage.denied > 0 {
        let count = usage.denied;
        summary.push_str(&format!(
            ", {count} folders could not be read (CAP_DAC_READ_SEARCH would allow it)"
        ));
    }
    if usage.is_cut {
        summary.push_str(", and not everything was looked at");
    }
    Outcome::good(summary).with(lines.join("\n"))
}

/// The bytes of a folder and all below it, on its file system.
fn measure(folder: &Folder, depth: usize, job: &Job<'_>, usage: &mut Usage) -> u64 {
    let mut total = folder.stat.bytes;
    let names = match folder.names(MOST_NAMES) {
        Ok((names, is_cut)) => {
            usage.is_cut |= is_cut;
            names
        }
        Err(_) => {
            usage.denied += 1;
            return total;
        }
    };
    for name in names {
        if job.leash.is_asked() || usage.files >= MOST_FILES {
            usage.is_cut = true;
            break;
        }
        let Ok(stat) = folder.stat_of(&name) else { continue };
        if stat.kind == FileType::Directory {
            if depth >= MOST_DEPTH {
                usage.is_cut = true;
                continue;
            }
            match folder.inside(&name) {
                Ok(child) => total += measure(&child, depth + 1, job, usage),
                Err(Errno::ACCESS | Errno::PERM) => usage.denied += 1,
                // Another file system, or gone.
                Err(_) => {}
            }
            continue;
        }
        usage.files += 1;
        if stat.links > 1 && usage.linked.len() < MOST_LINKED && !usage.linked.insert(stat.place) {
            continue;
        }
        total += stat.bytes;
        note(&mut usage.largest, stat.bytes, || folder.path_of(&name));
    }
    if depth > 0 && depth <= SHOWN_DEPTH {
        note(&mut usage.folders, total, || folder.path.clone());
    }
    total
}

fn note(found: &mut Vec<(u64, PathBuf)>, bytes: u64, path: impl Fn() -> PathBuf) {
    if bytes == 0 {
        return;
    }
    found.push((bytes, path()));
    if found.len() >= 64 * SHOWN {
        keep_largest(found);
    }
}

/// In an order that is always the same.
fn keep_largest(found: &mut Vec<(u64, PathBuf)>) {
    found.sort_by(|a, b| (Reverse(a.0), &a.1).cmp(&(Reverse(b.0), &b.1)));
    found.truncate(SHOWN);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use farol_model::Timestamp;

    use super::*;
    use crate::remedy::Leash;

    fn run(folder: &Path, leash: &Leash) -> Outcome {
        let remedy = ReportDiskUsage { folder: "/".into() };
        let surroundings = Surroundings { root: folder.to_owned(), own: Vec::new() };
        let now = Timestamp::from_millis(0);
        remedy.run(&Job { name: "x", now, alert: None, leash, surroundings: &surroundings })
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test makes the files that it looks at")]
    fn the_largest_come_first_each_file_counts_once_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        fs::create_dir_all(folder.join("a/b")).unwrap();
        fs::create_dir(folder.join("c")).unwrap();
        fs::write(folder.join("a/b/large"), vec![1; 400 * 1024]).unwrap();
        fs::write(folder.join("c/small"), vec![1; 100 * 1024]).unwrap();
        fs::hard_link(folder.join("a/b/large"), folder.join("c/large too")).unwrap();
        std::os::unix::fs::symlink("/", folder.join("c/everything")).unwrap();
        let outcome = run(&folder, &Leash::default());
        assert!(outcome.ok && outcome.summary.starts_with("4 files below / take 5"), "{outcome:?}");
        let lines: Vec<&str> = outcome
            .output
            .lines()
            .map(|line| line.split_once("B  ").map_or(line, |(_, path)| path))
            .collect();
        assert_eq!(lines, ["folders:", "/a", "/a/b", "/c", "files:", "/a/b/large", "/c/small"]);
        assert_eq!(run(&folder, &Leash::default()), outcome);
    }

    #[test]
    fn it_stops_when_it_is_told_to() {
        let leash = Leash::default();
        leash.ask();
        let outcome = run(Path::new("/usr"), &leash);
        assert!(outcome.summary.ends_with("not everything was looked at"), "{outcome:?}");
    }
}
