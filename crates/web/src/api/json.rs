//! Every answer's JSON, written straight into one buffer.
//!
//! `status` comes first and `resultType` before `result`: Grafana reads answers as they come. Of a
//! range the times are written once, and copied for each series.

use farol_query::{
    Answer, Data, Level, Metric, Note, Series, Stats, Steps, Stop, is_absent, print_number,
};
use farol_store::{Point, SeriesKey};

/// Beyond so many of a kind the rest is only counted.
const MOST_NOTES: usize = 10;
const NAME: &str = "__name__";

/// A whole answer; `data` writes what is in it.
pub(crate) fn success(data: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    success_with(&[], data)
}

/// The same with warnings.
pub(crate) fn success_with(warnings: &[String], data: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = b"{\"status\":\"success\",\"data\":".to_vec();
    data(&mut out);
    texts_unless_empty("warnings", warnings, &mut out);
    out.extend_from_slice(b"}\n");
    out
}

pub(crate) fn failure(kind: &str, text: &str) -> Vec<u8> {
    let mut out = b"{\"status\":\"error\",\"errorType\":".to_vec();
    string(kind, &mut out);
    out.extend_from_slice(b",\"error\":");
    string(text, &mut out);
    out.extend_from_slice(b"}\n");
    out
}

/// What goes with an answer.
pub(crate) struct Around<'a> {
    /// The most series; 0 is no limit.
    pub(crate) limit: usize,
    /// Times in seconds, if what the question has cost is asked for.
    pub(crate) cost: Option<Cost>,
    pub(crate) watch: &'a dyn Fn() -> Option<Stop>,
}

/// Seconds.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub waiting: f64,
    pub preparing: f64,
    pub evaluating: f64,
}

/// What stands under `data`, for whoever answers by another way than HTTP.
pub fn data_of(answer: &Answer, cost: Option<Cost>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512 + room_for(&answer.data));
    let around = Around { limit: 0, cost, watch: &|| None };
    data(answer, &around, &mut out).expect("nobody stops it");
    out
}

/// The answer to `query` and `query_range`.
pub(crate) fn answer(answer: &Answer, around: &Around<'_>) -> Result<Vec<u8>, Stop> {
    let mut out = Vec::with_capacity(512 + room_for(&answer.data));
    out.extend_from_slice(b"{\"status\":\"success\",\"data\":");
    let is_cut = data(answer, around, &mut out)?;
    let (mut warnings, infos) = notes(&answer.notes);
    if is_cut {
        warnings.insert(0, TRUNCATED.to_owned());
    }
    texts_unless_empty("warnings", &warnings, &mut out);
    texts_unless_empty("infos", &infos, &mut out);
    out.extend_from_slice(b"}\n");
    Ok(out)
}

/// Whether series were left out.
fn data(answer: &Answer, around: &Around<'_>, out: &mut Vec<u8>) -> Result<bool, Stop> {
    out.extend_from_slice(b"{\"resultType\":\"");
    out.extend_from_slice(result_type(&answer.data).as_bytes());
    out.extend_from_slice(b"\",\"result\":");
    let is_cut = result(&answer.data, around, out)?;
    if let Some(cost) = &around.cost {
        stats(cost, &answer.stats, out);
    }
    out.push(b'}');
    Ok(is_cut)
}

pub(crate) const TRUNCATED: &str = "results truncated due to limit";

fn result_type(data: &Data) -> &'static str {
    match data {
        Data::Scalar { .. } => "scalar",
        Data::Text { .. } => "string",
        Data::Vector { .. } => "vector",
        Data::Matrix(_) | Data::Steps { .. } => "matrix",
    }
}

/// About so many bytes.
fn room_for(data: &Data) -> usize {
    const METRIC: usize = 200;
    const POINT: usize = 36;
    match data {
        Data::Scalar { .. } => 64,
        Data::Text { text, .. } => 64 + text.len(),
        Data::Vector { samples, .. } => samples.len() * (METRIC + POINT),
        Data::Matrix(series) => {
            series.iter().map(|(_, points)| METRIC + points.len() * POINT).sum()
        }
        Data::Steps { steps, series } => series.len() * (METRIC + steps.count * POINT),
    }
}

