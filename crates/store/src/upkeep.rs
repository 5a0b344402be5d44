//! What is done with windows that are over and with blocks: cut, merge, take in, retain.

use crate::StoreError;

#[derive(Debug)]
pub struct Upkeep {}

/// What one round did.
#[derive(Debug, Default)]
pub struct Report {
    /// File names.
    pub written: Vec<String>,
    pub merged: Vec<String>,
    pub removed: Vec<String>,
    pub imported: Vec<String>,
    /// What did not work; it is tried again next time.
    pub errors: Vec<StoreError>,
}

impl Upkeep {
    /// One round: writes the windows that are over as blocks, takes in imported blocks, merges what is
    /// complete, removes what is beyond the retention. Interrupted anywhere, the next one finishes it.
    pub fn round(&mut self) -> Report {
        todo!()
    }
}
