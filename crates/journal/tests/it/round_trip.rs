//! Any history, written and read back, equals itself.

use std::{path::Path, sync::Arc};

use farol_disk::Disk;
use farol_journal::{Decoder, Item, StartAt, full_line, upkeep, verify};
use farol_model::{
    Batch, Labels, Lane, Record, STALE, Sample, Series, Stream, Text, Timestamp, TopProcess,
};
use proptest::prelude::*;

use crate::history::{
    DIR, at, drain, event, lines, memory, open, ordinary, plain, plain_all, raws, read_all, reader,
    small_settings, snapshot, snapshot_with_top, two_processes, universe, whole,
};

/// One thing that happens to the machine or to the journal.
#[derive(Clone, Debug)]
enum Deed {
    /// The clock moves by so many seconds, then the lane ticks.
    Tick {
        lane: Lane,
        seconds: i64,
        fresh_text: bool,
        top: Vec<TopProcess>,
    },
    Set {
        series: usize,
        value: Option<f64>,
    },
    Event(String),
    /// Samples of these series come: seconds and values.
    Received(Vec<(usize, Vec<(i64, f64)>)>),
    Restart,
}

fn deed() -> impl Strategy<Value = Deed> {
    let lane = prop_oneof![3 => Just(Lane::Fast), 1 => Just(Lane::Slow)];
    let seconds = prop_oneof![
        8 => Just(1_i64), 2 => 2..90_i64, 1 => -200..200_i64, 1 => -400_000..400_000_i64
    ];
    let value = prop_oneof![
        4 => (-1000..1000_i32).prop_map(f64::from),
        4 => any::<f64>(),
        1 => Just(-0.0), 1 => Just(f64::INFINITY), 1 => Just(f64::NEG_INFINITY),
        1 => Just(f64::NAN),
    ];
    prop_oneof![
        8 => (lane, seconds, any::<bool>(), proptest::collection::vec(process(), 0..4)).prop_map(
            |(lane, seconds, fresh_text, top)| Deed::Tick { lane, seconds, fresh_text, top },
        ),
        8 => (0..universe().len(), proptest::option::weighted(0.8, value))
            .prop_map(|(series, value)| Deed::Set { series, value }),
        1 => any::<String>().prop_map(Deed::Event),
        2 => proptest::collection::vec((0..universe().len(), points()), 0..5)
            .prop_map(Deed::Received),
        1 => Just(Deed::Restart),
    ]
}

fn points() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let value = prop_oneof![4 => any::<f64>(), 1 => Just(STALE), 1 => Just(f64::NAN)];
    proptest::collection::vec((any::<i64>(), value), 0..4)
}

fn process() -> impl Strategy<Value = TopProcess> {
    let text = || proptest::option::of(any::<String>().prop_map(Text::from));
    let texts = (any::<String>().prop_map(Text::from), text(), text(), text(), text());
    let figures = (
        any::<u32>(),
        any::<Option<f64>>(),
        any::<u64>(),
        any::<Option<u64>>(),
        any::<Option<u64>>(),
    );
    (texts, figures).prop_map(|((name, user, unit, container, command), figures)| {
        let (pid, cpu_ratio, resident_bytes, read, written) = figures;
        TopProcess {
            pid,
            name,
            user,
            unit,
            container,
            command,
            cpu_ratio,
            resident_bytes,
            read_bytes_per_second: read,
            written_bytes_per_second: written,
        }
    })
}

/// The deeds' records, `None` for a restart.
fn play(deeds: &[Deed]) -> Vec<Option<Record>> {
    let series = universe();
    let mut values: Vec<Option<f64>> = vec![Some(1.0); series.len()];
    let mut now = 0;
    let mut records = Vec::new();
    for deed in deeds {
        match deed {
            Deed::Set { series, value } => values[*series] = *value,
            Deed::Event(message) => records.push(Some(event(now, message))),
            Deed::Received(sent) => records.push(Some(received(now, sent))),
            Deed::Restart => records.push(None),
            Deed::Tick { lane, seconds, fresh_text, top } => {
                now += seconds;
                let present = series.iter().zip(&values);
                let samples = present.filter_map(|((name, labels), value)| {
                    let (name, labels) = if *fresh_text {
                        copied(name, labels)
                    } else {
                        (name.clone(), labels.clone())
                    };
                    Some(Sample { name, labels, value: (*value)? })
                });
                let top = top.clone();
                records.push(Some(snapshot_with_top(*lane, at(now), samples.collect(), top)));
            }
        }
    }
    records
}

fn received(seconds: i64, sent: &[(usize, Vec<(i64, f64)>)]) -> Record {
    let series = sent.iter().map(|(series, points)| {
        let (name, labels) = universe()[*series].clone();
        let points = points.iter().map(|(at, value)| (Timestamp::from_millis(*at), *value));
        Series { name, labels, points: points.collect() }
    });
    Record::Received(Batch { at: at(seconds), series: series.collect() }.into())
}

