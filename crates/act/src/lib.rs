//! What leaves the process: messages and treatments.
//!
//! [`notify`] tells people and other programs what `alert` found due; [`remedy`] runs what a policy
//! permits. Both follow what is remembered and hand what became of it back as records.

pub mod notify;
pub mod remedy;
