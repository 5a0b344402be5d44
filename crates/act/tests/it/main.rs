//! Notifiers against receivers that are real servers, with real limits and real faults.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod discord;
mod fake;
mod follow;
mod kinds;
mod mail;
mod world;