/// The same text in another place, as from a collector that does not share.
fn copied(name: &Text, labels: &Labels) -> (Text, Labels) {
    let pairs = labels.iter().map(|(n, v)| (Text::from(n.as_str()), Text::from(v.as_str())));
    (Text::from(name.as_str()), Labels::new(pairs.collect()))
}

proptest! {
    #[test]
    fn any_history_equals_itself_plain_packed_and_from_any_line(
        deeds in proptest::collection::vec(deed(), 1..60),
        resume_at in any::<prop::sample::Index>(),
    ) {
        let settings = small_settings();
        let disk = memory();
        let mut journal = open(&disk, &settings);
        let mut written = Vec::new();
        for record in play(&deeds) {
            let Some(record) = record else {
                drop(journal);
                journal = open(&disk, &settings);
                continue;
            };
            let position = journal.append(&record).unwrap();
            written.push((position, record));
        }
        for stream in [Stream::Metrics, Stream::Events, Stream::Received] {
            let ours: Vec<_> = written.iter().filter(|(p, _)| p.stream == stream).collect();
            let expected = plain_all(ours.iter().map(|(_, record)| record));
            let items = read_all(&disk, stream);
            prop_assert_eq!(whole(&items), expected.clone());
            let positions: Vec<_> = lines(&items).iter().map(|line| line.position).collect();
            prop_assert_eq!(positions, ours.iter().map(|(p, _)| *p).collect::<Vec<_>>());

            let report = upkeep(&disk, Path::new(DIR), &settings, journal.open_segments());
            prop_assert!(report.errors.is_empty(), "{:?}", report.errors);
            let packed = read_all(&disk, stream);
            prop_assert_eq!(raws(&packed), raws(&items));
            prop_assert_eq!(whole(&packed), expected.clone());
            if !ours.is_empty() {
                let first = resume_at.index(ours.len());
                let from = StartAt::Position(ours[first].0);
                let rest = drain(&mut reader(&disk, stream, from));
                prop_assert_eq!(whole(&rest), &expected[first..]);
            }
        }
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let report = verify(&disk, Path::new(DIR)).unwrap();
        prop_assert!(report.is_sound() && report.gaps.is_empty());
        prop_assert_eq!(report.files.iter().map(|f| f.lines).sum::<u64>(), written.len() as u64);
    }

    #[test]
    fn a_record_written_as_a_full_line_needs_no_other(
        deeds in proptest::collection::vec(deed(), 1..8),
    ) {
        for record in play(&deeds).into_iter().flatten() {
            let line = full_line(&record, 7);
            let decoded = Decoder::new().decode(&line[..line.len() - 1]).unwrap().unwrap();
            prop_assert!(decoded.complete);
            prop_assert_eq!(decoded.seq, 7);
            prop_assert_eq!(plain(&decoded.record), plain(&record));
        }
    }
}

