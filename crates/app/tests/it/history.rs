//! What went into the store comes out again: back-fill, export, promtool beside both, and damage.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use farol_disk::RealDisk;
use farol_store::{Opened, Store};

use crate::world::{Farol, eventually, farol, journal_lines, needs, run, write};

/// By series, its samples: milliseconds and value as written.
type Samples = BTreeMap<String, Vec<(i64, String)>>;

/// A data folder, with the journal's below it.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn flags(&self) -> [String; 4] {
        let text = |name| self.path(name).to_str().unwrap().to_owned();
        ["--data".into(), text("data"), "--logs".into(), text("logs")]
    }

    fn farol(&self, arguments: &[&str]) -> (String, String, Option<i32>) {
        let flags = self.flags();
        let all = arguments.iter().copied().chain(flags.iter().map(String::as_str));
        farol(&all.collect::<Vec<_>>())
    }

    fn store(&self) -> PathBuf {
        self.path("data/store")
    }

    fn import(&self, format: &str, text: &str) -> (String, String, Option<i32>) {
        let file = self.path("given.txt");
        write(&file, text);
        self.farol(&["import", "--format", format, file.to_str().unwrap()])
    }

    /// What the next start of Farol does with what was imported.
    fn take_in(&self) {
        let config = farol_store::Config::new(self.store());
        let Opened { store, set_aside, .. } = Store::open(Arc::new(RealDisk), config).unwrap();
        assert!(set_aside.is_empty(), "{set_aside:?}");
        let report = store.upkeep().round();
        assert!(report.errors.is_empty(), "{:?}", report.errors);
    }

    fn export(&self, arguments: &[&str]) -> String {
        let all = [&["export", "--match", "{__name__=~\".+\"}"], arguments].concat();
        let (text, errors, code) = self.farol(&all);
        assert_eq!(code, Some(0), "{errors}");
        assert_eq!(errors, "");
        text
    }

    /// All files of the store that hold something.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.store()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files.retain(|file| fs::metadata(file).unwrap().len() > 0);
        files.sort();
        files
    }
}

/// Yesterday, on a full second.
fn yesterday() -> i64 {
    farol::clock::now().as_millis() / 1000 * 1000 - 86_400_000
}

const SERIES: &[&str] = &[
    "b_total{device=\"sda\"}",
    "a",
    "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"}",
    "b_total{device=\"with \\\"quotes\\\", \\\\ and \\n\"}",
    "node_load1{instance=\"x\",job=\"node\"}",
    "req_bucket{le=\"+Inf\"}",
];

/// Scrapes of all series, every 15 seconds and a bit, as an exporter's values are: constants, steps,
/// fractions, and now and then something special.
fn scrapes(from: i64, count: i64) -> Samples {
    let value = |series: i64, scrape: i64| match series {
        0 => (scrape * scrape * 100).to_string(),
        1 => "-0.001".to_owned(),
        2 => ((scrape * 1500 + scrape % 100) as f64 / 100.0).to_string(),
        3 => if scrape % 50 == 7 { "NaN" } else { "1.8446744073709552e+19" }.to_owned(),
        4 => format!("0.{:03}", scrape * 37 % 999 + 1).trim_end_matches('0').to_owned(),
        _ => if scrape % 3 == 0 { "+Inf" } else { "-Inf" }.to_owned(),
    };
    let samples = |series| {
        let sample = |scrape| (from + scrape * 15_000 + scrape % 8 * 125, value(series, scrape));
        (0..count).map(sample).collect()
    };
    SERIES.iter().zip(0..).map(|(name, series)| ((*name).to_owned(), samples(series))).collect()
}

/// Scrape by scrape, as text.
fn text(samples: &Samples, format: &str) -> String {
    let mut text = String::new();
    let count = samples.values().map(Vec::len).max().unwrap_or(0);
    for scrape in 0..count {
        for (series, samples) in samples {
            let (millis, value) = &samples[scrape];
            let at = match format {
                "openmetrics" => format!("{}.{:03}", millis / 1000, millis % 1000),
                _ => millis.to_string(),
            };
            text.push_str(&format!("{series} {value} {at}\n"));
        }
    }
    text + if format == "openmetrics" { "# EOF\n" } else { "" }
}

