//! The parts of the program `farol`; `main` only calls them.

pub mod channels;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod core;
pub mod diagnosis;
pub mod door;
pub mod follow;
pub mod history;
pub mod http_get;
pub mod logging;
pub mod look;
pub mod parts;
pub mod probes;
pub mod rebuild;
pub mod remember;
pub mod rule_files;
pub mod rules;
pub mod run;
pub mod sampler;
mod service;
mod serving;
pub mod simulate;
pub mod threads;
pub mod upkeep;
