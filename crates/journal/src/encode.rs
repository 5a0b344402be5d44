//! From records to lines, byte for byte: the writer's half of `docs/formats/journal.md`.
//!
//! One encoder writes one stream. It holds what the last full line of each lane had, in that
//! snapshot's order, so that the usual sparse line is one walk of pointer comparisons. Nothing that
//! it remembers changes before [`Encoder::commit`]: a line that could not be written is forgotten.

mod alerts;
mod object;

use std::{collections::HashMap, ops::Range, time::Duration};

use farol_model::{
    Batch, Event, Labels, Lane, Outcome, Record, Sample, Series as Sent, Snapshot, Text, Timestamp,
    TopProcess, is_stale,
};

use crate::{tail, time};

/// A lane writes a full line this often, by the time of its snapshots.
const FULL_EVERY: Duration = Duration::from_secs(60);

/// Rows of `top` in a line; a reader refuses more.
pub(crate) const MOST_TOP: usize = 100;

/// A record as one line that needs no other: a snapshot as a full line.
pub fn full_line(record: &Record, seq: u64) -> Vec<u8> {
    let mut encoder = Encoder { seq, ..Encoder::default() };
    encoder.encode(record).to_vec()
}

#[derive(Debug, Default)]
pub(crate) struct Encoder {
    /// Number of the next line in the segment.
    seq: u64,
    lanes: [Base; Lane::ALL.len()],
    line: Vec<u8>,
    /// Scratch: what a sparse line names.
    changed: Vec<Changed>,
    /// The lane whose full line is in `line` and becomes its base with `commit`.
    pending: Option<Pending>,
    spare: Base,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    lane: Lane,
}

/// The last full line of a lane.
#[derive(Debug, Default)]
struct Base {
    /// Its number and its snapshot's time; none until the segment has one.
    line: Option<(u64, Timestamp)>,
    series: Vec<Series>,
    /// The series' keys as JSON strings, one after the other.
    keys: Vec<u8>,
    /// Where a series is, built only when a snapshot's order differs from the base's.
    index: HashMap<(Text, Labels), usize>,
    /// Counts snapshots, for `Series::seen`.
    round: u64,
}

#[derive(Debug)]
struct Series {
    name: Text,
    labels: Labels,
    bits: u64,
    name_key: Range<usize>,
    labels_key: Range<usize>,
    /// The round in which a snapshot last had this series.
    seen: u64,
}

#[derive(Clone, Copy, Debug)]
struct Changed {
    sample: usize,
    base: Option<usize>,
}

impl Encoder {
    /// Lines are numbered from 0 again, and each lane's next one is full.
    pub(crate) fn start_segment(&mut self) {
        self.seq = 0;
        self.pending = None;
        for base in &mut self.lanes {
            base.line = None;
        }
    }

    /// The line for a record, newline included.
    pub(crate) fn encode(&mut self, record: &Record) -> &[u8] {
        self.line.clear();
        self.pending = None;
        match record {
            Record::Event(event) => self.event(event),
            Record::Received(batch) => self.batch("received", batch),
            Record::Recorded(batch) => self.batch("recorded", batch),
            Record::Alert(transition) => alerts::transition(&mut self.line, self.seq, transition),
            Record::Silence(silence) => alerts::silence(&mut self.line, self.seq, silence),
            Record::Delivery(delivery) => alerts::delivery(&mut self.line, self.seq, delivery),
            Record::Action(action) => alerts::action(&mut self.line, self.seq, action),
            Record::Summary(summary) => alerts::summary(&mut self.line, self.seq, summary),
            Record::State(memory) => alerts::state(&mut self.line, self.seq, memory),
            Record::Snapshot(snapshot) => match self.usable_base(snapshot) {
                None => self.full(snapshot),
                Some(base) => self.sparse(snapshot, base),
            },
        }
        tail::seal(&mut self.line, 0);
        &self.line
    }

    /// The line just encoded is in the file.
    pub(crate) fn commit(&mut self) {
        if let Some(Pending { lane }) = self.pending.take() {
            std::mem::swap(&mut self.lanes[lane.index()], &mut self.spare);
        }
        self.seq += 1;
    }

