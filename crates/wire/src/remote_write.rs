//! Prometheus' remote write 1.0: a `WriteRequest` in protobuf, compressed as one snappy block.
//!
//! Only what the store can hold is read: series with their labels and samples. Metadata, exemplars
//! and native histograms are stepped over and counted. A body is foreign bytes: each of its
//! dimensions has a bound, and what breaks a rule is refused in words that name the series.

use std::{collections::HashSet, fmt};

use farol_model::{Labels, Series, Text, Timestamp, canonical};

/// What a body may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes, once decompressed.
    pub bytes: usize,
    pub series: usize,
    pub samples: usize,
    pub labels_per_series: usize,
    pub label_name_bytes: usize,
    pub label_value_bytes: usize,
    /// Names and values of a series together: each line of the journal says them again.
    pub label_bytes_per_series: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            bytes: 32 << 20,
            series: 100_000,
            samples: 1_000_000,
            labels_per_series: 128,
            label_name_bytes: 1024,
            label_value_bytes: 16 << 10,
            label_bytes_per_series: 64 << 10,
        }
    }
}

/// What a body said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// Those that have samples, each once, sorted by name and labels. A NaN is the stale marker or
    /// [`f64::NAN`].
    pub series: Vec<Series>,
    /// What was stepped over.
    pub skipped: Skipped,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    pub metadata: u64,
    pub exemplars: u64,
    pub histograms: u64,
}

/// Why a body is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// More than the limits allow: a smaller one may pass.
    TooLarge(String),
    Malformed(String),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::TooLarge(reason) | BodyError::Malformed(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for BodyError {}

/// How many bytes a body has once it is decompressed, by its own account.
pub fn plain_len(body: &[u8]) -> Result<usize, BodyError> {
    snap::raw::decompress_len(body).map_err(|error| not_snappy(&error))
}

pub fn decode(body: &[u8], limits: &Limits) -> Result<Request, BodyError> {
    let bytes = plain_len(body)?;
    if bytes > limits.bytes {
        let most = limits.bytes;
        return Err(BodyError::TooLarge(format!(
            "the body has {bytes} bytes once decompressed; {most} are allowed"
        )));
    }
    let plain = snap::raw::Decoder::new().decompress_vec(body).map_err(|e| not_snappy(&e))?;
    Reading { limits, texts: HashSet::new(), samples: 0, request: Request::default() }
        .request(&plain)
}

/// A body that [`decode`] reads as these series.
pub fn encode(series: &[Series]) -> Vec<u8> {
    let mut plain = Vec::new();
    for series in series {
        let mut inner = Vec::new();
        let name = [(NAME, series.name.as_str())];
        let labels = series.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut pairs: Vec<(&str, &str)> = name.into_iter().chain(labels).collect();
        pairs.sort_unstable();
        for (name, value) in pairs {
            let mut label = Vec::new();
            put_bytes(&mut label, 1, name.as_bytes());
            put_bytes(&mut label, 2, value.as_bytes());
            put_bytes(&mut inner, 1, &label);
        }
        for (at, value) in &series.points {
            let mut sample = vec![1 << 3 | FIXED64];
            sample.extend_from_slice(&value.to_le_bytes());
            sample.push(2 << 3 | VARINT);
            put_varint(&mut sample, at.as_millis().cast_unsigned());
            put_bytes(&mut inner, 2, &sample);
        }
        put_bytes(&mut plain, 1, &inner);
    }
    let why = "a body is far smaller than the 4 GiB that snappy takes";
    snap::raw::Encoder::new().compress_vec(&plain).expect(why)
}

/// The label that has a metric's name.
const NAME: &str = "__name__";

// The kinds of value that protobuf's wire format has.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

fn not_snappy(error: &snap::Error) -> BodyError {
    BodyError::Malformed(format!("the body is not one snappy block: {error}"))
}

fn not_protobuf(what: &str) -> BodyError {
    BodyError::Malformed(format!("the body is not a WriteRequest in protobuf: {what}"))
}

struct Reading<'a> {
    limits: &'a Limits,
    /// A few hundred texts stand in many places.
    texts: HashSet<Text>,
    samples: usize,
    request: Request,
}