/// Whether series were left out.
fn result(data: &Data, around: &Around<'_>, out: &mut Vec<u8>) -> Result<bool, Stop> {
    match data {
        Data::Scalar { at, value } => {
            open_point(*at, out);
            close_point(*value, out);
            Ok(false)
        }
        Data::Text { at, text } => {
            out.push(b'[');
            time(*at, out);
            out.push(b',');
            string(text, out);
            out.push(b']');
            Ok(false)
        }
        Data::Vector { at, samples } => {
            series_list(samples, around, out, |(metric, value), out| {
                open_series(metric, out);
                out.extend_from_slice(b",\"value\":");
                open_point(*at, out);
                close_point(*value, out);
                out.push(b'}');
            })
        }
        Data::Matrix(series) => series_list(series, around, out, |(metric, points), out| {
            open_series(metric, out);
            out.extend_from_slice(b",\"values\":[");
            for (place, Point { at, value }) in points.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                open_point(at.as_millis(), out);
                close_point(*value, out);
            }
            out.extend_from_slice(b"]}");
        }),
        Data::Steps { steps, series } => {
            let steps = if series.is_empty() { Steps::one(0) } else { *steps };
            let betweens = Between::of(steps);
            series_list(series, around, out, |series, out| over_steps(&betweens, series, out))
        }
    }
}

fn series_list<S>(
    series: &[S],
    around: &Around<'_>,
    out: &mut Vec<u8>,
    mut write: impl FnMut(&S, &mut Vec<u8>),
) -> Result<bool, Stop> {
    let count = if around.limit == 0 { series.len() } else { series.len().min(around.limit) };
    out.push(b'[');
    for (place, series) in series.iter().take(count).enumerate() {
        if let Some(stop) = (around.watch)() {
            return Err(stop);
        }
        if place > 0 {
            out.push(b',');
        }
        write(series, out);
    }
    out.push(b']');
    Ok(count < series.len())
}

/// What stands between two values of a series: the end of one point and the beginning of the next,
/// `"],[1700000000.050,"`. All are copied with their full length, which is known, and then cut.
struct Between {
    text: [u8; Between::MOST],
    len: u8,
}

impl Between {
    /// Enough for the times that an `i64` holds.
    const MOST: usize = 32;
    /// The end of the point before.
    const END: &[u8] = b"\"],";

    fn of(steps: Steps) -> Vec<Between> {
        let mut scratch = Vec::with_capacity(Between::MOST);
        steps.times().map(|at| Between::new(at, &mut scratch)).collect()
    }

    fn new(at: i64, written: &mut Vec<u8>) -> Between {
        written.clear();
        written.extend_from_slice(Between::END);
        open_point(at, written);
        let mut text = [0; Between::MOST];
        text[..written.len()].copy_from_slice(written);
        Between { text, len: written.len() as u8 }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&self.text);
        out.truncate(begin + usize::from(self.len));
    }
}

fn over_steps(betweens: &[Between], series: &Series, out: &mut Vec<u8>) {
    open_series(&series.metric, out);
    out.extend_from_slice(b",\"values\":[");
    let mut present = betweens.iter().zip(&series.values).filter(|(_, value)| !is_absent(**value));
    if let Some((between, value)) = present.next() {
        out.extend_from_slice(&between.text[Between::END.len()..usize::from(between.len)]);
        print_number(*value, out);
        for (between, value) in present {
            between.write(out);
            print_number(*value, out);
        }
        out.extend_from_slice(b"\"]");
    }
    out.extend_from_slice(b"]}");
}

/// `{"metric":{…}`
fn open_series(metric: &Metric, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"metric\":");
    let name = if metric.drops_name { "" } else { metric.name.as_str() };
    let pairs = metric.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    labels(name, pairs, out);
}

pub(crate) fn key(key: &SeriesKey, out: &mut Vec<u8>) {
    let pairs = key.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    labels(&key.name, pairs, out);
}

