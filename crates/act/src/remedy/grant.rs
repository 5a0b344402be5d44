//! Whether this process has a right, and what would give it.

use std::fmt;

use rustix::thread::CapabilitySet;

/// A right that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotGranted {
    /// What is missing.
    pub missing: String,
    /// What would grant it.
    pub grant: String,
}

impl NotGranted {
    pub fn new(missing: impl Into<String>, grant: impl Into<String>) -> NotGranted {
        NotGranted { missing: missing.into(), grant: grant.into() }
    }
}

impl fmt::Display for NotGranted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not granted: {}; {}", self.missing, self.grant)
    }
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(super) fn has(capability: CapabilitySet) -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
}

/// For a treatment that needs one capability.
pub(super) fn needs(capability: CapabilitySet, name: &str, why: &str) -> Result<(), NotGranted> {
    if has(capability) {
        return Ok(());
    }
    Err(NotGranted::new(
        format!("{why} needs {name}"),
        format!(
            "run farol as root, or give its unit AmbientCapabilities={name} (and the same in \
             CapabilityBoundingSet)"
        ),
    ))
}
