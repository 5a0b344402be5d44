//! The parts of the program `farol`; `main` only calls them.

pub mod config;
