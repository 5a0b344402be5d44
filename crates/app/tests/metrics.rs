//! The committed reference page says what the tables say.

use std::{fs, path::Path};

use farol_collect::reference_markdown;

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