/// What our own export says.
fn samples_of(openmetrics: &str) -> Samples {
    let mut samples = Samples::new();
    for line in openmetrics.lines().filter(|line| !line.starts_with('#')) {
        let (rest, at) = line.rsplit_once(' ').unwrap();
        let (series, value) = rest.rsplit_once(' ').unwrap();
        let millis = (at.parse::<f64>().unwrap() * 1000.0).round() as i64;
        samples.entry(series.to_owned()).or_default().push((millis, value.to_owned()));
    }
    samples
}

#[test]
fn what_is_imported_is_exported_the_same_from_either_format() {
    let given = scrapes(yesterday(), 400);
    let mut exports = Vec::new();
    for format in ["openmetrics", "prometheus"] {
        let place = Place::new();
        let (said, errors, code) = place.import(format, &text(&given, format));
        assert_eq!((errors.as_str(), code), ("", Some(0)));
        assert!(said.starts_with("imported 2400 samples of 6 series, from "), "{said}");
        assert!(said.contains(" bytes a sample\n") && !said.contains("left out"), "{said}");
        // There at once for who only looks, and the same once a store has taken it in.
        let export = place.export(&[]);
        assert!(samples_of(&export) == given, "{export}");
        place.take_in();
        assert_eq!(place.export(&[]), export);
        exports.push(export);
    }
    assert_eq!(exports[0], exports[1]);

    let again = Place::new();
    let (_, errors, code) = again.import("openmetrics", &exports[0]);
    assert_eq!(code, Some(0), "{errors}");
    again.take_in();
    assert_eq!(again.export(&[]), exports[0]);
    // To import the same a second time changes nothing.
    again.import("openmetrics", &exports[0]);
    again.take_in();
    assert_eq!(again.export(&[]), exports[0]);
}

