//! The machine as an argument, and the readers for its files.

use std::{
    fs::File,
    io::{self, Read as _},
    os::{fd::AsFd, unix::fs::FileExt},
    path::{Path, PathBuf},
};

use crate::CollectError;

/// Where the machine's trees are: `/proc` and `/sys` of this host, of the host around a
/// container, or a folder of recorded files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub proc: PathBuf,
    /// The machine's `/proc/net`.
    pub net: PathBuf,
    pub sys: PathBuf,
    /// The host's `/`; mount points are looked up below it.
    pub root: PathBuf,
    pub run: PathBuf,
    /// The file with the machine's name: the kernel's own, or `/etc/hostname` below the machine's
    /// root where the kernel tells this process another name.
    pub name: PathBuf,
}

impl Host {
    /// The machine this process runs on.
    pub fn local() -> Host {
        Host {
            proc: "/proc".into(),
            net: "/proc/net".into(),
            sys: "/sys".into(),
            root: "/".into(),
            run: "/run".into(),
            name: Path::new("/proc").join(KERNEL_NAME),
        }
    }

    /// A recorded machine: `<folder>/{proc,sys,root,run}`.
    pub fn recorded(folder: &Path) -> Host {
        Host {
            proc: folder.join("proc"),
            net: folder.join("proc/net"),
            sys: folder.join("sys"),
            root: folder.join("root"),
            run: folder.join("run"),
            name: folder.join("proc").join(KERNEL_NAME),
        }
    }

    pub fn tree(&self, tree: Tree) -> &Path {
        match tree {
            Tree::Proc => &self.proc,
            Tree::Net => &self.net,
            Tree::Sys => &self.sys,
        }
    }

    /// Whether `proc` is a procfs, and so what the kernel we run on says: only then may a system
    /// call answer for the machine. A folder of recorded files is another machine.
    pub(crate) fn is_this_kernel(&self) -> bool {
        is_procfs(&self.proc)
    }

    /// Bytes of a page, for counts that the kernel gives in pages. A recorded machine tells it in
    /// `self/smaps` (fs/proc/task_mmu.c); where nothing does, it is not guessed from ours.
    pub(crate) fn page_bytes(&self) -> Option<u64> {
        if self.is_this_kernel() {
            return Some(rustix::param::page_size() as u64);
        }
        let smaps = read_small(&self.proc.join("self/smaps")).ok()?;
        smaps.lines().find_map(kernel_page_bytes)
    }

    /// The name the machine calls itself, if it says one.
    pub fn host_name(&self) -> Option<String> {
        name_in(&read_small(&self.name).ok()?)
    }

    /// Whether the kernel itself tells the name: then it tells the domain's name too.
    pub fn name_is_the_kernels(&self) -> bool {
        self.name.starts_with(&self.proc)
    }
}

/// Below procfs.
pub(crate) const KERNEL_NAME: &str = "sys/kernel/hostname";

/// `/etc/hostname` may hold comments (hostname(5)); the kernel's file is one line.
pub(crate) fn name_in(text: &str) -> Option<String> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    Proc,
    /// The `net` folder of procfs.
    Net,
    Sys,
}

/// A file read at every tick: the descriptor is kept where the kernel makes the content anew at
/// each read (procfs, sysfs), and the buffer is reused.
#[derive(Debug)]
pub struct HotFile {
    tree: Tree,
    relative: PathBuf,
    kept: Option<File>,
    buffer: Vec<u8>,
}

impl HotFile {
    pub fn new(tree: Tree, relative: impl Into<PathBuf>) -> HotFile {
        HotFile { tree, relative: relative.into(), kept: None, buffer: Vec::new() }
    }

    /// The whole content. A file that is not there is *absent*; anything else *failed*.
    pub fn read(&mut self, host: &Host) -> Result<&[u8], CollectError> {
        let kept = self.kept.take();
        if let Some(file) = kept
            && let Ok(length) = read_from_start(&file, &mut self.buffer)
        {
            self.kept = Some(file);
            return Ok(&self.buffer[..length]);
        }
        // Never read yet, or the source went away and perhaps came back.
        let path = host.tree(self.tree).join(&self.relative);
        let file = open(&path).map_err(|error| CollectError::reading(&path, &error))?;
        let length = read_from_start(&file, &mut self.buffer)
            .map_err(|error| CollectError::reading(&path, &error))?;
        if is_made_anew_by_the_kernel(&file) {
            self.kept = Some(file);
        }
        Ok(&self.buffer[..length])
    }