/// The name has its place among the labels, which are sorted.
fn labels<'a>(name: &'a str, pairs: impl Iterator<Item = (&'a str, &'a str)>, out: &mut Vec<u8>) {
    let mut name = Some(name).filter(|name| !name.is_empty());
    let begin = out.len();
    out.push(b'{');
    for (label, value) in pairs {
        if label > NAME
            && let Some(name) = name.take()
        {
            member(begin, NAME, name, out);
        }
        member(begin, label, value, out);
    }
    if let Some(name) = name {
        member(begin, NAME, name, out);
    }
    out.push(b'}');
}

fn member(object: usize, key: &str, value: &str, out: &mut Vec<u8>) {
    if out.len() > object + 1 {
        out.push(b',');
    }
    string(key, out);
    out.push(b':');
    string(value, out);
}

fn open_point(at: i64, out: &mut Vec<u8>) {
    out.push(b'[');
    time(at, out);
    out.extend_from_slice(b",\"");
}

fn close_point(value: f64, out: &mut Vec<u8>) {
    print_number(value, out);
    out.extend_from_slice(b"\"]");
}

/// Seconds; of a fraction always three digits.
pub(crate) fn time(millis: i64, out: &mut Vec<u8>) {
    if millis < 0 {
        out.push(b'-');
    }
    let millis = millis.unsigned_abs();
    out.extend_from_slice(itoa::Buffer::new().format(millis / 1000).as_bytes());
    let fraction = millis % 1000;
    if fraction > 0 {
        let digits = [fraction / 100, fraction / 10 % 10, fraction % 10];
        out.push(b'.');
        out.extend(digits.map(|digit| b'0' + digit as u8));
    }
}

pub(crate) fn number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// What may stand in a string as it is, is copied in stretches.
pub(crate) fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut begin = 0;
    for (place, byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => b"",
            _ => continue,
        };
        out.extend_from_slice(&bytes[begin..place]);
        begin = place + 1;
        if escape.is_empty() {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[DIGITS[high], DIGITS[low]]);
        } else {
            out.extend_from_slice(escape);
        }
    }
    out.extend_from_slice(&bytes[begin..]);
    out.push(b'"');
}

/// `[…]` of what `write` makes of each.
pub(crate) fn list<T>(
    items: impl IntoIterator<Item = T>,
    out: &mut Vec<u8>,
    mut write: impl FnMut(T, &mut Vec<u8>),
) {
    out.push(b'[');
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(b']');
}

fn texts_unless_empty(key: &str, texts: &[String], out: &mut Vec<u8>) {
    if texts.is_empty() {
        return;
    }
    out.push(b',');
    string(key, out);
    out.push(b':');
    list(texts, out, |text, out| string(text, out));
}

/// Warnings and infos, each with a line about those that were left out.
fn notes(notes: &[Note]) -> (Vec<String>, Vec<String>) {
    let of = |level: Level, word: &str| {
        let all: Vec<&Note> = notes.iter().filter(|note| note.level == level).collect();
        let shown = all.iter().take(MOST_NOTES).map(|note| note.text.clone());
        let mut texts: Vec<String> = shown.collect();
        if all.len() > MOST_NOTES {
            texts.push(format!("{} more {word} annotations omitted", all.len() - MOST_NOTES));
        }
        texts
    };
    (of(Level::Warning, "warning"), of(Level::Info, "info"))
}

fn stats(cost: &Cost, stats: &Stats, out: &mut Vec<u8>) {
    let total = cost.waiting + cost.preparing + cost.evaluating;
    let timings = [
        ("evalTotalTime", cost.preparing + cost.evaluating),
        ("resultSortTime", 0.0),
        ("queryPreparationTime", cost.preparing),
        ("innerEvalTime", cost.evaluating),
        ("execQueueTime", cost.waiting),
        ("execTotalTime", total),
    ];
    out.extend_from_slice(b",\"stats\":{\"timings\":{");
    for (place, (name, seconds)) in timings.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        string(name, out);
        out.push(b':');
        print_number(seconds, out);
    }
    out.extend_from_slice(b"},\"samples\":{\"totalQueryableSamples\":");
    number(stats.samples, out);
    out.extend_from_slice(b",\"peakSamples\":");
    number(stats.peak_samples, out);
    out.extend_from_slice(b"}}");
}

