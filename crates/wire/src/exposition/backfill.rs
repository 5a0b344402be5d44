//! Text with time stamps to samples, line by line and in chunks of any size: for back-fill, where a
//! file holds days of scrapes and does not fit into memory.
//!
//! The rules are those of [`super::parse()`], line for line, and two more: each sample has a time
//! stamp, and no label is called `__name__`. In memory are the table of series and one line; both
//! are bounded by [`BackfillLimits`].
//!
//! Such a file says the same series in the same order again and again. So the series that followed
//! the last one the last time is tried first: when the line begins with the very bytes by which
//! that series was written before, and goes on with plain numbers, nothing is hashed, searched,
//! checked or allocated. Every other line takes the slow way, which is the one of `parse`.

use std::{collections::HashMap, str, sync::Arc};

use farol_model::{Labels, Text, Timestamp};

use super::{
    Format, Limits, ParseError,
    parse::{self, Cursor},
};

#[derive(Clone, Copy, Debug)]
pub struct BackfillLimits {
    /// Bytes of a line, its newline not counted.
    pub line_bytes: usize,
    pub series: usize,
    /// Bytes of the names and labels of all series together, as they are written.
    pub series_bytes: usize,
    pub labels_per_sample: usize,
    /// Bytes of one name or one label value.
    pub text_bytes: usize,
}

