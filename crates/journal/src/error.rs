//! What can go wrong with the journal, in words that name the file and the way out.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
};

#[derive(Debug)]
pub enum JournalError {
    /// Another process writes this journal.
    Locked { lock: PathBuf },
    /// The disk is full (or the quota is used up), even after retention.
    Full { path: PathBuf, source: io::Error },
    /// The file system refused something; `action` is what, as in "cannot append to".
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

impl JournalError {
    pub(crate) fn new(action: &'static str, path: &Path, source: io::Error) -> JournalError {
        let path = path.to_path_buf();
        if farol_disk::is_full(&source) {
            return JournalError::Full { path, source };
        }
        JournalError::Io { action, path, source }
    }

    /// Whether freeing space would help.
    pub fn is_full(&self) -> bool {
        matches!(self, JournalError::Full { .. })
    }

    /// Whether the record itself is at fault, so that trying again is in vain.
    pub fn is_refused(&self) -> bool {
        matches!(self, JournalError::Io { source, .. } if source.kind() == io::ErrorKind::InvalidData)
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JournalError::Locked { lock } => write!(
                f,
                "another process writes this journal: {} is locked; stop that process or choose \
                 another folder",
                lock.display()
            ),
            JournalError::Full { path, source } => write!(
                f,
                "no space for {}: {source}; free some space or lower the journal's retention, \
                 writing goes on by itself",
                path.display()
            ),
            JournalError::Io { action, path, source } => {
                write!(f, "{action} {}: {source}", path.display())?;
                match source.kind() {
                    io::ErrorKind::PermissionDenied => f.write_str(
                        "; the user that runs farol must own the folder, and who only reads \
                             must be in the group of its files",
                    ),
                    io::ErrorKind::ReadOnlyFilesystem => {
                        f.write_str("; choose a folder on a file system that is mounted writable")
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

/// No source: it is told in full above, and a chain that names it again would only repeat it.
impl Error for JournalError {}
