//! Samples to text.
//!
//! The caller gives samples whose families stand together (sorted by name) and whose names are
//! valid; values of labels may hold anything. Every sample yields one line, no sample is judged.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use farol_model::{Description, Kind, Labels, Sample, Text};

use super::Format;

/// Appends `samples` to `out`. In OpenMetrics the text is complete only after [`end`].
pub fn encode<'a>(
    samples: impl IntoIterator<Item = &'a Sample>,
    format: Format,
    describe: &dyn Fn(&str) -> Option<Description>,
    out: &mut Vec<u8>,
) {
    let head = |name: &Text, is_taken: bool, out: &mut Vec<u8>| {
        write_head(name, describe(name).as_ref(), format, is_taken, out);
    };
    write_samples(samples, format, head, out);
}

/// [`encode`] for who writes the same families again and again: each family's `# HELP` and
/// `# TYPE` are made once, and kept for as long as the encoder.
pub struct Encoder {
    describe: Box<dyn Fn(&str) -> Option<Description> + Send>,
    /// By format.
    heads: [HashMap<Text, Box<[u8]>>; 2],
}

/// Names can be coined without end by what is scraped; beyond this all heads are made anew.
const MAX_HEADS: usize = 8192;

impl Encoder {
    pub fn new(describe: impl Fn(&str) -> Option<Description> + Send + 'static) -> Encoder {
        Encoder { describe: Box::new(describe), heads: [HashMap::new(), HashMap::new()] }
    }

    /// Lets all heads go: what families are said to be has changed.
    pub fn forget(&mut self) {
        self.heads.iter_mut().for_each(HashMap::clear);
    }

    pub fn encode<'a>(
        &mut self,
        samples: impl IntoIterator<Item = &'a Sample>,
        format: Format,
        out: &mut Vec<u8>,
    ) {
        let heads = &mut self.heads[format.index()];
        if heads.len() > MAX_HEADS {
            heads.clear();
        }
        let head = |name: &Text, is_taken: bool, out: &mut Vec<u8>| {
            if let Some(head) = heads.get(name.as_str()).filter(|_| !is_taken) {
                out.extend_from_slice(head);
                return;
            }
            let from = out.len();
            write_head(name, (self.describe)(name).as_ref(), format, is_taken, out);
            if !is_taken {
                heads.insert(name.clone(), out[from..].into());
            }
        };
        write_samples(samples, format, head, out);
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

fn write_samples<'a>(
    samples: impl IntoIterator<Item = &'a Sample>,
    format: Format,
    mut write_head: impl FnMut(&Text, bool, &mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    let mut family = None;
    // `jobs` stands before `jobs_total`, whose family OpenMetrics would call `jobs` again.
    let mut names: HashSet<&str> = HashSet::new();
    for sample in samples {
        if family != Some(&sample.name) {
            let is_taken = format == Format::OpenMetrics
                && sample.name.strip_suffix("_total").is_some_and(|name| names.contains(name));
            write_head(&sample.name, is_taken, out);
            family = Some(&sample.name);
            if format == Format::OpenMetrics {
                names.insert(&sample.name);
            }
        }
        out.extend_from_slice(sample.name.as_bytes());
        write_label_set(&sample.labels, out);
        out.push(b' ');
        write_value(sample.value, out);
        out.push(b'\n');
    }
}

/// Closes the text: OpenMetrics' `# EOF`.
pub fn end(format: Format, out: &mut Vec<u8>) {
    match format {
        Format::Text => {}
        Format::OpenMetrics => out.extend_from_slice(b"# EOF\n"),
    }
}

/// `# HELP`, `# TYPE` and, in OpenMetrics, `# UNIT` of one family. `is_taken`: the name that
/// OpenMetrics has for a counter is another family's.
pub(super) fn write_head(
    name: &str,
    about: Option<&Description>,
    format: Format,
    is_taken: bool,
    out: &mut Vec<u8>,
) {
    let kind = about.map(|about| about.kind).filter(|_| !is_taken);
    let (family, kind) = family_of(name, kind, format);
    if let Some(about) = about.filter(|about| !about.help.is_empty()) {
        write_parts(out, &["# HELP ", family, " "]);
        write_help(&about.help, format, out);
        out.push(b'\n');
    }
    write_parts(out, &["# TYPE ", family, " ", kind, "\n"]);
    if let Some(about) = about
        && format == Format::OpenMetrics
        && ends_in_unit(family, about.unit)
    {
        write_parts(out, &["# UNIT ", family, " ", about.unit, "\n"]);
    }
}

/// The family's name and type word. OpenMetrics calls a counter by its name without `_total`, and
/// allows no counter whose samples lack it: the kernel's odd ones go out as unknown.
fn family_of(name: &str, kind: Option<Kind>, format: Format) -> (&str, &'static str) {
    match (format, kind.unwrap_or(Kind::Untyped)) {
        (Format::Text, Kind::Counter) => (name, "counter"),
        (Format::OpenMetrics, Kind::Counter) => match name.strip_suffix("_total") {
            Some(family) if !family.is_empty() => (family, "counter"),
            _ => (name, "unknown"),
        },
        (_, Kind::Gauge) => (name, "gauge"),
        (Format::Text, Kind::Untyped) => (name, "untyped"),
        (Format::OpenMetrics, Kind::Untyped) => (name, "unknown"),
    }
}

fn ends_in_unit(family: &str, unit: &str) -> bool {
    !unit.is_empty() && family.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_'))
}

/// `{name="value",…}`, and nothing at all for no labels.
pub fn write_label_set(labels: &Labels, out: &mut Vec<u8>) {
    let mut before = b'{';
    for (name, value) in labels.iter() {
        out.push(before);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        write_escaped(value, true, out);
        out.push(b'"');
        before = b',';
    }
    if before == b',' {
        out.push(b'}');
    }
}

/// Text 0.0.4 leaves quotes in help texts as they are; OpenMetrics escapes them.
fn write_help(help: &str, format: Format, out: &mut Vec<u8>) {
    write_escaped(help, format == Format::OpenMetrics, out);
}

fn write_escaped(text: &str, quotes: bool, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b'\\' | b'\n' | b'"')) {
        out.extend_from_slice(bytes);
        return;
    }
    for byte in bytes {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if quotes => out.extend_from_slice(b"\\\""),
            other => out.push(*other),
        }
    }
}