#[cfg(test)]
mod tests {
    use farol_model::{Labels, Timestamp};
    use farol_query::ABSENT;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn plain() -> Around<'static> {
        Around { limit: 0, cost: None, watch: &|| None }
    }

    fn of(data: Data, around: &Around<'_>) -> String {
        let given = Answer { data, notes: Vec::new(), stats: Stats::default() };
        String::from_utf8(answer(&given, around).unwrap()).unwrap()
    }

    fn metric(name: &str, labels: Labels) -> Metric {
        Metric::new(name.into(), labels)
    }

    #[test]
    fn times_are_seconds_with_three_digits_or_none() {
        for (millis, expected) in [
            (0, "0"),
            (1_700_000_000_000, "1700000000"),
            (1_700_000_000_050, "1700000000.050"),
            (1, "0.001"),
            (-1, "-0.001"),
            (-1500, "-1.500"),
            (i64::MIN, "-9223372036854775.808"),
            (i64::MAX, "9223372036854775.807"),
        ] {
            assert_eq!(written(|out| time(millis, out)), expected);
        }
    }

    #[test]
    fn strings_are_what_any_reader_of_json_reads() {
        for text in ["", "a", "\"\\\u{0}\n\r\t\u{1f}\u{7f}", "C:\\x", "ü→🦀", "\u{2028}</script>"]
        {
            let json = written(|out| string(text, out));
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text, "{json}");
        }
    }

    #[test]
    fn the_name_has_its_place_among_sorted_labels() {
        let json = |name: &str, labels: Labels| {
            let mut out = Vec::new();
            open_series(&metric(name, labels), &mut out);
            String::from_utf8(out).unwrap()
        };
        let labels = Labels::from([("Zone", "z"), ("__a__", "1"), ("__x__", "2"), ("job", "j")]);
        assert_eq!(
            json("up", labels.clone()),
            r#"{"metric":{"Zone":"z","__a__":"1","__name__":"up","__x__":"2","job":"j"}"#
        );
        assert_eq!(json("up", Labels::empty()), r#"{"metric":{"__name__":"up"}"#);
        assert_eq!(json("", Labels::empty()), r#"{"metric":{}"#);
        let dropped = Metric { drops_name: true, ..metric("up", Labels::from([("a", "b")])) };
        assert_eq!(written(|out| open_series(&dropped, out)), r#"{"metric":{"a":"b"}"#);
    }

    #[test]
    fn every_kind_of_result_has_its_shape() {
        let scalar = of(Data::Scalar { at: 1500, value: 2.0 }, &plain());
        assert_eq!(
            scalar,
            "{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\",\"result\":[1.500,\"2\"]}}\n"
        );
        let text = of(Data::Text { at: 1000, text: "a\"b".into() }, &plain());
        assert!(text.contains(r#"{"resultType":"string","result":[1,"a\"b"]}"#), "{text}");
        let samples = vec![(metric("up", Labels::empty()), f64::INFINITY)];
        let vector = of(Data::Vector { at: 1000, samples }, &plain());
        assert!(
            vector.contains(
                r#"{"resultType":"vector","result":[{"metric":{"__name__":"up"},"value":[1,"+Inf"]}]}"#
            ),
            "{vector}"
        );
        let at = Timestamp::from_millis;
        let points = vec![Point { at: at(1), value: 0.5 }, Point { at: at(2000), value: f64::NAN }];
        let matrix = of(Data::Matrix(vec![(metric("", Labels::empty()), points)]), &plain());
        assert!(
            matrix.contains(r#"[{"metric":{},"values":[[0.001,"0.5"],[2,"NaN"]]}]"#),
            "{matrix}"
        );
        for data in [
            Data::Matrix(Vec::new()),
            Data::Vector { at: 0, samples: Vec::new() },
            Data::Steps { steps: Steps::new(0, 10_000, 1000), series: Vec::new() },
        ] {
            assert!(of(data, &plain()).contains("\"result\":[]}"), "empty, and never null");
        }
    }

    fn steps(values: &[&[f64]]) -> Data {
        let series = values.iter().enumerate().map(|(place, values)| Series {
            metric: metric("m", Labels::from([("n", place.to_string().as_str())])),
            values: values.to_vec(),
        });
        Data::Steps { steps: Steps::new(-500, 500, 500), series: series.collect() }
    }

    #[test]
    fn the_farthest_times_have_room() {
        for start in [i64::MIN, i64::MAX] {
            let series = vec![Series { metric: Metric::default(), values: vec![1.0] }];
            let mut expected = b"\"values\":[[".to_vec();
            time(start, &mut expected);
            expected.extend_from_slice(b",\"1\"]]");
            let json = of(Data::Steps { steps: Steps::one(start), series }, &plain());
            assert!(json.contains(str::from_utf8(&expected).unwrap()), "{json}");
        }
    }

    #[test]
    fn steps_without_a_value_are_left_out() {
        let json = of(steps(&[&[ABSENT, 1.0, ABSENT], &[1.0, ABSENT, 2.0]]), &plain());
        let expected = r#"[{"metric":{"__name__":"m","n":"0"},"values":[[0,"1"]]},{"metric":{"__name__":"m","n":"1"},"values":[[-0.500,"1"],[0.500,"2"]]}]"#;
        assert!(json.contains(expected), "{json}");
    }

    #[test]
    fn a_limit_cuts_and_says_so() {
        let values: [&[f64]; 2] = [&[1.0, 1.0, 1.0], &[2.0, 2.0, 2.0]];
        let cut = of(steps(&values), &Around { limit: 1, ..plain() });
        assert!(cut.contains(r#""warnings":["results truncated due to limit"]"#), "{cut}");
        assert!(!cut.contains(r#""n":"1""#), "{cut}");
        let whole = of(steps(&values), &Around { limit: 2, ..plain() });
        assert!(!whole.contains("warnings") && whole.contains(r#""n":"1""#), "{whole}");
    }

    #[test]
    fn notes_are_ten_of_a_kind_and_a_line_about_the_rest() {
        let note = |level, n: usize| Note { level, text: format!("{n:02}") };
        let warnings = (0..13).map(|n| note(Level::Warning, n));
        let notes = warnings.chain((0..3).map(|n| note(Level::Info, n))).collect();
        let data = Data::Scalar { at: 0, value: 0.0 };
        let given = Answer { data, notes, stats: Stats::default() };
        let json: serde_json::Value =
            serde_json::from_slice(&answer(&given, &plain()).unwrap()).unwrap();
        let warnings = json["warnings"].as_array().unwrap();
        assert_eq!((warnings.len(), &warnings[9]), (11, &"09".into()));
        assert_eq!(warnings[10], "3 more warning annotations omitted");
        assert_eq!(json["infos"], serde_json::json!(["00", "01", "02"]));
    }

    #[test]
    fn what_a_question_has_cost_is_told_in_prometheus_words() {
        let cost = Cost { waiting: 0.5, preparing: 0.25, evaluating: 1.0 };
        let around = Around { cost: Some(cost), ..plain() };
        let data = Data::Scalar { at: 0, value: 0.0 };
        let stats = Stats { samples: 7, peak_samples: 5, series: 1 };
        let given = Answer { data, notes: Vec::new(), stats };
        let json: serde_json::Value =
            serde_json::from_slice(&answer(&given, &around).unwrap()).unwrap();
        assert_eq!(
            json["data"]["stats"],
            serde_json::json!({
                "timings": {
                    "evalTotalTime": 1.25,
                    "resultSortTime": 0,
                    "queryPreparationTime": 0.25,
                    "innerEvalTime": 1,
                    "execQueueTime": 0.5,
                    "execTotalTime": 1.75,
                },
                "samples": { "totalQueryableSamples": 7, "peakSamples": 5 },
            })
        );
    }

    #[test]
    fn writing_stops_between_two_series() {
        let asked = std::cell::Cell::new(0);
        let watch = || {
            asked.set(asked.get() + 1);
            (asked.get() > 1).then_some(Stop::Canceled)
        };
        let values: [&[f64]; 3] = [&[1.0; 3], &[2.0; 3], &[3.0; 3]];
        let given = Answer { data: steps(&values), notes: Vec::new(), stats: Stats::default() };
        let around = Around { limit: 0, cost: None, watch: &watch };
        assert_eq!(answer(&given, &around).unwrap_err(), Stop::Canceled);
        assert_eq!(asked.get(), 2);
    }
}
