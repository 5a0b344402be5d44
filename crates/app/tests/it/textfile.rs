//! What other programs leave in `*.prom` files, from the file to `/metrics` and into the journal.

use std::fs;

use crate::world::{Farol, eventually, get, value_of};

const TEXT: &str = "# HELP backup_bytes_total Bytes written to \\\\vault.\n\
                    # TYPE backup_bytes_total counter\n\
                    backup_bytes_total{target=\"home\"} 41223\n\
                    odd_value +Inf\n\
                    odder_value NaN\n";

#[test]
fn a_text_file_is_served_with_its_help_and_type_and_follows_its_changes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.prom");
    fs::write(&file, TEXT).unwrap();
    let directory = format!("--collector.textfile.directory={}", folder.path().display());
    let farol = Farol::start("run", &["--slow-interval=1s", &directory]);
    let series = "backup_bytes_total{target=\"home\"}";
    let is_served = |value: f64| value_of(&farol.get("/metrics").text(), series) == Some(value);
    eventually("the file is served", || is_served(41223.0));
    let text = format!("\n{}", farol.get("/metrics").text());
    assert!(text.contains("\n# HELP backup_bytes_total Bytes written to \\\\vault.\n"), "{text}");
    assert!(text.contains("\n# TYPE backup_bytes_total counter\n"), "{text}");
    assert!(text.contains("\nodd_value +Inf\n") && text.contains("\nodder_value NaN\n"), "{text}");
    assert_eq!(value_of(&text, "node_textfile_scrape_error"), Some(0.0));
    let accept = "Accept: application/openmetrics-text; version=1.0.0";
    let open_metrics = format!("\n{}", get(&farol.address, "/metrics", &[accept]).text());
    assert!(open_metrics.contains("\n# TYPE backup_bytes counter\n"), "{open_metrics}");

    let chosen = farol.get("/metrics?collect[]=textfile").text();
    assert_eq!(value_of(&chosen, series), Some(41223.0));
    assert!(chosen.contains("# TYPE backup_bytes_total counter\n"), "{chosen}");
    assert!(!chosen.contains("node_load1"), "{chosen}");
    let others = farol.get("/metrics?exclude[]=textfile").text();
    assert_eq!(value_of(&others, series), None);

    let next = folder.path().join("next");
    fs::write(&next, "# TYPE backup_bytes_total gauge\nbackup_bytes_total{target=\"home\"} 5\n")
        .unwrap();
    fs::rename(&next, &file).unwrap();
    eventually("the change is served", || is_served(5.0));
    let text = format!("\n{}", farol.get("/metrics").text());
    assert!(text.contains("\n# TYPE backup_bytes_total gauge\n"), "{text}");
    assert!(text.contains("# HELP backup_bytes_total Metric read from "), "{text}");

    fs::write(folder.path().join("bad.prom"), "half a line\n").unwrap();
    eventually("the bad file is told", || {
        value_of(&farol.get("/metrics").text(), "node_textfile_scrape_error") == Some(1.0)
    });
    assert!(is_served(5.0));
    let health = farol.health().to_string();
    assert!(health.contains("bad.prom: line 1: "), "{health}");
}