impl Reading<'_> {
    fn request(mut self, bytes: &[u8]) -> Result<Request, BodyError> {
        let mut fields = Fields(bytes);
        while let Some((number, field)) = fields.next()? {
            match (number, field) {
                (1, Field::Bytes(bytes)) => self.series(bytes)?,
                (3, Field::Bytes(_)) => self.request.skipped.metadata += 1,
                _ => {}
            }
        }
        let mut request = self.request;
        let key = |series: &Series| (series.name.clone(), series.labels.clone());
        if !request.series.is_sorted_by(|a, b| (&a.name, &a.labels) < (&b.name, &b.labels)) {
            request.series.sort_by_cached_key(key);
            request.series.dedup_by(|later, first| {
                let is_same = later.name == first.name && later.labels == first.labels;
                if is_same {
                    first.points.append(&mut later.points);
                }
                is_same
            });
        }
        Ok(request)
    }

    fn series(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        if self.request.series.len() == self.limits.series {
            let most = self.limits.series;
            return Err(BodyError::TooLarge(format!("the body has more than {most} series")));
        }
        let mut labels: Vec<(&str, &str)> = Vec::new();
        let mut points = Vec::new();
        let mut fields = Fields(bytes);
        while let Some((number, field)) = fields.next()? {
            match (number, field) {
                (1, Field::Bytes(bytes)) => {
                    labels.push(label(bytes)?);
                    if labels.len() > self.limits.labels_per_series {
                        return Err(self.too_many_labels(&labels));
                    }
                }
                (2, Field::Bytes(bytes)) => {
                    points.push(sample(bytes)?);
                    self.count_sample()?;
                }
                (3, Field::Bytes(_)) => self.request.skipped.exemplars += 1,
                (4, Field::Bytes(_)) => self.request.skipped.histograms += 1,
                _ => {}
            }
        }
        let (name, labels) = self.checked(labels)?;
        if !points.is_empty() {
            self.request.series.push(Series { name, labels, points });
        }
        Ok(())
    }

    fn count_sample(&mut self) -> Result<(), BodyError> {
        self.samples += 1;
        let most = self.limits.samples;
        match self.samples <= most {
            true => Ok(()),
            false => Err(BodyError::TooLarge(format!("the body has more than {most} samples"))),
        }
    }

    fn too_many_labels(&self, labels: &[(&str, &str)]) -> BodyError {
        let most = self.limits.labels_per_series;
        BodyError::TooLarge(format!("{} has more than {most} labels", shown(labels)))
    }

    /// The name and the other labels. Senders should sort them; it is no reason to refuse any.
    fn checked(&mut self, mut labels: Vec<(&str, &str)>) -> Result<(Text, Labels), BodyError> {
        let malformed = |what: String| BodyError::Malformed(format!("{} {what}", shown(&labels)));
        let (most_name, most_value) = (self.limits.label_name_bytes, self.limits.label_value_bytes);
        for (name, value) in &labels {
            if name.is_empty() {
                return Err(malformed("has a label without a name".to_owned()));
            }
            if name.len() > most_name {
                let what = format!("has a label name of more than {most_name} bytes");
                return Err(malformed(what));
            }
            if value.len() > most_value {
                let what = format!("has a value of more than {most_value} bytes for {name:?}");
                return Err(malformed(what));
            }
        }
        let most = self.limits.label_bytes_per_series;
        let bytes = labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if bytes > most {
            return Err(malformed(format!("has {bytes} bytes of labels; {most} are allowed")));
        }
        let named = labels.iter().find(|(name, value)| *name == NAME && !value.is_empty());
        let Some((_, metric)) = named.copied() else {
            return Err(malformed("has no label __name__: a sample needs a metric".to_owned()));
        };
        labels.sort_unstable();
        if let Some(pair) = labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let what = format!("{} has the label {:?} twice", shown(&labels), pair[0].0);
            return Err(BodyError::Malformed(what));
        }
        labels.retain(|(name, _)| *name != NAME);
        let name = self.text(metric);
        let pairs = labels.into_iter().map(|(name, value)| (self.text(name), self.text(value)));
        let labels = Labels::new(pairs.collect());
        Ok((name, labels))
    }

    fn text(&mut self, text: &str) -> Text {
        if let Some(held) = self.texts.get(text) {
            return held.clone();
        }
        let fresh = Text::from(text);
        self.texts.insert(fresh.clone());
        fresh
    }
}

