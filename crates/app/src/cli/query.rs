//! `farol query`: an expression of PromQL, answered from the files of the store.
//!
//! It looks at the store as `farol export` does: what is on disk, and the journal's tail in memory.
//! So a stopped Farol is asked in the same way as a running one, a heavy question costs the running
//! one neither memory nor a tick, and what may be asked is what may be read: no protocol, no
//! password. The price is that the store is opened for each question, which takes milliseconds.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser};
use farol_disk::{Disk, RealDisk};
use farol_model::Timestamp;
use farol_query::{Answer, EvalError, Expr, Options, ParseError, Steps, Stop};
use farol_store::Reader;
use farol_web::{Cost, Queries};

use super::{Out, complain, moment, running};
use crate::{clock, config, look};

mod form;

use form::{Form, is_empty};

pub(super) fn configure(command: Command) -> Command {
    let expression = Arg::new("expr")
        .value_name("EXPR")
        .required(true)
        .help("What to ask, in PromQL, as in 'rate(node_cpu_seconds_total[5m])'");
    let moment = |name: &'static str, what: &str| {
        Arg::new(name).long(name).value_name("TIME").help(format!("{what}: {}", moment::HELP))
    };
    let span = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("SPAN").help(help)
    };
    let format = Arg::new("format")
        .long("format")
        .value_name("FORMAT")
        .value_parser(PossibleValuesParser::new(["table", "json", "csv", "spark"]))
        .default_value("table")
        .help("A table, what the HTTP API answers, comma-separated values, or a small chart for each series");
    let stats = Arg::new("stats")
        .long("stats")
        .action(ArgAction::SetTrue)
        .help("Say also what the question has cost");
    running::configure(
        command
            .arg(expression)
            .arg(
                moment("time", "The one time to ask about instead of now")
                    .conflicts_with_all(["range", "start", "end", "step"]),
            )
            .arg(
                span("range", "Ask about so much time up to now, or up to --end, step by step")
                    .conflicts_with("start"),
            )
            .arg(moment("start", "The first step"))
            .arg(moment("end", "The last step, instead of now"))
            .arg(span("step", "From step to step [default: for some 250 steps at most]"))
            .arg(format)
            .arg(stats),
    )
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let begun = clock::lap();
    let text = matches.get_one::<String>("expr").expect("it is required");
    let expr = farol_query::parse(text).map_err(|error| Pointed { text: text.clone(), error })?;
    let now = clock::now();
    let when = When::of(matches, now)?;
    let format = matches.get_one::<String>("format").expect("it has a default");
    let form = Form::of(format, out.width());
    anyhow::ensure!(
        !(matches!(form, Form::Spark { .. }) && matches!(when, When::At(_))),
        "--format spark shows a course of time: say which with --range or --start"
    );
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let config = config::from_process(config::flags_from(matches))?.config;
    let looked = look::look(&disk, &config)?;
    for damage in &looked.damage {
        complain(format!("farol: {damage}"));
    }
    let question = Question { text, expr: &expr, when, now };
    let opened = begun.elapsed();
    let answer = question.ask(&looked.store.reader(), &config.query)?;
    let cost = matches.get_flag("stats").then(|| Cost {
        waiting: 0.0,
        preparing: opened.as_secs_f64(),
        evaluating: (begun.elapsed() - opened).as_secs_f64(),
    });
    form.write(&answer, cost, out);
    out.flush();
    for note in &answer.notes {
        complain(format!("farol: {}", note.text));
    }
    if let Some(cost) = cost.filter(|_| !matches!(form, Form::Json)) {
        complain(in_words(&answer, &cost));
    }
    if is_empty(&answer.data) {
        complain(format!("farol: {}", why_empty(&answer, when)));
    }
    match out.failure() {
        Some(error) => Err(error).context("standard output"),
        None => Ok(ExitCode::SUCCESS),
    }
}

struct Question<'a> {
    text: &'a str,
    expr: &'a Expr,
    when: When,
    now: Timestamp,
}

