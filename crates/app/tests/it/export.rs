//! `/metrics` before its real readers: promtool, both parsers of a client library, Prometheus.

use std::{
    fs,
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use crate::world::{Farol, eventually, needs, run, try_get, value_of};

/// What promtool says of node_exporter's own names, which are kept as they are, and of two of ours.
const ACCEPTED_COMPLAINTS: &str = include_str!("promtool-complaints.txt");

#[test]
fn promtool_complains_of_nothing_but_what_is_accepted() {
    let farol = Farol::start("run", &[]);
    eventually("both lanes and the rates", || {
        let text = farol.get("/metrics").text();
        text.contains("monitoring_cpu_percent ") && text.contains("node_filesystem_size_bytes{")
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metrics");
    fs::write(&file, farol.get("/metrics").body).unwrap();
    let promtool = needs("promtool");
    let (said, errors, _) =
        run(Command::new("sh").arg("-c").arg(format!("{promtool} check metrics < {}", file.display())));
    let complaints = format!("{said}{errors}");
    for complaint in complaints.lines().filter(|line| !line.trim().is_empty()) {
        assert!(
            ACCEPTED_COMPLAINTS.lines().any(|accepted| accepted == complaint),
            "promtool: {complaint}"
        );
    }
}

#[test]
fn both_formats_are_read_by_a_client_library() {
    let farol = Farol::start("run", &[]);
    farol.wait_until_ready();
    let folder = tempfile::tempdir().unwrap();
    let parse = |module: &str, accept: &str, content_type: &str| {
        let answer = crate::world::get(&farol.address, "/metrics", &[accept]);
        assert_eq!(answer.header("content-type"), Some(content_type));
        let file = folder.path().join("metrics");
        fs::write(&file, &answer.body).unwrap();
        let script = format!(
            "from {module} import text_string_to_metric_families as parse\n\
             print(sum(len(f.samples) for f in parse(open({:?}).read())))",
            file.to_str().unwrap()
        );
        let (count, error, code) = run(Command::new("/usr/bin/python3").args(["-c", &script]));
        assert_eq!(code, Some(0), "{error}");
        let lines = answer.text().lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(count.trim().parse::<usize>().unwrap(), lines);
    };
    parse("prometheus_client.parser", "Accept: */*", "text/plain; version=0.0.4; charset=utf-8");
    parse(
        "prometheus_client.openmetrics.parser",
        "Accept: application/openmetrics-text; version=1.0.0",
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    );
}

#[test]
fn a_real_prometheus_scrapes_it_and_up_is_one() {
    let farol = Farol::start("run", &[]);
    farol.wait_until_ready();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 1s}}\n\
         scrape_configs:\n\
         - job_name: node\n\
         \x20 static_configs: [{{targets: [\"{}\"]}}]\n",
        farol.address
    );
    fs::write(&config, text).unwrap();
    let prometheus = Prometheus::start(&config, &folder.path().join("data"));
    let query = |query: &str| -> Option<f64> {
        let path = format!("/api/v1/query?query={query}");
        let answer = try_get(&prometheus.address, &path, &[]).ok()?;
        let body: serde_json::Value = serde_json::from_str(&answer.text()).ok()?;
        body["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    };
    eventually("up is 1", || query("up") == Some(1.0));
    eventually("its samples are there", || query("node_memory_MemTotal_bytes").is_some());
    let own = value_of(&farol.get("/metrics").text(), "node_memory_MemTotal_bytes");
    assert_eq!(query("node_memory_MemTotal_bytes"), own);
}

struct Prometheus {
    child: Child,
    address: String,
}

impl Prometheus {
    fn start(config: &std::path::Path, data: &std::path::Path) -> Prometheus {
        let address = free_address();
        let child = Command::new(needs("prometheus"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Prometheus { child, address }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// For a peer that cannot pick a port and say which.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