/// A series as a person knows it, cut short.
fn shown(labels: &[(&str, &str)]) -> String {
    const LONGEST: usize = 200;
    let value = |wanted: &str| labels.iter().find(|(name, _)| *name == wanted);
    let name = value(NAME).map_or("", |(_, value)| value);
    let others = labels.iter().filter(|(name, _)| *name != NAME);
    let mut text = format!("the series {name}{{");
    for (place, (name, value)) in others.enumerate() {
        if text.len() > LONGEST {
            text.push('…');
            break;
        }
        let comma = if place == 0 { "" } else { "," };
        let cut: String = value.chars().take(64).collect();
        let name: String = name.chars().take(64).collect();
        text.push_str(&format!("{comma}{name}={cut:?}"));
    }
    text.chars().take(2 * LONGEST).chain("}".chars()).collect()
}

fn label(bytes: &[u8]) -> Result<(&str, &str), BodyError> {
    let (mut name, mut value) = ("", "");
    let mut fields = Fields(bytes);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => name = text(bytes)?,
            (2, Field::Bytes(bytes)) => value = text(bytes)?,
            _ => {}
        }
    }
    Ok((name, value))
}

fn text(bytes: &[u8]) -> Result<&str, BodyError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let shown: String = String::from_utf8_lossy(bytes).chars().take(64).collect();
        BodyError::Malformed(format!("a label is not UTF-8: {shown:?}: {error}"))
    })
}

fn sample(bytes: &[u8]) -> Result<(Timestamp, f64), BodyError> {
    // What is not sent is 0.
    let (mut at, mut value) = (0_u64, 0_u64);
    let mut fields = Fields(bytes);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Field::Fixed64(bits)) => value = bits,
            (2, Field::Varint(millis)) => at = millis,
            _ => {}
        }
    }
    Ok((Timestamp::from_millis(at.cast_signed()), canonical(f64::from_bits(value))))
}

/// A message's fields, one after the other. Those of a later version are stepped over.
struct Fields<'a>(&'a [u8]);

enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, BodyError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = key >> 3;
        if number == 0 {
            return Err(not_protobuf("a field has the number 0"));
        }
        let field = match (key & 7) as u8 {
            VARINT => Field::Varint(self.varint()?),
            FIXED64 => {
                let bytes = self.take(8)?.try_into().expect("as many as were asked for");
                Field::Fixed64(u64::from_le_bytes(bytes))
            }
            BYTES => {
                let len = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                Field::Bytes(self.take(len)?)
            }
            FIXED32 => {
                self.take(4)?;
                Field::Fixed32
            }
            _ => return Err(not_protobuf("a field is of an unknown type")),
        };
        Ok(Some((number, field)))
    }

    fn varint(&mut self) -> Result<u64, BodyError> {
        let mut number = 0;
        for shift in (0..70).step_by(7) {
            let (byte, rest) =
                self.0.split_first().ok_or_else(|| not_protobuf("it ends within a number"))?;
            self.0 = rest;
            // The tenth byte has one bit left; more are cut off, as everywhere.
            number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if *byte < 0x80 {
                return Ok(number);
            }
        }
        Err(not_protobuf("a number is too long"))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], BodyError> {
        let (taken, rest) =
            self.0.split_at_checked(count).ok_or_else(|| not_protobuf("it ends within a field"))?;
        self.0 = rest;
        Ok(taken)
    }
}