/// The lines of `docs/formats/journal.md`: whoever changes them changes the format.
#[test]
fn lines_are_what_the_format_says_byte_for_byte() {
    let disk = memory();
    let mut journal = open(&disk, &small_settings());
    let text = Text::from_static;
    let series = |name, labels: Labels, value| Sample { name: text(name), labels, value };
    let idle = Labels::from([("cpu", "0"), ("mode", "idle")]);
    let user = Labels::from([("cpu", "0"), ("mode", "user")]);
    let chip = Labels::from([("chip", "a\"b")]);
    let first = vec![
        series("node_cpu_seconds_total", idle.clone(), 123.5),
        series("node_cpu_seconds_total", user.clone(), 7.0),
        series("node_hwmon_temp_celsius", chip, 41.0),
        series("node_load1", Labels::empty(), 0.5),
    ];
    let second = vec![
        series("node_cpu_seconds_total", idle, 124.5),
        series("node_cpu_seconds_total", user, 7.0),
        series("node_load1", Labels::empty(), f64::NAN),
        series("node_up", Labels::empty(), 1.0),
        series("node_up", Labels::from([("b", "c")]), -0.0),
    ];
    journal.append(&snapshot(Lane::Fast, at(0), first)).unwrap();
    journal.append(&snapshot(Lane::Fast, at(1), second)).unwrap();
    journal.append(&event(2, "hello")).unwrap();
    let file = |name: &str| {
        let bytes = disk.get(&Path::new(DIR).join(name)).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let errors = concat!(
        r#""errors":{"hwmon":{"absent":["no \"sensor\" here"]},"#,
        r#""netdev":{"partial":["eth0","eth1\n"]}},"#
    );
    let about = concat!(
        r#""host":"farol-host","lane":"fast","interval":0.5,"state":"WARNING","#,
        r#""metrics":{"cpu_percent":12.25,"latency_ms":"NaN"},"#
    );
    let full = format!(
        "{}{about}{}{errors}",
        r#"{"seq":0,"ts":"2026-11-22T10:00:00.000Z","kind":"full","#,
        concat!(
            r#""samples":{"node_cpu_seconds_total":{"cpu=\"0\",mode=\"idle\"":123.5,"#,
            r#""cpu=\"0\",mode=\"user\"":7},"node_hwmon_temp_celsius":{"chip=\"a\\\"b\"":41},"#,
            r#""node_load1":0.5},"#
        ),
    );
    let sparse = format!(
        "{}{about}{}{errors}",
        r#"{"seq":1,"ts":"2026-11-22T10:00:01.000Z","kind":"sparse","base":0,"#,
        concat!(
            r#""samples":{"node_cpu_seconds_total":{"cpu=\"0\",mode=\"idle\"":124.5},"#,
            r#""node_load1":"NaN","node_up":{"":1,"b=\"c\"":-0.0}},"#,
            r#""gone":{"node_hwmon_temp_celsius":["chip=\"a\\\"b\""]},"#
        ),
    );
    let metrics = file("metrics-2026-11-22-0000000001.jsonl");
    let sealed: Vec<_> = [full, sparse].iter().map(|body| sealed(body)).collect();
    assert_eq!(metrics, sealed.concat());
    let event = concat!(
        r#"{"seq":0,"ts":"2026-11-22T10:00:02.000Z","kind":"event","host":"farol-host","#,
        r#""event":"started","message":"hello","fields":{"version":"0.1.0\n"},"#
    );
    assert_eq!(file("events-2026-11-22-0000000001.jsonl"), sealed_line(event));
}

#[test]
fn what_was_received_stands_by_name_and_label_set_with_its_own_times() {
    let disk = memory();
    let mut journal = open(&disk, &small_settings());
    let sent = [
        (2, vec![(1_795_341_600_000, 1.0), (-5, STALE)]),
        (0, vec![(3, f64::NAN), (2, f64::INFINITY)]),
        (1, vec![(i64::MIN, -0.0)]),
        (3, vec![(0, 0.1)]),
        (4, Vec::new()),
    ];
    let record = received(7, &sent);
    journal.append(&record).unwrap();
    let expected = concat!(
        r#"{"seq":0,"ts":"2026-11-22T10:00:07.000Z","kind":"received","received":{"a_total":{"#,
        r#""cpu=\"1\",mode=\"idle\"":[[1795341600000,1],[-5,"stale"]],"#,
        r#""cpu=\"0\",mode=\"idle\"":[[3,"NaN"],[2,"+Inf"]],"#,
        r#""cpu=\"0\",mode=\"user\"":[[-9223372036854775808,-0.0]]},"#,
        r#""both":{"":[[0,0.1]],"x=\"y\"":[]}},"#
    );
    let bytes = disk.get(&Path::new(DIR).join("received-2026-11-22-0000000001.jsonl")).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), sealed_line(expected));
    assert_eq!(whole(&read_all(&disk, Stream::Received)), [plain(&record)]);
}