impl Question<'_> {
    /// Within the limits of a question over HTTP: they are of the memory and the time that one may
    /// take, whoever asks.
    fn ask(&self, reader: &Reader, allowed: &Queries) -> anyhow::Result<Answer> {
        let lap = clock::lap();
        let watch = || (lap.elapsed() > allowed.timeout).then_some(Stop::TimedOut);
        let options = Options {
            query: self.text,
            lookback: millis(allowed.lookback_delta),
            subquery_step: Queries::SUBQUERY_STEP,
            // Of a stopped one too: what it watched has no value after its end, and once it is
            // started again the gap will be there.
            now: Some(self.now),
            limits: allowed.limits(),
            watch: &watch,
        };
        let answer = match self.when {
            When::At(at) => farol_query::instant(reader, self.expr, at, &options),
            When::Steps(steps) => farol_query::range(reader, self.expr, steps, &options),
        };
        answer.map_err(|error| match error {
            EvalError::Stopped(_) => anyhow::anyhow!(
                "{error} after {}; --query.timeout allows more",
                config::show_duration(allowed.timeout)
            ),
            EvalError::Bad(_) | EvalError::Failed(_) | EvalError::TooLarge(_) => error.into(),
        })
    }
}

/// What times are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    At(Timestamp),
    Steps(Steps),
}

impl When {
    fn of(matches: &ArgMatches, now: Timestamp) -> anyhow::Result<When> {
        let text = |name: &str| matches.get_one::<String>(name);
        let moment = |name: &str| {
            text(name).map(|text| moment::parse(&format!("--{name}"), text, now)).transpose()
        };
        let span = |name: &str| text(name).map(|text| span(name, text)).transpose();
        let (range, step) = (span("range")?, span("step")?);
        let (start, end) = (moment("start")?, moment("end")?);
        let last = end.unwrap_or(now).as_millis();
        let first = match (range, start) {
            (Some(range), _) => last.saturating_sub(range),
            (None, Some(start)) => start.as_millis(),
            (None, None) => {
                anyhow::ensure!(
                    end.is_none() && step.is_none(),
                    "--end and --step are of a course of time: say how much with --range, or since \
                     when with --start"
                );
                return Ok(When::At(moment("time")?.unwrap_or(now)));
            }
        };
        anyhow::ensure!(first <= last, "--start is after --end");
        let span = last.saturating_sub(first);
        let steps = Steps::new(first, last, step.unwrap_or_else(|| fitting_step(span)));
        anyhow::ensure!(
            steps.count <= Queries::MOST_STEPS + 1,
            "--step: {} steps are too many, {} is the most",
            steps.count,
            Queries::MOST_STEPS + 1
        );
        Ok(When::Steps(steps))
    }
}

/// Milliseconds, more than 0.
fn span(name: &str, text: &str) -> anyhow::Result<i64> {
    let span =
        config::parse_duration(text).map_err(|why| anyhow::anyhow!("--{name} {text:?} {why}"))?;
    anyhow::ensure!(!span.is_zero(), "--{name} {text}: some time must pass");
    Ok(millis(span))
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Seconds between steps that people count in.
const USUAL_STEPS: [i64; 15] =
    [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400];
const FITTING: i64 = 250;

fn fitting_step(span: i64) -> i64 {
    let least = span / FITTING;
    let usual = USUAL_STEPS.iter().map(|seconds| seconds * 1000).find(|step| *step >= least);
    // Whole days beyond.
    usual.unwrap_or_else(|| (least / 86_400_000 + 1) * 86_400_000)
}

/// An expression that is none, with a pointer to the place.
#[derive(Debug)]
struct Pointed {
    text: String,
    error: ParseError,
}

impl std::fmt::Display for Pointed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ParseError { line, column, problem, .. } = &self.error;
        if self.text.contains('\n') {
            write!(f, "line {line}, ")?;
        }
        write!(f, "column {column}: {problem}")?;
        let shown = self.text.lines().nth(line - 1).unwrap_or("");
        // A pointer below what the terminal makes of a tab would point nowhere.
        if shown.chars().any(char::is_control) {
            return Ok(());
        }
        write!(f, "\n    {shown}\n    {:>column$}", "^")
    }
}

