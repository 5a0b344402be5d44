//! What a real Prometheus sends is read as what it has scraped.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "this test reads its files, and UPDATE=1 rewrites them"
)]

use std::{fmt::Write, fs, path::Path};

use farol_model::is_stale;
use farol_wire::remote_write::{Limits, Request, decode, encode};

/// `bodies/NAME.snappy` is a request's body as it came over the wire, `NAME.txt` what it says.
#[test]
fn a_body_of_prometheus_says_what_was_scraped() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bodies");
    let body = fs::read(folder.join("prometheus-2.42.snappy")).unwrap();
    let request = decode(&body, &Limits::default()).unwrap();
    let again = decode(&encode(&request.series), &Limits::default()).unwrap();
    assert_eq!(text(&again), text(&request));
    let expected = folder.join("prometheus-2.42.txt");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&expected, text(&request)).unwrap();
    }
    assert_eq!(text(&request), fs::read_to_string(expected).unwrap());
}

fn text(request: &Request) -> String {
    let mut text = String::new();
    for series in &request.series {
        for (at, value) in &series.points {
            let value = if is_stale(*value) { "stale".to_owned() } else { value.to_string() };
            let (name, labels) = (&series.name, &series.labels);
            writeln!(text, "{name}{labels:?} {value} {}", at.as_millis()).unwrap();
        }
    }
    text
}