    pub fn read_str(&mut self, host: &Host) -> Result<&str, CollectError> {
        let path = host.tree(self.tree).join(&self.relative);
        let bytes = self.read(host)?;
        std::str::from_utf8(bytes)
            .map_err(|_| CollectError::Failed(format!("{} is not UTF-8", path.display())))
    }
}

/// A file of one line per socket or the like, read at every tick through a buffer of fixed size:
/// a busy machine's is many megabytes.
#[derive(Debug)]
pub(crate) struct StreamedFile {
    tree: Tree,
    relative: PathBuf,
    kept: Option<File>,
    buffer: Box<[u8]>,
}

impl StreamedFile {
    /// More than the longest line, and several pages: procfs gives out little more than one at once.
    const BUFFER_BYTES: usize = 32 * 1024;

    pub(crate) fn new(tree: Tree, relative: impl Into<PathBuf>) -> StreamedFile {
        let buffer = vec![0; StreamedFile::BUFFER_BYTES].into_boxed_slice();
        StreamedFile { tree, relative: relative.into(), kept: None, buffer }
    }

    /// Each line, without its end. A file that is not there is *absent*; anything else *failed*.
    pub(crate) fn each_line(
        &mut self,
        host: &Host,
        mut line: impl FnMut(&[u8]),
    ) -> Result<(), CollectError> {
        let path = host.tree(self.tree).join(&self.relative);
        let failed = |error: io::Error| CollectError::reading(&path, &error);
        let file = match self.kept.take() {
            Some(file) => file,
            None => open(&path).map_err(failed)?,
        };
        each_line(&file, &mut self.buffer, &mut line).map_err(failed)?;
        if is_made_anew_by_the_kernel(&file) {
            self.kept = Some(file);
        }
        Ok(())
    }
}

fn each_line(file: &File, buffer: &mut [u8], line: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let (mut held, mut offset) = (0, 0);
    loop {
        if held == buffer.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line without an end"));
        }
        let read = match file.read_at(&mut buffer[held..], offset) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        offset += read as u64;
        held += read;
        let mut start = 0;
        while let Some(length) = buffer[start..held].iter().position(|byte| *byte == b'\n') {
            line(&buffer[start..start + length]);
            start += length + 1;
        }
        buffer.copy_within(start..held, 0);
        held -= start;
    }
    if held > 0 {
        line(&buffer[..held]);
    }
    Ok(())
}

/// One small file, trimmed: a sysfs attribute, a `/proc/sys` value.
pub(crate) fn read_small(path: &Path) -> io::Result<String> {
    let bytes = read_whole(path)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.trim_end_matches(['\n', '\0']).trim().to_owned())
}

