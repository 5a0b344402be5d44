//! The journal from outside: what is written is read, whatever the disk, the clock or the machine
//! does in between.

#![expect(clippy::unwrap_used, reason = "a test panics where it fails")]

mod alerts;
mod crash;
mod damage;
mod follow;
mod full_disk;
mod history;
mod recall;
mod round_trip;
mod upkeep;
