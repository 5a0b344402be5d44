//! Everything that is answered over HTTP.
//!
//! This crate reads no clock, no configuration and no journal: what it answers from, and what it
//! is told to allow, comes in with a [`Site`]. It changes nothing itself; what a request asks to
//! be changed leaves as a [`Command`].

pub mod alertmanager;
mod answer;
mod api;
mod body;
mod counts;
pub mod door;
mod guard;
mod gzip;
mod health;
mod metrics;
mod negotiate;
mod page;
mod patience;
mod server;
mod site;
mod trouble;

pub use api::{Cost, data_of};
pub use counts::METRICS;
pub use health::report as health_report;
pub use server::serve;
pub use site::{About, Command, Configured, History, Queries, Receiver, Settings, Site};