/// A whole file of any size the kernel makes.
pub(crate) fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    let length = read_from_start(&open(path)?, &mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

/// A file that others write, and no more than `most` bytes of it.
pub(crate) fn read_at_most(path: &Path, most: usize) -> io::Result<String> {
    let mut bytes = Vec::new();
    open(path)?.take(most as u64).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that opens the host's files")]
pub(crate) fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// The whole file into the beginning of `buffer`; says how long it is. What is behind it in the
/// buffer means nothing: to empty it before each read would cost more than a small file's read.
pub(crate) fn read_from_start(file: &File, buffer: &mut Vec<u8>) -> io::Result<usize> {
    read_until(file, buffer, |_| false)
}

/// [`read_from_start`] for what seq_file makes (fs/seq_file.c), mostly without asking for the end:
/// it stops early only before a record that does not fit into the page it has, so that a read
/// which left room for any record is all there is. Not every file of the kernel's is such a one.
pub(crate) fn read_records(file: &File, buffer: &mut Vec<u8>) -> io::Result<usize> {
    const LEAST_PAGE: usize = 4096;
    const LONGEST_RECORD: usize = 512;
    read_until(file, buffer, |read| read < LEAST_PAGE - LONGEST_RECORD)
}

fn read_until(
    file: &File,
    buffer: &mut Vec<u8>,
    is_last: impl Fn(usize) -> bool,
) -> io::Result<usize> {
    const LEAST: usize = 4096;
    if buffer.len() < LEAST {
        buffer.resize(LEAST, 0);
    }
    let mut length = 0;
    loop {
        if length == buffer.len() {
            buffer.resize(length * 2, 0);
        }
        match file.read_at(&mut buffer[length..], length as u64) {
            Ok(0) => return Ok(length),
            Ok(read) => {
                length += read;
                if length < buffer.len() && is_last(read) {
                    return Ok(length);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// `KernelPageSize:       64 kB`
fn kernel_page_bytes(line: &str) -> Option<u64> {
    let size = line.strip_prefix("KernelPageSize:")?.trim().strip_suffix(" kB")?;
    size.parse::<u64>().ok()?.checked_mul(1024)
}

const PROC_SUPER_MAGIC: u32 = 0x9fa0;
const SYSFS_MAGIC: u32 = 0x6265_6572;

fn is_made_anew_by_the_kernel(file: &File) -> bool {
    is_in_procfs(file) || is_of(file, SYSFS_MAGIC)
}

pub(crate) fn is_procfs(folder: &Path) -> bool {
    open(folder).is_ok_and(is_in_procfs)
}

/// Whether it lies in a real procfs, and not in a recorded machine's folder.
pub(crate) fn is_in_procfs(file: impl AsFd) -> bool {
    is_of(file, PROC_SUPER_MAGIC)
}

fn is_of(file: impl AsFd, magic: u32) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|stat| stat.f_type as u32 == magic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laid_out::write;

    #[test]
    fn a_recorded_file_is_read_anew_each_time_and_its_loss_is_absence() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::recorded(folder.path());
        std::fs::create_dir_all(&host.proc).unwrap();
        let path = host.proc.join("loadavg");
        write(&path, "1");
        let mut file = HotFile::new(Tree::Proc, "loadavg");
        assert_eq!(file.read(&host).unwrap(), b"1");
        write(&path, "22");
        assert_eq!(file.read(&host).unwrap(), b"22");
        remove(&path);
        assert!(
            matches!(file.read(&host), Err(CollectError::Absent(reason)) if reason.contains("loadavg"))
        );
    }

    #[test]
    fn a_file_larger_than_the_buffer_is_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::recorded(folder.path());
        std::fs::create_dir_all(&host.proc).unwrap();
        let text = "x".repeat(100_000);
        write(&host.proc.join("big"), &text);
        assert_eq!(HotFile::new(Tree::Proc, "big").read_str(&host).unwrap(), text);
        let mut buffer = Vec::new();
        let length = read_records(&open(&host.proc.join("big")).unwrap(), &mut buffer).unwrap();
        assert_eq!(&buffer[..length], text.as_bytes());
        write(&host.proc.join("big"), "less");
        let length = read_records(&open(&host.proc.join("big")).unwrap(), &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"less", "of what was before nothing is left");
    }

    #[test]
    fn a_recorded_machine_tells_its_page_size_and_is_never_taken_for_ours() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::recorded(folder.path());
        std::fs::create_dir_all(host.proc.join("self")).unwrap();
        assert!(!host.is_this_kernel());
        assert_eq!(host.page_bytes(), None);
        let smaps = "aaaad000-aaaae000 r-xp 00000000 fd:00 1 /bin/cat\nSize:   64 kB\nKernelPageSize:       64 kB\n";
        write(&host.proc.join("self/smaps"), smaps);
        assert_eq!(host.page_bytes(), Some(65_536));
    }

    #[test]
    fn this_machine_tells_its_page_size() {
        assert!(Host::local().is_this_kernel());
        assert_eq!(Host::local().page_bytes(), Some(rustix::param::page_size() as u64));
    }

    #[test]
    fn a_streamed_file_yields_every_line_through_a_buffer_smaller_than_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::recorded(folder.path());
        std::fs::create_dir_all(&host.net).unwrap();
        let written: Vec<String> = (0..20_000).map(|number| format!("line {number}")).collect();
        write(&host.net.join("tcp"), &written.join("\n"));
        let mut file = StreamedFile::new(Tree::Net, "tcp");
        for _ in 0..2 {
            let mut lines = Vec::new();
            let line = |line: &[u8]| lines.push(String::from_utf8(line.to_vec()).unwrap());
            file.each_line(&host, line).unwrap();
            assert_eq!(lines, written);
        }
        write(&host.net.join("tcp"), &"x".repeat(StreamedFile::BUFFER_BYTES + 1));
        assert!(matches!(file.each_line(&host, |_| {}), Err(CollectError::Failed(_))));
    }

    #[expect(clippy::disallowed_methods, reason = "a test lays out its own machine")]
    fn remove(path: &Path) {
        std::fs::remove_file(path).unwrap();
    }
}
