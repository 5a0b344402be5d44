//! A question reaches back beyond the raw samples, into what was kept of each 15 s and 5 min.

#![expect(clippy::unwrap_used, reason = "a test whose every step must work")]

use std::{sync::Arc, time::Duration};

use farol_disk::MemoryDisk;
use farol_model::{Labels, Timestamp};
use farol_query::{Data, Series, Steps, is_absent, parse, range};
use farol_store::{Config, Importer, Reader, Store, Tier};

#[path = "common/world.rs"]
#[expect(dead_code, reason = "this test makes a store of its own")]
mod world;

const DAY: i64 = 24 * 3_600_000;
/// The start of a day.
const START: i64 = 20_000 * DAY;
const HOUR: i64 = 3_600_000;
const MINUTE: i64 = 60_000;

/// Six days: raw samples of the last one, buckets of 15 s of the last three.
struct Aged {
    store: Store,
}

impl Aged {
    fn new() -> Aged {
        let disk = MemoryDisk::new();
        let days = |days: u64| Duration::from_secs(days * 24 * 3600);
        let config = Config {
            retention: days(1),
            tier_retention: [days(3), days(1000)],
            ..Config::new("/store")
        };
        let every =
            Config { retention: days(1000), tier_retention: [days(1000); 2], ..config.clone() };
        fill(&disk, &every);
        // Everything is down-sampled first, and grows old then.
        let store = Store::open(Arc::new(disk.clone()), every).unwrap().store;
        let report = store.upkeep().round();
        assert!(report.errors.is_empty(), "{:?}", report.errors);
        drop(store);
        let store = Store::open(Arc::new(disk), config).unwrap().store;
        store.upkeep().round();
        let aged = Aged { store };
        let ages = [None, Some(Tier::FifteenSeconds), Some(Tier::FiveMinutes)].map(|tier| {
            let reader = aged.store.reader();
            tier.map_or(reader.clone(), |tier| reader.tier(tier)).oldest().unwrap().as_millis()
        });
        assert!(ages[0] > ages[1] && ages[1] > ages[2], "{ages:?}");
        aged
    }

    fn reader(&self) -> Reader {
        self.store.reader()
    }

    /// Every hour of the six days.
    fn ask(&self, query: &str) -> Vec<Series> {
        let expr = parse(query).unwrap();
        let steps = Steps::new(START + HOUR, START + 6 * DAY - MINUTE, HOUR);
        let answer = range(&self.reader(), &expr, steps, &world::options(query)).unwrap();
        assert!(answer.notes.is_empty(), "{:?}", answer.notes);
        match answer.data {
            Data::Steps { series, .. } => series,
            other => panic!("{other:?}"),
        }
    }
}

/// A counter of the minutes, and a gauge that is high for one minute an hour.
fn fill(disk: &MemoryDisk, config: &Config) {
    let mut importer = Importer::new(Arc::new(disk.clone()), config).unwrap();
    let labels = Labels::from([("job", "clock")]);
    let minutes = importer.series("minutes_total".into(), labels.clone());
    let spike = importer.series("spike".into(), labels);
    for minute in 0..6 * 24 * 60 {
        let at = Timestamp::from_millis(START + minute * MINUTE);
        importer.push(minutes, at, minute as f64).unwrap();
        importer.push(spike, at, if minute % 60 == 31 { 9.0 } else { 1.0 }).unwrap();
    }
    importer.finish().unwrap();
}

#[test]
fn a_selector_goes_on_where_raw_samples_end() {
    let found = Aged::new().ask("minutes_total");
    assert_eq!(found.len(), 1, "one series, whatever its parts: {found:?}");
    assert_eq!(found[0].metric.labels, Labels::from([("job", "clock")]));
    for (hour, value) in (1..).zip(&found[0].values) {
        let exact = f64::from(hour) * 60.0;
        // A bucket's sample stands at its end: it is late by less than the bucket.
        assert!((exact - 5.0..=exact).contains(value), "hour {hour}: {value}");
    }
}

#[test]
fn functions_of_the_past_ask_for_the_figure_that_they_need() {
    let aged = Aged::new();
    for (query, expected) in [("max_over_time(spike[1h])", 9.0), ("min_over_time(spike[1h])", 1.0)]
    {
        let found = aged.ask(query);
        let odd: Vec<&f64> = found[0].values.iter().filter(|value| **value != expected).collect();
        assert!(odd.is_empty(), "{query}: {odd:?}");
    }
    let rates = aged.ask("rate(minutes_total[1h])");
    for rate in &rates[0].values {
        assert!(!is_absent(*rate) && (rate * 60.0 - 1.0).abs() < 0.1, "{rate}");
    }
}
