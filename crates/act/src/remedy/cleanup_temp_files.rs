//! Deletes what nobody has touched for days in the folders for temporary files.
//!
//! Regular files only, and folders that are empty and old; never through a link, never on another file
//! system, never what a process holds open or has locked, and nothing of what systemd or X keep there.

use std::{
    ffi::CStr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::{
    fs::{Access, AtFlags, CWD},
    thread::CapabilitySet,
};

use super::{
    BuiltIn, Fault, Field, FieldKind, Fields, Job, NotGranted, Outcome, Surroundings, Treatment,
    fields::Default,
    grant, show_duration,
    tree::{self, Step, Sweep, Swept},
};

pub(super) const BUILT_IN: BuiltIn = BuiltIn {
    name: "cleanup_temp_files",
    about: "Deletes files below `folders` that nobody has read, written or changed for `older_than`, \
            and folders that are empty and as old. Follows no link, crosses no file system, spares \
            what is open or locked and the private folders of systemd and X.",
    cooldown: Duration::from_secs(3 * 86_400),
    is_default: true,
    fields: &[
        Field {
            name: "folders",
            kind: FieldKind::Texts,
            default: Some(Default::Texts(&["/tmp", "/var/tmp"])),
            help: "Folders to clean; they themselves stay.",
        },
        Field {
            name: "older_than",
            kind: FieldKind::Duration,
            default: Some(Default::Duration(Duration::from_secs(3 * 86_400))),
            help: "The age from which on a file may go; at least 1h.",
        },
    ],
    build,
};

#[derive(Clone, Debug, PartialEq, Eq)]
struct CleanupTempFiles {
    folders: Vec<PathBuf>,
    older_than: Duration,
}

fn build(fields: &Fields) -> Result<Arc<dyn Treatment>, Fault> {
    let folders = folders(fields)?;
    let older_than = at_least(fields, super::HOUR)?;
    Ok(Arc::new(CleanupTempFiles { folders, older_than }))
}

pub(super) fn at_least(fields: &Fields, least: Duration) -> Result<Duration, Fault> {
    let older_than = fields.duration("older_than");
    if older_than < least {
        let why = format!("is less than {}", show_duration(least));
        return Err(Fault::new("older_than", why));
    }
    Ok(older_than)
}

/// Folders that hold a system or what people own are no place to clean.
const NEVER: &[&str] = &[
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/opt", "/proc",
    "/root", "/run", "/sbin", "/srv", "/sys", "/usr", "/var", "/var/lib",
];

pub(super) fn folders(fields: &Fields) -> Result<Vec<PathBuf>, Fault> {
    let folders: Vec<PathBuf> = fields.texts("folders").into_iter().map(PathBuf::from).collect();
    if folders.is_empty() {
        return Err(Fault::new("folders", "is empty"));
    }
    for folder in &folders {
        let shown = folder.display();
        if !folder.is_absolute() || folder.components().any(|part| part.as_os_str() == "..") {
            return Err(Fault::new("folders", format!("{shown} is not an absolute path")));
        }
        let normal: PathBuf = folder.components().collect();
        let is_never = NEVER.iter().any(|never| normal == Path::new(never))
            || ["/dev", "/proc", "/sys"].iter().any(|never| normal.starts_with(never));
        if is_never {
            let why = format!("{shown} is no folder to clean; name one below it");
            return Err(Fault::new("folders", why));
        }
    }
    Ok(folders)
}

impl Treatment for CleanupTempFiles {
    fn what(&self) -> String {
        let (age, folders) = (show_duration(self.older_than), listed(&self.folders));
        format!("delete files that nobody has touched for {age} below {folders}")
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

impl CleanupTempFiles {
    fn sweep(&self, job: &Job<'_>, is_dry: bool, step: &mut dyn FnMut(Step)) -> Outcome {
        let folders = below(&job.surroundings.root, &self.folders);
        let sweep = Sweep {
            now: job.now,
            older_than: self.older_than,
            leash: job.leash,
            spared: &tree::places(&job.surroundings.own),
            choose: &|files| (0..files.len()).collect(),
            is_left: &is_private,
            with_folders: true,
            is_dry,
            in_use: &tree::open_files(&folders, job.leash),
        };
        sweep_all(&sweep, &folders, step)
    }
}

pub(super) fn listed(folders: &[PathBuf]) -> String {
    let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    folders.join(", ")
}

pub(super) fn sweep_all(
    sweep: &Sweep<'_>,
    folders: &[PathBuf],
    step: &mut dyn FnMut(Step),
) -> Outcome {
    let mut swept = Swept::default();
    for folder in folders {
        sweep.sweep(folder, &mut swept, step);
    }
    // That some of many could not be deleted is told, and is no failure of the whole.
    let ok = swept.failed == 0 || swept.files > 0;
    Outcome { ok, summary: swept.say(sweep.is_dry), output: swept.list() }
}

pub(super) fn below(root: &Path, folders: &[PathBuf]) -> Vec<PathBuf> {
    let inside = |folder: &PathBuf| match folder.strip_prefix("/") {
        Ok(inside) if !root.as_os_str().is_empty() => root.join(inside),
        _ => folder.clone(),
    };
    folders.iter().map(inside).collect()
}

/// In a folder that all may write, one deletes only what is one's own.
pub(super) fn may_delete(folders: &[PathBuf]) -> Result<(), NotGranted> {
    let is_closed = |folder: &&PathBuf| {
        let access = Access::WRITE_OK | Access::EXEC_OK;
        rustix::fs::accessat(CWD, folder.as_path(), access, AtFlags::EACCESS).is_err()
            && folder.exists()
    };
    if let Some(folder) = folders.iter().find(is_closed) {
        let folder = folder.display();
        return Err(NotGranted::new(
            format!("{folder} cannot be written"),
            format!(
                "run farol as root or with CAP_DAC_OVERRIDE and CAP_FOWNER; under systemd with \
                 ReadWritePaths={folder} and without PrivateTmp; in a container mount {folder} to write"
            ),
        ));
    }
    if grant::is_root() {
        return Ok(());
    }
    grant::needs(CapabilitySet::FOWNER, "CAP_FOWNER", "deleting files of other users")
}

fn is_private(name: &CStr) -> bool {
    const NAMES: [&[u8]; 8] = [
        b".X11-unix",
        b".ICE-unix",
        b".XIM-unix",
        b".font-unix",
        b".Test-unix",
        b"lost+found",
        b"snap-private-tmp",
        b".snapshots",
    ];
    let name = name.to_bytes();
    name.starts_with(b"systemd-private-") || NAMES.contains(&name)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make the files that they look at")]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
        sync::atomic::{AtomicBool, Ordering},
        time::UNIX_EPOCH,
    };

    use farol_model::Timestamp;
    use tempfile::TempDir;

    use super::*;
    use crate::remedy::Leash;

    const DAY: Duration = Duration::from_secs(86_400);

    /// A folder to clean, and one beside it that nobody may touch.
    struct Place {
        _folder: TempDir,
        root: PathBuf,
        clean: PathBuf,
        outside: PathBuf,
    }

    impl Place {
        fn new() -> Place {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path().canonicalize().unwrap();
            let (clean, outside) = (root.join("tmp"), root.join("outside"));
            fs::create_dir_all(&clean).unwrap();
            fs::create_dir_all(&outside).unwrap();
            fs::write(outside.join("precious"), "x").unwrap();
            Place { _folder: folder, root, clean, outside }
        }

        fn file(&self, name: &str) {
            let path = self.clean.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }

        fn is_outside_whole(&self) -> bool {
            fs::read(self.outside.join("precious")).is_ok_and(|text| text == b"x")
        }

        fn left(&self) -> Vec<String> {
            let mut found = Vec::new();
            walk(&self.clean, &self.clean, &mut found);
            found.sort();
            found
        }
    }

    fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(root).unwrap().display().to_string());
            if path.symlink_metadata().unwrap().is_dir() {
                walk(root, &path, found);
            }
        }
    }

    /// So many days after the folder was made; what is in it cannot be made old, as the kernel notes when
    /// a file changed.
    fn after(place: &Place, days: u32) -> Timestamp {
        let made = fs::metadata(&place.root).unwrap().modified().unwrap();
        let now = made.duration_since(UNIX_EPOCH).unwrap() + DAY * days;
        Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap())
    }

    fn clean(place: &Place, days: u32, is_dry: bool, step: &mut dyn FnMut(Step)) -> Outcome {
        let remedy = CleanupTempFiles { folders: vec!["/tmp".into()], older_than: 3 * DAY };
        let surroundings = Surroundings { root: place.root.clone(), own: Vec::new() };
        let leash = Leash::default();
        let now = after(place, days);
        let job = Job { name: "x", now, alert: None, leash: &leash, surroundings: &surroundings };
        remedy.sweep(&job, is_dry, step)
    }

    #[test]
    fn what_is_old_goes_with_folders_that_are_empty_and_what_is_young_stays() {
        let place = Place::new();
        for name in ["a", "b/c", "b/d/e"] {
            place.file(name);
        }
        let young = clean(&place, 2, false, &mut |_| {});
        assert_eq!(young.summary, "deleted nothing: no file is old enough");
        let rehearsed = clean(&place, 4, true, &mut |_| {});
        assert!(rehearsed.summary.starts_with("would delete 3 files of "), "{rehearsed:?}");
        assert_eq!(place.left().len(), 5);
        let outcome = clean(&place, 4, false, &mut |_| {});
        assert!(outcome.ok && outcome.summary.ends_with("and 2 empty folders"), "{outcome:?}");
        assert!(outcome.output.contains("tmp/b/d/e"), "{outcome:?}");
        assert!(place.left().is_empty());
    }

    #[test]
    fn links_sockets_private_folders_and_what_is_in_use_stay() {
        let place = Place::new();
        symlink(&place.outside, place.clean.join("folder link")).unwrap();
        symlink(place.outside.join("precious"), place.clean.join("file link")).unwrap();
        for name in
            ["systemd-private-1-x/tmp/a", ".X11-unix/a", "open", "locked", "locked folder/a"]
        {
            place.file(name);
        }
        let socket = std::os::unix::net::UnixListener::bind(place.clean.join("socket")).unwrap();
        let open = fs::File::open(place.clean.join("open")).unwrap();
        // Another handle's lock, not this process' knowledge of an open file, keeps these.
        let lock = |name: &str| {
            let file = fs::File::open(place.clean.join(name)).unwrap();
            file.lock().unwrap();
            file
        };
        let locks = [lock("locked"), lock("locked folder")];
        let before = place.left();
        let outcome = clean(&place, 30, false, &mut |_| {});
        assert_eq!(outcome.summary, "deleted nothing: no file is old enough, 3 in use");
        assert_eq!(place.left(), before);
        drop((socket, open, locks));
        assert!(place.is_outside_whole());
    }

    /// At each step in turn, another process puts a link in the place of what is about to be touched.
    #[test]
    fn a_link_put_in_at_any_step_leads_nowhere() {
        let mut swapped = 0;
        for turn in 0.. {
            let place = Place::new();
            for name in ["a/precious", "b/precious", "c"] {
                place.file(name);
            }
            let mut step_number = 0;
            let mut was_swapped = false;
            let outcome = clean(&place, 30, false, &mut |_| {
                if step_number == turn {
                    was_swapped = true;
                    for name in ["a", "b"] {
                        let path = place.clean.join(name);
                        // What was there is moved away, with what is being done in it.
                        if fs::rename(&path, place.root.join(format!("moved {name}"))).is_ok() {
                            symlink(&place.outside, &path).unwrap();
                        }
                    }
                    let path = place.clean.join("c");
                    if fs::remove_file(&path).is_ok() {
                        symlink(place.outside.join("precious"), &path).unwrap();
                    }
                }
                step_number += 1;
            });
            assert!(place.is_outside_whole(), "at step {turn}: {outcome:?}");
            if !was_swapped {
                break;
            }
            swapped += 1;
        }
        assert!(swapped >= 10, "only {swapped} steps");
    }

    #[test]
    fn a_file_that_took_the_place_of_an_old_one_is_another_and_stays() {
        for at in [Step::OpenFile, Step::RemoveFile] {
            let place = Place::new();
            place.file("cache");
            let outcome = clean(&place, 30, false, &mut |step| {
                if step == at {
                    fs::write(place.clean.join("new"), "new").unwrap();
                    fs::rename(place.clean.join("new"), place.clean.join("cache")).unwrap();
                }
            });
            assert_eq!(fs::read(place.clean.join("cache")).unwrap(), b"new", "{outcome:?}");
        }
    }

    /// The same with a real other thread, which swaps as fast as it can.
    #[test]
    fn a_folder_that_is_swapped_for_a_link_all_the_time_lets_nothing_out() {
        let place = Place::new();
        place.file("a/precious");
        let is_over = AtomicBool::new(false);
        let (folder, aside) = (place.clean.join("a"), place.root.join("aside"));
        let link = place.root.join("link");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    symlink(&place.outside, &link).ok();
                    fs::rename(&folder, &aside).ok();
                    fs::rename(&link, &folder).ok();
                    fs::remove_file(&folder).ok();
                    fs::rename(&aside, &folder).ok();
                    fs::create_dir_all(&folder).ok();
                    fs::write(folder.join("precious"), "bait").ok();
                }
            });
            for _ in 0..500 {
                clean(&place, 30, false, &mut |_| {});
                assert!(place.is_outside_whole());
            }
            is_over.store(true, Ordering::Relaxed);
        });
        assert!(place.is_outside_whole());
    }

    #[test]
    fn another_file_system_is_not_entered() {
        // The one that is sure to be there: `/proc` is not `/`'s.
        let folder = tree::Folder::open(Path::new("/")).unwrap();
        assert_eq!(folder.inside(c"proc").unwrap_err(), rustix::io::Errno::XDEV);
    }

    #[test]
    fn a_folder_by_way_of_a_link_is_refused() {
        let place = Place::new();
        fs::remove_dir(&place.clean).unwrap();
        symlink(&place.outside, &place.clean).unwrap();
        let outcome = clean(&place, 30, false, &mut |_| {});
        assert!(!outcome.ok && outcome.summary.contains("1 could not"), "{outcome:?}");
        assert!(place.is_outside_whole());
    }

    #[test]
    fn it_stops_at_once_when_it_is_told_to() {
        let place = Place::new();
        place.file("a");
        let remedy = CleanupTempFiles { folders: vec!["/tmp".into()], older_than: DAY };
        let surroundings = Surroundings { root: place.root.clone(), own: Vec::new() };
        let leash = Leash::default();
        leash.ask();
        let now = after(&place, 30);
        let job = Job { name: "x", now, alert: None, leash: &leash, surroundings: &surroundings };
        let outcome = remedy.run(&job);
        assert!(outcome.summary.ends_with("did not look at everything"), "{outcome:?}");
        assert_eq!(place.left(), ["a"]);
    }

    #[test]
    fn folders_of_the_system_are_no_place_to_clean() {
        let wrong = |folder: &str| {
            let mut fields = Fields::defaults(BUILT_IN.fields);
            fields.set("folders", crate::remedy::Given::Texts(vec![folder.to_owned()]));
            build(&fields).unwrap_err().why
        };
        for folder in ["/", "/etc", "/etc/", "/home", "/var/", "/usr", "/proc/self", "/dev/shm"] {
            assert!(wrong(folder).contains("no folder to clean"), "{folder}");
        }
        for folder in ["tmp", "/tmp/../etc", ""] {
            assert!(wrong(folder).contains("not an absolute path"), "{folder}");
        }
        assert!(build(&Fields::defaults(BUILT_IN.fields)).is_ok());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_not_granted_and_said_how_it_would_be() {
        if grant::is_root() {
            return;
        }
        let place = Place::new();
        fs::set_permissions(&place.clean, fs::Permissions::from_mode(0o555)).unwrap();
        let missing = may_delete(std::slice::from_ref(&place.clean)).unwrap_err();
        assert!(missing.grant.contains("ReadWritePaths"), "{missing}");
    }
}
