//! Series with their samples over time as OpenMetrics text: what [`super::Backfill`] and Prometheus'
//! own tools for back-fill read.

use std::{collections::HashSet, fmt};

use farol_model::{Description, Labels, Text, Timestamp};

use super::{
    Format,
    encode::{write_head, write_label_set, write_value},
};

/// Writes series by series. The caller gives them sorted by name, so that each family stands
/// together, and each series' samples in order of time; the text is complete after
/// [`super::end`].
pub struct HistoryEncoder {
    describe: Box<dyn Fn(&str) -> Option<Description> + Send>,
    /// Names that stand in the text already.
    names: HashSet<Text>,
    /// `name{labels}` of the series that is being written.
    series: Vec<u8>,
}

impl HistoryEncoder {
    pub fn new(describe: impl Fn(&str) -> Option<Description> + Send + 'static) -> HistoryEncoder {
        HistoryEncoder { describe: Box::new(describe), names: HashSet::new(), series: Vec::new() }
    }

    /// What follows are samples of this series.
    pub fn begin(&mut self, name: &Text, labels: &Labels, out: &mut Vec<u8>) {
        if !self.names.contains(name) {
            // `jobs` stands before `jobs_total`, whose family would be called `jobs` again.
            let is_taken =
                name.strip_suffix("_total").is_some_and(|name| self.names.contains(name));
            let about = (self.describe)(name);
            write_head(name, about.as_ref(), Format::OpenMetrics, is_taken, out);
            self.names.insert(name.clone());
        }
        self.series.clear();
        self.series.extend_from_slice(name.as_bytes());
        write_label_set(labels, &mut self.series);
        self.series.push(b' ');
    }

    pub fn sample(&mut self, at: Timestamp, value: f64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.series);
        write_value(value, out);
        out.push(b' ');
        write_seconds(at, out);
        out.push(b'\n');
    }
}

impl fmt::Debug for HistoryEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryEncoder").finish_non_exhaustive()
    }
}

/// `1700000000`, `1700000000.25`: no more digits than needed.
fn write_seconds(at: Timestamp, out: &mut Vec<u8>) {
    let millis = at.as_millis();
    if millis < 0 {
        out.push(b'-');
    }
    let millis = millis.unsigned_abs();
    out.extend_from_slice(itoa::Buffer::new().format(millis / 1000).as_bytes());
    let fraction = millis % 1000;
    if fraction > 0 {
        let digits = [fraction / 100, fraction / 10 % 10, fraction % 10].map(|d| b'0' + d as u8);
        let needed = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
        out.push(b'.');
        out.extend_from_slice(&digits[..needed]);
    }
}

#[cfg(test)]
mod tests {
    use farol_model::Kind;
    use proptest::prelude::*;

    use super::*;
    use crate::exposition::end;

    fn seconds(millis: i64) -> String {
        let mut out = Vec::new();
        write_seconds(Timestamp::from_millis(millis), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_family_has_its_head_once_and_each_line_its_time() {
        let mut encoder = HistoryEncoder::new(|name| {
            let kind = name.strip_prefix("known_").map(|_| Kind::Counter)?;
            Some(Description { collector: "x", kind, unit: "", help: "Known.".into() })
        });
        let mut out = Vec::new();
        let name = Text::from("known_total");
        for (mode, value) in [("a\"b", 1.0), ("c", 2.5)] {
            encoder.begin(&name, &Labels::from([("mode", mode)]), &mut out);
            encoder.sample(Timestamp::from_millis(1_700_000_000_000), value, &mut out);
            encoder.sample(Timestamp::from_millis(1_700_000_000_250), f64::INFINITY, &mut out);
        }
        encoder.begin(&"other".into(), &Labels::empty(), &mut out);
        encoder.sample(Timestamp::from_millis(-1500), f64::NAN, &mut out);
        end(Format::OpenMetrics, &mut out);
        let expected = r#"# HELP known Known.
# TYPE known counter
known_total{mode="a\"b"} 1 1700000000
known_total{mode="a\"b"} +Inf 1700000000.25
known_total{mode="c"} 2.5 1700000000
known_total{mode="c"} +Inf 1700000000.25
# TYPE other unknown
other NaN -1.5
# EOF
"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn seconds_have_the_digits_they_need() {
        let cases = [(0, "0"), (1, "0.001"), (-1, "-0.001"), (10_020, "10.02"), (5000, "5")];
        for (millis, expected) in cases {
            assert_eq!(seconds(millis), expected);
        }
        assert_eq!(seconds(i64::MIN), "-9223372036854775.808");
    }

    proptest! {
        /// Prometheus cuts the product with 1000 off where we round it. From 2005 to 2037 that is
        /// the same.
        #[test]
        fn prometheus_reads_the_same_millisecond(millis in 1_104_537_600_000..2_145_916_800_000_i64) {
            let product = seconds(millis).parse::<f64>().unwrap() * 1000.0;
            prop_assert_eq!(product.trunc() as i64, millis);
        }
    }
}