    fn usable_base(&self, snapshot: &Snapshot) -> Option<u64> {
        let (seq, at) = self.lanes[snapshot.lane.index()].line?;
        (snapshot.at >= at && snapshot.at.since(at) < FULL_EVERY).then_some(seq)
    }

    fn event(&mut self, event: &Event) {
        let line = &mut self.line;
        head(line, self.seq, event.at, "event");
        text_field(line, ",\"host\":", &event.host);
        text_field(line, ",\"event\":", &event.event);
        text_field(line, ",\"message\":", &event.message);
        line.extend_from_slice(b",\"fields\":{");
        let mut comma = Comma::default();
        for (name, value) in &event.fields {
            comma.put(line);
            write_string(line, name);
            line.push(b':');
            write_string(line, value);
        }
        line.push(b'}');
    }

    /// `kind` is also the key under which the samples stand.
    fn batch(&mut self, kind: &str, batch: &Batch) {
        let line = &mut self.line;
        head(line, self.seq, batch.at, kind);
        line.extend_from_slice(b",\"");
        line.extend_from_slice(kind.as_bytes());
        line.extend_from_slice(b"\":{");
        let mut comma = Comma::default();
        let mut rest = &batch.series[..];
        while let Some(first) = rest.first() {
            let count = rest.iter().take_while(|series| series.name == first.name).count();
            let (family, others) = rest.split_at(count);
            comma.put(line);
            write_string(line, &first.name);
            line.extend_from_slice(b":{");
            let mut inner = Comma::default();
            for series in family {
                inner.put(line);
                write_sent(line, series);
            }
            line.push(b'}');
            rest = others;
        }
        line.push(b'}');
    }

    fn full(&mut self, snapshot: &Snapshot) {
        self.spare.remember(snapshot, self.seq);
        self.pending = Some(Pending { lane: snapshot.lane });
        let line = &mut self.line;
        head(line, self.seq, snapshot.at, "full");
        about_snapshot(line, snapshot);
        line.extend_from_slice(b",\"samples\":");
        let all = self.spare.series.iter().zip(&snapshot.samples).map(|(series, sample)| Named {
            sample,
            keys: Some((&self.spare.keys, &series.name_key, &series.labels_key)),
        });
        write_samples(line, all);
        write_errors(line, &snapshot.outcomes);
        write_top(line, &snapshot.top);
    }

    fn sparse(&mut self, snapshot: &Snapshot, base_seq: u64) {
        let base = &mut self.lanes[snapshot.lane.index()];
        let all_there = base.compare(&snapshot.samples, &mut self.changed);
        let line = &mut self.line;
        head(line, self.seq, snapshot.at, "sparse");
        line.extend_from_slice(b",\"base\":");
        line.extend_from_slice(itoa::Buffer::new().format(base_seq).as_bytes());
        about_snapshot(line, snapshot);
        line.extend_from_slice(b",\"samples\":");
        let named = self.changed.iter().map(|changed| Named {
            sample: &snapshot.samples[changed.sample],
            keys: changed.base.map(|at| {
                let series = &base.series[at];
                (&base.keys, &series.name_key, &series.labels_key)
            }),
        });
        write_samples(line, named);
        line.extend_from_slice(b",\"gone\":{");
        if !all_there {
            base.write_gone(line);
        }
        line.push(b'}');
        write_errors(line, &snapshot.outcomes);
        write_top(line, &snapshot.top);
    }
}

impl Base {
    fn remember(&mut self, snapshot: &Snapshot, seq: u64) {
        self.line = Some((seq, snapshot.at));
        self.series.clear();
        self.keys.clear();
        self.index.clear();
        self.round = 0;
        let mut last_name: Option<(&Text, Range<usize>)> = None;
        for sample in &snapshot.samples {
            let name_key = match &last_name {
                Some((name, key)) if **name == sample.name => key.clone(),
                _ => written(&mut self.keys, |keys| write_string(keys, &sample.name)),
            };
            last_name = Some((&sample.name, name_key.clone()));
            let labels_key = written(&mut self.keys, |keys| write_labels(keys, &sample.labels));
            self.series.push(Series {
                name: sample.name.clone(),
                labels: sample.labels.clone(),
                bits: sample.value.to_bits(),
                name_key,
                labels_key,
                seen: 0,
            });
        }
    }

