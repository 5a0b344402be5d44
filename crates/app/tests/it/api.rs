//! Prometheus' own client before the running program, and before the one that only reads.

use std::process::Command;

use crate::world::{Farol, eventually, get, needs, run};

/// What promtool writes to standard output; it must be content.
fn promtool(arguments: &[&str]) -> String {
    let (said, errors, code) = run(Command::new(needs("promtool")).arg("query").args(arguments));
    assert_eq!(code, Some(0), "{arguments:?}: {said}{errors}");
    said
}

fn wait_for_the_store(farol: &Farol) {
    eventually("the store answers", || {
        let answer = farol.get("/api/v1/query?query=node_load1");
        answer.status == 200 && answer.text().contains("\"value\":[")
    });
}

/// All four questions, each answered with something that is true.
fn asks_and_understands(farol: &Farol) {
    let url = format!("http://{}", farol.address);
    let one = promtool(&["instant", "--time=4", &url, "1+1"]);
    assert_eq!(one.trim(), "scalar: 2 @[4]");
    let up = promtool(&["instant", &url, "up"]);
    assert!(up.starts_with("up{") && up.contains("job=\"node\"") && up.contains("=> 1 @["), "{up}");
    let ended = promtool(&["instant", "--time=4", &url, "node_load1"]);
    assert_eq!(ended.trim(), "");
    let matrix = promtool(&["instant", &url, "node_load1[5m]"]);
    assert!(matrix.starts_with("node_load1{"), "{matrix}");
    let range = promtool(&["range", "--start=0", "--end=20", "--step=10s", &url, "time() * 2"]);
    assert_eq!(range.trim(), "{} =>\n0 @[0]\n20 @[10]\n40 @[20]");
    let sums = promtool(&["range", "--step=1s", &url, "sum by (job) (up)"]);
    assert!(sums.starts_with("{job=\"node\"} =>\n1 @["), "{sums}");
    let names = promtool(&["labels", &url, "__name__"]);
    assert!(names.lines().any(|name| name == "node_load1"), "{names}");
    let none = promtool(&["labels", "--start=0", "--end=1", &url, "__name__"]);
    assert_eq!(none.trim(), "");
    let of_one = promtool(&["labels", "--match=up", &url, "__name__"]);
    assert_eq!(of_one.trim(), "up");
    let series = promtool(&["series", "--match=up", "--match=node_load1", &url]);
    assert_eq!(series.lines().count(), 2, "{series}");
    let json = promtool(&["--format=json", "instant", &url, "up"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["metric"]["__name__"], "up");
    let (said, errors, code) =
        run(Command::new("promtool").args(["query", "instant", &url, "sum("]));
    assert_eq!(code, Some(1), "{said}");
    assert!(errors.contains("bad_data: invalid parameter \"query\": 1:5: parse error"), "{errors}");
}

#[test]
fn promtool_asks_and_understands() {
    let farol = Farol::start("run", &[]);
    wait_for_the_store(&farol);
    asks_and_understands(&farol);
    // Prometheus' own endpoints for whoever watches the watcher.
    farol.wait_until_ready();
    assert_eq!(farol.get("/-/healthy").status, 200);
    let info = farol.get("/api/v1/status/runtimeinfo").text();
    assert!(info.contains("\"storageRetention\":\"14d\""), "{info}");
    let config = farol.get("/api/v1/status/config").text();
    assert!(config.contains("query:\\n  max_concurrency: 4\\n"), "{config}");
    let flags = farol.get("/api/v1/status/flags").text();
    assert!(flags.contains("\"query.timeout\":\"30s\""), "{flags}");
    let metadata = farol.get("/api/v1/metadata?metric=node_load1").text();
    assert!(metadata.contains("{\"node_load1\":[{\"type\":\"gauge\",\"help\":\""), "{metadata}");
    let figures = farol.get("/metrics").text();
    assert!(figures.contains("farol_http_requests_total{code=\"200\",handler=\"query_range\"} "));
    assert!(figures.contains("\nfarol_query_running 0\n"), "{figures}");
}

#[test]
fn promtool_asks_one_that_only_reads() {
    let writer = Farol::start("collect", &[]);
    let reader = Farol::start_in(&writer.folder, "serve", &[]);
    wait_for_the_store(&reader);
    asks_and_understands(&reader);
}

#[test]
fn a_slow_query_is_logged_with_the_panel_that_asked() {
    let farol = Farol::start("run", &["--query.log-slower-than=0s", "--log.format=json"]);
    wait_for_the_store(&farol);
    let panel = ["X-Dashboard-Uid: board-1", "X-Panel-Id: 7"];
    assert_eq!(get(&farol.address, "/api/v1/query?query=up%20*%2042", &panel).status, 200);
    let log = farol.logs().join("farol-run.log");
    eventually("the query stands in the log", || {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        let line = log.lines().find(|line| line.contains("up * 42")).map(str::to_owned);
        line.is_some_and(|line| {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            line["message"] == "a query was slow"
                && line["dashboard"] == "board-1"
                && line["panel"] == "7"
                && line["series"] == 1
        })
    });
}
