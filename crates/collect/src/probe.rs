//! Latency probes: the echo packet, the board on which the probe tasks leave their results, and
//! the collector that turns the board into samples. The tasks themselves wait for a network and
//! live in `app`.

use farol_model::{Lane, Metric};

use crate::{CollectError, Collector, Entry, Host, Options, OptionsError, Scrape};

pub const METRICS: &[Metric] = &[];

pub const ENTRY: Entry = Entry {
    name: "probe",
    about: "latency and loss of the configured ICMP and TCP targets",
    on: true,
    lane: Lane::Slow,
    metrics: METRICS,
    build,
};

#[derive(Debug, Default)]
pub struct Board;

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Probe))
}

struct Probe;

impl Collector for Probe {
    fn collect(&mut self, _host: &Host, _out: &mut Scrape) -> Result<(), CollectError> {
        Err(CollectError::Absent("no probe configured".into()))
    }
}
