//! Samples that others send: a real Prometheus, and a sender of the test's own that is never quite
//! sure whether something arrived.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use farol_disk::{Disk, RealDisk};
use farol_model::{Labels, STALE, Series, Text, Timestamp, is_stale};
use farol_store::{Matcher, Op, Point, Range};
use farol_wire::remote_write;

use crate::{
    export::{Peer, free_address},
    world::{DEADLINE, Farol, eventually, journal_lines, rounds, try_get, value_of},
};

pub(crate) const RECEIVER: &str = "--web.enable-remote-write-receiver";

/// By series as text, then by time in milliseconds, the value's bits.
type Samples = BTreeMap<String, BTreeMap<i64, u64>>;

/// All of the series `fixture_…` that are in the store and in the journal beyond it, markers included.
fn stored(folder: &Path) -> Samples {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let config = farol_store::Config::new(folder.join("data/store"));
    let looked = farol::look::look_at(&disk, &folder.join("logs"), config).unwrap();
    let names = Matcher::new("__name__", Op::Matches, "fixture_.+").unwrap();
    let mut selection = looked.store.reader().select(&[names], Range::ALL, None);
    let mut found = Samples::new();
    for (index, key) in selection.series().to_vec().into_iter().enumerate() {
        let mut points: Vec<Point> = Vec::new();
        selection.samples(index, &mut points);
        let points = points.iter().map(|point| (point.at.as_millis(), point.value.to_bits()));
        found.insert(series_text(&key.name, &key.labels), points.collect());
    }
    assert!(selection.damage().is_empty());
    found
}

fn series_text(name: &str, labels: &Labels) -> String {
    format!("{name}{labels:?}")
}

/// Without stale markers, which no query shows, and with one NaN for all.
fn plain(samples: &Samples) -> Samples {
    let bits = |bits: u64| {
        let value = f64::from_bits(bits);
        if value.is_nan() { f64::NAN.to_bits() } else { bits }
    };
    let plain = |points: &BTreeMap<i64, u64>| -> BTreeMap<i64, u64> {
        let values = points.iter().filter(|(_, bits)| !is_stale(f64::from_bits(**bits)));
        values.map(|(at, value)| (*at, bits(*value))).collect()
    };
    samples.iter().map(|(key, points)| (key.clone(), plain(points))).collect()
}

/// An exporter of a few series, one of which goes away when it is told to.
struct Exporter {
    address: String,
    scrapes: Arc<AtomicUsize>,
    gone_after: Arc<AtomicUsize>,
}

impl Exporter {
    fn start() -> Exporter {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (scrapes, gone_after) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(usize::MAX)));
        let (counter, limit) = (Arc::clone(&scrapes), Arc::clone(&gone_after));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let scrape = counter.fetch_add(1, Ordering::SeqCst);
                let is_gone = scrape >= limit.load(Ordering::SeqCst);
                answer_scrape(&mut stream.unwrap(), scrape, is_gone).ok();
            }
        });
        Exporter { address, scrapes, gone_after }
    }
}

