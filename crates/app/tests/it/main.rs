//! The one integration test binary: the real program, started as a user would start it, beside the
//! real peers.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "these tests start programs, read files and wait, as the world around Farol does"
)]

mod alertmanager;
mod api;
mod control;
mod discord;
mod disk_full;
mod disk_full_loop;
mod docker;
mod door;
mod export;
mod history;
mod hook;
mod kill;
mod load;
mod machine;
mod network;
mod notifiers;
mod notify_kill;
mod panels;
mod parity;
mod program;
mod query;
mod quiet_week;
mod remedy;
mod remote_write;
mod report;
mod restarts;
mod rule_files;
mod rule_tests;
mod rules;
mod silences;
mod simulate;
mod smtp;
mod store;
mod textfile;
mod the_loop;
mod top;
mod two_processes;
mod unruly;
mod world;