impl Default for BackfillLimits {
    fn default() -> BackfillLimits {
        let Limits { labels_per_sample, text_bytes, samples: _ } = Limits::default();
        BackfillLimits {
            line_bytes: 1 << 20,
            series: 1_000_000,
            series_bytes: 256 << 20,
            labels_per_sample,
            text_bytes,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Series {
    pub name: Text,
    pub labels: Labels,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimedSample {
    /// Where it stands in [`Backfill::series`].
    pub series: u32,
    pub at: Timestamp,
    pub value: f64,
}

/// What was read of a text so far. The first error is the last: nothing may be pushed after it.
#[derive(Debug)]
pub struct Backfill {
    format: Format,
    limits: BackfillLimits,
    /// The part of the limits that holds within a line.
    in_line: Limits,
    series: Vec<Series>,
    numbers: HashMap<Series, u32>,
    /// The first spelling of each series. Others are read anew each time: they would be without end.
    spellings: HashMap<Arc<[u8]>, u32>,
    /// By number of the series.
    steps: Vec<Step>,
    last: usize,
    series_bytes: usize,
    /// How many lines were begun.
    line: usize,
    /// `# EOF` was read.
    ended: bool,
    /// The start of a line whose end was not pushed yet.
    begun: Vec<u8>,
}

/// What a line is compared with first.
#[derive(Debug)]
struct Step {
    /// `name{labels}` as it was first written.
    spelling: Arc<[u8]>,
    /// The series that followed this one the last time.
    next: usize,
}

impl Backfill {
    pub fn new(format: Format, limits: BackfillLimits) -> Backfill {
        let BackfillLimits { labels_per_sample, text_bytes, .. } = limits;
        Backfill {
            format,
            limits,
            in_line: Limits { samples: usize::MAX, labels_per_sample, text_bytes },
            series: Vec::new(),
            numbers: HashMap::new(),
            spellings: HashMap::new(),
            steps: Vec::new(),
            last: 0,
            series_bytes: 0,
            line: 0,
            ended: false,
            begun: Vec::new(),
        }
    }

    /// All series met so far, in the order of the text.
    pub fn series(&self) -> &[Series] {
        &self.series
    }

    /// Reads on; the samples of the lines that end in `chunk` are appended to `into`.
    pub fn push(
        &mut self,
        mut chunk: &[u8],
        into: &mut Vec<TimedSample>,
    ) -> Result<(), ParseError> {
        if !self.begun.is_empty() {
            let Some(end) = newline(chunk) else { return self.hold(chunk) };
            let (rest_of_line, after) = chunk.split_at(end + 1);
            self.hold(rest_of_line)?;
            chunk = after;
            let mut line = std::mem::take(&mut self.begun);
            let result = self.lines(&line, into);
            line.clear();
            self.begun = line;
            result?;
        }
        let whole = chunk.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let (lines, begun) = chunk.split_at(whole);
        self.lines(lines, into)?;
        self.hold(begun)
    }

    /// The text has no more: its last line may lack the newline, but not the end mark.
    pub fn finish(&mut self, into: &mut Vec<TimedSample>) -> Result<(), ParseError> {
        let last = std::mem::take(&mut self.begun);
        self.line += 1;
        self.line(&last, into).map_err(|problem| self.error(problem))?;
        match self.format == Format::OpenMetrics && !self.ended {
            true => Err(self.error(parse::NO_END)),
            false => Ok(()),
        }
    }

    fn error(&self, problem: &'static str) -> ParseError {
        ParseError { line: self.line, problem }
    }

    fn hold(&mut self, begun: &[u8]) -> Result<(), ParseError> {
        // One more for the newline.
        if self.begun.len() + begun.len() > self.limits.line_bytes.saturating_add(1) {
            self.line += 1;
            return Err(self.error(TOO_LONG));
        }
        self.begun.extend_from_slice(begun);
        Ok(())
    }

    /// Whole lines, each with its newline.
    fn lines(&mut self, mut lines: &[u8], into: &mut Vec<TimedSample>) -> Result<(), ParseError> {
        while !lines.is_empty() {
            self.line += 1;
            if let Some((sample, rest)) = self.expected(lines) {
                into.push(sample);
                lines = rest;
                continue;
            }
            let end = newline(lines).unwrap_or(lines.len());
            let (line, rest) = lines.split_at(end);
            self.line(line, into).map_err(|problem| self.error(problem))?;
            lines = rest.get(1..).unwrap_or_default();
        }
        Ok(())
    }

    /// The line at the start of `lines`, and what follows it, if it is what was expected: the next
    /// series, written as before, with plain numbers and nothing else.
    fn expected<'a>(&mut self, lines: &'a [u8]) -> Option<(TimedSample, &'a [u8])> {
        let number = self.steps.get(self.last)?.next;
        let rest = lines.strip_prefix(&*self.steps[number].spelling)?;
        let (value, rest) = value(rest.strip_prefix(b" ")?)?;
        let (at, rest) = time(rest.strip_prefix(b" ")?, self.format)?;
        let rest = rest.strip_prefix(b"\n")?;
        let bytes = lines.len() - rest.len() - 1;
        if self.ended || bytes > self.limits.line_bytes {
            return None;
        }
        self.last = number;
        Some((TimedSample { series: number_of(number), at, value }, rest))
    }

    /// Any line, without its newline.
    fn line(&mut self, line: &[u8], into: &mut Vec<TimedSample>) -> Result<(), &'static str> {
        if line.len() > self.limits.line_bytes {
            return Err(TOO_LONG);
        }
        let line = str::from_utf8(line).map_err(|_| parse::NOT_UTF8)?;
        if self.ended && !line.is_empty() {
            return Err(parse::AFTER_END);
        }
        let line = line.strip_suffix('\r').unwrap_or(line);
        let limits = self.in_line;
        let mut cursor = Cursor { rest: line, limits: &limits };
        cursor.skip_blanks();
        if cursor.rest.is_empty() {
            return Ok(());
        }
        if cursor.take_char('#') {
            self.ended = self.format == Format::OpenMetrics && line == "# EOF";
            return parse::check_comment(cursor);
        }
        let number = self.number(&mut cursor)?;
        let (value, at) = parse::value_and_time(cursor, self.format)?;
        let at = at.ok_or(no_time(self.format))?;
        self.steps[self.last].next = number;
        self.last = number;
        into.push(TimedSample { series: number_of(number), at, value });
        Ok(())
    }

    /// The number of the series at the cursor.
    fn number(&mut self, cursor: &mut Cursor<'_>) -> Result<usize, &'static str> {
        let text = cursor.rest;
        if let Some((spelling, rest)) =
            end_of_series(text).and_then(|end| text.split_at_checked(end))
            && let Some(number) = self.spellings.get(spelling.as_bytes())
        {
            cursor.rest = rest;
            return Ok(*number as usize);
        }
        let (name, labels) = parse::series(cursor)?;
        let series = Series { name: name.into(), labels };
        if let Some(number) = self.numbers.get(&series) {
            return Ok(*number as usize);
        }
        let (spelling, _) = text.as_bytes().split_at(text.len() - cursor.rest.len());
        self.add(series, spelling)
    }

    fn add(&mut self, series: Series, spelling: &[u8]) -> Result<usize, &'static str> {
        if series.labels.get("__name__").is_some() {
            return Err("a label __name__, which is where the metric's own name is kept");
        }
        let number = self.series.len();
        self.series_bytes += spelling.len();
        if number >= self.limits.series || self.series_bytes > self.limits.series_bytes {
            return Err("too many series for one text: divide it");
        }
        let spelling: Arc<[u8]> = spelling.into();
        self.numbers.insert(series.clone(), number_of(number));
        self.spellings.insert(Arc::clone(&spelling), number_of(number));
        self.series.push(series);
        // Its own successor, as in a text that says each series whole before the next.
        self.steps.push(Step { spelling, next: number });
        Ok(number)
    }
}

const TOO_LONG: &str = "a line that is too long";

const fn no_time(format: Format) -> &'static str {
    match format {
        Format::Text => {
            "a sample without a time stamp: back-fill needs one, in milliseconds, behind each value"
        }
        Format::OpenMetrics => {
            "a sample without a time stamp: back-fill needs one, in seconds, behind each value"
        }
    }
}

fn number_of(series: usize) -> u32 {
    u32::try_from(series).expect("the table ends long before")
}

fn newline(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}

/// Where `name{labels}` ends, judged by its braces and quotes alone. What ends here and was read as
/// a series before is that series again; where this is wrong (an escaped quote) the line is only read
/// the slow way.
fn end_of_series(text: &str) -> Option<usize> {
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
    let end_of_name = text.as_bytes().iter().position(|byte| !is_inner(byte))?;
    let behind = text.get(end_of_name..)?;
    if !behind.trim_start_matches([' ', '\t']).starts_with('{') {
        return Some(end_of_name);
    }
    let mut quoted = false;
    let in_braces = behind.as_bytes().iter().position(|byte| {
        quoted ^= *byte == b'"';
        *byte == b'}' && !quoted
    })?;
    Some(end_of_name + in_braces + 1)
}

/// The value at the start of `bytes`, up to the next space.
fn value(bytes: &[u8]) -> Option<(f64, &[u8])> {
    /// No number that anybody writes is longer; what is, takes the slow way.
    const LONGEST: usize = 32;
    if let Some((decimal, rest)) = Decimal::read(bytes)
        && rest.first() == Some(&b' ')
    {
        return Some((decimal.as_f64(), rest));
    }
    let end = bytes.iter().take(LONGEST).position(|byte| *byte == b' ')?;
    let (word, rest) = bytes.split_at(end);
    Some((str::from_utf8(word).ok()?.parse().ok()?, rest))
}

/// The time stamp at the start of `bytes`.
fn time(bytes: &[u8], format: Format) -> Option<(Timestamp, &[u8])> {
    let (decimal, rest) = Decimal::read(bytes)?;
    let at = match format {
        Format::OpenMetrics => parse::at_seconds(decimal.as_f64()).ok()?,
        Format::Text => Timestamp::from_millis(decimal.as_integer()?),
    };
    Some((at, rest))
}

/// `-12.5`: at most 15 digits, no exponent. Then the digits as an integer and the power of ten below
/// it are both exact as `f64`, and their quotient, rounded once, is the nearest `f64`: what the
/// standard library's parser gives too.
struct Decimal {
    negative: bool,
    digits: u32,
    /// Digits behind the point.
    places: usize,
    integer: i64,
}

const MOST_DIGITS: u32 = 15;
const POWERS_OF_TEN: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

impl Decimal {
    fn read(bytes: &[u8]) -> Option<(Decimal, &[u8])> {
        let unsigned = bytes.strip_prefix(b"-");
        let mut decimal =
            Decimal { negative: unsigned.is_some(), digits: 0, places: 0, integer: 0 };
        let mut rest = decimal.take_digits(unsigned.unwrap_or(bytes))?;
        let whole = decimal.digits;
        if let Some(fraction) = rest.strip_prefix(b".") {
            rest = decimal.take_digits(fraction)?;
            decimal.places = (decimal.digits - whole) as usize;
        }
        Some((decimal, rest))
    }

