//! `farol import`: samples from elsewhere into the store, from text with time stamps. All of a file
//! or, when a line of it is wrong, nothing.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::{Arg, ArgMatches, Command, builder::PossibleValuesParser, value_parser};
use farol_disk::RealDisk;
use farol_model::Timestamp;
use farol_store::{Imported, Importer};
use farol_wire::exposition::{Backfill, BackfillLimits, Format, TimedSample};

use super::{Out, running};
use crate::{
    clock, config, history,
    run::{Shape, group_id},
};

pub(super) fn configure(command: Command) -> Command {
    let format = Arg::new("format")
        .long("format")
        .value_name("FORMAT")
        .required(true)
        .value_parser(PossibleValuesParser::new(["openmetrics", "prometheus"]))
        .help("OpenMetrics (time stamps in seconds, # EOF at the end) or Prometheus' text format (milliseconds)");
    let file = Arg::new("file")
        .value_name("FILE")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help("The text, a time stamp in each line; - is standard input");
    running::configure(command.arg(format).arg(file))
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let path = matches.get_one::<PathBuf>("file").expect("clap requires it");
    let format = match matches.get_one::<String>("format").map(String::as_str) {
        Some("prometheus") => Format::Text,
        _ => Format::OpenMetrics,
    };
    let config = config::from_process(config::flags_from(matches))?.config;
    let folder = history::store_dir(&config, Shape::Run);
    let settings = history::store_config(&config, folder, group_id(&config)?);
    let kept = settings.retention;
    let source = open(path)?;
    let importer = Importer::new(Arc::new(RealDisk), &settings)?;
    let import = Import::new(importer, format, Window::at(clock::now(), kept));
    let name = if is_stdin(path) { "standard input".into() } else { path.display().to_string() };
    let done = import.all_of(source).with_context(|| format!("{name}: nothing was imported"))?;
    out.text(done.in_words(kept));
    Ok(ExitCode::SUCCESS)
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

#[expect(clippy::disallowed_methods, reason = "the user's own file, which may be a pipe")]
fn open(path: &Path) -> anyhow::Result<Box<dyn Read>> {
    if is_stdin(path) {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    Ok(Box::new(file))
}

/// The times that are taken in; both ends belong to it.
#[derive(Clone, Copy, Debug)]
struct Window {
    oldest: Timestamp,
    newest: Timestamp,
}

/// How far ahead another machine's clock may be.
const AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

impl Window {
    fn at(now: Timestamp, kept: Duration) -> Window {
        let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
        let oldest = Timestamp::from_millis(now.as_millis().saturating_sub(kept));
        Window { oldest, newest: now.plus(AHEAD) }
    }
}

/// What the text held that was left out, and from when to when its samples are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    samples: u64,
    too_old: u64,
    ahead: u64,
    span: Option<(Timestamp, Timestamp)>,
}

struct Import {
    importer: Importer,
    text: Backfill,
    /// The importer's numbers of the text's series; none of those that had nothing to take in yet.
    numbers: Vec<Option<u32>>,
    window: Window,
    seen: Seen,
}

const CHUNK: usize = 256 * 1024;
/// What a file begins with that was packed with gzip.
const GZIP: &[u8] = &[0x1f, 0x8b];

impl Import {
    fn new(importer: Importer, format: Format, window: Window) -> Import {
        let text = Backfill::new(format, BackfillLimits::default());
        Import { importer, text, numbers: Vec::new(), window, seen: Seen::default() }
    }

    fn all_of(mut self, mut source: impl Read) -> anyhow::Result<Done> {
        let mut chunk = vec![0; CHUNK];
        let mut samples = Vec::new();
        let mut is_first = true;
        loop {
            samples.clear();
            let read = match source.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.context("cannot be read")?,
            };
            let is_packed = chunk[..read].starts_with(GZIP);
            anyhow::ensure!(
                !(std::mem::take(&mut is_first) && is_packed),
                "it is packed with gzip; unpack it on the way: zcat FILE | farol import … -"
            );
            match read {
                0 => self.text.finish(&mut samples)?,
                _ => self.text.push(&chunk[..read], &mut samples)?,
            }
            self.numbers.resize(self.text.series().len(), None);
            for sample in &samples {
                self.take(sample)?;
            }
            if read == 0 {
                break;
            }
        }
        if self.seen.too_old + self.seen.ahead == self.seen.samples {
            anyhow::bail!(self.seen.why_nothing_is_left(self.window));
        }
        Ok(Done { seen: self.seen, imported: self.importer.finish()? })
    }

    fn take(&mut self, sample: &TimedSample) -> anyhow::Result<()> {
        let TimedSample { series, at, value } = *sample;
        self.seen.see(at);
        if at < self.window.oldest {
            self.seen.too_old += 1;
            return Ok(());
        }
        if at > self.window.newest {
            self.seen.ahead += 1;
            return Ok(());
        }
        let series = series as usize;
        let number = match self.numbers[series] {
            Some(number) => number,
            None => {
                let named = &self.text.series()[series];
                let number = self.importer.series(named.name.clone(), named.labels.clone());
                self.numbers[series] = Some(number);
                number
            }
        };
        Ok(self.importer.push(number, at, value)?)
    }
}

