//! From lines to records: the reader's half of `docs/formats/journal.md`.
//!
//! A decoder reads the lines of one stream in order. It holds the last full line of each lane, to
//! make whole snapshots of sparse lines, and shares names and labels between snapshots. A line
//! that names a base which is not held yields only what the line itself states.

mod alerts;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use farol_model::{
    Batch, Collected, Event, Labels, Lane, Outcome, Record, STALE, Sample, Series as Sent,
    Snapshot, State, Text, Timestamp, TopProcess,
};
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::{
    encode::{MOST_TOP, is_plain_name},
    tail, time,
};

/// Bounds on what is kept only to share it; beyond them it is dropped and collected anew.
const MOST_TEXTS: usize = 1 << 16;
const MOST_STRAYS: usize = 1 << 16;

#[derive(Debug, Default)]
pub struct Decoder {
    lanes: [Catalogue; Lane::ALL.len()],
    /// Names, label names and label values: a few hundred texts stand in a million places.
    texts: HashSet<Text>,
    /// Number of the last good line in this segment.
    last: Option<u64>,
}

/// What one line says.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    pub seq: u64,
    pub record: Record,
    /// Whether the record is whole. A snapshot whose base is missing or damaged is not: it holds
    /// the samples that its line names, and says nothing about the others.
    pub complete: bool,
}

/// The series of a lane's last full line, then those that only sparse lines named since.
#[derive(Debug, Default)]
struct Catalogue {
    series: Vec<Series>,
    index: HashMap<Box<str>, usize>,
    base: Option<Base>,
    /// Scratch for `index` keys.
    key: String,
}

#[derive(Debug)]
struct Base {
    seq: u64,
    /// Values of the first `values.len()` series.
    values: Vec<f64>,
}

#[derive(Clone, Debug)]
struct Series {
    name: Text,
    /// The inner key: the label set as text.
    key: Box<str>,
    labels: Labels,
}

impl Decoder {
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// A base is only good for lines of its own segment.
    pub fn start_segment(&mut self) {
        self.last = None;
        for catalogue in &mut self.lanes {
            catalogue.base = None;
        }
    }

    /// Reads one line (without its newline): checks it first, then parses it. `None` is a repeat:
    /// a line whose number is not above the last one's, which changes nothing.
    pub fn decode(&mut self, line: &[u8]) -> Result<Option<Decoded>, String> {
        tail::check(line)?;
        if self.texts.len() > MOST_TEXTS {
            self.texts.clear();
        }
        let mut json = serde_json::Deserializer::from_slice(line);
        let parts = json.deserialize_map(LineVisitor { decoder: self }).map_err(in_words)?;
        json.end().map_err(in_words)?;
        let seq = parts.seq.ok_or("has no seq")?;
        if self.last.is_some_and(|last| seq <= last) {
            return Ok(None);
        }
        let decoded = self.assemble(seq, parts)?;
        self.last = Some(seq);
        Ok(Some(decoded))
    }

    fn assemble(&mut self, seq: u64, parts: Parts) -> Result<Decoded, String> {
        let at = parts.at.ok_or("has no ts")?;
        let kind = parts.kind.ok_or("has no kind")?;
        if kind == LineKind::Event {
            let event = Event {
                at,
                host: parts.host,
                event: parts.event.ok_or("has no event")?,
                message: parts.message,
                fields: parts.fields,
            };
            return Ok(Decoded { seq, record: Record::Event(event), complete: true });
        }
        if kind == LineKind::Received {
            let series = parts.received.ok_or("has no received")?;
            let record = Record::Received(Arc::new(Batch { at, series }));
            return Ok(Decoded { seq, record, complete: true });
        }
        if kind == LineKind::Recorded {
            let series = parts.recorded.ok_or("has no recorded")?;
            let record = Record::Recorded(Arc::new(Batch { at, series }));
            return Ok(Decoded { seq, record, complete: true });
        }
        if let LineKind::OfAlerts(kind) = kind {
            let body = parts.of_alerts.ok_or_else(|| format!("has no {kind:?}"))?;
            return Ok(Decoded { seq, record: body.record(at)?, complete: true });
        }
        let lane = parts.lane.ok_or("has no lane")?;
        let interval = parts.interval.ok_or("has no interval")?;
        let state = parts.state.ok_or("has no state")?;
        let named = parts.samples.ok_or("has no samples")?;
        let base = match kind {
            LineKind::Sparse => Some(parts.base.ok_or("is sparse and has no base")?),
            LineKind::Full
            | LineKind::Event
            | LineKind::Received
            | LineKind::Recorded
            | LineKind::OfAlerts(_) => None,
        };
        // From here on nothing fails: a line that is refused must not have become the base.
        let catalogue = &mut self.lanes[lane.index()];
        let (samples, complete) = match base {
            Some(base) => catalogue.apply(base, &named, &parts.gone),
            None => (catalogue.replace(seq, &named), true),
        };
        let snapshot = Snapshot {
            at,
            interval,
            lane,
            host: parts.host,
            state,
            summary: parts.summary,
            samples,
            top: parts.top,
            outcomes: parts.outcomes,
        };
        Ok(Decoded { seq, record: Record::Snapshot(Arc::new(snapshot)), complete })
    }

