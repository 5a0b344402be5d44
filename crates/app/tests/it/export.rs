//! `/metrics` before its real readers: promtool, both parsers of a client library, Prometheus.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::world::{Farol, eventually, needs, run, try_get, value_of};

/// Two names of ours that keep the original's unit, two of node_exporter's that are newer than the
/// one installed, and one of its kind that boards ask for.
const ACCEPTED_COMPLAINTS: &str = include_str!("promtool-complaints.txt");

#[test]
fn promtool_complains_of_nothing_but_node_exporters_own_names_and_a_kept_list() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let probed = listener.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("farol.yml");
    // A probe of each kind, so that every summary name is there to be complained of.
    let text = format!("slow_interval: 1s\nprobes:\n  icmp: [127.0.0.1]\n  tcp: [\"{probed}\"]\n");
    fs::write(&config, text).unwrap();
    let farol = Farol::start("run", &["--config", config.to_str().unwrap()]);
    eventually("every vital sign", || {
        let text = farol.get("/metrics").text();
        let names = ["cpu_percent", "disk_percent", "ping_ms", "latency_ms"];
        names.iter().all(|name| text.contains(&format!("\nmonitoring_{name} ")))
    });
    let own = complaints(&farol.get("/metrics").body);
    let node_exporter = Peer::start(needs("prometheus-node-exporter"), &[]);
    eventually("node_exporter answers", || try_get(&node_exporter.address, "/", &[]).is_ok());
    // curl, because Go answers in chunks.
    let url = format!("http://{}/metrics", node_exporter.address);
    let theirs = complaints(run(Command::new(needs("curl")).args(["-s", &url])).0.as_bytes());
    assert!(!theirs.is_empty(), "promtool complains of node_exporter's camelCase names");

    for complaint in own {
        let is_kept = ACCEPTED_COMPLAINTS.lines().any(|accepted| accepted == complaint);
        assert!(is_kept || theirs.contains(&complaint), "promtool: {complaint}");
    }
}

fn complaints(exposition: &[u8]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metrics");
    fs::write(&file, exposition).unwrap();
    let check = format!("{} check metrics < {}", needs("promtool"), file.display());
    let (said, errors, _) = run(Command::new("sh").arg("-c").arg(check));
    let lines = said.lines().chain(errors.lines()).map(str::trim);
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
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
    let prometheus =
        Peer::prometheus(&free_address(), folder.path(), &[("node", &farol.address)], None);
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

/// A Go program of the Prometheus family; killed with the test.
pub(crate) struct Peer {
    child: Child,
    pub(crate) address: String,
}

impl Peer {
    pub(crate) fn start(program: &str, arguments: &[String]) -> Peer {
        Peer::start_at(&free_address(), program, arguments)
    }

    /// Prometheus, each second at these jobs' targets; what it has it also writes to a receiver.
    pub(crate) fn prometheus(
        address: &str,
        folder: &Path,
        jobs: &[(&str, &str)],
        receiver: Option<&str>,
    ) -> Peer {
        let mut text = "global: {scrape_interval: 1s}\nscrape_configs:\n".to_owned();
        for (name, target) in jobs {
            text += &format!(
                "- job_name: {name}\n\x20 static_configs: [{{targets: [\"{target}\"]}}]\n"
            );
        }
        if let Some(receiver) = receiver {
            text += &format!(
                "remote_write:\n- url: http://{receiver}/api/v1/write\n\
                 \x20 queue_config: {{batch_send_deadline: 200ms}}\n"
            );
        }
        let config = folder.join("prometheus.yml");
        fs::write(&config, text).unwrap();
        let arguments = [
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", folder.join("data").display()),
        ];
        Peer::start_at(address, needs("prometheus"), &arguments)
    }

    fn start_at(address: &str, program: &str, arguments: &[String]) -> Peer {
        let child = Command::new(program)
            .args(arguments)
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Peer { child, address: address.to_owned() }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// For a peer that cannot pick a port and say which.
pub(crate) fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
