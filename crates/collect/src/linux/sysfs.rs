//! Reading sysfs: a device's folder and its attribute files (fs/sysfs/file.c, fs/kernfs).
//!
//! An attribute that is missing or refuses to answer is *absent*: drivers answer EINVAL, ENODEV,
//! ENODATA or EIO for what their hardware does not have. The folder is held open and attributes
//! are opened relative to it, because the walk along `/sys/devices/…` costs more than the read.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Dir, FileType, Mode, OFlags},
    io::Errno,
};

use crate::CollectError;

/// One device's folder.
pub(super) struct Folder {
    handle: OwnedFd,
}

impl Folder {
    pub(super) fn open(path: &Path) -> io::Result<Folder> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Folder { handle: rustix::fs::open(path, flags, Mode::empty())? })
    }

    /// A folder inside this one.
    pub(super) fn inner(&self, name: &str) -> io::Result<Folder> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Folder { handle: rustix::fs::openat(&self.handle, name, flags, Mode::empty())? })
    }

    /// What tells this folder from a later one of the same name.
    pub(super) fn inode(&self) -> Option<u64> {
        rustix::fs::fstat(&self.handle).ok().map(|stat| stat.st_ino)
    }

    /// An attribute without the newline at its end; empty when the attribute is.
    pub(super) fn text(&self, attribute: &str) -> Option<String> {
        // A device node or a FIFO of that name must not block the open.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat(&self.handle, attribute, flags, Mode::empty()).ok()?;
        // sysfs makes an attribute whole in one page.
        let mut page = [0; 4096];
        let length = loop {
            match rustix::io::read(&file, &mut page) {
                Err(Errno::INTR) => {}
                other => break other.ok()?,
            }
        };
        let text = String::from_utf8_lossy(page.get(..length)?);
        Some(text.trim_end_matches(['\n', '\0']).trim().to_owned())
    }

    /// A decimal number or, with `0x` before it, a hexadecimal one.
    pub(super) fn number(&self, attribute: &str) -> Option<f64> {
        number(&self.text(attribute)?)
    }

    /// The plain files in the folder, in order of their names.
    pub(super) fn files(&self) -> io::Result<Vec<String>> {
        self.names(|kind| kind == FileType::RegularFile)
    }

    /// The folders in it, and the links to folders elsewhere, in order of their names.
    pub(super) fn folders(&self) -> io::Result<Vec<String>> {
        self.names(|kind| matches!(kind, FileType::Directory | FileType::Symlink))
    }

    fn names(&self, wanted: impl Fn(FileType) -> bool) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.handle)? {
            let entry = entry?;
            if wanted(entry.file_type())
                && let Ok(name) = entry.file_name().to_str()
                && !matches!(name, "." | "..")
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// The devices of a class, in order of their names: (name, path). Each is a link to the device's
/// folder; a plain file (such as bonding's `bonding_masters`) is none.
pub(super) fn devices(class: &Path) -> Result<Vec<(String, PathBuf)>, CollectError> {
    let failed = |error: &io::Error| CollectError::reading(class, error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(class).map_err(|error| failed(&error))? {
        let entry = entry.map_err(|error| failed(&error))?;
        let is_plain = entry.file_type().is_ok_and(|kind| kind.is_file());
        if let Ok(name) = entry.file_name().into_string()
            && !is_plain
        {
            found.push((name, entry.path()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn number(text: &str) -> Option<f64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(|number| number as f64),
        None => text.parse::<i64>().ok().map(|number| number as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laid_out::write;

    #[test]
    fn numbers_are_decimal_or_marked_hexadecimal() {
        assert_eq!(number("1500"), Some(1500.0));
        assert_eq!(number("-1"), Some(-1.0));
        assert_eq!(number("0x1003"), Some(4099.0));
        assert_eq!(number("unknown"), None);
        assert_eq!(number(""), None);
    }

    #[test]
    fn attributes_are_read_trimmed_and_what_is_not_there_is_absent() {
        let place = tempfile::tempdir().unwrap();
        write(&place.path().join("mtu"), "1500\n");
        write(&place.path().join("ifalias"), "\n");
        std::fs::create_dir(place.path().join("power")).unwrap();
        let folder = Folder::open(place.path()).unwrap();
        assert_eq!(folder.number("mtu"), Some(1500.0));
        assert_eq!(folder.text("ifalias").as_deref(), Some(""));
        assert_eq!(folder.text("speed"), None);
        assert_eq!(folder.text("power"), None, "a folder is no attribute");
        assert_eq!(folder.files().unwrap(), ["ifalias", "mtu"]);
        assert_eq!(folder.folders().unwrap(), ["power"]);
    }
}