#[test]
fn promtool_takes_the_export_and_holds_the_same_values() {
    let place = Place::new();
    // Eight hours, so that there are several of Prometheus' blocks.
    let given = scrapes(yesterday(), 8 * 240);
    place.import("openmetrics", &text(&given, "openmetrics"));
    place.take_in();
    let ours = place.path("ours.om");
    let (_, errors, code) = place.farol(&[
        "export",
        "--match",
        "{__name__=~\".+\"}",
        "--output",
        ours.to_str().unwrap(),
    ]);
    assert_eq!(code, Some(0), "{errors}");
    let theirs = place.path("theirs.om");
    fs::write(&theirs, text(&given, "openmetrics")).unwrap();
    let dump = |file: &Path, name: &str| {
        let blocks = place.path(name);
        let (said, errors, code) = run(Command::new(needs("promtool"))
            .args(["tsdb", "create-blocks-from", "openmetrics"])
            .args([file, &blocks]));
        assert_eq!(code, Some(0), "{said}{errors}");
        // `dump` looks for a log of a running Prometheus first.
        fs::create_dir_all(blocks.join("wal")).unwrap();
        let (dump, errors, code) =
            run(Command::new("promtool").args(["tsdb", "dump"]).arg(&blocks));
        assert_eq!(code, Some(0), "{errors}");
        let mut lines: Vec<String> = dump.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let dump_of_ours = dump(&ours, "blocks-ours");
    assert_eq!(dump_of_ours.len(), given.values().map(Vec::len).sum::<usize>());
    assert!(dump_of_ours == dump(&theirs, "blocks-theirs"), "other samples than in the original");
}

#[test]
fn a_file_with_a_bad_line_is_refused_whole_and_the_line_named() {
    let good = text(&scrapes(yesterday(), 50), "openmetrics");
    let body = good.trim_end_matches("# EOF\n");
    let cases = [
        (format!("{body}a 1\n# EOF\n"), "line 301: a sample without a time stamp"),
        (body.to_owned(), "line 301: no # EOF: the text is cut short"),
        (format!("{good}a 1 1\n"), "line 302: text after # EOF"),
        (good.replacen("NaN", "N/A", 1), "a value that is no number"),
        (format!("{{\"a\":1}}\n{good}"), "line 1: not the name of a metric"),
        (good.replacen(" -0.001 ", " -0.001 5 ", 1), "line 1: more on the line"),
        ("# EOF\n".to_owned(), "the text holds no sample"),
    ];
    for (text, problem) in cases {
        let place = Place::new();
        let (said, errors, code) = place.import("openmetrics", &text);
        assert_eq!((said.as_str(), code), ("", Some(1)), "{problem}: {errors}");
        assert!(errors.contains(problem) && errors.contains("nothing was imported"), "{errors}");
        assert!(errors.contains("given.txt"), "{errors}");
        assert_eq!(place.files(), Vec::<PathBuf>::new(), "{problem}");
    }
    let place = Place::new();
    let (_, errors, code) = place.farol(&["import", "--format", "openmetrics", "/nowhere/x.om"]);
    assert!(code == Some(1) && errors.contains("/nowhere/x.om"), "{errors}");
    assert!(!place.path("data").exists());
    write(&place.path("given.txt"), &good);
    run(Command::new("gzip").arg(place.path("given.txt")));
    let packed = place.path("given.txt.gz");
    let (_, errors, code) =
        place.farol(&["import", "--format", "openmetrics", packed.to_str().unwrap()]);
    assert!(code == Some(1) && errors.contains("zcat FILE | farol import"), "{errors}");
}

#[test]
fn what_the_store_would_not_keep_is_left_out_and_counted() {
    let now = farol::clock::now().as_millis();
    let (old, ahead) = (now - 60 * 86_400_000, now + 3 * 86_400_000);
    let place = Place::new();
    let (said, _, code) =
        place.import("prometheus", &format!("a 1 {old}\na 2 {now}\na 3 {now}\na 4 {ahead}\n"));
    assert_eq!(code, Some(0));
    assert!(said.contains("imported 1 samples of 1 series"), "{said}");
    assert!(said.contains("left out 1 samples: older than the "), "{said}");
    assert!(said.contains("left out 1 samples: more than a day in the future"), "{said}");
    assert!(said.contains("left out 1 samples: at a time that their series had already"), "{said}");

    let place = Place::new();
    let seconds = now / 1000;
    let (_, errors, code) = place.import("prometheus", &format!("a 1 {seconds}\n"));
    assert_eq!(code, Some(1));
    assert!(errors.contains("from 1970-01-") && errors.contains("unit"), "{errors}");
    assert_eq!(place.files(), Vec::<PathBuf>::new());
}

#[test]
fn standard_input_is_a_file_too() {
    let place = Place::new();
    let file = place.path("given.om");
    write(&file, &text(&scrapes(yesterday(), 3), "openmetrics"));
    let [data, data_folder, logs, logs_folder] = place.flags();
    let script = format!(
        "cat {} | {} import --format openmetrics - {data} {data_folder} {logs} {logs_folder}",
        file.display(),
        crate::world::FAROL,
    );
    let (said, errors, code) = run(Command::new("sh").args(["-c", &script]));
    assert_eq!(code, Some(0), "{errors}");
    assert!(said.starts_with("imported 18 samples of 6 series"), "{said}");
}

#[test]
fn an_export_holds_the_journal_up_to_now_beside_a_running_farol() {
    let writer = Farol::start("collect", &["--interval", "100ms", "--slow-interval", "100ms"]);
    eventually("twenty lines", || journal_lines(&writer.logs(), "metrics", false).len() >= 20);
    let (data, logs) = (writer.folder.join("data"), writer.logs());
    let flags = ["--data", data.to_str().unwrap(), "--logs", logs.to_str().unwrap()];
    let before = load_in_journal(&logs);
    let arguments = [&["export", "--match", "node_load1{job=\"node\"}"][..], &flags].concat();
    let (text, errors, code) = farol(&arguments);
    assert_eq!((errors.as_str(), code), ("", Some(0)));
    let after = load_in_journal(&logs);
    assert!(text.starts_with("# HELP node_load1 "), "{text}");
    assert!(text.contains("\n# TYPE node_load1 gauge\n") && text.ends_with("\n# EOF\n"), "{text}");
    let exported: Vec<(i64, f64)> = samples_of(&text)
        .into_values()
        .flatten()
        .map(|(at, value)| (at, value.parse().unwrap()))
        .collect();
    // All that was there before, and nothing that is not there after.
    assert!(before.len() >= 5 && exported.len() >= before.len());
    assert_eq!(exported[..before.len()], before[..]);
    assert_eq!(exported[..], after[..exported.len()]);
}

#[test]
fn a_running_farol_takes_an_import_in_and_remembers_it_in_the_journal() {
    let writer = Farol::start("run", &["--no-collectors"]);
    let (data, logs) = (writer.folder.join("data"), writer.logs());
    let file = writer.folder.join("given.txt");
    write(&file, &text(&scrapes(yesterday(), 10), "prometheus"));
    let folders = ["--data", data.to_str().unwrap(), "--logs", logs.to_str().unwrap()];
    let words = ["import", "--format", "prometheus", file.to_str().unwrap()];
    let (said, errors, code) = farol(&[&words[..], &folders].concat());
    assert_eq!(code, Some(0), "{said}{errors}");
    let imported = || {
        let events = journal_lines(&logs, "events", false);
        events.into_iter().find(|event| event["event"] == "imported")
    };
    eventually("the import is recorded", || imported().is_some());
    let message = imported().unwrap()["message"].as_str().unwrap().to_owned();
    let file = message.strip_prefix("the store took in ").unwrap();
    assert!(data.join("store").join(file).exists(), "{message}");
}

/// Each value of `node_load1` in the journal, with its time.
fn load_in_journal(logs: &Path) -> Vec<(i64, f64)> {
    let lines = journal_lines(logs, "metrics", true);
    let load = lines.iter().filter_map(|line| {
        let at: jiff::Timestamp = line["ts"].as_str()?.parse().unwrap();
        Some((at.as_millisecond(), line["samples"]["node_load1"].as_f64()?))
    });
    load.collect()
}

#[test]
fn range_and_selectors_choose_and_csv_and_json_say_the_same() {
    let place = Place::new();
    let from = yesterday();
    let given = scrapes(from, 100);
    place.import("openmetrics", &text(&given, "openmetrics"));
    place.take_in();
    let at = |scrape: i64| ((from + scrape * 15_000) / 1000).to_string();
    let (from_flag, to_flag) = (at(10), at(19));
    let range = ["--from", &from_flag, "--to", &to_flag];
    let export = |arguments: &[&str]| {
        let (text, errors, code) = place.farol(&[&["export"], arguments, &range[..]].concat());
        assert_eq!((errors.as_str(), code), ("", Some(0)));
        text
    };
    let both = ["--match", "a", "--match", "{__name__=~\"a|b_total\",device!~\"with.*\"}"];
    let chosen = samples_of(&export(&both));
    assert_eq!(chosen.keys().collect::<Vec<_>>(), ["a", "b_total{device=\"sda\"}"]);
    // The bounds belong to it; each scrape but every eighth is a little late.
    let inside = |at: i64| at >= from + 150_000 && at <= from + 285_000;
    let expected = given["a"].iter().filter(|(at, _)| inside(*at)).cloned();
    assert_eq!(chosen["a"], expected.collect::<Vec<_>>());

    let csv = export(&[&both[..], &["--format", "csv"]].concat());
    let rows: Vec<&str> = csv.lines().collect();
    assert_eq!(rows[0], "name,labels,timestamp,value");
    assert_eq!(rows.len(), 1 + chosen.values().map(Vec::len).sum::<usize>());
    assert!(rows[1].starts_with("a,,20") && rows[1].ends_with("Z,-0.001"), "{}", rows[1]);
    assert!(rows.last().unwrap().starts_with("b_total,\"{device=\"\"sda\"\"}\",20"));

    let json = export(&[&both[..], &["--format", "jsonl"]].concat());
    let objects: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects[1]["metric"]["device"], "sda");
    let times = objects[0]["timestamps"].as_array().unwrap();
    let expected: Vec<i64> = chosen["a"].iter().map(|(at, _)| *at).collect();
    assert_eq!(times.iter().filter_map(|at| at.as_i64()).collect::<Vec<_>>(), expected);
}