    fn text(&mut self, text: &str) -> Text {
        if let Some(held) = self.texts.get(text) {
            return held.clone();
        }
        let fresh = Text::from(text);
        self.texts.insert(fresh.clone());
        fresh
    }

    /// Where the series is in the lane's catalogue; it is added when it is not there yet.
    /// `expected` is where it stands if this line has the order of the last full one.
    fn series(
        &mut self,
        lane: Lane,
        name: &str,
        key: &str,
        expected: usize,
    ) -> Result<usize, String> {
        let catalogue = &self.lanes[lane.index()];
        let near = catalogue.series.iter().enumerate().skip(expected).take(4);
        for (at, series) in near {
            if *series.key == *key && series.name == *name {
                return Ok(at);
            }
        }
        let catalogue = &mut self.lanes[lane.index()];
        if let Some(at) = catalogue.look_up(name, key) {
            return Ok(at);
        }
        let name = self.text(name);
        let labels = self.labels(key)?;
        Ok(self.lanes[lane.index()].add(Series { name, key: key.into(), labels }))
    }

    /// `cpu="0",mode="idle"`
    fn labels(&mut self, key: &str) -> Result<Labels, String> {
        if key.is_empty() {
            return Ok(Labels::empty());
        }
        let mut pairs = Vec::new();
        let mut rest = key;
        loop {
            let (name, after) = label_name(rest).ok_or_else(|| wrong_key(key))?;
            let after = after.strip_prefix('=').ok_or_else(|| wrong_key(key))?;
            let (value, after) = quoted(after).ok_or_else(|| wrong_key(key))?;
            pairs.push((self.text(&name), self.text(&value)));
            if after.is_empty() {
                return Ok(Labels::new(pairs));
            }
            rest = after.strip_prefix(',').ok_or_else(|| wrong_key(key))?;
        }
    }
}

impl Catalogue {
    fn look_up(&mut self, name: &str, key: &str) -> Option<usize> {
        index_key(&mut self.key, name, key);
        self.index.get(self.key.as_str()).copied()
    }

    fn add(&mut self, series: Series) -> usize {
        index_key(&mut self.key, &series.name, &series.key);
        let at = self.series.len();
        self.index.insert(self.key.as_str().into(), at);
        self.series.push(series);
        at
    }

    /// Takes a full line as the new base.
    fn replace(&mut self, seq: u64, named: &[(usize, f64)]) -> Vec<Sample> {
        let samples = named.iter().map(|(at, value)| self.series[*at].sample(*value)).collect();
        let as_before = named.len() == self.series.len()
            && named.iter().enumerate().all(|(place, (at, _))| place == *at);
        if !as_before {
            let series: Vec<Series> =
                named.iter().map(|(at, _)| self.series[*at].clone()).collect();
            self.series.clear();
            self.index.clear();
            for series in series {
                self.add(series);
            }
        }
        self.base = Some(Base { seq, values: named.iter().map(|(_, value)| *value).collect() });
        samples
    }

    /// The base with a sparse line's differences; only the latter when the base is not held.
    fn apply(
        &mut self,
        base_seq: u64,
        named: &[(usize, f64)],
        gone: &[usize],
    ) -> (Vec<Sample>, bool) {
        let whole = match &self.base {
            Some(base) if base.seq == base_seq => Some(self.patched(base, named, gone)),
            _ => None,
        };
        let complete = whole.is_some();
        let samples = whole.unwrap_or_else(|| {
            named.iter().map(|(at, value)| self.series[*at].sample(*value)).collect()
        });
        self.forget_strays();
        (samples, complete)
    }

