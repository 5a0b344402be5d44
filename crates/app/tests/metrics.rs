//! The committed reference page says what the tables say.

use std::{fs, path::Path};

use farol_collect::{COLLECTORS, reference_markdown};

#[test]
#[expect(clippy::disallowed_methods, reason = "the page is read and rewritten by the test itself")]
fn the_page_of_metrics_is_the_tables() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/metrics.md"));
    let http = ("http", "The server itself; read at the scrape, not stored.", farol_web::METRICS);
    let page = reference_markdown(&[http]);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &page).unwrap();
        return;
    }
    let held = fs::read_to_string(path).unwrap_or_default();
    assert!(held == page, "docs/reference/metrics.md is out of date: UPDATE=1 rewrites it");
}

/// The rows about collectors that we have: name, on or off, lane.
#[test]
#[expect(clippy::disallowed_methods, reason = "the page is read by the test itself")]
fn the_page_of_parity_says_what_the_collectors_are() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/node-exporter-parity.md");
    let page = fs::read_to_string(path).unwrap();
    let mut found = 0;
    for entry in COLLECTORS {
        let beginning = format!("| `{}` | ", entry.name);
        let Some(row) = page.lines().find(|line| line.starts_with(&beginning)) else { continue };
        let on = if entry.on { "yes" } else { "no" };
        let said = format!("{beginning}{on} | {} | ", entry.lane.name());
        assert!(row.starts_with(&said), "{row}\nis not\n{said}");
        found += 1;
    }
    assert!(found >= 35, "only {found} collectors have a row");
}
