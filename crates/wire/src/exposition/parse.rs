//! Text to samples: what other exporters say, and a check on what we say ourselves.
//!
//! Strict where a misreading would yield a wrong value, lenient where nothing can be lost: blank
//! lines and foreign comments are passed over, exemplars are not kept. The text's size is for the
//! caller to bound; [`Limits`] bounds what is made of it.

use std::{collections::HashMap, fmt, str};

use farol_model::{Labels, Sample, Text, Timestamp};

use super::Format;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub samples: usize,
    pub labels_per_sample: usize,
    /// Bytes of one name or one label value.
    pub text_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { samples: 50_000, labels_per_sample: 64, text_bytes: 4096 }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed {
    /// In the order of the text.
    pub samples: Vec<Scraped>,
    /// By family name: in OpenMetrics a counter's is without `_total`.
    pub families: HashMap<Text, Family>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Scraped {
    pub sample: Sample,
    /// Given by few exporters; `None` means the time of the scrape.
    pub at: Option<Timestamp>,
    /// Where it stands in the text, from 1.
    pub line: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Family {
    pub kind: FamilyKind,
    pub help: String,
    pub unit: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FamilyKind {
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
    #[default]
    Untyped,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// From 1.
    pub line: usize,
    pub problem: &'static str,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for ParseError {}

pub fn parse(text: &[u8], format: Format, limits: &Limits) -> Result<Parsed, ParseError> {
    let mut parsed = Parsed::default();
    let mut ended = false;
    let mut count = 0;
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        count = index + 1;
        let at_line = |problem| ParseError { line: index + 1, problem };
        let line = str::from_utf8(line).map_err(|_| at_line(NOT_UTF8))?;
        if ended && !line.is_empty() {
            return Err(at_line(AFTER_END));
        }
        ended |= parse_line(line, index + 1, format, limits, &mut parsed).map_err(at_line)?;
    }
    if format == Format::OpenMetrics && !ended {
        return Err(ParseError { line: count, problem: NO_END });
    }
    Ok(parsed)
}

pub(super) const NOT_UTF8: &str = "not UTF-8";
pub(super) const AFTER_END: &str = "text after # EOF";
pub(super) const NO_END: &str = "no # EOF: the text is cut short";

/// Whether the line was OpenMetrics' end mark.
fn parse_line(
    line: &str,
    number_of_line: usize,
    format: Format,
    limits: &Limits,
    parsed: &mut Parsed,
) -> Result<bool, &'static str> {
    let line = line.strip_suffix('\r').unwrap_or(line);
    let mut cursor = Cursor { rest: line, limits };
    cursor.skip_blanks();
    if cursor.rest.is_empty() {
        return Ok(false);
    }
    if cursor.take_char('#') {
        if format == Format::OpenMetrics && line == "# EOF" {
            return Ok(true);
        }
        return comment(cursor, format, parsed).map(|()| false);
    }
    if parsed.samples.len() >= limits.samples {
        return Err("too many samples");
    }
    parsed.samples.push(sample(cursor, format, number_of_line)?);
    Ok(false)
}

/// What a `# HELP`, `# TYPE` or `# UNIT` says of a family.
enum About<'a> {
    Help(&'a str),
    Unit(&'a str),
    Kind(FamilyKind),
}

fn comment(cursor: Cursor<'_>, format: Format, parsed: &mut Parsed) -> Result<(), &'static str> {
    let Some((name, about)) = about(cursor)? else { return Ok(()) };
    let family = parsed.families.entry(Text::from(name)).or_default();
    match about {
        Some(About::Help(help)) => family.help = unescape_help(help, format),
        Some(About::Unit(unit)) => unit.clone_into(&mut family.unit),
        Some(About::Kind(kind)) => family.kind = kind,
        None => {}
    }
    Ok(())
}

/// The same strictness for who keeps nothing of it.
pub(super) fn check_comment(cursor: Cursor<'_>) -> Result<(), &'static str> {
    about(cursor).map(|_| ())
}

/// After the `#`: which family, and what of it. None of a comment that is for people.
fn about<'a>(mut cursor: Cursor<'a>) -> Result<Option<(&'a str, Option<About<'a>>)>, &'static str> {
    cursor.skip_blanks();
    let keyword = cursor.take_while(|char| !is_blank(char));
    if !matches!(keyword, "HELP" | "TYPE" | "UNIT") {
        return Ok(None);
    }
    cursor.skip_blanks();
    let name = cursor.name()?;
    if cursor.rest.is_empty() && keyword != "TYPE" {
        return Ok(Some((name, None)));
    }
    cursor.blanks()?;
    let about = match keyword {
        "HELP" => About::Help(cursor.rest),
        "UNIT" => About::Unit(cursor.rest.trim_end_matches(is_blank)),
        _ => About::Kind(kind(cursor.rest.trim_end_matches(is_blank))?),
    };
    Ok(Some((name, Some(about))))
}

fn kind(word: &str) -> Result<FamilyKind, &'static str> {
    Ok(match word {
        "counter" => FamilyKind::Counter,
        "gauge" => FamilyKind::Gauge,
        "histogram" => FamilyKind::Histogram,
        "gaugehistogram" => FamilyKind::GaugeHistogram,
        "summary" => FamilyKind::Summary,
        "info" => FamilyKind::Info,
        "stateset" => FamilyKind::StateSet,
        "untyped" | "unknown" => FamilyKind::Untyped,
        _ => return Err("a type that does not exist"),
    })
}

fn sample(
    mut cursor: Cursor<'_>,
    format: Format,
    number_of_line: usize,
) -> Result<Scraped, &'static str> {
    let (name, labels) = series(&mut cursor)?;
    let (value, at) = value_and_time(cursor, format)?;
    Ok(Scraped { sample: Sample { name: name.into(), labels, value }, at, line: number_of_line })
}

/// `name{labels}`, without what stands around it.
pub(super) fn series<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a str, Labels), &'static str> {
    let name = cursor.name()?;
    let mut behind = Cursor { rest: cursor.rest, limits: cursor.limits };
    behind.skip_blanks();
    if !behind.take_char('{') {
        return Ok((name, Labels::empty()));
    }
    let labels = labels(&mut behind)?;
    cursor.rest = behind.rest;
    Ok((name, labels))
}