    fn patched(&self, base: &Base, named: &[(usize, f64)], gone: &[usize]) -> Vec<Sample> {
        let mut values: Vec<Option<f64>> = base.values.iter().copied().map(Some).collect();
        for at in gone {
            if let Some(value) = values.get_mut(*at) {
                *value = None;
            }
        }
        let mut fresh = Vec::new();
        for (at, value) in named {
            match values.get_mut(*at) {
                Some(held) => *held = Some(*value),
                None => fresh.push(self.series[*at].sample(*value)),
            }
        }
        let kept = self.series.iter().zip(&values);
        let kept = kept.filter_map(|(series, value)| Some(series.sample((*value)?)));
        let mut samples: Vec<Sample> = kept.collect();
        if !fresh.is_empty() {
            samples.append(&mut fresh);
            // Stable, so the series of a family keep the order they had.
            samples.sort_by(|a, b| a.name.cmp(&b.name));
        }
        samples
    }

    /// Series that no full line names are kept only to share them, and not without end.
    fn forget_strays(&mut self) {
        let held = self.base.as_ref().map_or(0, |base| base.values.len());
        if self.series.len() - held > MOST_STRAYS {
            self.series.truncate(held);
            self.index.retain(|_, at| *at < held);
        }
    }
}

impl Series {
    fn sample(&self, value: f64) -> Sample {
        Sample { name: self.name.clone(), labels: self.labels.clone(), value }
    }
}

/// The name's length comes first, so that no two pairs of name and key make the same text.
fn index_key(into: &mut String, name: &str, key: &str) {
    into.clear();
    into.push_str(itoa::Buffer::new().format(name.len()));
    into.push(':');
    into.push_str(name);
    into.push_str(key);
}

fn label_name(text: &str) -> Option<(String, &str)> {
    if text.starts_with('"') {
        return quoted(text);
    }
    let (name, _) = text.split_once('=')?;
    is_plain_name(name).then(|| (name.to_string(), text.get(name.len()..).unwrap_or("")))
}

/// A quoted text at the start, unescaped, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut letters = inner.char_indices();
    loop {
        match letters.next()? {
            (at, '"') => return Some((value, inner.get(at + 1..)?)),
            (_, '\\') => match letters.next()?.1 {
                'n' => value.push('\n'),
                special @ ('\\' | '"') => value.push(special),
                _ => return None,
            },
            (_, other) => value.push(other),
        }
    }
}

fn wrong_key(key: &str) -> String {
    format!("{key:?} is not a label set")
}

fn in_words(error: serde_json::Error) -> String {
    format!("passes its checksum and is not a journal line: {error}")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineKind {
    Full,
    Sparse,
    Event,
    Received,
    Recorded,
    OfAlerts(alerts::Kind),
}

/// The values of a line's keys, as far as they came.
#[derive(Debug, Default)]
struct Parts {
    seq: Option<u64>,
    at: Option<Timestamp>,
    kind: Option<LineKind>,
    base: Option<u64>,
    host: Text,
    lane: Option<Lane>,
    interval: Option<Duration>,
    state: Option<State>,
    summary: Vec<(Text, f64)>,
    samples: Option<Vec<(usize, f64)>>,
    gone: Vec<usize>,
    outcomes: Vec<Outcome>,
    top: Vec<TopProcess>,
    event: Option<Text>,
    message: Text,
    fields: Vec<(Text, Text)>,
    received: Option<Vec<Sent>>,
    recorded: Option<Vec<Sent>>,
    of_alerts: Option<alerts::Body>,
}

struct LineVisitor<'a> {
    decoder: &'a mut Decoder,
}

impl<'de> Visitor<'de> for LineVisitor<'_> {
    type Value = Parts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parts, A::Error> {
        let mut parts = Parts::default();
        while let Some(name) = map.next_key_seed(Name)? {
            self.decoder.take(&name, &mut parts, &mut map)?;
            if let Some(LineKind::OfAlerts(kind)) = parts.kind {
                // `seq` and `ts` come before the kind; all else is this kind's own.
                parts.of_alerts = Some(kind.body(map)?);
                break;
            }
        }
        Ok(parts)
    }
}