#[test]
fn a_received_line_that_is_not_one_is_refused() {
    let line = |received: &str| {
        let head = r#"{"seq":0,"ts":"2026-11-22T10:00:00.000Z","kind":"received""#;
        let line = sealed_line(&format!("{head}{received},"));
        Decoder::new().decode(line.trim_end().as_bytes())
    };
    assert!(line(r#","received":{"a":{"":[[1,2]]}},"later":[1]"#).is_ok());
    let refusals = [
        ("", "has no received"),
        (r#","received":[]"#, "expected an object"),
        (r#","received":{"a":1}"#, "expected an object"),
        (r#","received":{"a":{"":[[1]]}}"#, "invalid length 1"),
        (r#","received":{"a":{"":[[1,2,3]]}}"#, ""),
        (r#","received":{"a":{"":[[1.5,2]]}}"#, "expected i64"),
        (r#","received":{"a":{"":[[1,"what"]]}}"#, "or \"stale\""),
        (r#","received":{"a":{"x":[[1,2]]}}"#, "is not a label set"),
    ];
    for (received, reason) in refusals {
        let refused = line(received).unwrap_err();
        assert!(refused.contains(reason), "{received}: {refused}");
    }
}

/// Whole in full and in sparse lines, and nothing where there is no row.
#[test]
fn the_largest_processes_stand_in_each_line_of_their_lane() {
    let disk = memory();
    let mut journal = open(&disk, &small_settings());
    for seconds in [0, 1] {
        let record = snapshot_with_top(Lane::Slow, at(seconds), Vec::new(), two_processes());
        journal.append(&record).unwrap();
    }
    journal.append(&ordinary(Lane::Fast, 2)).unwrap();
    let items = read_all(&disk, Stream::Metrics);
    let expected = concat!(
        r#","top":[{"pid":812,"name":"mysqld","user":"mysql","unit":"mysql.service","#,
        r#""container":"4c0f","command":"/usr/sbin/\"mysqld\"","cpu_ratio":0.25,"#,
        r#""resident_bytes":412090368,"read_bytes_per_second":0,"#,
        r#""written_bytes_per_second":18446744073709551615},"#,
        r#"{"pid":2,"name":"kthreadd","resident_bytes":0}],"crc":""#
    );
    let texts: Vec<String> =
        raws(&items).into_iter().map(|(_, raw)| String::from_utf8(raw).unwrap()).collect();
    for (text, kind) in texts.iter().zip(["full", "sparse"]) {
        assert!(text.contains(&format!(r#""kind":"{kind}""#)), "{text}");
        assert!(text.contains(expected), "{text}");
    }
    assert!(!texts[2].contains("top"), "{}", texts[2]);
}

#[test]
fn a_list_of_processes_without_bound_or_without_a_pid_is_refused() {
    let line = |rows: &str| {
        let body = concat!(
            r#"{"seq":0,"ts":"2026-11-22T10:00:00.000Z","kind":"full","host":"pi","lane":"slow","#,
            r#""interval":1,"state":"UNKNOWN","metrics":{},"samples":{},"errors":{},"top":["#
        );
        let line = sealed_line(&format!("{body}{rows}],"));
        Decoder::new().decode(line.trim_end().as_bytes()).map(|decoded| decoded.unwrap().record)
    };
    let row = r#"{"pid":1,"name":"init","resident_bytes":1,"later":[{}]}"#;
    let Ok(Record::Snapshot(snapshot)) = line(&vec![row; 100].join(",")) else { panic!("100") };
    assert_eq!(snapshot.top.len(), 100);
    let refusals = [
        (vec![row; 101].join(","), "more than 100 rows"),
        (r#"{"name":"init","resident_bytes":1}"#.to_owned(), "missing field `pid`"),
        (r#"{"pid":1,"resident_bytes":1}"#.to_owned(), "missing field `name`"),
        (r#"{"pid":1,"name":"init"}"#.to_owned(), "missing field `resident_bytes`"),
        (r#"{"pid":4294967296,"name":"","resident_bytes":1}"#.to_owned(), "4294967296"),
        (r#"{"pid":1,"name":"init","resident_bytes":-1}"#.to_owned(), "-1"),
    ];
    for (rows, reason) in refusals {
        let refused = line(&rows).unwrap_err();
        assert!(refused.contains(reason), "{refused}");
    }
}

fn sealed(body: &str) -> String {
    sealed_line(body)
}

/// A line by the book: the checksum is over all before the comma that leads to it.
fn sealed_line(body_and_comma: &str) -> String {
    let body = body_and_comma.strip_suffix(',').unwrap();
    format!("{body},\"crc\":\"{:08x}\"}}\n", crc32fast::hash(body.as_bytes()))
}

#[test]
fn a_lane_writes_a_full_line_each_minute_and_after_a_step_back() {
    let disk = memory();
    let mut journal = open(&disk, &farol_journal::Settings::default());
    let mut kinds = Vec::new();
    for seconds in [0, 1, 59, 60, 61, 30, 31, 95] {
        journal.append(&ordinary(Lane::Fast, seconds)).unwrap();
    }
    journal.append(&ordinary(Lane::Slow, 95)).unwrap();
    for item in read_all(&disk, Stream::Metrics) {
        let Item::Line(line) = item else { panic!("{item:?}") };
        let raw = String::from_utf8(line.raw).unwrap();
        kinds.push(if raw.contains(r#""kind":"full""#) { 'F' } else { 's' });
    }
    assert_eq!(kinds.iter().collect::<String>(), "FssFsFsFF");
}

#[test]
fn text_is_shared_between_the_snapshots_that_are_read() {
    let disk = memory();
    let mut journal = open(&disk, &farol_journal::Settings::default());
    for seconds in [0, 1, 60, 61] {
        journal.append(&ordinary(Lane::Fast, seconds)).unwrap();
    }
    let items = read_all(&disk, Stream::Metrics);
    let snapshots: Vec<_> = lines(&items)
        .iter()
        .map(|line| match &line.record {
            Record::Snapshot(snapshot) => snapshot.clone(),
            _ => panic!("{line:?}"),
        })
        .collect();
    for pair in snapshots.windows(2) {
        for (a, b) in pair[0].samples.iter().zip(&pair[1].samples) {
            assert!(a.name.same_place(&b.name) && a.labels.same_place(&b.labels));
        }
    }
}