/// What stands behind the series, up to the end of the line.
pub(super) fn value_and_time(
    mut cursor: Cursor<'_>,
    format: Format,
) -> Result<(f64, Option<Timestamp>), &'static str> {
    cursor.skip_blanks();
    let value = number(cursor.take_while(|char| !is_blank(char)))?;
    cursor.skip_blanks();
    let at = match cursor.rest {
        "" => None,
        rest if rest.starts_with('#') && format == Format::OpenMetrics => None,
        _ => Some(timestamp(cursor.take_while(|char| !is_blank(char)), format)?),
    };
    cursor.skip_blanks();
    let exemplar = format == Format::OpenMetrics && cursor.rest.starts_with('#');
    if !cursor.rest.is_empty() && !exemplar {
        return Err("more on the line than a value and a time stamp");
    }
    Ok((value, at))
}

/// After the opening brace, up to and with the closing one.
fn labels(cursor: &mut Cursor<'_>) -> Result<Labels, &'static str> {
    let mut pairs: Vec<(Text, Text)> = Vec::new();
    loop {
        cursor.skip_blanks();
        if cursor.take_char('}') {
            break;
        }
        if pairs.len() >= cursor.limits.labels_per_sample {
            return Err("too many labels");
        }
        let name = cursor.label_name()?;
        cursor.skip_blanks();
        if !cursor.take_char('=') {
            return Err("a label without =");
        }
        cursor.skip_blanks();
        let value = cursor.quoted()?;
        if pairs.iter().any(|(held, _)| *held == name) {
            return Err("a label given twice");
        }
        pairs.push((name.into(), value.into()));
        cursor.skip_blanks();
        if !cursor.take_char(',') && !cursor.rest.starts_with('}') {
            return Err("labels without a comma between them, or no closing brace");
        }
    }
    Ok(Labels::new(pairs))
}

pub(super) fn number(word: &str) -> Result<f64, &'static str> {
    // Rust's own reading takes all of `NaN`, `+Inf`, `-Inf`, `infinity` and `1e-9`.
    word.parse().map_err(|_| "a value that is no number")
}