impl std::error::Error for Pointed {}

fn in_words(answer: &Answer, cost: &Cost) -> String {
    let stats = &answer.stats;
    format!(
        "farol: {} series, {} samples, at most {} values at once; {:.1} ms to open the store, {:.1} \
         ms to answer",
        stats.series,
        stats.samples,
        stats.peak_samples,
        cost.preparing * 1e3,
        cost.evaluating * 1e3
    )
}

fn why_empty(answer: &Answer, when: When) -> String {
    let time = match when {
        When::At(at) => format!("at {}", clock::rfc3339(at)),
        When::Steps(steps) => format!(
            "from {} to {}",
            clock::rfc3339(Timestamp::from_millis(steps.start)),
            clock::rfc3339(Timestamp::from_millis(steps.last()))
        ),
    };
    match answer.stats.series {
        0 => format!("the answer is empty: the store has no such series {time}"),
        _ => format!("the answer is empty: of the series that there are none has a value {time}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn when(arguments: &[&str]) -> Result<When, String> {
        let command = configure(Command::new("query"));
        let all = ["query", "up"].iter().chain(arguments);
        let matches = command.try_get_matches_from(all).map_err(|error| error.to_string())?;
        When::of(&matches, Timestamp::from_millis(NOW)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_question_is_about_one_time_or_a_course_of_steps() {
        let steps = |start, end, step, count| Ok(When::Steps(Steps { start, end, step, count }));
        assert_eq!(when(&[]), Ok(When::At(Timestamp::from_millis(NOW))));
        assert_eq!(when(&["--time", "1m"]), Ok(When::At(Timestamp::from_millis(NOW - 60_000))));
        assert_eq!(when(&["--range", "1h"]), steps(NOW - 3_600_000, NOW, 15_000, 241));
        assert_eq!(when(&["--range", "1m"]), steps(NOW - 60_000, NOW, 1000, 61));
        assert_eq!(
            when(&["--range", "1h", "--end", "1699999000", "--step", "30m"]),
            steps(1_699_999_000_000 - 3_600_000, 1_699_999_000_000, 1_800_000, 3)
        );
        assert_eq!(
            when(&["--start", "1699999000", "--step", "5m"]),
            steps(1_699_999_000_000, NOW, 300_000, 4)
        );
        // A year: in whole days.
        assert_eq!(
            when(&["--range", "365d"]),
            steps(NOW - 365 * 86_400_000, NOW, 172_800_000, 183)
        );
    }

    #[test]
    fn times_that_make_no_course_are_refused_with_the_way_out() {
        for (arguments, said) in [
            (&["--step", "15s"][..], "--range"),
            (&["--end", "1h"], "--range"),
            (&["--start", "1h", "--end", "2h"], "--start is after --end"),
            (&["--range", "1d", "--step", "1s"], "86401 steps are too many"),
            (&["--range", "0s"], "some time must pass"),
            (&["--range", "soon"], "--range \"soon\""),
            (&["--range", "1h", "--start", "1h"], "cannot be used with"),
            (&["--range", "1h", "--time", "1h"], "cannot be used with"),
        ] {
            let error = when(arguments).unwrap_err();
            assert!(error.contains(said), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn a_wrong_place_is_pointed_at_in_its_line() {
        let shown = |text: &str, line, column| {
            let span = farol_query::Span { start: 0, end: 0 };
            let error = ParseError { line, column, span, problem: "a value is missing".into() };
            Pointed { text: text.to_owned(), error }.to_string()
        };
        assert_eq!(shown("1 +", 1, 4), "column 4: a value is missing\n    1 +\n       ^");
        assert_eq!(
            shown("sum(\n  é +)", 2, 6),
            "line 2, column 6: a value is missing\n      é +)\n         ^"
        );
        assert_eq!(shown("\t1 +", 1, 5), "column 5: a value is missing");
    }
}