#[test]
fn an_export_that_cannot_be_is_explained() {
    let place = Place::new();
    let (_, errors, code) = place.farol(&["export", "--match", "up"]);
    assert!(code == Some(1) && errors.contains("neither a store"), "{errors}");
    let (_, errors, code) = place.farol(&["export", "--match", "up{job=node}"]);
    assert!(code == Some(1) && errors.contains("column 8: unexpected"), "{errors}");
    let (_, errors, code) = place.farol(&["export", "--match", "up", "--from", "soon"]);
    assert!(code == Some(1) && errors.contains("--from \"soon\""), "{errors}");

    place.import("prometheus", &format!("a 1 {}\n", yesterday()));
    place.take_in();
    let (text, errors, code) = place.farol(&["export", "--match", "b"]);
    assert_eq!((text.as_str(), code), ("# EOF\n", Some(1)));
    assert!(errors.contains("no sample of such a series"), "{errors}");
    let lost = place.path("no/such/folder/x.om");
    let (_, errors, code) =
        place.farol(&["export", "--match", "a", "--output", lost.to_str().unwrap()]);
    assert!(code == Some(1) && errors.contains("x.om"), "{errors}");
    // A device or a pipe is never replaced by a file.
    let pipe = place.path("pipe");
    run(Command::new("mkfifo").arg(&pipe));
    let (_, errors, code) =
        place.farol(&["export", "--match", "a", "--output", pipe.to_str().unwrap()]);
    assert!(code == Some(1) && errors.contains("no file that can be replaced"), "{errors}");
    assert!(!fs::metadata(&pipe).unwrap().is_file());
    let flags = place.flags().join(" ");
    let script = format!("{} export --match a {flags} >/dev/full", crate::world::FAROL);
    let (_, errors, code) = run(Command::new("sh").args(["-c", &script]));
    assert!(code == Some(1) && errors.contains("standard output"), "{errors}");
}