fn timestamp(word: &str, format: Format) -> Result<Timestamp, &'static str> {
    const NO_TIME: &str = "a time stamp that is no number";
    match format {
        Format::Text => word.parse().map(Timestamp::from_millis).map_err(|_| NO_TIME),
        Format::OpenMetrics => at_seconds(word.parse().map_err(|_| NO_TIME)?),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "checked to lie far within an i64")]
pub(super) fn at_seconds(seconds: f64) -> Result<Timestamp, &'static str> {
    let millis = seconds * 1000.0;
    if millis.is_nan() || millis.abs() > 1e18 {
        return Err("a time stamp out of range");
    }
    Ok(Timestamp::from_millis(millis.round() as i64))
}

fn unescape_help(help: &str, format: Format) -> String {
    let mut text = String::with_capacity(help.len());
    let mut chars = help.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            text.push(char);
            continue;
        }
        match chars.next() {
            Some('\\') => text.push('\\'),
            Some('n') => text.push('\n'),
            Some('"') if format == Format::OpenMetrics => text.push('"'),
            Some(other) => text.extend(['\\', other]),
            None => text.push('\\'),
        }
    }
    text
}

/// What is left of one line.
pub(super) struct Cursor<'a> {
    pub(super) rest: &'a str,
    pub(super) limits: &'a Limits,
}

impl<'a> Cursor<'a> {
    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|char| !accept(char)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    pub(super) fn take_char(&mut self, char: char) -> bool {
        match self.rest.strip_prefix(char) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    pub(super) fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(is_blank);
    }

    fn blanks(&mut self) -> Result<(), &'static str> {
        if !self.rest.starts_with(is_blank) {
            return Err("a space is missing");
        }
        self.skip_blanks();
        Ok(())
    }

    fn name(&mut self) -> Result<&'a str, &'static str> {
        let name = self.take_while(|char| char.is_ascii_alphanumeric() || "_:".contains(char));
        self.checked_name(name, "not the name of a metric")
    }

    fn label_name(&mut self) -> Result<&'a str, &'static str> {
        let name = self.take_while(|char| char.is_ascii_alphanumeric() || char == '_');
        self.checked_name(name, "not the name of a label")
    }

    fn checked_name(&self, name: &'a str, problem: &'static str) -> Result<&'a str, &'static str> {
        if name.is_empty() || name.starts_with(|char: char| char.is_ascii_digit()) {
            return Err(problem);
        }
        if name.len() > self.limits.text_bytes {
            return Err("a name that is too long");
        }
        Ok(name)
    }

    fn quoted(&mut self) -> Result<String, &'static str> {
        if !self.take_char('"') {
            return Err("a label value without quotes");
        }
        let mut value = String::new();
        let mut chars = self.rest.chars();
        loop {
            match chars.next().ok_or("a label value without an end")? {
                '"' => break,
                '\\' => match chars.next() {
                    Some('n') => value.push('\n'),
                    Some(char @ ('\\' | '"')) => value.push(char),
                    _ => return Err("an escape that does not exist"),
                },
                char => value.push(char),
            }
            if value.len() > self.limits.text_bytes {
                return Err("a label value that is too long");
            }
        }
        self.rest = chars.as_str();
        Ok(value)
    }
}

