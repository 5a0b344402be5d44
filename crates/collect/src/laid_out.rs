//! For tests: a machine, or a part of one, laid out as files below a folder.

use std::path::Path;

/// The file and the folders it lies in.
#[expect(clippy::disallowed_methods, reason = "a test lays out its own machine")]
pub(crate) fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).unwrap();
    std::fs::write(path, text).unwrap();
}
