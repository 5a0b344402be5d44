//! The committed reference page says what the tables say.

use std::{fs, path::Path};

use farol_query::reference_markdown;

#[test]
#[expect(clippy::disallowed_methods, reason = "the page is read and rewritten by the test itself")]
fn the_page_of_promql_is_the_tables() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/promql.md"));
    let page = reference_markdown();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, &page).unwrap();
        return;
    }
    let held = fs::read_to_string(path).unwrap_or_default();
    assert!(held == page, "docs/reference/promql.md is out of date: UPDATE=1 rewrites it");
}