fn is_blank(char: char) -> bool {
    matches!(char, ' ' | '\t')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::backfill;

    fn read(text: &str, format: Format) -> Result<Parsed, ParseError> {
        let parsed = parse(text.as_bytes(), format, &Limits::default());
        for step in [1, 7, text.len()] {
            backfill::tests::agrees(text.as_bytes(), format, &parsed, step);
        }
        parsed
    }

    #[test]
    fn the_example_of_the_format_s_own_manual_is_read() {
        let text = r#"# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9
metric_without_timestamp_and_labels 12.47
something_weird{problem="division by zero",} +Inf -3982045
	tabbed	{	a = "b" , }	NaN
"#;
        let parsed = read(text, Format::Text).unwrap();
        let first = &parsed.samples[0];
        assert_eq!(first.sample.labels, Labels::from([("code", "200"), ("method", "post")]));
        assert_eq!(first.at, Some(Timestamp::from_millis(1_395_066_363_000)));
        assert_eq!(
            parsed.samples[1].sample.labels.get("error"),
            Some("Cannot find file:\n\"FILE.TXT\"")
        );
        assert_eq!(parsed.samples[3].sample.value, f64::INFINITY);
        assert_eq!(parsed.samples[3].at, Some(Timestamp::from_millis(-3_982_045)));
        assert!(parsed.samples[4].sample.value.is_nan());
        let family = &parsed.families["http_requests_total"];
        assert_eq!(family.kind, FamilyKind::Counter);
        assert_eq!(family.help, "The total number of HTTP requests.");
    }

    #[test]
    fn openmetrics_times_are_seconds_and_exemplars_are_passed_over() {
        let text = "# TYPE a counter\n# UNIT a_seconds seconds\na_total{x=\"1\"} 5 1.5 # {id=\"z\"} 1\na_total{x=\"2\"} 5 # {id=\"z\"} 1\n# EOF\n";
        let parsed = read(text, Format::OpenMetrics).unwrap();
        assert_eq!(parsed.samples[0].at, Some(Timestamp::from_millis(1500)));
        assert_eq!(parsed.samples[1].at, None);
        assert_eq!(parsed.families["a_seconds"].unit, "seconds");
    }

    #[test]
    fn what_cannot_be_read_is_an_error_with_its_line() {
        let cases = [
            ("ok 1\n1abc 2\n", 2, "not the name of a metric"),
            ("a{b=\"c\" 1\n", 1, "labels without a comma between them, or no closing brace"),
            ("a{b=\"c} 1\n", 1, "a label value without an end"),
            ("a{b=c} 1\n", 1, "a label value without quotes"),
            ("a{b} 1\n", 1, "a label without ="),
            ("a{b=\"\\x\"} 1\n", 1, "an escape that does not exist"),
            ("a{b=\"1\",b=\"2\"} 1\n", 1, "a label given twice"),
            ("\n\na\n", 3, "a value that is no number"),
            ("a 1 2 3\n", 1, "more on the line than a value and a time stamp"),
            ("a 1 x\n", 1, "a time stamp that is no number"),
            ("# TYPE a novel\n", 1, "a type that does not exist"),
        ];
        for (text, line, problem) in cases {
            assert_eq!(read(text, Format::Text), Err(ParseError { line, problem }), "{text:?}");
        }
        let cut = read("a 1\n", Format::OpenMetrics).unwrap_err();
        assert_eq!(cut.problem, "no # EOF: the text is cut short");
        let more = read("# EOF\na 1\n", Format::OpenMetrics).unwrap_err();
        assert_eq!(more.to_string(), "line 2: text after # EOF");
        let foreign = parse(b"a 1\n\xff 1\n", Format::Text, &Limits::default()).unwrap_err();
        assert_eq!(foreign, ParseError { line: 2, problem: "not UTF-8" });
    }

    #[test]
    fn limits_hold() {
        let limits = Limits { samples: 1, labels_per_sample: 1, text_bytes: 4 };
        let problem =
            |text: &str| parse(text.as_bytes(), Format::Text, &limits).unwrap_err().problem;
        assert_eq!(problem("a 1\nb 1\n"), "too many samples");
        assert_eq!(problem("a{b=\"1\",c=\"2\"} 1\n"), "too many labels");
        assert_eq!(problem("abcde 1\n"), "a name that is too long");
        assert_eq!(problem("a{b=\"12345\"} 1\n"), "a label value that is too long");
    }
}
