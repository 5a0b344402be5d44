//! Which format and which coding a scrape is answered in.

use axum::http::{
    HeaderMap,
    header::{ACCEPT, ACCEPT_ENCODING, AsHeaderName},
};
use farol_wire::exposition::Format;

/// What `Accept` likes best of what there is. Whoever can read OpenMetrics says so by name; for
/// all others, and for whoever names only what we do not have, it is text 0.0.4.
pub(crate) fn format(headers: &HeaderMap) -> Format {
    let (mut text, mut openmetrics) = (None, None);
    for range in items(headers, ACCEPT) {
        let quality = range.quality();
        let best = match range.name.to_ascii_lowercase().as_str() {
            "application/openmetrics-text" if range.is_version("1.0.0") => &mut openmetrics,
            "text/plain" if range.is_version("0.0.4") => &mut text,
            "text/*" | "*/*" => &mut text,
            _ => continue,
        };
        *best = Some(best.map_or(quality, |held: u16| held.max(quality)));
    }
    let openmetrics = openmetrics.unwrap_or(0);
    if openmetrics > 0 && openmetrics >= text.unwrap_or(0) {
        Format::OpenMetrics
    } else {
        Format::Text
    }
}

pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    let mut any = 0;
    for coding in items(headers, ACCEPT_ENCODING) {
        match coding.name.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => return coding.quality() > 0,
            "*" => any = coding.quality(),
            _ => {}
        }
    }
    any > 0
}

/// One member of a list header: a name and its parameters.
struct Item<'a> {
    name: &'a str,
    parameters: &'a str,
}

impl Item<'_> {
    fn parameter(&self, wanted: &str) -> Option<&str> {
        self.parameters.split(';').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().trim_matches('"'))
        })
    }

    /// No version means any.
    fn is_version(&self, version: &str) -> bool {
        self.parameter("version").is_none_or(|given| given == version)
    }

    /// In thousandths; what cannot be read counts as not given.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 0..=1000"
    )]
    fn quality(&self) -> u16 {
        let quality = self.parameter("q").and_then(|q| q.parse::<f64>().ok()).unwrap_or(1.0);
        (quality.clamp(0.0, 1.0) * 1000.0) as u16
    }
}

fn items(headers: &HeaderMap, name: impl AsHeaderName) -> impl Iterator<Item = Item<'_>> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|item| {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        Item { name: name.trim(), parameters }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn openmetrics_goes_to_those_who_ask_for_it_by_name() {
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let protobuf_first = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let cases = [
            (prometheus_3, Format::OpenMetrics),
            (protobuf_first, Format::Text),
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("Application/OpenMetrics-Text; Version=1.0.0", Format::OpenMetrics),
            ("application/openmetrics-text; version=\"1.0.0\"", Format::OpenMetrics),
            ("application/openmetrics-text;version=0.0.1", Format::Text),
            ("application/openmetrics-text;version=2.0.0", Format::Text),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;q=0.3,text/plain;q=0.5", Format::Text),
            ("text/plain;q=0.5,application/openmetrics-text;q=0.5", Format::OpenMetrics),
            ("text/plain;version=0.0.4", Format::Text),
            ("image/png", Format::Text),
            ("application/openmetrics-text;q=rubbish", Format::OpenMetrics),
            (";;,,=;q=", Format::Text),
        ];
        for (accept, expected) in cases {
            assert_eq!(format(&headers("accept", accept)), expected, "{accept}");
        }
        assert_eq!(format(&HeaderMap::new()), Format::Text);
    }

    #[test]
    fn gzip_goes_to_those_who_take_it() {
        let cases = [
            ("gzip", true),
            ("gzip, deflate, br", true),
            ("GZIP;q=0.5", true),
            ("x-gzip", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip;q=0, *", false),
            ("identity", false),
            ("br", false),
            ("*;q=0", false),
            ("", false),
        ];
        for (accepted, expected) in cases {
            let headers = headers("accept-encoding", accepted);
            assert_eq!(takes_gzip(&headers), expected, "{accepted}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
