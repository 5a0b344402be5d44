//! The mount table as the kernel writes it: `/proc/<pid>/mountinfo` and the older `/proc/mounts`
//! (fs/proc_namespace.c). What the lines mean is left to whoever reads them.

use std::path::{Path, PathBuf};

/// One line of the mount table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The mount's number: another one at the same place has another.
    pub(crate) id: String,
    /// The file system's device number (`254:0`), alike in every namespace; empty in the old table.
    pub(crate) number: String,
    /// The folder of the file system that is mounted.
    pub(crate) root: String,
    pub(crate) device: String,
    pub(crate) point: String,
    pub(crate) kind: String,
    /// Of the file system, not of this mount of it.
    pub(crate) options: String,
    pub(crate) read_only: bool,
}

impl Mount {
    /// `36 35 98:0 /root /point rw,noatime shared:1 - ext3 /dev/sda1 rw,errors=continue`
    pub(crate) fn from_mountinfo(line: &str) -> Option<Mount> {
        let mut fields = line.split(' ');
        let id = fields.next()?.to_owned();
        let number = fields.nth(1)?.to_owned();
        let root = unescape(fields.next()?);
        let point = unescape(fields.next()?);
        let mount_options = fields.next()?;
        fields.find(|field| *field == "-")?;
        let kind = unescape(fields.next()?);
        let device = unescape(fields.next()?);
        let options = fields.next().unwrap_or_default().to_owned();
        let read_only = has_option(mount_options, "ro") || has_option(&options, "ro");
        Some(Mount { id, number, root, device, point, kind, options, read_only })
    }

    /// `/dev/sda1 /point ext3 rw,noatime 0 0`
    pub(crate) fn from_mounts(line: &str) -> Option<Mount> {
        let mut fields = line.split_ascii_whitespace();
        let device = unescape(fields.next()?);
        let point = unescape(fields.next()?);
        let kind = unescape(fields.next()?);
        let options = fields.next()?.to_owned();
        let read_only = has_option(&options, "ro");
        let (id, number, root) = (String::new(), String::new(), String::new());
        Some(Mount { id, number, root, device, point, kind, options, read_only })
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.root == "/"
    }
}

pub(crate) fn parse(table: &[u8]) -> Vec<Mount> {
    String::from_utf8_lossy(table).lines().filter_map(Mount::from_mountinfo).collect()
}

/// The mount on which a path lies. Of two at one place the later is the upper.
pub(crate) fn covering<'a>(table: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    let above = table.iter().filter(|mount| path.starts_with(&mount.point));
    above.max_by_key(|mount| Path::new(&mount.point).components().count())
}

/// Which folder of which file system a path is: the same in every mount namespace.
pub(crate) fn identity(table: &[Mount], path: &Path) -> Option<(String, PathBuf)> {
    let mount = covering(table, path)?;
    let below = path.strip_prefix(&mount.point).ok()?;
    let within = Path::new(&mount.root).join(below);
    Some((mount.number.clone(), within.components().collect()))
}

pub(crate) fn has_option(options: &str, wanted: &str) -> bool {
    options.split(',').any(|option| option == wanted)
}

/// The kernel writes space, tab, newline, `\` and `#` as three octal digits after a `\`.
pub(crate) fn unescape(field: &str) -> String {
    if !field.contains('\\') {
        return field.to_owned();
    }
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| after.first_chunk::<3>().and_then(octal)).flatten();
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn octal(digits: &[u8; 3]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mountinfo_line_is_read_with_and_without_optional_fields() {
        let line = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue";
        let mount = Mount::from_mountinfo(line).unwrap();
        assert_eq!((mount.device.as_str(), mount.point.as_str()), ("/dev/root", "/mnt2"));
        assert_eq!((mount.number.as_str(), mount.root.as_str()), ("98:0", "/mnt1"));
        assert_eq!((mount.kind.as_str(), mount.read_only), ("ext3", false));
        let plain = Mount::from_mountinfo("27 1 254:0 / / rw - ext4 /dev/vda ro,discard").unwrap();
        assert_eq!((plain.point.as_str(), plain.read_only), ("/", true));
        assert_eq!(Mount::from_mountinfo("27 1 254:0 / / rw"), None);
    }

    #[test]
    fn a_line_of_the_old_table_is_read() {
        let mount = Mount::from_mounts("/dev/sdb1 /mnt/a\\040b xfs ro,relatime 0 0").unwrap();
        assert_eq!((mount.point.as_str(), mount.kind.as_str()), ("/mnt/a b", "xfs"));
        assert!(mount.read_only);
    }

    #[test]
    fn octal_escapes_are_undone_and_other_backslashes_kept() {
        assert_eq!(unescape(r"/mnt/a\040b\011c\134d"), "/mnt/a b\tc\\d");
        assert_eq!(unescape(r"C:\x"), r"C:\x");
        assert_eq!(unescape(r"ends\04"), r"ends\04");
        assert_eq!(unescape(r"\303\251t\303\251"), "été");
    }

    #[test]
    fn a_folder_is_the_same_whatever_it_is_called() {
        let hosts =
            parse(b"27 1 254:0 / / rw - ext4 /dev/vda rw\n30 27 0:30 / /run rw - tmpfs tmpfs rw\n");
        let containers = parse(
            b"67 44 0:52 / / rw - overlay overlay rw\n86 67 254:0 / /host ro - ext4 /dev/vda rw\n\
              87 86 0:30 / /host/run ro - tmpfs tmpfs rw\n88 67 254:0 /srv/a /data rw - ext4 /dev/vda rw\n",
        );
        let same = |path: &str, inside: &str| {
            identity(&hosts, Path::new(path)) == identity(&containers, Path::new(inside))
        };
        assert!(same("/", "/host"));
        assert!(same("/run", "/host/run"));
        assert!(same("/srv/a/b", "/data/b"));
        assert!(!same("/", "/"));
        assert!(!same("/", "/data"));
        assert!(!same("/run", "/host"));
    }

    #[test]
    fn of_two_mounts_at_one_place_the_later_covers() {
        let table = parse(b"1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /a rw - ext4 b rw\n3 2 8:3 / /a rw - xfs c rw\n");
        assert_eq!(covering(&table, Path::new("/a/b")).unwrap().kind, "xfs");
        assert_eq!(covering(&table, Path::new("/ab")).unwrap().number, "8:1");
    }
}