    /// One digit at least.
    fn take_digits<'a>(&mut self, mut bytes: &'a [u8]) -> Option<&'a [u8]> {
        let before = self.digits;
        while let [first, rest @ ..] = bytes
            && first.is_ascii_digit()
        {
            if self.digits == MOST_DIGITS {
                return None;
            }
            self.integer = self.integer * 10 + i64::from(first - b'0');
            self.digits += 1;
            bytes = rest;
        }
        (self.digits > before).then_some(bytes)
    }

    fn as_f64(&self) -> f64 {
        let value = self.integer as f64 / POWERS_OF_TEN[self.places];
        if self.negative { -value } else { value }
    }

    fn as_integer(&self) -> Option<i64> {
        let integer = if self.negative { -self.integer } else { self.integer };
        (self.places == 0).then_some(integer)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::exposition::{Parsed, Scraped, parse};

    /// That back-fill makes of a text what `parse` made of it, in pieces of `step` bytes.
    pub(in super::super) fn agrees(
        text: &[u8],
        format: Format,
        parsed: &Result<Parsed, ParseError>,
        step: usize,
    ) {
        let mut backfill = Backfill::new(format, BackfillLimits::default());
        let mut samples = Vec::new();
        let read =
            text.chunks(step.max(1)).try_for_each(|chunk| backfill.push(chunk, &mut samples));
        let read = read.and_then(|()| backfill.finish(&mut samples));
        let only_here = |error: &ParseError| {
            error.problem == no_time(format) || error.problem.contains("__name__")
        };
        match (read, parsed) {
            (Err(wrong), Err(expected)) if only_here(&wrong) => {
                assert!(wrong.line <= expected.line);
            }
            (Err(wrong), Err(expected)) => assert_eq!(wrong, *expected),
            (Err(wrong), Ok(parsed)) => {
                let first = parsed.samples.iter().find(|scraped| {
                    scraped.at.is_none() || scraped.sample.labels.get("__name__").is_some()
                });
                assert_eq!(first.map(|scraped| scraped.line), Some(wrong.line));
                assert!(only_here(&wrong), "{wrong}");
            }
            (Ok(()), Err(expected)) => panic!("read, although {expected}"),
            (Ok(()), Ok(parsed)) => {
                let expected = parsed.samples.iter().map(|Scraped { sample, at, line: _ }| {
                    (&sample.name, &sample.labels, *at, bits(sample.value))
                });
                let found = samples.iter().map(|TimedSample { series, at, value }| {
                    let Series { name, labels } = &backfill.series[*series as usize];
                    (name, labels, Some(*at), bits(*value))
                });
                assert!(found.eq(expected), "{:?}", String::from_utf8_lossy(text));
            }
        }
    }

    /// NaN equals NaN here, and -0 is not 0.
    fn bits(value: f64) -> u64 {
        if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
    }

    fn read(text: &str, format: Format) -> Result<(Vec<Series>, Vec<TimedSample>), ParseError> {
        read_within(text, format, BackfillLimits::default())
    }

    fn read_within(
        text: &str,
        format: Format,
        limits: BackfillLimits,
    ) -> Result<(Vec<Series>, Vec<TimedSample>), ParseError> {
        let mut backfill = Backfill::new(format, limits);
        let mut samples = Vec::new();
        backfill.push(text.as_bytes(), &mut samples)?;
        backfill.finish(&mut samples)?;
        Ok((backfill.series, samples))
    }

    fn sample(series: u32, millis: i64, value: f64) -> TimedSample {
        TimedSample { series, at: Timestamp::from_millis(millis), value }
    }

    #[test]
    fn scrape_by_scrape_each_line_is_its_series_with_its_time() {
        let text = "# TYPE a counter\na_total{x=\"1\"} 5 1.5\nb{} 0.25 1.5\na_total{x=\"1\"} 6 2\nb -1e3 2\n# EOF\n";
        let (series, samples) = read(text, Format::OpenMetrics).unwrap();
        let names: Vec<&str> = series.iter().map(|series| series.name.as_str()).collect();
        assert_eq!(names, ["a_total", "b"]);
        assert_eq!(
            samples,
            [
                sample(0, 1500, 5.0),
                sample(1, 1500, 0.25),
                sample(0, 2000, 6.0),
                sample(1, 2000, -1000.0)
            ]
        );
    }

    #[test]
    fn one_series_is_one_however_it_is_written() {
        let text = "a{x=\"1\",y=\"2\"} 1 1\na{y=\"2\",x=\"1\",} 2 2\na { x = \"1\" , y=\"2\",z=\"\"} 3 3\n";
        let (series, samples) = read(text, Format::Text).unwrap();
        assert_eq!(series.len(), 1);
        assert_eq!(samples, [sample(0, 1, 1.0), sample(0, 2, 2.0), sample(0, 3, 3.0)]);
    }

    #[test]
    fn a_longer_name_is_not_taken_for_the_expected_one() {
        let text = "a 1 1\na 2 2\nab 3 3\na 4 4\na {x=\"1\"} 5 5\na{x=\"}\\\"\"} 6 6\na{x=\"}\\\"\"} 7 7\n";
        let (series, samples) = read(text, Format::Text).unwrap();
        assert_eq!(series.len(), 4);
        let numbers: Vec<u32> = samples.iter().map(|sample| sample.series).collect();
        assert_eq!(numbers, [0, 0, 1, 0, 2, 3, 3]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let cases = [
            ("a 1 1\na 1\n", 2, no_time(Format::OpenMetrics)),
            ("a 1 1\na 1 # {x=\"1\"} 2 3\n# EOF\n", 2, no_time(Format::OpenMetrics)),
            ("a 1 1\na 1 1 1\n", 2, "more on the line than a value and a time stamp"),
            ("a 1 1\n\na x 1\n", 3, "a value that is no number"),
            ("a 1 1\na 1 x\n", 2, "a time stamp that is no number"),
            ("a 1 1\na 1 1", 2, parse::NO_END),
            ("a 1 1\n# EOF\na 1 1\n", 3, parse::AFTER_END),
            ("a 1 1\na 1 2\n# TYPE a novel\n", 3, "a type that does not exist"),
            (
                "a{__name__=\"b\"} 1 1\n",
                1,
                "a label __name__, which is where the metric's own name is kept",
            ),
        ];
        for (text, line, problem) in cases {
            let wrong = read(text, Format::OpenMetrics).unwrap_err();
            assert_eq!(wrong, ParseError { line, problem }, "{text:?}");
        }
        let millis = read("a 1\n", Format::Text).unwrap_err();
        assert!(millis.to_string().contains("in milliseconds"), "{millis}");
    }

    #[test]
    fn limits_hold() {
        let roomy = BackfillLimits::default();
        let problem = |text: &str, limits| read_within(text, Format::Text, limits).unwrap_err();
        let few = BackfillLimits { series: 1, ..roomy };
        assert_eq!(problem("a 1 1\na 1 2\nb 1 1\n", few).line, 3);
        let small = BackfillLimits { series_bytes: 3, ..roomy };
        assert_eq!(problem("aa 1 1\nbb 1 1\n", small).line, 2);
        let short = BackfillLimits { line_bytes: 5, ..roomy };
        assert!(read_within("a 1 1\na 1 2", Format::Text, short).is_ok());
        let long = ParseError { line: 2, problem: TOO_LONG };
        assert_eq!(problem("a 1 1\na 1 10\n", short), long);
        assert_eq!(problem("a 1 1\na 1 10", short), long);
        let narrow = BackfillLimits { text_bytes: 2, labels_per_sample: 1, ..roomy };
        assert_eq!(problem("abc 1 1\n", narrow).problem, "a name that is too long");
        assert_eq!(problem("a{b=\"1\",c=\"2\"} 1 1\n", narrow).problem, "too many labels");
    }

    #[test]
    fn a_line_without_an_end_is_refused_before_it_fills_the_memory() {
        let mut backfill = Backfill::new(Format::Text, BackfillLimits::default());
        let mut samples = Vec::new();
        backfill.push(b"a 1 1\n", &mut samples).unwrap();
        let chunk = vec![b'x'; 1 << 16];
        let refused = (0..100).find_map(|_| backfill.push(&chunk, &mut samples).err());
        assert_eq!(refused, Some(ParseError { line: 2, problem: TOO_LONG }));
        assert!(backfill.begun.len() <= BackfillLimits::default().line_bytes + 1);
    }

    fn numbers() -> impl Strategy<Value = String> {
        prop_oneof![
            3 => "-?[0-9]{1,4}(\\.[0-9]{1,2})?",
            1 => any::<f64>().prop_map(|value| value.to_string()),
            1 => any::<i64>().prop_map(|value| value.to_string()),
            1 => "-?[0-9]{1,17}",
            1 => "-?[0-9]{0,16}\\.[0-9]{0,16}",
            1 => "[-+]?[0-9]{1,3}(\\.[0-9]{1,3})?([eE][-+]?[0-9]{1,3})?",
            1 => "[-+]?(NaN|Inf|inf|infinity)",
        ]
    }

    /// Mostly right, now and then nearly, and again and again the same.
    fn texts() -> impl Strategy<Value = String> {
        let series = prop_oneof![
            "[ab]",
            "[ab]\\{x=\"[01}, ]\"\\}",
            "[ab] ?\\{ ?(x ?= ?\"(1|\\\\n|\\\\\"|é)\",? ?)?\\}",
        ];
        let plain = "-?[0-9]{1,4}(\\.[0-9]{1,3})?";
        let good = (series.clone(), plain, "[1-9][0-9]{0,12}")
            .prop_map(|(series, value, time)| format!("{series} {value} {time}"));
        let odd = (series, "[ \\t]{0,2}", numbers(), "[ \\t]{0,2}", numbers(), "( | # \\{\\} 1)?")
            .prop_map(|(series, before, value, between, time, after)| {
                format!("{series}{before}{value}{between}{time}{after}")
            });
        let wrong = "a\\{(__name__=\"b\"|x=\"\\\\x\"|x|x=\"1)\\}? 1 1|# EOF|# TYPE a novel|# UNIT";
        let line = prop_oneof![
            40 => (good, "\r?").prop_map(|(line, end)| line + &end),
            2 => odd,
            2 => "(# TYPE a counter|# HELP a b|#| +)\r?",
            1 => wrong,
        ];
        let scrapes = (prop::collection::vec(line, 0..6), 1..4_usize);
        (scrapes, "(\n# EOF\n{0,2})?").prop_map(|((lines, times), end)| {
            let scrape = lines.join("\n");
            vec![scrape; times].join("\n") + &end
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn back_fill_reads_what_parse_reads_however_it_is_cut(text in texts(), step in 1..40_usize) {
            for format in Format::ALL {
                let parsed = parse(text.as_bytes(), format, &Limits::default());
                agrees(text.as_bytes(), format, &parsed, step);
            }
        }

        #[test]
        fn values_are_those_of_the_standard_library(word in numbers()) {
            let line = format!("{word} ");
            match (value(line.as_bytes()), word.parse::<f64>()) {
                (Some((value, rest)), Ok(expected)) => {
                    prop_assert_eq!(value.to_bits(), expected.to_bits());
                    prop_assert_eq!(rest, b" ");
                }
                (Some((value, _)), Err(_)) => prop_assert!(false, "{} was made of {}", value, word),
                (None, Ok(_)) => prop_assert!(word.len() >= 32),
                (None, Err(_)) => {}
            }
        }

        #[test]
        fn times_are_those_of_the_slow_way(word in numbers()) {
            for format in Format::ALL {
                let line = format!("{word}\n");
                let Some((at, rest)) = time(line.as_bytes(), format) else { continue };
                if rest != b"\n" {
                    continue;
                }
                let slow = parse::value_and_time(
                    Cursor { rest: &format!("1 {word}"), limits: &Limits::default() },
                    format,
                );
                prop_assert_eq!(slow, Ok((1.0, Some(at))));
            }
        }
    }
}
