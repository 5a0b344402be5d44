//! Whether every query of the best known board finds its metric: all recorded machines together,
//! with the kernel we run on and a real manager of systemd, must yield each name of
//! `board-names.txt`, with the labels that its queries use.

#![expect(clippy::unwrap_used, reason = "a test that cannot start its manager has failed")]

mod machines;
mod manager;

use std::collections::{BTreeMap, BTreeSet};

use farol_collect::{COLLECTORS, Host, describe};
use machines::{Lanes, NOW, machines};
use manager::Manager;

const NAMES: &str = include_str!("board-names.txt");

/// The row of what is no collector.
const SELF: &str = "self";
/// What the board's author calls otherwise than node_exporter does.
const RENAMED: [(&str, &str); 1] = [("powersupply", "powersupplyclass")];

struct Row {
    collector: String,
    is_off_upstream: bool,
    labels: Vec<&'static str>,
    names: Vec<String>,
}

fn rows() -> Vec<Row> {
    let lines = NAMES.lines().filter(|line| !line.starts_with('#'));
    lines.map(row).collect()
}

fn row(line: &'static str) -> Row {
    let mut words = line.split_ascii_whitespace();
    let collector = words.next().expect("a line has a collector");
    let labels = words.next().expect("a line has labels, or a dash");
    let plain = collector.trim_end_matches('*');
    let renamed = RENAMED.iter().find(|(theirs, _)| *theirs == plain);
    Row {
        collector: renamed.map_or(plain, |(_, ours)| ours).to_owned(),
        is_off_upstream: collector.ends_with('*'),
        labels: labels.split(',').filter(|label| *label != "-").collect(),
        names: words.flat_map(expanded).collect(),
    }
}

/// `a_{b,c}_d` → `a_b_d`, `a_c_d`; one pair of braces at most.
fn expanded(word: &str) -> Vec<String> {
    let braces = word.split_once('{').and_then(|(before, rest)| {
        let (inside, after) = rest.split_once('}')?;
        Some((before, inside, after))
    });
    match braces {
        None => vec![word.to_owned()],
        Some((before, inside, after)) => {
            inside.split(',').map(|part| format!("{before}{part}{after}")).collect()
        }
    }
}

#[test]
fn the_machines_together_yield_every_name_of_the_board() {
    // By name, each set of labels in which it was seen.
    let mut seen: BTreeMap<String, BTreeSet<Vec<String>>> = BTreeMap::new();
    let place = tempfile::tempdir().unwrap();
    let manager = Manager::start(place.path());
    let mut hosts: Vec<Host> = machines().iter().map(|(_, path)| Host::recorded(path)).collect();
    // No file tells these: a clock's discipline is a system call, units are their manager's.
    hosts.extend([Host::local(), manager.by_bus()]);
    for host in hosts {
        for sample in Lanes::new(&host).tick(NOW).samples {
            let labels = sample.labels.iter().map(|(label, _)| label.to_string()).collect();
            seen.entry(sample.name.to_string()).or_default().insert(labels);
        }
    }
    let mut missing = Vec::new();
    let mut asked = 0;
    drop(manager);
    for row in rows() {
        for name in &row.names {
            asked += 1;
            // The process is read at the scrape; no tick has it.
            let is_there = match row.collector == SELF && name.starts_with("process_") {
                true => describe(name).is_some(),
                false => seen.get(name).is_some_and(|sets| has(sets, &row.labels)),
            };
            if !is_there {
                missing.push(format!("{} of {} with {:?}", name, row.collector, row.labels));
            }
        }
    }
    assert!(asked > 220, "the list is cut: {asked} names");
    assert!(missing.is_empty(), "{} of {asked} names:\n{}", missing.len(), missing.join("\n"));
}

/// Labels that are empty on every recorded machine (a domain name, an error) are no labels.
const MAY_BE_EMPTY: [&str; 2] = ["device_error", "domainname"];

fn has(sets: &BTreeSet<Vec<String>>, wanted: &[&str]) -> bool {
    sets.iter().any(|set| {
        let has = |label: &&str| set.iter().any(|held| held == label);
        wanted.iter().all(|label| has(label) || MAY_BE_EMPTY.contains(label))
    })
}

#[test]
fn each_collector_of_the_board_is_known_by_node_exporter_s_name_and_default() {
    for row in rows().iter().filter(|row| row.collector != SELF) {
        let found = COLLECTORS.iter().find(|entry| entry.name == row.collector);
        let entry = found.unwrap_or_else(|| panic!("there is no collector {:?}", row.collector));
        assert_eq!(entry.on, !row.is_off_upstream, "{}", row.collector);
    }
}
