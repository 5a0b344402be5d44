//! `farol journal cat | tail | verify`: the journal, read without a running Farol and without its
//! lock.

use std::{collections::VecDeque, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use farol_disk::{Disk, RealDisk};
use farol_journal::{Item, Line, Reader, StartAt};
use farol_model::{Stream, Timestamp};

use super::{Out, complain, moment, running};
use crate::{clock, config};

pub(super) fn configure(command: Command) -> Command {
    command
        .subcommand_required(true)
        .subcommand(with_stream(
            running::configure(Command::new("cat").about("Write the journal's good lines"))
                .arg(
                    Arg::new("full")
                        .long("full")
                        .action(ArgAction::SetTrue)
                        .help("Write each line whole, also those stored as differences"),
                )
                .arg(
                    Arg::new("since")
                        .long("since")
                        .value_name("TIME")
                        .help(format!("Only what is younger: {}", moment::HELP)),
                ),
        ))
        .subcommand(with_stream(
            running::configure(Command::new("tail").about("Write the journal's last lines"))
                .arg(
                    Arg::new("lines")
                        .long("lines")
                        .value_name("NUMBER")
                        .short('n')
                        .value_parser(value_parser!(usize))
                        .default_value("10")
                        .help("How many lines"),
                )
                .arg(
                    Arg::new("follow")
                        .long("follow")
                        .short('f')
                        .action(ArgAction::SetTrue)
                        .help("Then go on with what is appended"),
                )
                .arg(
                    Arg::new("full")
                        .long("full")
                        .action(ArgAction::SetTrue)
                        .help("Write each line whole"),
                ),
        ))
        .subcommand(running::configure(
            Command::new("verify").about("Read everything and name what is damaged"),
        ))
}

fn with_stream(command: Command) -> Command {
    let names = Stream::ALL.map(Stream::name);
    command.arg(
        Arg::new("stream")
            .long("stream")
            .value_name("STREAM")
            .value_parser(names)
            .default_value("metrics")
            .help("Which of the journal's streams"),
    )
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let (name, matches) = matches.subcommand().context("no subcommand")?;
    let journal = Source {
        disk: Arc::new(RealDisk),
        folder: config::from_process(config::flags_from(matches))?.config.logs,
    };
    journal.check(matches.try_get_one::<bool>("follow").ok().flatten() == Some(&true))?;
    match name {
        "cat" => cat(&journal, matches, out),
        "tail" => tail(&journal, matches, out),
        _ => verify(&journal, out),
    }
}

struct Source {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
}

impl Source {
    /// A folder that is not there is a slip of the hand and not an empty journal, except to one who
    /// waits for what will be written.
    fn check(&self, waits: bool) -> anyhow::Result<()> {
        if !matches!(self.folder.try_exists(), Ok(false)) {
            return Ok(());
        }
        let folder = self.folder.display();
        if waits {
            complain(format!("farol: there is no folder {folder} yet; waiting for it"));
            return Ok(());
        }
        anyhow::bail!("there is no folder {folder}; name the journal's with --logs, or --data")
    }

    fn open(&self, stream: Stream, start: StartAt) -> anyhow::Result<Reader> {
        Ok(Reader::open(Arc::clone(&self.disk), &self.folder, stream, start)?)
    }
}

fn stream(matches: &ArgMatches) -> Stream {
    let name = matches.get_one::<String>("stream").map_or("metrics", String::as_str);
    Stream::from_name(name).unwrap_or(Stream::Metrics)
}

fn cat(journal: &Source, matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let (since, start) = match matches.get_one::<String>("since") {
        Some(text) => {
            let since = moment::parse("--since", text, clock::now())?;
            (since, StartAt::Day(since))
        }
        None => (Timestamp::from_millis(i64::MIN), StartAt::Oldest),
    };
    let mut writer = LineWriter::new(matches.get_flag("full"));
    let mut reader = journal.open(stream(matches), start)?;
    while let Some(item) = reader.next()?
        && out.is_open()
    {
        match item {
            Item::Line(line) if line.record.at() >= since => writer.write(&line, out),
            Item::Line(_) => {}
            other => writer.note(&other),
        }
    }
    Ok(writer.finish())
}

fn tail(journal: &Source, matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let wanted = *matches.get_one::<usize>("lines").expect("it has a default");
    let mut writer = LineWriter::new(matches.get_flag("full"));
    let (mut reader, last) = last_lines(journal, stream(matches), wanted, &mut writer)?;
    for line in &last {
        writer.write(line, out);
    }
    while matches.get_flag("follow") && out.is_open() {
        out.flush();
        std::thread::park_timeout(Duration::from_millis(200));
        while let Some(item) = reader.next()? {
            match item {
                Item::Line(line) => writer.write(&line, out),
                other => writer.note(&other),
            }
        }
    }
    Ok(writer.finish())
}

/// The last lines, and the reader that stands behind them. Each start and each midnight begins a new
/// segment, so the newest one alone may hold too few: then it goes back further.
fn last_lines(
    journal: &Source,
    stream: Stream,
    wanted: usize,
    writer: &mut LineWriter,
) -> anyhow::Result<(Reader, VecDeque<Line>)> {
    let mut starts = [StartAt::NewestSegment, StartAt::Day(clock::now())].into_iter();
    loop {
        let start = starts.next();
        let mut reader = journal.open(stream, start.unwrap_or(StartAt::Oldest))?;
        let mut last = VecDeque::new();
        let mut notes = Vec::new();
        while let Some(item) = reader.next()? {
            match item {
                Item::Line(line) => {
                    last.push_back(line);
                    if last.len() > wanted {
                        last.pop_front();
                    }
                }
                other => notes.push(other),
            }
        }
        if last.len() >= wanted || start.is_none() {
            notes.iter().for_each(|note| writer.note(note));
            return Ok((reader, last));
        }
    }
}

/// Writes lines as they stand or whole, and says beside the output what was damaged.
struct LineWriter {
    full: bool,
    damaged: u64,
    incomplete: u64,
}

impl LineWriter {
    fn new(full: bool) -> LineWriter {
        LineWriter { full, damaged: 0, incomplete: 0 }
    }

    fn write(&mut self, line: &Line, out: &mut Out) {
        if self.full && line.complete {
            out.bytes(&farol_journal::full_line(&line.record, sequence_number(&line.raw)));
            return;
        }
        // What is not complete is shown as it stands: nobody knows the rest.
        self.incomplete += u64::from(!line.complete);
        out.bytes(&line.raw);
        out.bytes(b"\n");
    }

    fn note(&mut self, item: &Item) {
        match item {
            Item::Line(_) => {}
            Item::Damage(damage) => {
                self.damaged += 1;
                complain(format!("farol: {damage}"));
            }
            Item::Gap(gap) => complain(format!("farol: {gap}")),
        }
    }

    fn finish(self) -> ExitCode {
        if self.full && self.incomplete > 0 {
            complain(format!(
                "farol: {} lines are shown as stored: their full line is damaged or gone",
                self.incomplete
            ));
        }
        if self.damaged > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// A line begins with `{"seq":N,`.
fn sequence_number(raw: &[u8]) -> u64 {
    let digits = raw.strip_prefix(b"{\"seq\":").unwrap_or_default();
    digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |number: u64, digit| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
}

fn verify(journal: &Source, out: &mut Out) -> anyhow::Result<ExitCode> {
    let report = farol_journal::verify(&journal.disk, &journal.folder)?;
    for file in &report.files {
        let (name, lines, bytes) = (&file.name, file.lines, file.bytes);
        let verdict = if file.damage.is_empty() { "good" } else { "DAMAGED" };
        out.line(format!("{name:<40} {lines:>9} lines {bytes:>12} bytes  {verdict}"));
        for damage in &file.damage {
            out.line(format!("    {damage}"));
        }
        if file.incomplete > 0 {
            out.line(format!("    {} lines without their full line", file.incomplete));
        }
        if file.unfinished > 0 {
            out.line(format!("    {} bytes at the end are no whole line (yet)", file.unfinished));
        }
    }
    for gap in &report.gaps {
        out.line(gap.to_string());
    }
    if report.files.is_empty() {
        out.line(format!("no journal in {}", journal.folder.display()));
    }
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_number_is_read_from_the_lines_start() {
        assert_eq!(sequence_number(br#"{"seq":1203,"ts":""#), 1203);
        assert_eq!(sequence_number(b"garbage"), 0);
    }
}
