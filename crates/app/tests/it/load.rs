//! Many heavy questions at once: they wait for each other, and nothing waits for them.

use std::thread;

use serde_json::Value;

use crate::world::{Farol, eventually, journal_lines, try_get, value_of};

/// Each would go over the last hour thousands of times.
const HEAVY: &str =
    "query=max_over_time(stddev_over_time(%7Bjob%3D%22node%22%7D%5B1h%5D)%5B1h%3A1s%5D)";
const CLIENTS: usize = 50;

#[test]
fn fifty_heavy_questions_at_once_cost_no_tick() {
    let folder = tempfile::tempdir().unwrap();
    let farol = Farol::start_in(
        folder.path(),
        "run",
        &["--interval", "100ms", "--slow-interval", "1s", "--query.timeout", "3s"],
    );
    farol.wait_until_ready();
    eventually("something to ask for", || ticks(&farol) >= 20.0);
    let before = ticks(&farol);
    let asked: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let address = farol.address.clone();
            // Not the same question fifty times.
            let path = format!("/api/v1/query?{HEAVY}%20%2B%20{number}");
            thread::spawn(move || try_get(&address, &path, &[]).map(|answer| answer.status))
        })
        .collect();
    let mut statuses: Vec<u16> =
        asked.into_iter().map(|asked| asked.join().unwrap().unwrap()).collect();
    statuses.sort_unstable();
    statuses.dedup();
    // Answered, or told that it took too long or that there are too many.
    assert!(statuses.iter().all(|status| [200, 422, 503].contains(status)), "{statuses:?}");
    assert!(ticks(&farol) > before, "it ticked meanwhile");
    let metrics = farol.get("/metrics").text();
    for lane in ["fast", "slow"] {
        let skipped = format!("farol_ticks_skipped_total{{lane=\"{lane}\"}}");
        assert_eq!(value_of(&metrics, &skipped), Some(0.0), "{lane}");
    }
    let logs = farol.logs();
    assert_eq!(farol.stop(), Some(0));
    let lines = journal_lines(&logs, "metrics", false);
    let times: Vec<i64> = lines.iter().filter(|line| line["lane"] == "fast").map(time_of).collect();
    // The first came when it started, the others on their grid.
    let missed: Vec<&[i64]> =
        times[1..].windows(2).filter(|pair| pair[1] - pair[0] != 100).collect();
    assert!(times.len() > 20 && missed.is_empty(), "{missed:?} of {}", times.len());
}

fn ticks(farol: &Farol) -> f64 {
    let metrics = farol.get("/metrics").text();
    value_of(&metrics, "farol_ticks_total{lane=\"fast\"}").unwrap()
}

fn time_of(line: &Value) -> i64 {
    line["ts"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond()
}