impl Seen {
    fn see(&mut self, at: Timestamp) {
        self.samples += 1;
        let (oldest, newest) = self.span.unwrap_or((at, at));
        self.span = Some((oldest.min(at), newest.max(at)));
    }

    fn why_nothing_is_left(&self, window: Window) -> String {
        let Some((oldest, newest)) = self.span else {
            return "the text holds no sample".to_owned();
        };
        format!(
            "the samples are from {}, but the store keeps what is from {}; \
             are the time stamps in the format's unit, and is the retention long enough?",
            from_to(oldest, newest),
            from_to(window.oldest, window.newest)
        )
    }
}

#[derive(Debug)]
struct Done {
    seen: Seen,
    imported: Imported,
}

impl Done {
    fn in_words(&self, kept: Duration) -> String {
        let Imported { files, series, samples, repeated, bytes, oldest, newest } = &self.imported;
        let mut text = format!("imported {samples} samples of {series} series");
        if let (Some(oldest), Some(newest)) = (oldest, newest) {
            text.push_str(&format!(", from {}", from_to(*oldest, *newest)));
        }
        let each = *bytes as f64 / (*samples).max(1) as f64;
        let files = files.len();
        text.push_str(&format!("\n{bytes} bytes in {files} files, {each:.2} bytes a sample\n"));
        let left_out = [
            (self.seen.too_old, format!("older than the {} kept", config::show_duration(kept))),
            (self.seen.ahead, "more than a day in the future".to_owned()),
            (*repeated, "at a time that their series had already".to_owned()),
        ];
        for (count, why) in left_out.iter().filter(|(count, _)| *count > 0) {
            text.push_str(&format!("left out {count} samples: {why}\n"));
        }
        text.push_str(
            "a running Farol takes it in within a minute, otherwise the next start does\n",
        );
        text
    }
}

fn from_to(oldest: Timestamp, newest: Timestamp) -> String {
    format!("{} to {}", clock::rfc3339(oldest), clock::rfc3339(newest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_is_counted_by_its_reason() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let imported = Imported {
            files: vec!["a".into()],
            series: 2,
            samples: 100,
            repeated: 1,
            bytes: 150,
            oldest: Some(at(1_700_000_000)),
            newest: Some(at(1_700_000_100)),
        };
        let seen = Seen { samples: 108, too_old: 7, ahead: 0, span: None };
        let expected = "\
imported 100 samples of 2 series, from 2023-11-14T22:13:20.000Z to 2023-11-14T22:15:00.000Z
150 bytes in 1 files, 1.50 bytes a sample
left out 7 samples: older than the 14d kept
left out 1 samples: at a time that their series had already
a running Farol takes it in within a minute, otherwise the next start does
";
        let kept = Duration::from_secs(14 * 86_400);
        assert_eq!(Done { seen, imported }.in_words(kept), expected);
    }

    #[test]
    fn nothing_left_is_explained_with_both_spans() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let window = Window::at(now, Duration::from_secs(86_400));
        let mut seen = Seen::default();
        assert_eq!(seen.why_nothing_is_left(window), "the text holds no sample");
        seen.see(Timestamp::from_millis(1_700_000_000));
        let why = seen.why_nothing_is_left(window);
        assert!(why.contains("1970-01-20T16:13:20.000Z"), "{why}");
        assert!(why.contains("2023-11-13T22:13:20.000Z to 2023-11-15T22:13:20.000Z"), "{why}");
    }
}