    /// Notes what differs from the base, and says whether all of the base's series are there.
    fn compare(&mut self, samples: &[Sample], changed: &mut Vec<Changed>) -> bool {
        changed.clear();
        self.round += 1;
        let mut expected = 0;
        let mut seen = 0;
        for (at, sample) in samples.iter().enumerate() {
            let Some(found) = self.find(expected, sample) else {
                changed.push(Changed { sample: at, base: None });
                continue;
            };
            expected = found + 1;
            let series = &mut self.series[found];
            seen += usize::from(series.seen != self.round);
            series.seen = self.round;
            if series.bits != sample.value.to_bits() {
                changed.push(Changed { sample: at, base: Some(found) });
            }
        }
        seen == self.series.len()
    }

    fn find(&mut self, expected: usize, sample: &Sample) -> Option<usize> {
        let near = self.series.iter().enumerate().skip(expected).take(2);
        for (at, series) in near {
            if series.is(sample) {
                return Some(at);
            }
        }
        if self.index.is_empty() {
            let keys =
                self.series.iter().map(|series| (series.name.clone(), series.labels.clone()));
            self.index = keys.zip(0..).collect();
        }
        self.index.get(&(sample.name.clone(), sample.labels.clone())).copied()
    }

    /// The series that the last compared snapshot lacked, by name.
    fn write_gone(&self, line: &mut Vec<u8>) {
        let mut last_name: Option<&Text> = None;
        for series in self.series.iter().filter(|series| series.seen != self.round) {
            if last_name == Some(&series.name) {
                line.push(b',');
            } else {
                if last_name.is_some() {
                    line.extend_from_slice(b"],");
                }
                line.extend_from_slice(&self.keys[series.name_key.clone()]);
                line.extend_from_slice(b":[");
                last_name = Some(&series.name);
            }
            line.extend_from_slice(&self.keys[series.labels_key.clone()]);
        }
        if last_name.is_some() {
            line.push(b']');
        }
    }
}

impl Series {
    fn is(&self, sample: &Sample) -> bool {
        let same_place =
            self.name.same_place(&sample.name) && self.labels.same_place(&sample.labels);
        same_place || (self.name == sample.name && self.labels == sample.labels)
    }
}

/// A sample and, where they are already rendered, its keys.
struct Named<'a> {
    sample: &'a Sample,
    keys: Option<(&'a Vec<u8>, &'a Range<usize>, &'a Range<usize>)>,
}

impl Named<'_> {
    fn write_name(&self, line: &mut Vec<u8>) {
        match self.keys {
            Some((keys, name, _)) => line.extend_from_slice(&keys[name.clone()]),
            None => write_string(line, &self.sample.name),
        }
    }

    fn write_labels(&self, line: &mut Vec<u8>) {
        match self.keys {
            Some((keys, _, labels)) => line.extend_from_slice(&keys[labels.clone()]),
            None => write_labels(line, &self.sample.labels),
        }
    }
}

/// `{"node_load1":0.5,"node_cpu_seconds_total":{"cpu=\"0\"":1}}`: a series without labels that
/// stands alone is a bare number, one beside others has the empty key.
fn write_samples<'a>(line: &mut Vec<u8>, samples: impl Iterator<Item = Named<'a>>) {
    line.push(b'{');
    let mut samples = samples.peekable();
    let mut comma = Comma::default();
    while let Some(first) = samples.next() {
        comma.put(line);
        first.write_name(line);
        line.push(b':');
        let name = &first.sample.name;
        let alone = samples.peek().is_none_or(|next| next.sample.name != *name);
        if alone && first.sample.labels.is_empty() {
            write_number(line, first.sample.value);
            continue;
        }
        line.push(b'{');
        first.write_labels(line);
        line.push(b':');
        write_number(line, first.sample.value);
        while let Some(next) = samples.next_if(|next| next.sample.name == *name) {
            line.push(b',');
            next.write_labels(line);
            line.push(b':');
            write_number(line, next.sample.value);
        }
        line.push(b'}');
    }
    line.push(b'}');
}