impl Decoder {
    /// Reads the value of one of a line's keys. Unknown keys belong to a later version.
    fn take<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        parts: &mut Parts,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match name {
            "seq" => parts.seq = Some(map.next_value()?),
            "ts" => parts.at = Some(word(map, "a time stamp", time::parse)?),
            "kind" => parts.kind = Some(word(map, "a kind that this version knows", kind)?),
            "base" => parts.base = Some(map.next_value()?),
            "host" => parts.host = map.next_value_seed(Interned(self))?,
            // The series found so far belong to the first one.
            "lane" if parts.lane.is_some() => return Err(de::Error::duplicate_field("lane")),
            "lane" => parts.lane = Some(word(map, "a lane", Lane::from_name)?),
            "interval" => parts.interval = Some(interval(map.next_value()?)?),
            "state" => parts.state = Some(word(map, "a state", State::from_name)?),
            "metrics" => parts.summary = map.next_value_seed(Summary(self))?,
            "samples" => {
                let lane = parts.lane.ok_or_else(|| de::Error::custom("samples before lane"))?;
                parts.samples = Some(map.next_value_seed(Families { decoder: self, lane })?);
            }
            "gone" => {
                let lane = parts.lane.ok_or_else(|| de::Error::custom("gone before lane"))?;
                parts.gone = map.next_value_seed(GoneFamilies { decoder: self, lane })?;
            }
            "errors" => parts.outcomes = map.next_value_seed(Outcomes(self))?,
            "top" => parts.top = map.next_value_seed(Top(self))?,
            "event" => parts.event = Some(map.next_value_seed(Interned(self))?),
            "message" => parts.message = Text::from(map.next_value::<String>()?),
            "fields" => parts.fields = map.next_value_seed(Fields(self))?,
            "received" => parts.received = Some(map.next_value_seed(SentFamilies(self))?),
            "recorded" => parts.recorded = Some(map.next_value_seed(SentFamilies(self))?),
            _ => {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

fn kind(word: &str) -> Option<LineKind> {
    match word {
        "full" => Some(LineKind::Full),
        "sparse" => Some(LineKind::Sparse),
        "event" => Some(LineKind::Event),
        "received" => Some(LineKind::Received),
        "recorded" => Some(LineKind::Recorded),
        other => alerts::Kind::from_name(other).map(LineKind::OfAlerts),
    }
}

fn interval<E: de::Error>(seconds: f64) -> Result<Duration, E> {
    Duration::try_from_secs_f64(seconds).map_err(E::custom)
}

fn word<'de, A: MapAccess<'de>, T>(
    map: &mut A,
    what: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, A::Error> {
    let text = map.next_value_seed(Name)?;
    parse(&text).ok_or_else(|| de::Error::custom(format_args!("{text:?} is not {what}")))
}

/// A string, borrowed from the line where it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = std::borrow::Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = std::borrow::Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(text.into())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(text.to_string().into())
    }
}

/// A string as shared text.
struct Interned<'a>(&'a mut Decoder);

impl<'de> DeserializeSeed<'de> for Interned<'_> {
    type Value = Text;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Text, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Interned<'_> {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
        Ok(self.0.text(text))
    }
}

/// A number, or one of the three words for what JSON has no number for.
#[derive(Clone, Copy)]
struct Number {
    /// Whether a stale marker is one too.
    or_marker: bool,
}

const NUMBER: Number = Number { or_marker: false };

impl<'de> DeserializeSeed<'de> for Number {
    type Value = f64;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<f64, D::Error> {
        json.deserialize_any(self)
    }
}

impl Visitor<'_> for Number {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.or_marker {
            false => "a number, \"NaN\", \"+Inf\" or \"-Inf\"",
            true => "a number, \"NaN\", \"+Inf\", \"-Inf\" or \"stale\"",
        })
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<f64, E> {
        match word {
            "NaN" => Ok(f64::NAN),
            "+Inf" => Ok(f64::INFINITY),
            "-Inf" => Ok(f64::NEG_INFINITY),
            "stale" if self.or_marker => Ok(STALE),
            other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
        }
    }
}

/// An object whose keys and values are read one by one; spares each use its boilerplate.
macro_rules! object_seed {
    ($seed:ty, $value:ty, $self:ident, $map:ident, $body:block) => {
        impl<'de> DeserializeSeed<'de> for $seed {
            type Value = $value;

            fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<$value, D::Error> {
                json.deserialize_map(self)
            }
        }

        impl<'de> Visitor<'de> for $seed {
            type Value = $value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>($self, mut $map: A) -> Result<$value, A::Error> $body
        }
    };
}

