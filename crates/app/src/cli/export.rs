//! `farol export`: the samples of chosen series, up to now, also beside a running Farol. Series by
//! series, in pieces: no more than one block's samples of one series are in memory.

use std::{path::Path, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser, value_parser};
use farol_disk::{Disk, RealDisk};
use farol_model::Timestamp;
use farol_store::{Matcher, Point, Range, Reader, Selection, SeriesKey, is_stale};

use super::{Out, complain, moment, running, selector};
use crate::{clock, config, look};

mod form;
mod target;

use form::Form;
use target::Target;

pub(super) fn configure(command: Command) -> Command {
    let series = Arg::new("match")
        .long("match")
        .value_name("SELECTOR")
        .required(true)
        .action(ArgAction::Append)
        .help("The series, as in 'node_load1' or '{__name__=~\"node_.*\",job=\"node\"}'; may be given again for more");
    let time = |name: &'static str, what: &str| {
        Arg::new(name).long(name).value_name("TIME").help(format!("{what}: {}", moment::HELP))
    };
    let format = Arg::new("format")
        .long("format")
        .value_name("FORMAT")
        .value_parser(PossibleValuesParser::new(["openmetrics", "csv", "jsonl"]))
        .default_value("openmetrics")
        .help("OpenMetrics, a table, or one JSON object a series");
    let output = Arg::new("output")
        .long("output")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Where to write, instead of standard output; the file is there once it is whole");
    running::configure(
        command
            .arg(series)
            .arg(time("from", "The first sample's time"))
            .arg(time("to", "The last sample's time"))
            .arg(format)
            .arg(output),
    )
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let range = range(matches, clock::now())?;
    let selectors = selectors(matches)?;
    let format = matches.get_one::<String>("format").expect("it has a default");
    let mut form = Form::of(format);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let config = config::from_process(config::flags_from(matches))?.config;
    let looked = look::look(&disk, &config)?;
    let mut found = Found::of(&looked.store.reader(), &selectors, range);
    let mut target = match matches.get_one::<PathBuf>("output") {
        Some(path) if path != Path::new("-") => Target::file(Arc::clone(&disk), path)?,
        _ => Target::Out(out),
    };
    let written = write_all(&mut found, &mut form, &mut target)?;
    target.finish()?;
    let damage: Vec<String> = looked.damage.into_iter().chain(found.damage()).collect();
    for damage in &damage {
        complain(format!("farol: {damage}"));
    }
    if written == 0 {
        complain("farol: no sample of such a series in this time");
    }
    Ok(if damage.is_empty() && written > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn range(matches: &ArgMatches, now: Timestamp) -> anyhow::Result<Range> {
    let time = |name: &str, otherwise: Timestamp| match matches.get_one::<String>(name) {
        Some(text) => moment::parse(&format!("--{name}"), text, now),
        None => Ok(otherwise),
    };
    let range = Range { start: time("from", Range::ALL.start)?, end: time("to", Range::ALL.end)? };
    anyhow::ensure!(range.start <= range.end, "--from is after --to");
    Ok(range)
}

fn selectors(matches: &ArgMatches) -> anyhow::Result<Vec<Vec<Matcher>>> {
    let texts = matches.get_many::<String>("match").into_iter().flatten();
    texts.map(|text| selector::parse(text).context("--match")).collect()
}

/// The series of all selectors, each once, sorted by name and then by labels.
struct Found {
    selections: Vec<Selection>,
    /// Which selection, and which series of it.
    order: Vec<(usize, usize)>,
}

impl Found {
    fn of(reader: &Reader, selectors: &[Vec<Matcher>], range: Range) -> Found {
        // No time of "now": it would only tell where the silent ones end, which no form can say.
        let selections: Vec<Selection> =
            selectors.iter().map(|matchers| reader.select(matchers, range, None)).collect();
        let mut order: Vec<(usize, usize)> = Vec::new();
        for (index, selection) in selections.iter().enumerate() {
            order.extend((0..selection.series().len()).map(|series| (index, series)));
        }
        let key = |(selection, series): (usize, usize)| &selections[selection].series()[series];
        order.sort_by(|a, b| key(*a).cmp(key(*b)));
        order.dedup_by(|a, b| key(*a) == key(*b));
        Found { selections, order }
    }

    fn key(&self, place: usize) -> &SeriesKey {
        let (selection, series) = self.order[place];
        &self.selections[selection].series()[series]
    }

    /// Without the stale markers, which no form can hold; until `each` says that it is enough.
    fn pieces(
        &mut self,
        place: usize,
        mut each: impl FnMut(&SeriesKey, &[Point]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let key = self.key(place).clone();
        let (selection, series) = self.order[place];
        let mut kept = Vec::new();
        let mut result = Ok(());
        self.selections[selection].pieces(series, PIECE, |points| {
            kept.clear();
            kept.extend(points.iter().filter(|point| !is_stale(point.value)));
            for piece in kept.chunks(PIECE) {
                if result.is_ok() {
                    result = each(&key, piece);
                }
            }
        });
        result
    }

    fn damage(&self) -> impl Iterator<Item = String> {
        self.selections.iter().flat_map(Selection::damage).map(ToString::to_string)
    }
}

/// So many samples are put into words before they are written.
const PIECE: usize = 10_000;

/// How many samples were written.
fn write_all(found: &mut Found, form: &mut Form, target: &mut Target<'_>) -> anyhow::Result<usize> {
    let mut written = 0;
    let mut text = Vec::new();
    form.begin(&mut text);
    for place in 0..found.order.len() {
        found.pieces(place, |key, piece| {
            form.piece(key, piece, &mut text);
            written += piece.len();
            target.write(&text)?;
            text.clear();
            Ok(())
        })?;
        if !target.is_open() {
            break;
        }
    }
    form.end(&mut text);
    target.write(&text)?;
    Ok(written)
}
