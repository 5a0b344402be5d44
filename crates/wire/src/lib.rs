//! Other people's formats: bytes to values of the model and back. No I/O, no clock.
//!
//! Each format is one module with an encoder, a parser or both. Parsers take foreign bytes: they
//! are bounded, name the line of an error, and never panic.

pub mod exposition;
pub mod remote_write;
pub mod yaml;