#[test]
fn damage_is_named_and_costs_only_what_it_hit() {
    let place = Place::new();
    let given = scrapes(yesterday(), 8 * 240);
    place.import("openmetrics", &text(&given, "openmetrics"));
    place.take_in();
    let whole = samples_of(&place.export(&[]));
    // Not one of the down-sampled ones, which an export does not read.
    let imported = place
        .files()
        .into_iter()
        .filter(|file| file.file_name().unwrap().to_str().unwrap().starts_with("import-"));
    let block = imported.max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap();
    let mut bytes = fs::read(&block).unwrap();
    // Among the chunks, which stand first.
    let middle = bytes.len() / 4;
    bytes[middle] ^= 0x10;
    fs::write(&block, bytes).unwrap();

    let (text, errors, code) = place.farol(&["export", "--match", "{__name__=~\".+\"}"]);
    assert_eq!(code, Some(1));
    let name = block.file_name().unwrap().to_str().unwrap();
    assert!(errors.contains(name), "{errors}");
    assert!(text.ends_with("# EOF\n"), "{errors}");
    let left = samples_of(&text);
    let count = |samples: &Samples| samples.values().map(Vec::len).sum::<usize>();
    assert!(count(&left) < count(&whole) && count(&left) > count(&whole) / 2);
    for (series, samples) in &left {
        assert!(samples.iter().all(|sample| whole[series].contains(sample)), "{series}");
    }
}