fn put_varint(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

fn put_bytes(into: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    into.push(number << 3 | BYTES);
    put_varint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use farol_model::{STALE, is_stale};
    use proptest::prelude::*;

    use super::*;

    fn series<const N: usize>(
        name: &str,
        labels: [(&str, &str); N],
        points: &[(i64, f64)],
    ) -> Series {
        let point = |(at, value): &(i64, f64)| (Timestamp::from_millis(*at), *value);
        Series {
            name: name.into(),
            labels: Labels::from(labels),
            points: points.iter().map(point).collect(),
        }
    }

    /// A body with these labels as they are, and one sample.
    fn body(labels: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut inner = Vec::new();
        for (name, value) in labels {
            let mut label = Vec::new();
            put_bytes(&mut label, 1, name);
            put_bytes(&mut label, 2, value);
            put_bytes(&mut inner, 1, &label);
        }
        put_bytes(&mut inner, 2, &[16, 1]);
        packed(|plain| put_bytes(plain, 1, &inner))
    }

    fn packed(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut plain = Vec::new();
        write(&mut plain);
        snap::raw::Encoder::new().compress_vec(&plain).unwrap()
    }

    fn refused(body: &[u8], limits: &Limits) -> String {
        decode(body, limits).unwrap_err().to_string()
    }

    #[test]
    fn a_body_is_what_the_schema_says_byte_for_byte() {
        let sent = series("up", [("job", "x")], &[(1000, 1.0)]);
        let plain = b"\x0a\x28\
            \x0a\x0e\x0a\x08__name__\x12\x02up\
            \x0a\x08\x0a\x03job\x12\x01x\
            \x12\x0c\x09\0\0\0\0\0\0\xf0\x3f\x10\xe8\x07";
        let body = encode(std::slice::from_ref(&sent));
        assert_eq!(snap::raw::Decoder::new().decompress_vec(&body).unwrap(), plain);
        assert_eq!(decode(&body, &Limits::default()).unwrap().series, [sent]);
    }

    #[test]
    fn series_come_sorted_and_once_whatever_their_order_was() {
        let sent = [
            series("b", [], &[(5, 1.0)]),
            series("a", [("x", "2")], &[(-7, 2.0), (9, STALE)]),
            series("a", [("x", "1")], &[]),
            series("b", [], &[(4, -0.0), (i64::MIN, f64::INFINITY)]),
        ];
        let request = decode(&encode(&sent), &Limits::default()).unwrap();
        let expected = [
            series("a", [("x", "2")], &[(-7, 2.0), (9, 0.0)]),
            series("b", [], &[(5, 1.0), (4, -0.0), (i64::MIN, f64::INFINITY)]),
        ];
        assert!(is_stale(request.series[0].points[1].1));
        let mut found = request.series;
        found[0].points[1].1 = 0.0;
        assert_eq!(found, expected);
        // Labels in any order, an empty one is none, and what is not sent is 0.
        let unsorted = body(&[(b"z", b""), (b"y", b"1"), (b"__name__", b"m"), (b"a", b"2")]);
        let request = decode(&unsorted, &Limits::default()).unwrap();
        assert_eq!(request.series, [series("m", [("a", "2"), ("y", "1")], &[(1, 0.0)])]);
    }

    #[test]
    fn what_cannot_be_held_is_stepped_over_and_counted() {
        let body = packed(|plain| {
            put_bytes(plain, 3, b"\x08\x01");
            let mut inner = Vec::new();
            put_bytes(&mut inner, 1, b"\x0a\x08__name__\x12\x01h");
            put_bytes(&mut inner, 3, b"");
            put_bytes(&mut inner, 4, b"");
            put_bytes(&mut inner, 4, b"");
            // Of a later version: a fixed32, and a field with a long number.
            inner.extend_from_slice(b"\x2d\0\0\0\0\xa0\x06\x01");
            put_bytes(plain, 1, &inner);
        });
        let request = decode(&body, &Limits::default()).unwrap();
        let skipped = Skipped { metadata: 1, exemplars: 1, histograms: 2 };
        assert_eq!(request, Request { series: Vec::new(), skipped });
    }

    #[test]
    fn what_breaks_a_rule_is_refused_in_words_that_name_the_series() {
        let name: (&[u8], &[u8]) = (b"__name__", b"m");
        let long = vec![b'x'; 17 << 10];
        let cases: &[(&[(&[u8], &[u8])], &str)] = &[
            (&[(b"a", b"b")], "the series {a=\"b\"} has no label __name__"),
            (&[(b"__name__", b"")], "has no label __name__"),
            (&[name, (b"", b"b")], "the series m{=\"b\"} has a label without a name"),
            (&[name, (b"a", b"1"), (b"a", b"2")], "has the label \"a\" twice"),
            (&[name, name], "has the label \"__name__\" twice"),
            (&[name, (b"a", b"\xff")], "a label is not UTF-8"),
            (&[name, (b"\xc3\x28", b"")], "a label is not UTF-8"),
            (&[name, (b"a", &long)], "has a value of more than 16384 bytes for \"a\""),
            (&[name, (&long, b"a")], "has a label name of more than 1024 bytes"),
        ];
        for (labels, expected) in cases {
            let said = refused(&body(labels), &Limits::default());
            assert!(said.contains(expected) && said.len() < 1000, "{said}: {expected}");
        }
        let not_ours = |plain: &[u8]| {
            refused(&packed(|into| into.extend_from_slice(plain)), &Limits::default())
        };
        assert!(not_ours(b"\x0a\x05ab").ends_with("it ends within a field"));
        assert!(not_ours(b"\x0a\xff").ends_with("it ends within a number"));
        assert!(not_ours(&[0xff; 11]).ends_with("a number is too long"));
        assert!(not_ours(b"\x0b").ends_with("a field is of an unknown type"));
        assert!(not_ours(b"\x00\x01").ends_with("a field has the number 0"));
        for bytes in [&b""[..], b"hello", b"\xff\xff\xff\xff\xff\xff", b"\x05\x00"] {
            let said = refused(bytes, &Limits::default());
            assert!(said.starts_with("the body is not one snappy block: "), "{said}");
        }
    }

    #[test]
    fn each_dimension_has_its_bound() {
        let sent = [series("a", [("x", "1")], &[(1, 1.0), (2, 2.0)]), series("b", [], &[(1, 1.0)])];
        let body = encode(&sent);
        let exact = Limits {
            bytes: plain_len(&body).unwrap(),
            series: 2,
            samples: 3,
            labels_per_series: 2,
            label_name_bytes: 8,
            label_value_bytes: 1,
            label_bytes_per_series: 11,
        };
        assert_eq!(decode(&body, &exact).unwrap().series, sent);
        let cases = [
            (Limits { bytes: exact.bytes - 1, ..exact.clone() }, "once decompressed"),
            (Limits { series: 1, ..exact.clone() }, "more than 1 series"),
            (Limits { samples: 2, ..exact.clone() }, "more than 2 samples"),
            (Limits { labels_per_series: 1, ..exact.clone() }, "more than 1 labels"),
        ];
        for (limits, expected) in cases {
            let error = decode(&body, &limits).unwrap_err();
            assert!(
                matches!(&error, BodyError::TooLarge(said) if said.contains(expected)),
                "{error}"
            );
        }
        let short = Limits { label_bytes_per_series: 10, ..exact.clone() };
        assert!(refused(&body, &short).contains("has 11 bytes of labels; 10 are allowed"));
        assert!(refused(&body, &Limits { label_name_bytes: 7, ..exact }).contains("label name"));
        // One that says it is huge costs nothing.
        let huge = [&b"\xff\xff\xff\xff\x0f"[..], b"\0"].concat();
        assert!(matches!(decode(&huge, &Limits::default()), Err(BodyError::TooLarge(_))));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_the_same(
            sent in proptest::collection::btree_map(
                ("[a-zé]{1,4}", proptest::collection::btree_map("[a-z]{1,3}", "\\PC{1,6}", 0..4)),
                proptest::collection::vec((any::<i64>(), any::<u64>()), 1..5),
                0..8,
            )
        ) {
            let mut all: Vec<Series> = sent.into_iter().map(|((name, labels), points)| Series {
                name: name.into(),
                labels: Labels::new(labels.into_iter().map(|(n, v)| (n.into(), v.into())).collect()),
                points: points.into_iter().map(|(at, bits)| {
                    (Timestamp::from_millis(at), canonical(f64::from_bits(bits)))
                }).collect(),
            }).collect();
            all.sort_by(|a, b| (&a.name, &a.labels).cmp(&(&b.name, &b.labels)));
            let read = decode(&encode(&all), &Limits::default()).unwrap();
            let bits = |all: &[Series]| -> Vec<(Text, Labels, Vec<(i64, u64)>)> {
                let points = |s: &Series| {
                    s.points.iter().map(|(at, v)| (at.as_millis(), v.to_bits())).collect()
                };
                all.iter().map(|s| (s.name.clone(), s.labels.clone(), points(s))).collect()
            };
            prop_assert_eq!(bits(&read.series), bits(&all));
        }

        #[test]
        fn no_bytes_make_it_panic(plain: Vec<u8>) {
            decode(&plain, &Limits::default()).ok();
            decode(&packed(|into| into.extend_from_slice(&plain)), &Limits::default()).ok();
        }
    }
}
