//! Where an export goes: standard output, or a file that has its name once it is whole.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use farol_disk::{Access, Disk, File, write_all};

use crate::cli::Out;

#[derive(Debug)]
pub(super) enum Target<'a> {
    Out(&'a mut Out),
    File(NewFile),
}

/// A file that is being written aside; it is gone when it is dropped unfinished.
#[derive(Debug)]
pub(super) struct NewFile {
    disk: Arc<dyn Disk>,
    file: Arc<dyn File>,
    aside: PathBuf,
    path: PathBuf,
    done: bool,
}

impl Target<'_> {
    pub(super) fn file(disk: Arc<dyn Disk>, path: &Path) -> anyhow::Result<Target<'static>> {
        let path = replaceable(path)?;
        let mut aside = OsString::from(&path);
        aside.push(".farol-export");
        let aside = PathBuf::from(aside);
        match disk.remove(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| cannot_write(&aside));
            }
            // Either it was not there or it was a leftover of an interrupted export.
            Ok(()) | Err(_) => {}
        }
        let file =
            disk.create_new(&aside, Access::default()).with_context(|| cannot_write(&aside))?;
        Ok(Target::File(NewFile { disk, file, aside, path, done: false }))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self {
            Target::Out(out) => {
                out.bytes(bytes);
                Ok(())
            }
            Target::File(new) => {
                write_all(new.file.as_ref(), bytes).with_context(|| cannot_write(&new.aside))
            }
        }
    }

    /// False once nobody reads any more.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Target::Out(out) => out.is_open(),
            Target::File(_) => true,
        }
    }

    pub(super) fn finish(self) -> anyhow::Result<()> {
        match self {
            Target::Out(out) => {
                out.flush();
                let cut = out.failure();
                cut.map_or(Ok(()), Err).context("cannot write all of it to standard output")
            }
            Target::File(new) => {
                let path = new.path.clone();
                new.finish().with_context(|| cannot_write(&path))
            }
        }
    }
}

impl NewFile {
    fn finish(mut self) -> io::Result<()> {
        self.file.sync()?;
        self.disk.rename(&self.aside, &self.path)?;
        self.done = true;
        self.disk.sync_folder(self.path.parent().unwrap_or(Path::new(".")))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.done {
            // Best effort: the error that led here is the one that is told.
            self.disk.remove(&self.aside).ok();
        }
    }
}

/// Where a link leads to; and never a device or a pipe, which the file would take the place of.
fn replaceable(path: &Path) -> anyhow::Result<PathBuf> {
    let Ok(found) = path.canonicalize() else { return Ok(path.to_owned()) };
    anyhow::ensure!(
        found.is_file(),
        "{} is no file that can be replaced; leave --output out and redirect standard output",
        path.display()
    );
    Ok(found)
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}
