//! What every disk promises, asked of all three; and what the crashing one may take away.

#![expect(clippy::unwrap_used, reason = "a test panics where it fails")]

use std::{io, path::Path, sync::Arc};

use farol_disk::{
    Access, CrashDisk, Disk, Fault, MemoryDisk, RealDisk, is_full, read_all, write_all,
};

fn on_every_disk(check: impl Fn(&dyn Disk, &Path)) {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("deep/er");
    RealDisk.create_folder_all(&real).unwrap();
    check(&RealDisk, &real);

    let memory = MemoryDisk::new();
    memory.create_folder_all(Path::new("/d")).unwrap();
    check(&memory, Path::new("/d"));

    let crash = crash_disk();
    check(&crash, Path::new("/d"));
}

fn crash_disk() -> CrashDisk {
    let disk = CrashDisk::new();
    disk.create_folder_all(Path::new("/d")).unwrap();
    disk
}

#[test]
fn a_file_is_appended_to_cut_and_read_at_any_place() {
    on_every_disk(|disk, folder| {
        let path = folder.join("a");
        let file = disk.create_new(&path, Access::default()).unwrap();
        assert_eq!(file.append(b"hello world").unwrap(), 11);
        file.truncate(5).unwrap();
        file.append(b"!").unwrap();
        file.sync().unwrap();
        let reader = disk.open(&path).unwrap();
        let mut bytes = [0; 16];
        let read = reader.read_at(1, &mut bytes).unwrap();
        assert_eq!(&bytes[..read], b"ello!");
        assert_eq!(reader.read_at(99, &mut bytes).unwrap(), 0);
        assert!(reader.append(b"x").is_err());
        disk.remove(&path).unwrap();
        assert_eq!(reader.len().unwrap(), 6, "who holds it can go on reading");
        assert_eq!(disk.open(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    });
}

#[test]
fn replacing_a_file_leaves_nothing_aside() {
    on_every_disk(|disk, folder| {
        let path = folder.join("cursor");
        disk.replace(&path, b"one", Access::default()).unwrap();
        disk.replace(&path, b"two", Access::default()).unwrap();
        assert_eq!(read_all(disk, &path, 100).unwrap(), b"two");
        assert!(read_all(disk, &path, 2).is_err());
        let names: Vec<_> = disk.list(folder).unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(names, ["cursor"]);
        disk.rename(&path, &folder.join("other")).unwrap();
        assert_eq!(disk.list(folder).unwrap()[0].len, 3);
    });
}

#[test]
fn a_lock_is_held_once_and_the_refusal_names_the_file() {
    on_every_disk(|disk, folder| {
        let path = folder.join("lock");
        let held = disk.lock(&path).unwrap();
        let refused = disk.lock(&path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        assert!(refused.to_string().contains("lock"));
        drop(held);
        drop(disk.lock(&path).unwrap());
    });
}

#[test]
fn free_space_is_known_and_a_sync_may_come_from_another_thread() {
    on_every_disk(|disk, folder| {
        assert!(disk.free_space(folder).unwrap() > 0);
        let file = disk.create_new(&folder.join("a"), Access::default()).unwrap();
        let other = Arc::clone(&file);
        std::thread::spawn(move || other.sync().unwrap()).join().unwrap();
        write_all(file.as_ref(), b"on").unwrap();
        file.preallocate(4096).unwrap();
        assert_eq!(file.len().unwrap(), 4096);
    });
}

#[test]
fn a_crash_keeps_what_was_synced_and_any_prefix_of_the_rest() {
    let disk = crash_disk();
    let file = disk.create_new(Path::new("/d/a"), Access::default()).unwrap();
    disk.sync_folder(Path::new("/d")).unwrap();
    file.append(b"synced").unwrap();
    file.sync().unwrap();
    file.append(b"perhaps").unwrap();
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let after = disk.crash(seed);
        let bytes = after.memory().get(Path::new("/d/a")).unwrap();
        assert!(bytes.starts_with(b"synced"));
        lengths.insert(bytes.len());
        let again = disk.crash(seed).memory().get(Path::new("/d/a"));
        assert_eq!(again.as_ref(), Some(&bytes), "the same seed gives the same crash");
    }
    assert_eq!(lengths, (6..=13).collect());
}

#[test]
fn a_name_is_durable_only_when_its_folder_was_synced() {
    let disk = crash_disk();
    let file = disk.create_new(Path::new("/d/a"), Access::default()).unwrap();
    file.append(b"x").unwrap();
    file.sync().unwrap();
    let found = |seed| disk.crash(seed).memory().get(Path::new("/d/a")).is_some();
    assert!((0..50).any(found) && !(0..50).all(found));
    disk.sync_folder(Path::new("/d")).unwrap();
    assert!((0..50).all(found));
    disk.rename(Path::new("/d/a"), Path::new("/d/b")).unwrap();
    for seed in 0..50 {
        let names = disk.crash(seed).memory().paths();
        assert_eq!(names.len(), 1, "a rename loses neither name: {names:?}");
    }
}

#[test]
fn a_full_disk_writes_what_fits_and_then_refuses() {
    let disk = crash_disk();
    let file = disk.create_new(Path::new("/d/a"), Access::default()).unwrap();
    disk.set_room(Some(4));
    assert_eq!(file.append(b"hello").unwrap(), 4);
    assert!(is_full(&file.append(b"o").unwrap_err()));
    assert!(is_full(&file.preallocate(100).unwrap_err()));
    disk.set_room(None);
    assert_eq!(file.append(b"o").unwrap(), 1);
}

#[test]
fn faults_come_at_the_operation_asked_for() {
    let disk = crash_disk();
    let file = disk.create_new(Path::new("/d/a"), Access::default()).unwrap();
    assert_eq!(disk.operations(), 1);
    disk.fail_at(1, Fault::Io);
    disk.fail_at(3, Fault::Stop);
    assert!(file.append(b"four").is_err());
    assert_eq!(file.len().unwrap(), 2, "an input/output error leaves half a write");
    file.truncate(0).unwrap();
    assert!(file.sync().is_err());
    assert!(file.append(b"x").is_err(), "a stopped machine does nothing more");
    assert_eq!(disk.operations(), 4);
}