/// `{"cpu_percent":12.5}`
struct Summary<'a>(&'a mut Decoder);

object_seed!(Summary<'_>, Vec<(Text, f64)>, self, map, {
    let mut summary = Vec::new();
    while let Some(name) = map.next_key_seed(Interned(self.0))? {
        summary.push((name, map.next_value_seed(NUMBER)?));
    }
    Ok(summary)
});

/// `{"path":"/etc/farol.yaml"}`
struct Fields<'a>(&'a mut Decoder);

object_seed!(Fields<'_>, Vec<(Text, Text)>, self, map, {
    let mut fields = Vec::new();
    while let Some(name) = map.next_key_seed(Interned(self.0))? {
        fields.push((name, Text::from(map.next_value::<String>()?)));
    }
    Ok(fields)
});

/// `{"hwmon":{"absent":["no sensor"]}}`
struct Outcomes<'a>(&'a mut Decoder);

object_seed!(Outcomes<'_>, Vec<Outcome>, self, map, {
    let mut outcomes = Vec::new();
    while let Some(collector) = map.next_key_seed(Interned(self.0))? {
        let result = map.next_value_seed(Ended)?;
        // How long it took is a sample (`node_scrape_collector_duration_seconds`).
        outcomes.push(Outcome { collector, took: Duration::ZERO, result });
    }
    Ok(outcomes)
});

/// `{"partial":["this","that"]}`
struct Ended;

object_seed!(Ended, Collected, self, map, {
    let word = map.next_key_seed(Name)?.ok_or_else(|| de::Error::custom("an empty outcome"))?;
    let mut reasons: Vec<String> = map.next_value()?;
    if map.next_key_seed(Name)?.is_some() {
        return Err(de::Error::custom("an outcome of two words"));
    }
    match &*word {
        "absent" => Ok(Collected::Absent(reasons.pop().unwrap_or_default())),
        "failed" => Ok(Collected::Failed(reasons.pop().unwrap_or_default())),
        "partial" => Ok(Collected::Partial(reasons)),
        other => Err(de::Error::custom(format_args!("{other:?} is not an outcome"))),
    }
});

/// `[{"pid":7,"name":"mysqld","resident_bytes":4096}]`
struct Top<'a>(&'a mut Decoder);

impl<'de> DeserializeSeed<'de> for Top<'_> {
    type Value = Vec<TopProcess>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = Vec<TopProcess>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of processes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut top = Vec::new();
        while let Some(process) = list.next_element_seed(Process(self.0))? {
            if top.len() == MOST_TOP {
                return Err(de::Error::custom(format_args!("top has more than {MOST_TOP} rows")));
            }
            top.push(process);
        }
        Ok(top)
    }
}

/// One row. Unknown keys belong to a later version.
struct Process<'a>(&'a mut Decoder);

object_seed!(Process<'_>, TopProcess, self, map, {
    let (mut pid, mut name, mut resident_bytes) = (None, None, None);
    let mut process = TopProcess::default();
    while let Some(key) = map.next_key_seed(Name)? {
        match &*key {
            "pid" => pid = Some(map.next_value()?),
            "name" => name = Some(map.next_value_seed(Interned(self.0))?),
            "user" => process.user = Some(map.next_value_seed(Interned(self.0))?),
            "unit" => process.unit = Some(map.next_value_seed(Interned(self.0))?),
            "container" => process.container = Some(map.next_value_seed(Interned(self.0))?),
            "command" => process.command = Some(map.next_value_seed(Interned(self.0))?),
            "cpu_ratio" => process.cpu_ratio = Some(map.next_value_seed(NUMBER)?),
            "resident_bytes" => resident_bytes = Some(map.next_value()?),
            "read_bytes_per_second" => process.read_bytes_per_second = Some(map.next_value()?),
            "written_bytes_per_second" => {
                process.written_bytes_per_second = Some(map.next_value()?);
            }
            _ => {
                map.next_value::<IgnoredAny>()?;
            }
        }
    }
    process.pid = pid.ok_or_else(|| de::Error::missing_field("pid"))?;
    process.name = name.ok_or_else(|| de::Error::missing_field("name"))?;
    process.resident_bytes =
        resident_bytes.ok_or_else(|| de::Error::missing_field("resident_bytes"))?;
    Ok(process)
});

