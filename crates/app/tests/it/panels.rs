//! The panels of the board "Node Exporter Full", asked of Farol as Grafana asks: each has something to
//! show.

use std::{collections::BTreeSet, path::Path};

use serde_json::Value;

#[path = "../../../collect/tests/manager/mod.rs"]
mod manager;

use crate::world::{Farol, encoded, eventually, farol, repository};
use manager::Manager;

const QUERIES: &str = include_str!("../../../../fixtures/node_exporter_full.txt");
/// What the board asks for, as `farol-collect`'s tests have it.
const NAMES: &str = include_str!("../../../collect/tests/board-names.txt");

/// No recorded machine has all that the board asks for: these have it together, one with a
/// battery, one with fans, one whose kernel counts hung tasks.
const MACHINES: [&str; 3] = ["laptop", "storage", "big"];
/// What node_exporter leaves off, and the label that it lacks.
const EVERYTHING: [&str; 8] = [
    "--collector.interrupts",
    "--collector.processes",
    "--collector.systemd",
    "--collector.tcpstat",
    "--collector.compatibility",
    "labels",
    "--host-name",
    "board",
];

#[test]
fn every_name_of_the_board_is_asked_for() {
    let asked: BTreeSet<&str> = queries().flat_map(words).collect();
    let names = names();
    assert!(names.len() > 220, "the list is cut: {} names", names.len());
    let missing: Vec<&String> =
        names.iter().filter(|name| !asked.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_panel_of_the_board_has_something_to_show() {
    let folder = tempfile::tempdir().unwrap();
    let start = farol::clock::now().as_millis() / 1000 - 15 * 60;
    simulate(folder.path(), start);
    // What is in no recorded file: the units of a manager, whose machine is a folder of its own, and
    // the discipline of the clock, which the machine has that runs this test.
    let place = tempfile::tempdir().unwrap();
    let manager = Manager::start(place.path());
    let host = manager.by_bus();
    let places =
        [("procfs", &host.proc), ("sysfs", &host.sys), ("rootfs", &host.root), ("run", &host.run)];
    let paths = places.map(|(name, path)| format!("--path.{name}={}", path.display()));
    let run = |further: &[&str], what: &str| {
        let often = ["--interval", "500ms", "--slow-interval", "500ms"];
        let farol =
            Farol::start_in(folder.path(), "run", &[&EVERYTHING[..], &often, further].concat());
        eventually("the store is there", || farol.get("/api/v1/query?query=1").status == 200);
        eventually(what, || !ask(&farol, what, start).is_empty());
        farol
    };
    let flags = paths.each_ref().map(String::as_str);
    let units = run(
        &flags,
        "rate(node_systemd_socket_refused_connections_total[1m]) and on() node_systemd_units",
    );
    assert_eq!(units.stop(), Some(0));
    drop(manager);
    let farol = run(&[], "rate(node_timex_sync_status[1m])");
    let ask = |query: &str| ask(&farol, query, start);
    let unames = ask("node_uname_info");
    let label = |name: &str| unames[0]["metric"][name].as_str().unwrap().to_owned();
    let (node, job) = (label("instance"), label("job"));
    let empty: Vec<String> = queries()
        .map(|query| {
            query.replace("$node", &node).replace("$job", &job).replace("$__rate_interval", "1m")
        })
        .filter(|query| ask(query).is_empty())
        .collect();
    let (excepted, unanswered): (Vec<_>, Vec<_>) =
        empty.iter().partition(|query| exceptions().any(|name| words(query).any(|w| w == name)));
    assert!(unanswered.is_empty(), "{unanswered:#?}");
    // An exception that is none any more has to go.
    for name in exceptions() {
        let is_needed = excepted.iter().any(|query| words(query).any(|word| word == name));
        assert!(is_needed, "{name} is answered: it is no exception");
    }
}

/// Each machine has four minutes.
fn simulate(folder: &Path, start: i64) {
    let machine = |name: &&str| repository().join("fixtures/hosts").join(name);
    let machines: Vec<_> = MACHINES.iter().map(machine).collect();
    let (data, logs) = (folder.join("data"), folder.join("logs"));
    let start = jiff::Timestamp::from_second(start).unwrap().to_string();
    let mut arguments = vec!["simulate", "--for", "12m", "--wander", "1", "--start", &start];
    arguments.extend(["--interval", "5s", "--data", data.to_str().unwrap()]);
    arguments.extend(["--logs", logs.to_str().unwrap()]);
    arguments.extend(machines.iter().flat_map(|path| ["--from", path.to_str().unwrap()]));
    arguments.extend(EVERYTHING);
    let (_, complained, code) = farol(&arguments);
    assert_eq!((code, complained.as_str()), (Some(0), ""));
}

/// Over all the time from `start` on; none of the steps lies ahead, where a series may end yet.
fn ask(farol: &Farol, query: &str, start: i64) -> Vec<Value> {
    let end = farol::clock::now().as_millis() / 1000;
    let query = encoded(query);
    let path = format!("/api/v1/query_range?query={query}&start={start}&end={end}&step=5");
    let answer = farol.get(&path);
    let body: Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(body["status"], "success", "{query}: {body}");
    body["data"]["result"].as_array().unwrap().clone()
}

fn queries() -> impl Iterator<Item = &'static str> {
    QUERIES.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '!']))
}

/// `! node_x: why the store cannot have it`
fn exceptions() -> impl Iterator<Item = &'static str> {
    QUERIES.lines().filter_map(|line| {
        let (name, reason) = line.strip_prefix("! ")?.split_once(": ").unwrap();
        assert!(!reason.is_empty(), "{name} needs a reason");
        Some(name)
    })
}

fn words(query: &str) -> impl Iterator<Item = &str> {
    query.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'))
}

/// With braces expanded; one pair at most.
fn names() -> Vec<String> {
    let lines = NAMES.lines().filter(|line| !line.starts_with('#'));
    let words = lines.flat_map(|line| line.split_ascii_whitespace().skip(2));
    words
        .flat_map(|word| match word.split_once('{') {
            None => vec![word.to_owned()],
            Some((before, rest)) => {
                let (inside, after) = rest.split_once('}').unwrap();
                inside.split(',').map(|part| format!("{before}{part}{after}")).collect()
            }
        })
        .collect()
}