/// `"cpu=\"0\"":[[1795341600000,1.5],[1795341615000,"stale"]]`
fn write_sent(line: &mut Vec<u8>, series: &Sent) {
    write_labels(line, &series.labels);
    line.extend_from_slice(b":[");
    let mut comma = Comma::default();
    for (at, value) in &series.points {
        comma.put(line);
        line.push(b'[');
        line.extend_from_slice(itoa::Buffer::new().format(at.as_millis()).as_bytes());
        line.push(b',');
        match is_stale(*value) {
            true => line.extend_from_slice(b"\"stale\""),
            false => write_number(line, *value),
        }
        line.push(b']');
    }
    line.push(b']');
}

fn head(line: &mut Vec<u8>, seq: u64, at: Timestamp, kind: &str) {
    line.extend_from_slice(b"{\"seq\":");
    line.extend_from_slice(itoa::Buffer::new().format(seq).as_bytes());
    line.extend_from_slice(b",\"ts\":\"");
    time::write(line, at);
    line.extend_from_slice(b"\",\"kind\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.push(b'"');
}

fn about_snapshot(line: &mut Vec<u8>, snapshot: &Snapshot) {
    text_field(line, ",\"host\":", &snapshot.host);
    text_field(line, ",\"lane\":", snapshot.lane.name());
    line.extend_from_slice(b",\"interval\":");
    write_number(line, snapshot.interval.as_secs_f64());
    text_field(line, ",\"state\":", snapshot.state.name());
    line.extend_from_slice(b",\"metrics\":{");
    let mut comma = Comma::default();
    for (name, value) in &snapshot.summary {
        comma.put(line);
        write_string(line, name);
        line.push(b':');
        write_number(line, two_decimals(*value));
    }
    line.push(b'}');
}

/// `,"errors":{"hwmon":{"absent":["no sensor"]}}`: what did not complete, and why.
fn write_errors(line: &mut Vec<u8>, outcomes: &[Outcome]) {
    line.extend_from_slice(b",\"errors\":{");
    let mut comma = Comma::default();
    let troubled = |outcome: &&Outcome| outcome.result != farol_model::Collected::Complete;
    for outcome in outcomes.iter().filter(troubled) {
        comma.put(line);
        write_string(line, &outcome.collector);
        line.extend_from_slice(b":{\"");
        line.extend_from_slice(outcome.result.word().as_bytes());
        line.extend_from_slice(b"\":[");
        let mut inner = Comma::default();
        for reason in outcome.result.reasons() {
            inner.put(line);
            write_string(line, reason);
        }
        line.extend_from_slice(b"]}");
    }
    line.push(b'}');
}

/// `,"top":[{"pid":7,"name":"mysqld","resident_bytes":4096}]`: what is not known is left out, and
/// so is the whole list where there is no row.
fn write_top(line: &mut Vec<u8>, top: &[TopProcess]) {
    if top.is_empty() {
        return;
    }
    line.extend_from_slice(b",\"top\":[");
    let mut comma = Comma::default();
    for process in top.iter().take(MOST_TOP) {
        comma.put(line);
        write_process(line, process);
    }
    line.push(b']');
}

fn write_process(line: &mut Vec<u8>, process: &TopProcess) {
    whole_field(line, "{\"pid\":", process.pid.into());
    text_field(line, ",\"name\":", &process.name);
    for (name, text) in [
        (",\"user\":", &process.user),
        (",\"unit\":", &process.unit),
        (",\"container\":", &process.container),
        (",\"command\":", &process.command),
    ] {
        if let Some(text) = text {
            text_field(line, name, text);
        }
    }
    if let Some(ratio) = process.cpu_ratio {
        line.extend_from_slice(b",\"cpu_ratio\":");
        write_number(line, ratio);
    }
    whole_field(line, ",\"resident_bytes\":", process.resident_bytes);
    if let Some(bytes) = process.read_bytes_per_second {
        whole_field(line, ",\"read_bytes_per_second\":", bytes);
    }
    if let Some(bytes) = process.written_bytes_per_second {
        whole_field(line, ",\"written_bytes_per_second\":", bytes);
    }
    line.push(b'}');
}

fn whole_field(line: &mut Vec<u8>, name: &str, number: u64) {
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn text_field(line: &mut Vec<u8>, name: &str, text: &str) {
    line.extend_from_slice(name.as_bytes());
    write_string(line, text);
}

/// A comma before everything but the first.
#[derive(Default)]
struct Comma(bool);

impl Comma {
    fn put(&mut self, line: &mut Vec<u8>) {
        if std::mem::replace(&mut self.0, true) {
            line.push(b',');
        }
    }
}

fn written(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
    let start = out.len();
    write(out);
    start..out.len()
}

/// The label set as text, `cpu="0",mode="idle"`, as a JSON string.
fn write_labels(out: &mut Vec<u8>, labels: &Labels) {
    let mut text = String::new();
    for (name, value) in labels.iter() {
        if !text.is_empty() {
            text.push(',');
        }
        if is_plain_name(name) {
            text.push_str(name);
        } else {
            push_quoted(&mut text, name);
        }
        text.push('=');
        push_quoted(&mut text, value);
    }
    write_string(out, &text);
}

/// Names that need no quotes in the text of a label set.
pub(crate) fn is_plain_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn push_quoted(text: &mut String, value: &str) {
    text.push('"');
    for letter in value.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
    text.push('"');
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            special @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', special]),
            control => {
                let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[digit(control >> 4), digit(control & 15)]);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// The shortest text that reads back as the same number; whole numbers below 1e15 without a point.
fn write_number(out: &mut Vec<u8>, value: f64) {
    if !value.is_finite() {
        let word: &[u8] = match (value.is_nan(), value > 0.0) {
            (true, _) => b"\"NaN\"",
            (false, true) => b"\"+Inf\"",
            (false, false) => b"\"-Inf\"",
        };
        out.extend_from_slice(word);
        return;
    }
    let negative_zero = value == 0.0 && value.is_sign_negative();
    if value.abs() < 1e15 && value.trunc() == value && !negative_zero {
        out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
        return;
    }
    out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
}

fn two_decimals(value: f64) -> f64 {
    let scaled = value * 100.0;
    // Beyond 2^53 there are no decimals left to round.
    if scaled.abs() < 9e15 { scaled.round() / 100.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: f64) -> String {
        let mut out = Vec::new();
        write_number(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_as_the_format_says() {
        assert_eq!(number(1.0), "1");
        assert_eq!(number(-3.0), "-3");
        assert_eq!(number(0.0), "0");
        assert_eq!(number(-0.0), "-0.0");
        assert_eq!(number(0.1), "0.1");
        assert_eq!(number(999_999_999_999_999.0), "999999999999999");
        assert_eq!(number(1e15).parse::<f64>().unwrap(), 1e15);
        assert!(number(1e15).contains(['.', 'e']));
        assert_eq!(number(f64::NAN), "\"NaN\"");
        assert_eq!(number(f64::INFINITY), "\"+Inf\"");
        assert_eq!(number(f64::NEG_INFINITY), "\"-Inf\"");
        assert_eq!(two_decimals(12.345_678), 12.35);
        assert_eq!(two_decimals(1e300), 1e300);
        assert!(two_decimals(f64::NAN).is_nan());
    }

    proptest::proptest! {
        #[test]
        fn every_number_comes_back_bit_for_bit(bits: u64) {
            let value = f64::from_bits(bits);
            proptest::prop_assume!(value.is_finite());
            let text = number(value);
            let back: f64 = serde_json::from_str(&text).unwrap();
            proptest::prop_assert_eq!(back.to_bits(), bits, "{}", text);
        }

        #[test]
        fn every_string_is_one_line_of_json_and_comes_back(text: String) {
            let mut out = Vec::new();
            write_string(&mut out, &text);
            proptest::prop_assert!(!out.contains(&b'\n'));
            let back: String = serde_json::from_slice(&out).unwrap();
            proptest::prop_assert_eq!(back, text);
        }
    }
}