/// `{"node_load1":0.5,"node_cpu_seconds_total":{"cpu=\"0\"":1}}`
struct Families<'a> {
    decoder: &'a mut Decoder,
    lane: Lane,
}

object_seed!(Families<'_>, Vec<(usize, f64)>, self, map, {
    let mut found = Vec::with_capacity(256);
    while let Some(name) = map.next_key_seed(Name)? {
        map.next_value_seed(Family {
            decoder: self.decoder,
            lane: self.lane,
            name: &name,
            found: &mut found,
        })?;
    }
    Ok(found)
});

/// The series of one name: a bare value, or an object by label set.
struct Family<'a> {
    decoder: &'a mut Decoder,
    lane: Lane,
    name: &'a str,
    found: &'a mut Vec<(usize, f64)>,
}

impl Family<'_> {
    fn note<E: de::Error>(&mut self, key: &str, value: f64) -> Result<(), E> {
        let expected = self.found.last().map_or(0, |(at, _)| at + 1);
        let at = self.decoder.series(self.lane, self.name, key, expected).map_err(E::custom)?;
        self.found.push((at, value));
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Family<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Family<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or an object of values by label set")
    }

    fn visit_f64<E: de::Error>(mut self, value: f64) -> Result<(), E> {
        self.note("", value)
    }

    fn visit_u64<E: de::Error>(mut self, value: u64) -> Result<(), E> {
        self.note("", value as f64)
    }

    fn visit_i64<E: de::Error>(mut self, value: i64) -> Result<(), E> {
        self.note("", value as f64)
    }

    fn visit_str<E: de::Error>(mut self, word: &str) -> Result<(), E> {
        let value = NUMBER.visit_str(word)?;
        self.note("", value)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Name)? {
            let value = map.next_value_seed(NUMBER)?;
            self.note(&key, value)?;
        }
        Ok(())
    }
}

/// `{"up":{"job=\"a\"":[[1795341600000,1]]}}`
struct SentFamilies<'a>(&'a mut Decoder);

object_seed!(SentFamilies<'_>, Vec<Sent>, self, map, {
    let mut found = Vec::new();
    while let Some(name) = map.next_key_seed(Interned(self.0))? {
        map.next_value_seed(SentFamily { decoder: self.0, name, found: &mut found })?;
    }
    Ok(found)
});

struct SentFamily<'a> {
    decoder: &'a mut Decoder,
    name: Text,
    found: &'a mut Vec<Sent>,
}

object_seed!(SentFamily<'_>, (), self, map, {
    while let Some(key) = map.next_key_seed(Name)? {
        let labels = self.decoder.labels(&key).map_err(de::Error::custom)?;
        let points: Vec<(i64, SentValue)> = map.next_value()?;
        let point = |(at, value): (i64, SentValue)| (Timestamp::from_millis(at), value.0);
        let points = points.into_iter().map(point).collect();
        self.found.push(Sent { name: self.name.clone(), labels, points });
    }
    Ok(())
});

/// A number, its words, or that of a stale marker.
struct SentValue(f64);

impl<'de> de::Deserialize<'de> for SentValue {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<SentValue, D::Error> {
        json.deserialize_any(Number { or_marker: true }).map(SentValue)
    }
}

/// `{"node_hwmon_temp_celsius":["chip=\"a\""]}`
struct GoneFamilies<'a> {
    decoder: &'a mut Decoder,
    lane: Lane,
}

object_seed!(GoneFamilies<'_>, Vec<usize>, self, map, {
    let mut gone = Vec::new();
    while let Some(name) = map.next_key_seed(Name)? {
        map.next_value_seed(GoneFamily {
            decoder: self.decoder,
            lane: self.lane,
            name: &name,
            gone: &mut gone,
        })?;
    }
    Ok(gone)
});

struct GoneFamily<'a> {
    decoder: &'a mut Decoder,
    lane: Lane,
    name: &'a str,
    gone: &'a mut Vec<usize>,
}

impl<'de> DeserializeSeed<'de> for GoneFamily<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for GoneFamily<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of label sets")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(key) = list.next_element_seed(Name)? {
            let expected = self.gone.last().map_or(0, |at| at + 1);
            let at = self
                .decoder
                .series(self.lane, self.name, &key, expected)
                .map_err(de::Error::custom)?;
            self.gone.push(at);
        }
        Ok(())
    }
}
