//! The same samples in Prometheus and in Farol, the same questions: the same answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

use crate::{
    export::{Peer, free_address},
    remote_write::RECEIVER,
    world::{FAROL, Farol, encoded, eventually, repository, try_get},
};

/// Each is asked for an instant and over a range. `PHASE` is a time of less than a second at which
/// no sample was taken. Windows are whole seconds long, so that no sample is at their edge: this
/// Prometheus has windows that are closed on the left.
const EXPRESSIONS: [&str; 45] = [
    "up",
    "-up ^ 2 % 3",
    "node_load1 * 2 - 1",
    "time() - node_boot_time_seconds",
    "timestamp(scrape_duration_seconds)",
    "scalar(count(up)) + vector(1)",
    "{__name__=~\"process_(open|max)_fds\", job!=\"\"}",
    // What the board asks of the exporter itself, and only a scrape brings.
    "count({__name__=~\"process_((open|max)_fds|virtual_memory_(max_)?bytes)\", job=\"farol\"}) == 4",
    "rate(process_cpu_seconds_total[10s])",
    "irate(prometheus_tsdb_head_samples_appended_total[5s])",
    "sum by (job) (rate(process_cpu_seconds_total[5s]))",
    "sum by (mode) (increase(node_cpu_seconds_total[10s]))",
    "sum without (cpu) (node_cpu_seconds_total{mode=~\"user|sys.*\"})",
    "stddev by (job) ({__name__=~\"scrape_.+\"})",
    "avg by (collector) (node_scrape_collector_duration_seconds) * 1000",
    "group by (collector) (node_scrape_collector_success == 0)",
    "quantile by (mode) (0.75, node_cpu_seconds_total)",
    "topk(3, node_cpu_seconds_total{mode=\"idle\"})",
    "bottomk by (job) (1, scrape_duration_seconds)",
    "count_values by (job) (\"value\", {__name__=~\"up|scrape_samples_scraped\"})",
    "histogram_quantile(0.9, sum by (le, handler) (rate(prometheus_http_request_duration_seconds_bucket[10s])))",
    "histogram_quantile(0.5, prometheus_http_request_duration_seconds_bucket)",
    "100 * (1 - node_filesystem_avail_bytes{fstype!~\"tmpfs|squashfs\"} / node_filesystem_size_bytes)",
    "node_hwmon_temp_celsius * on (chip) group_left (chip_name) node_hwmon_chip_names",
    "node_load1 * on (instance, job) group_left (release) node_uname_info",
    "node_scrape_collector_success unless on (collector) (node_scrape_collector_success == 0)",
    "scrape_samples_scraped > 100 and on (job) up == 1",
    "up{job=\"farol\"} or on (job) scrape_duration_seconds",
    "node_load1 > bool 0.5",
    "scrape_duration_seconds offset 5s",
    "scrape_duration_seconds - scrape_duration_seconds offset 3s",
    "rate(process_cpu_seconds_total[5s] @ end())",
    "max_over_time(rate(process_cpu_seconds_total[5s] offset PHASE)[10s:2s])",
    "sum_over_time(scrape_duration_seconds[9s:3s])",
    "avg_over_time(scrape_duration_seconds[10s])",
    "stddev_over_time(scrape_duration_seconds[10s])",
    "quantile_over_time(0.7, scrape_duration_seconds[10s])",
    "changes(scrape_duration_seconds[10s]) + resets(scrape_duration_seconds[10s])",
    "deriv(scrape_duration_seconds[10s])",
    "predict_linear(process_resident_memory_bytes[10s], 3600)",
    "absent(node_of_no_machine{job=\"farol\", mode=~\"a|b\"})",
    "absent_over_time(up{job=\"none\"}[5s])",
    "label_replace(node_network_up, \"short\", \"$1\", \"device\", \"(..).*\")",
    "label_join(node_filesystem_size_bytes, \"where\", \":\", \"device\", \"mountpoint\")",
    "clamp(round(node_memory_MemTotal_bytes / 2 ^ 30, 0.1), 1, 1e3)",
];
const SCRAPES: i64 = 20;

