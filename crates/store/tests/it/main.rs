//! The store from outside: what was applied is answered, whatever the disk, the clock or the machine
//! does in between. Every answer is compared with a plain model that knows nothing of blocks.

#![expect(clippy::unwrap_used, reason = "a test panics where it fails")]

mod bounds;
mod crash;
mod damage;
mod ends;
mod history;
mod import;
mod labels;
mod model;
mod received;
mod scene;
mod select;
