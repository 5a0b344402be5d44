//! What can go wrong with the store, in words that name the file and the way out.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
};

#[derive(Debug)]
pub enum StoreError {
    /// Another process writes this store.
    Locked { lock: PathBuf },
    /// The disk is full (or the quota is used up).
    Full { path: PathBuf, source: io::Error },
    /// The file system refused something; `action` is what, as in "cannot read".
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// The store's own bound leaves no room for a file.
    NoRoom { path: PathBuf },
    /// A file that is not what it should be.
    Damaged { path: PathBuf, what: String },
    /// Written by a later version of Farol.
    Newer { path: PathBuf, version: u16 },
}

impl StoreError {
    pub(crate) fn new(action: &'static str, path: &Path, source: io::Error) -> StoreError {
        let path = path.to_path_buf();
        if farol_disk::is_full(&source) {
            return StoreError::Full { path, source };
        }
        StoreError::Io { action, path, source }
    }

    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: path.to_path_buf(), what: what.into() }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Locked { lock } => write!(
                f,
                "another process writes this store: {} is locked; stop that process or choose \
                 another folder",
                lock.display()
            ),
            StoreError::Full { path, source } => write!(
                f,
                "no space for {}: {source}; free some space or lower --retention-bytes; a farol \
                 that runs goes on by itself",
                path.display()
            ),
            StoreError::Io { action, path, source } => {
                write!(f, "{action} {}: {source}", path.display())
            }
            StoreError::NoRoom { path } => write!(
                f,
                "no room for {} within the store's bound; raise --retention-bytes",
                path.display()
            ),
            StoreError::Damaged { path, what } => write!(f, "{}: {what}", path.display()),
            StoreError::Newer { path, version } => write!(
                f,
                "{}: written by a later version of Farol (format {version}); start that version, \
                 or move the file away",
                path.display()
            ),
        }
    }
}

/// No source: it is told in full above, and a chain that names it again would only repeat it.
impl Error for StoreError {}