#[test]
fn it_answers_as_the_prometheus_does_that_sent_it_the_samples() {
    let host = repository().join("fixtures/hosts/server");
    let path = |flag: &str, tree: &str| format!("--path.{flag}={}", host.join(tree).display());
    let trees = [("procfs", "proc"), ("sysfs", "sys"), ("rootfs", "root"), ("run", "run")];
    let paths = trees.map(|(flag, tree)| path(flag, tree));
    // Without a limit of its address space there would be none to tell.
    let mut limited = Command::new("prlimit");
    limited.args(["--as=17179869184", FAROL, "run"]);
    let place = tempfile::tempdir().unwrap();
    let scraped = Farol::spawn(limited, place.path(), &paths.each_ref().map(String::as_str));
    scraped.wait_until_ready();
    let farol = Farol::start("run", &["--no-collectors", "--rules.stock=false", RECEIVER]);
    let folder = tempfile::tempdir().unwrap();
    // Itself, too: it has histograms.
    let own = free_address();
    let jobs = [("farol", scraped.address.as_str()), ("prometheus", own.as_str())];
    let prometheus = Peer::prometheus(&own, folder.path(), &jobs, Some(&farol.address));
    let (end, phase) = when_it_has_enough(&prometheus.address);
    let both = [prometheus.address.as_str(), farol.address.as_str()];
    eventually("Farol has all of it", || {
        let [theirs, ours] = both.map(|address| ask(address, &instant("{job!=\"\"}[5m]", end)));
        theirs.zip(ours).is_some_and(|(theirs, ours)| ours.is(&theirs))
    });
    let mut differ = Vec::new();
    for expression in EXPRESSIONS {
        let expression = expression.replace("PHASE", &format!("{phase}ms"));
        for question in [instant(&expression, end), range(&expression, end)] {
            let [theirs, ours] = both.map(|address| ask(address, &question));
            let theirs = theirs.unwrap_or_else(|| panic!("no answer to {expression}"));
            assert!(!theirs.series.is_empty(), "{expression} says nothing");
            if !ours.as_ref().is_some_and(|ours| ours.is(&theirs)) {
                differ.push(format!("{expression}\ntheirs: {theirs:?}\nours: {ours:?}"));
            }
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n\n"));
}

/// A time in milliseconds up to which it has `SCRAPES` of each target, and the fraction of a second
/// in it. Counted from there or from a whole second back, no sample was taken at that fraction.
fn when_it_has_enough(address: &str) -> (i64, i64) {
    let mut found = None;
    eventually("it has scraped enough", || {
        let now = farol::clock::now().as_millis();
        let Some(scrapes) = ask(address, &instant("up[5m]", now)) else { return false };
        let is_up =
            |points: &&Points| points.len() as i64 > SCRAPES && points.iter().all(|p| p.1 == 1.0);
        if scrapes.series.values().filter(is_up).count() < 2 {
            return false;
        }
        let times = || scrapes.series.values().map(|points| points.iter().map(|(at, _)| *at));
        let taken: BTreeSet<i64> = times().flatten().map(|at| at % 1000).collect();
        let is_free = |phase: &i64| !taken.contains(phase) && !taken.contains(&(1000 - phase));
        let phase = (137..900).find(is_free).unwrap();
        // Of each target there is a later one: up to here there come no more.
        let newest = times().filter_map(Iterator::max).min().unwrap();
        found = Some((newest / 1000 * 1000 - 1000 + phase, phase));
        true
    });
    found.unwrap()
}

fn instant(expression: &str, at: i64) -> String {
    format!("query?query={}&time={}", encoded(expression), seconds(at))
}

fn range(expression: &str, end: i64) -> String {
    let (query, start) = (encoded(expression), seconds(end - 15_000));
    format!("query_range?query={query}&start={start}&end={}&step=3", seconds(end))
}

fn seconds(millis: i64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

type Points = Vec<(i64, f64)>;

#[derive(Debug, PartialEq)]
struct Answer {
    kind: String,
    series: BTreeMap<String, Points>,
}

impl Answer {
    /// Neither adds up in the order of the other: the last bits may differ.
    fn is(&self, other: &Answer) -> bool {
        let is_near = |(ours, theirs): (&(i64, f64), &(i64, f64))| {
            let (a, b) = (ours.1, theirs.1);
            let is_equal = a == b || a.is_nan() && b.is_nan();
            ours.0 == theirs.0 && (is_equal || (a - b).abs() <= 1e-10 * a.abs().max(b.abs()))
        };
        self.kind == other.kind
            && self.series.keys().eq(other.series.keys())
            && self.series.values().zip(other.series.values()).all(|(ours, theirs)| {
                ours.len() == theirs.len() && ours.iter().zip(theirs).all(is_near)
            })
    }
}

/// `None` where nobody answers yet, or with an error.
fn ask(address: &str, question: &str) -> Option<Answer> {
    let answer = try_get(address, &format!("/api/v1/{question}"), &[]).ok()?;
    let body: Value = serde_json::from_str(&answer.text()).ok()?;
    let data = &body["data"];
    let point = |pair: &Value| {
        let value = pair[1].as_str().unwrap().replace("Inf", "inf");
        ((pair[0].as_f64().unwrap() * 1000.0).round() as i64, value.parse().unwrap())
    };
    let points = |series: &Value| match series["values"].as_array() {
        Some(values) => values.iter().map(point).collect(),
        None => vec![point(&series["value"])],
    };
    let series = data["result"].as_array()?.iter();
    let series: Vec<_> = series.map(|one| (one["metric"].to_string(), points(one))).collect();
    let count = series.len();
    let series: BTreeMap<String, Points> = series.into_iter().collect();
    assert_eq!(series.len(), count, "a series stands there twice: {question}");
    Some(Answer { kind: data["resultType"].as_str()?.to_owned(), series })
}