fn answer_scrape(stream: &mut TcpStream, scrape: usize, is_gone: bool) -> std::io::Result<()> {
    let mut head = [0; 4096];
    let _ = stream.read(&mut head)?;
    let mut text = format!(
        "fixture_counter_total{{path=\"/a b\",name=\"\u{fc}\\\"\\\\\"}} {}\nfixture_nan NaN\nfixture_infinite -Inf\nfixture_small 0.1\n",
        scrape * 17
    );
    if !is_gone {
        text.push_str("fixture_leaving{a=\"1\"} -0.5\n");
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
}

#[test]
fn what_prometheus_sends_is_stored_as_it_has_it_and_ends_when_it_says() {
    let exporter = Exporter::start();
    let mut farol = Farol::start("run", &["--no-collectors", RECEIVER]);
    let folder = tempfile::tempdir().unwrap();
    let jobs = [("fixture", exporter.address.as_str())];
    let prometheus = Peer::prometheus(&free_address(), folder.path(), &jobs, Some(&farol.address));
    let leaving = |samples: &Samples| {
        samples.iter().find(|(key, _)| key.starts_with("fixture_leaving")).map(|(_, p)| p.clone())
    };
    eventually("samples arrive", || {
        leaving(&stored(&farol.folder)).is_some_and(|points| points.len() > 2)
    });
    exporter.gone_after.store(0, Ordering::SeqCst);
    // A marker by the next scrape, not five minutes later.
    eventually("the series has ended", || {
        let points = leaving(&stored(&farol.folder)).unwrap();
        is_stale(f64::from_bits(*points.last_key_value().unwrap().1))
    });
    let seen = exporter.scrapes.load(Ordering::SeqCst);
    eventually("some more", || exporter.scrapes.load(Ordering::SeqCst) > seen + 2);
    let theirs = samples_of_prometheus(&prometheus.address).unwrap();
    assert_eq!(theirs.len(), 5, "{theirs:?}");
    eventually("all that Prometheus has is there, with its values and times", || {
        let ours = plain(&stored(&farol.folder));
        // Meanwhile it may have sent more.
        theirs.iter().all(|(key, points)| {
            ours.get(key)
                .is_some_and(|ours| points.iter().all(|(at, bits)| ours.get(at) == Some(bits)))
        })
    });
    drop(prometheus);
    let text = farol.get("/metrics").text();
    let count = |series: &str| value_of(&text, series);
    assert!(count("farol_received_requests_total{result=\"stored\"}").unwrap() > 0.0, "{text}");
    assert_eq!(count("farol_received_requests_total{result=\"refused\"}"), Some(0.0));
    assert!(count("farol_received_samples_total").unwrap() > 20.0);

    let before = stored(&farol.folder);
    farol.child.kill().unwrap();
    farol.child.wait().unwrap();
    assert_eq!(stored(&farol.folder), before, "after a kill");
    let farol = Farol::start_in(&farol.folder, "run", &["--no-collectors", RECEIVER]);
    farol.wait_until_ready();
    let path = "/api/v1/series?match[]=%7B__name__%3D~%22fixture_.%2B%22%7D";
    eventually("its API knows them", || {
        let answer: serde_json::Value = serde_json::from_str(&farol.get(path).text()).unwrap();
        answer["data"].as_array().is_some_and(|series| series.len() == 5)
    });
    assert_eq!(stored(&farol.folder), before, "after a restart");
}

/// Everything that it has scraped of the fixture.
fn samples_of_prometheus(address: &str) -> Option<Samples> {
    let path = "/api/v1/query?query=%7B__name__%3D~%22fixture_.%2B%22%7D%5B10m%5D";
    let answer: serde_json::Value =
        serde_json::from_str(&try_get(address, path, &[]).ok()?.text()).ok()?;
    let mut samples = Samples::new();
    for series in answer["data"]["result"].as_array()? {
        let labels = series["metric"].as_object()?.iter();
        let labels = labels.filter(|(name, _)| *name != "__name__");
        let pairs = labels
            .map(|(name, value)| (Text::from(name.as_str()), Text::from(value.as_str().unwrap())));
        let key =
            series_text(series["metric"]["__name__"].as_str()?, &Labels::new(pairs.collect()));
        let point = |pair: &serde_json::Value| {
            let at = (pair[0].as_f64().unwrap() * 1000.0).round() as i64;
            let value: f64 = pair[1].as_str().unwrap().replace("Inf", "inf").parse().unwrap();
            (at, if value.is_nan() { f64::NAN } else { value }.to_bits())
        };
        samples.insert(key, series["values"].as_array()?.iter().map(point).collect());
    }
    Some(samples)
}

/// Sends a body and reads the status; an error where nobody answers.
fn send(address: &str, series: &[Series]) -> std::io::Result<(u16, String)> {
    let body = remote_write::encode(series);
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    write!(
        stream,
        "POST /api/v1/write HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Encoding: snappy\r\nContent-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let text = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
    Ok((status.ok_or(std::io::ErrorKind::UnexpectedEof)?, text))
}

fn fixture(name: &str, points: &[(i64, f64)]) -> Series {
    let point = |(at, value): &(i64, f64)| (Timestamp::from_millis(*at), *value);
    Series {
        name: Text::from(format!("fixture_{name}")),
        labels: Labels::from([("sender", "test")]),
        points: points.iter().map(point).collect(),
    }
}

/// Now and of up to a few days ago, each request's samples known by their values.
#[test]
fn every_sample_that_was_answered_for_survives_a_kill_and_none_is_there_twice() {
    let folder = tempfile::tempdir().unwrap();
    let now = farol::clock::now().as_millis();
    let mut sent = Samples::new();
    let mut number = 0_i64;
    for round in 0..rounds(6, 60) {
        let mut farol = Farol::start_in(folder.path(), "run", &["--no-collectors", RECEIVER]);
        let killer = std::thread::spawn({
            let pid = farol.child.id().to_string();
            let wait = std::time::Duration::from_millis(30 + (round as u64 * 37) % 150);
            move || {
                std::thread::sleep(wait);
                std::process::Command::new("kill").args(["-9", &pid]).status().unwrap();
            }
        });
        loop {
            number += 1;
            let points: Vec<(i64, f64)> = (0..20)
                .map(|n| (now - (number * 20 + n) * 1000 - n % 4 * 86_400_000, number as f64))
                .collect();
            let series = [
                fixture("walking", &points),
                fixture("ended", &[(now - number * 7, 1.5), (now - number * 7 + 3, STALE)]),
            ];
            match send(&farol.address, &series) {
                Ok((204, _)) => note(&mut sent, &series),
                // Whether it arrived is not known: it is sent again.
                _ => {
                    number -= 1;
                    break;
                }
            }
        }
        killer.join().unwrap();
        farol.child.wait().unwrap();
    }
    let found = stored(folder.path());
    for (key, points) in &sent {
        let lost: Vec<_> =
            points.iter().filter(|(at, bits)| found[key].get(at) != Some(bits)).collect();
        assert!(lost.is_empty(), "{} of {} samples are lost: {key}", lost.len(), points.len());
    }
    assert!(number > 20, "only {number} requests");
    // What was sent again after a kill is there once: each value came as often as it was sent.
    let all: usize = found.values().map(BTreeMap::len).sum();
    let answered: usize = sent.values().map(BTreeMap::len).sum();
    assert!(all <= answered + 22 * 2, "{all} samples, {answered} sent");
}

fn note(sent: &mut Samples, series: &[Series]) {
    for series in series {
        let points = series.points.iter().map(|(at, value)| (at.as_millis(), value.to_bits()));
        sent.entry(series_text(&series.name, &series.labels)).or_default().extend(points);
    }
}

#[test]
fn a_request_is_stored_as_far_as_it_can_be_and_told_the_rest() {
    let farol = Farol::start("run", &["--no-collectors", RECEIVER, "--store.retention", "2d"]);
    let now = farol::clock::now().as_millis();
    let day = 86_400_000;
    let mixed = [fixture(
        "mixed",
        &[(now - 3 * day, 1.0), (now - day, 2.0), (now, 3.0), (now + day, 4.0), (now - 5, STALE)],
    )];
    let (status, text) = send(&farol.address, &mixed).unwrap();
    assert_eq!(status, 400);
    assert_eq!(
        text,
        "samples were dropped: 1 are older than the store keeps any (48 h), 1 are more than 10 minutes ahead of this machine's clock; the other 3 are stored\n"
    );
    // The same again is no error: it is what a sender does who has heard nothing.
    assert_eq!(send(&farol.address, &mixed[..]).unwrap().0, 400);
    let expected: BTreeMap<i64, u64> =
        [(now - day, 2.0), (now, 3.0), (now - 5, STALE)].map(|(at, v)| (at, v.to_bits())).into();
    assert_eq!(stored(&farol.folder).into_values().collect::<Vec<_>>(), [expected]);
    let text = farol.get("/metrics").text();
    let dropped = "farol_received_dropped_samples_total";
    assert_eq!(value_of(&text, &format!("{dropped}{{reason=\"too_old\"}}")), Some(2.0));
    assert_eq!(value_of(&text, &format!("{dropped}{{reason=\"too_far_ahead\"}}")), Some(2.0));
    // What it was is in the journal, to be read by anybody.
    let lines = journal_lines(&farol.logs(), "received", false);
    assert_eq!(lines.len(), 2);
    let points = &lines[0]["received"]["fixture_mixed"]["sender=\"test\""];
    assert_eq!(*points, serde_json::json!([[now - day, 2], [now, 3], [now - 5, "stale"]]));

    let nameless = [Series { name: Text::from(""), ..fixture("x", &[(now, 1.0)]) }];
    let (status, text) = send(&farol.address, &nameless).unwrap();
    assert_eq!(
        (status, text.as_str()),
        (400, "the series {sender=\"test\"} has no label __name__: a sample needs a metric\n")
    );
}

#[test]
fn who_only_reads_has_what_was_received_and_refuses_to_receive() {
    let collector = Farol::start("run", &[RECEIVER]);
    let now = farol::clock::now().as_millis();
    let series = [fixture("followed", &[(now - 1000, 1.0), (now, 2.0)])];
    assert_eq!(send(&collector.address, &series).unwrap().0, 204);
    let server = Farol::start_in(&collector.folder, "serve", &[]);
    server.wait_until_ready();
    let (status, text) = send(&server.address, &series).unwrap();
    assert_eq!(status, 403);
    assert!(text.contains("`farol run --web.enable-remote-write-receiver`"), "{text}");
    let names =
        |address: &str| try_get(address, "/api/v1/label/__name__/values", &[]).unwrap().text();
    for farol in [&collector, &server] {
        eventually("it can be asked for", || names(&farol.address).contains("fixture_followed"));
    }
    let later = [fixture("later", &[(now, 2.0)])];
    assert_eq!(send(&collector.address, &later).unwrap().0, 204);
    eventually("the server follows", || names(&server.address).contains("fixture_later"));

    let closed = Farol::start("run", &["--no-collectors"]);
    let (status, text) = send(&closed.address, &series).unwrap();
    assert_eq!(status, 404);
    assert!(text.contains("--web.enable-remote-write-receiver"), "{text}");
}
