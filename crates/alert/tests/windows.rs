//! When windows open and close, written down in `windows/*.txt`: above `---` a window and from when on it
//! is looked at, below it whether it is open then, and its next changes, in UTC and in the zone's own time.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its own files and panics where it fails"
)]

use std::{fmt::Write, fs, path::PathBuf};

use farol_alert::{
    Window,
    windows::{Recurring, Spans, is_open, next_change},
};
use farol_model::Timestamp;
use proptest::prelude::*;

#[test]
fn every_window_opens_and_closes_as_it_is_written() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/windows");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries.collect();
    paths.sort();
    assert!(paths.len() > 10);
    let mut failures = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let (script, expected) = text.split_once("---\n").expect("the case has a line ---");
        let found = run(script);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, format!("{script}---\n{found}")).unwrap();
        } else if found != expected {
            failures.push(format!("{}: expected\n{expected}but was\n{found}", path.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn run(script: &str) -> String {
    let mut out = String::new();
    let mut window = None;
    for line in script.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["window", settings @ ..] => window = Some(read(settings)),
            ["from", at, "changes", count] => {
                let (window, zone) = window.as_ref().unwrap();
                look(&mut out, window, zone, time(at), count.parse().unwrap());
            }
            _ => panic!("{line}"),
        }
    }
    out
}

fn look(out: &mut String, window: &Window, zone: &str, mut at: Timestamp, count: usize) {
    let word = |at| if is_open(window, at) { "open" } else { "closed" };
    writeln!(out, "{} {}", written(at, zone), word(at)).unwrap();
    for _ in 0..count {
        let Some(change) = next_change(window, at) else {
            writeln!(out, "and so for ever").unwrap();
            return;
        };
        let just_before = Timestamp::from_millis(change.as_millis() - 1);
        assert_eq!(is_open(window, just_before), is_open(window, at), "between two changes");
        at = change;
        writeln!(out, "{} {}", written(at, zone), word(at)).unwrap();
    }
}

fn read(settings: &[&str]) -> (Window, String) {
    let mut lists: [Vec<&str>; 4] = Default::default();
    let mut times = Vec::new();
    let mut once = Vec::new();
    let mut zone = "UTC";
    for setting in settings {
        let (name, value) = setting.split_once('=').unwrap();
        let list = value.split(',');
        match name {
            "times" => times.extend(list.map(|times| times.split_once('-').unwrap())),
            "weekdays" => lists[0].extend(list),
            "days" => lists[1].extend(list),
            "months" => lists[2].extend(list),
            "zone" => zone = value,
            "from" | "to" => once.push(time(value)),
            _ => panic!("{setting}"),
        }
    }
    let spans = match once.as_slice() {
        [from, to] => Spans::Once { from: *from, to: *to },
        _ => Spans::Recurring(
            Recurring::read(&times, &lists[0], &lists[1], &lists[2], zone).unwrap(),
        ),
    };
    (Window { name: "test".into(), spans }, zone.to_owned())
}

fn time(text: &str) -> Timestamp {
    Timestamp::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

fn written(at: Timestamp, zone: &str) -> String {
    let at = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap();
    let there = at.in_tz(zone).unwrap();
    format!("{at} ({})", there.strftime("%a %H:%M %:z"))
}

#[test]
fn what_is_no_window_is_refused_in_words() {
    let read = |times: &[(&str, &str)], weekdays: &[&str], days: &[&str], months: &[&str], zone| {
        Recurring::read(times, weekdays, days, months, zone).unwrap_err()
    };
    for (error, expected) in [
        (read(&[("7", "8:00")], &[], &[], &[], "UTC"), "\"7\" is not a time of day"),
        (read(&[("07:60", "08:00")], &[], &[], &[], "UTC"), "is not a time of day"),
        (read(&[("24:01", "08:00")], &[], &[], &[], "UTC"), "is not a time of day"),
        (read(&[("+1:00", "08:00")], &[], &[], &[], "UTC"), "is not a time of day"),
        (read(&[("24:00", "08:00")], &[], &[], &[], "UTC"), "write 00:00"),
        (read(&[("08:00", "08:00")], &[], &[], &[], "UTC"), "no time at all"),
        (read(&[], &["mon"], &[], &[], "UTC"), "not a day of the week"),
        (read(&[], &["monday:"], &[], &[], "UTC"), "not a day of the week"),
        (read(&[], &[], &["0"], &[], "UTC"), "not a day of the month"),
        (read(&[], &[], &["32"], &[], "UTC"), "not a day of the month"),
        (read(&[], &[], &[], &["13"], "UTC"), "not a month"),
        (read(&[], &[], &[], &[], "Lisbon"), "not a time zone"),
    ] {
        assert!(error.contains(expected), "{error}");
    }
}

fn zone() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("UTC"),
        Just("Europe/Lisbon"),
        Just("America/New_York"),
        Just("Australia/Lord_Howe"),
        Just("Asia/Kathmandu"),
        Just("America/Santiago"),
        Just("Pacific/Apia"),
        Just("Africa/Cairo"),
    ]
}

proptest! {
    /// The next change is one, and there is none before it.
    #[test]
    fn the_next_change_is_the_next(
        zone in zone(),
        (from, to) in (0_u32..24 * 4, 1_u32..=24 * 4),
        weekdays in prop::sample::subsequence(
            vec!["sunday", "monday:wednesday", "friday:sunday", "saturday"], 0..3),
        // 2011, in which Samoa skipped a day, to 2030.
        at in 1_293_840_000_i64..1_900_000_000,
        within in prop::collection::vec(0.0..1.0_f64, 8),
    ) {
        prop_assume!(from != to);
        let written = |quarter: u32| format!("{:02}:{:02}", quarter / 4, quarter % 4 * 15);
        let (from, to) = (written(from), written(to));
        let times = [(from.as_str(), to.as_str())];
        let recurring = Recurring::read(&times, &weekdays, &[], &[], zone).unwrap();
        let window = Window { name: "test".into(), spans: Spans::Recurring(recurring) };
        let at = Timestamp::from_millis(at * 1000);
        let Some(change) = next_change(&window, at) else { return Ok(()) };
        prop_assert!(change > at);
        prop_assert_ne!(is_open(&window, change), is_open(&window, at));
        let span = (change.as_millis() - at.as_millis()) as f64;
        for part in within {
            let between = Timestamp::from_millis(at.as_millis() + (span * part) as i64);
            prop_assert_eq!(is_open(&window, between), is_open(&window, at));
        }
    }
}