/// Below this, integers are exact and shorter without a point or an exponent.
const PLAIN_BELOW: f64 = 1e15;

/// The shortest text that reads back as the same value.
#[expect(clippy::cast_possible_truncation, reason = "integers below 1e15 fit an i64 exactly")]
pub fn write_value(value: f64, out: &mut Vec<u8>) {
    if value.abs() < PLAIN_BELOW && value.trunc() == value {
        if value == 0.0 && value.is_sign_negative() {
            out.push(b'-');
        }
        out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
    } else if value.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    }
}

fn write_parts(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample<const N: usize>(name: &str, labels: [(&str, &str); N], value: f64) -> Sample {
        Sample { name: name.into(), labels: Labels::from(labels), value }
    }

    fn describe(name: &str) -> Option<Description> {
        let (kind, unit, help) = match name {
            "node_cpu_seconds_total" => (Kind::Counter, "seconds", "Seconds each mode\ntook."),
            "node_forks" => (Kind::Counter, "", "Forks, named \"oddly\"."),
            "node_load1" => (Kind::Gauge, "", "Load."),
            "node_memory_bytes" => (Kind::Gauge, "bytes", "Memory."),
            "node_vmstat_pgfault" => (Kind::Untyped, "", "Faults."),
            _ => return None,
        };
        Some(Description { collector: "x", kind, unit, help: help.into() })
    }

    fn text(samples: &[Sample], format: Format) -> String {
        let mut out = Vec::new();
        encode(samples, format, &describe, &mut out);
        end(format, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn machine() -> Vec<Sample> {
        vec![
            sample("node_cpu_seconds_total", [("cpu", "0"), ("mode", "idle")], 12.5),
            sample("node_cpu_seconds_total", [("cpu", "0"), ("mode", "user")], 3.0),
            sample("node_forks", [], 7.0),
            sample("node_load1", [], 0.25),
            sample("node_memory_bytes", [], 1024.0),
            sample("node_vmstat_pgfault", [], 1.0),
            sample("x_unheard_of", [("path", "C:\\a \"b\"\nc")], -1.0),
        ]
    }

    #[test]
    fn text_format_has_help_type_and_one_line_a_sample() {
        let expected = r#"# HELP node_cpu_seconds_total Seconds each mode\ntook.
# TYPE node_cpu_seconds_total counter
node_cpu_seconds_total{cpu="0",mode="idle"} 12.5
node_cpu_seconds_total{cpu="0",mode="user"} 3
# HELP node_forks Forks, named "oddly".
# TYPE node_forks counter
node_forks 7
# HELP node_load1 Load.
# TYPE node_load1 gauge
node_load1 0.25
# HELP node_memory_bytes Memory.
# TYPE node_memory_bytes gauge
node_memory_bytes 1024
# HELP node_vmstat_pgfault Faults.
# TYPE node_vmstat_pgfault untyped
node_vmstat_pgfault 1
# TYPE x_unheard_of untyped
x_unheard_of{path="C:\\a \"b\"\nc"} -1
"#;
        assert_eq!(text(&machine(), Format::Text), expected);
    }

    #[test]
    fn openmetrics_names_counters_without_total_and_gives_units_and_an_end() {
        let expected = r#"# HELP node_cpu_seconds Seconds each mode\ntook.
# TYPE node_cpu_seconds counter
# UNIT node_cpu_seconds seconds
node_cpu_seconds_total{cpu="0",mode="idle"} 12.5
node_cpu_seconds_total{cpu="0",mode="user"} 3
# HELP node_forks Forks, named \"oddly\".
# TYPE node_forks unknown
node_forks 7
# HELP node_load1 Load.
# TYPE node_load1 gauge
node_load1 0.25
# HELP node_memory_bytes Memory.
# TYPE node_memory_bytes gauge
# UNIT node_memory_bytes bytes
node_memory_bytes 1024
# HELP node_vmstat_pgfault Faults.
# TYPE node_vmstat_pgfault unknown
node_vmstat_pgfault 1
# TYPE x_unheard_of unknown
x_unheard_of{path="C:\\a \"b\"\nc"} -1
# EOF
"#;
        assert_eq!(text(&machine(), Format::OpenMetrics), expected);
    }

    #[test]
    fn a_counter_whose_short_name_is_taken_goes_out_under_its_long_one() {
        let samples = [
            sample("node_cpu_seconds", [], 2.0),
            sample("node_cpu_seconds_extra", [], 3.0),
            sample("node_cpu_seconds_total", [], 4.0),
        ];
        let alone = text(&samples[2..], Format::OpenMetrics);
        assert!(alone.contains("# TYPE node_cpu_seconds counter\n"), "{alone}");
        let mut encoder = Encoder::new(describe);
        for _ in 0..2 {
            let mut all = Vec::new();
            encoder.encode(&samples, Format::OpenMetrics, &mut all);
            let all = String::from_utf8(all).unwrap();
            assert!(all.contains("# TYPE node_cpu_seconds unknown\n"), "{all}");
            assert!(all.contains("# TYPE node_cpu_seconds_total unknown\n"), "{all}");
            assert!(!all.contains("counter"), "{all}");
        }
        assert!(text(&samples, Format::Text).contains("# TYPE node_cpu_seconds_total counter\n"));
    }

    #[test]
    fn an_encoder_writes_the_same_again_and_again() {
        let mut encoder = Encoder::new(describe);
        for _ in 0..2 {
            for format in Format::ALL {
                let mut out = Vec::new();
                encoder.encode(&machine(), format, &mut out);
                end(format, &mut out);
                assert_eq!(String::from_utf8(out).unwrap(), text(&machine(), format));
            }
        }
    }

    #[test]
    fn values_are_the_shortest_that_read_back() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (999_999_999_999_999.0, "999999999999999"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (0.1, "0.1"),
            (1.5e-9, "1.5e-9"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, expected) in cases {
            let mut out = Vec::new();
            write_value(value, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
