//! What the tests share: a store in memory with series in it, and the options of a question.

use std::{sync::Arc, time::Duration};

use farol_disk::MemoryDisk;
use farol_model::{Labels, Text, Timestamp};
use farol_query::{Limits, Options};
use farol_store::{Config, Importer, Reader, Store};

/// A series: its labels with its name among them (as `__name__`), and its samples.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) labels: Vec<(String, String)>,
    /// Milliseconds and value.
    pub(crate) samples: Vec<(i64, f64)>,
}

/// A store that holds just these; dropped, so do its readers' answers end.
pub(crate) struct World {
    store: Store,
}

impl World {
    pub(crate) fn new(lines: &[Line]) -> World {
        let disk = MemoryDisk::new();
        let forever = Duration::from_secs(200 * 365 * 24 * 60 * 60);
        let config = Config { retention: forever, max_bytes: 1 << 40, ..Config::new("/store") };
        let mut importer =
            Importer::new(Arc::new(disk.clone()), &config).expect("memory cannot fail");
        for line in lines {
            let is_name = |(name, _): &&(String, String)| name == "__name__";
            let name = line.labels.iter().find(is_name).map_or("", |(_, value)| value);
            let labels = line.labels.iter().filter(|pair| !is_name(pair));
            let labels = labels.map(|(name, value)| (name.as_str().into(), value.as_str().into()));
            let number = importer.series(Text::from(name), Labels::new(labels.collect()));
            for (at, value) in &line.samples {
                let at = Timestamp::from_millis(*at);
                importer.push(number, at, *value).expect("memory cannot fail");
            }
        }
        importer.finish().expect("memory cannot fail");
        let opened = Store::open(Arc::new(disk), config).expect("memory cannot fail");
        World { store: opened.store }
    }

    pub(crate) fn reader(&self) -> Reader {
        self.store.reader()
    }
}

/// As a server would ask: five minutes of look-back, a minute between the steps of a subquery.
pub(crate) fn options(query: &str) -> Options<'_> {
    Options {
        query,
        lookback: 5 * 60_000,
        subquery_step: 60_000,
        now: None,
        limits: Limits { samples: 50_000_000, series: 100_000, steps: 11_000 },
        watch: &|| None,
    }
}
