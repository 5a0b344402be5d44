//! A report as text, as JSON and as Markdown.

use farol_model::{Episode, State, Summary, Text, Timestamp};
use serde_json::{Map, Value, json};

use super::gather::{EpisodeRow, Hour, Outcome, Report, Run};
use crate::clock;

/// The columns of the hours: a sign's short name and what it is called.
const SIGNS: [(&str, &str); 4] = [
    ("cpu_percent", "cpu %"),
    ("memory_percent", "memory %"),
    ("disk_percent", "disk %"),
    ("latency_ms", "latency ms"),
];
const NONE: &str = "-";
const MISSING: &str = "no summary: not watched, or not summed up yet";
const RUNNING: &str = "still running";
const ALL_HOURS: &str = "Hours (UTC): mean, greatest and 95th percentile";

pub(super) fn text(report: &Report) -> String {
    let mut text = format!("{}\n\n{}\n", title(report), states_sentence(report));
    for (heading, table, none) in tables(report) {
        text.push_str(&format!("\n{heading}\n\n"));
        match table.rows.is_empty() {
            true => text.push_str(&format!("{none}\n")),
            false => table.write_plain(&mut text),
        }
    }
    text.push_str(&left_out(report));
    text
}

pub(super) fn markdown(report: &Report) -> String {
    let mut text = format!("# {}\n\n{}\n", title(report), states_sentence(report));
    for (heading, table, none) in tables(report) {
        text.push_str(&format!("\n## {heading}\n\n"));
        match table.rows.is_empty() {
            true => text.push_str(&format!("{none}\n")),
            false => table.write_markdown(&mut text),
        }
    }
    text.push_str(&left_out(report));
    text
}

pub(super) fn json(report: &Report) -> String {
    let states: Map<String, Value> = report
        .states()
        .into_iter()
        .map(|(state, seconds)| (state.name().to_owned(), seconds.into()))
        .collect();
    let channels: Map<String, Value> = report
        .channels
        .iter()
        .map(|(name, row)| {
            let value = json!({
                "sent": row.sent,
                "put_off": row.put_off,
                "given_up": row.given_up,
                "last_trouble": row.trouble.as_deref(),
            });
            (name.to_string(), value)
        })
        .collect();
    let value = json!({
        "host": report.host.as_str(),
        "since": clock::rfc3339(report.span.since),
        "until": clock::rfc3339(report.span.until),
        "state_seconds": states,
        "hours": report.hours.iter().map(hour_json).collect::<Vec<_>>(),
        "episodes": report.episodes.iter().map(|row| episode_json(report, row)).collect::<Vec<_>>(),
        "treatments": report.runs.iter().map(run_json).collect::<Vec<_>>(),
        "notifiers": channels,
        "damaged_lines": report.damaged,
        "left_out": report.left_out,
    });
    format!("{value:#}\n")
}

fn hour_json((hour, what): &(Timestamp, Hour)) -> Value {
    let summary = match what {
        Hour::Running => return json!({"hour": clock::rfc3339(*hour), "missing": "running"}),
        Hour::Missing => return json!({"hour": clock::rfc3339(*hour), "missing": "no summary"}),
        Hour::Summed(summary) => summary,
    };
    let signs: Map<String, Value> = summary
        .signs
        .iter()
        .map(|(name, sign)| {
            let value = json!({
                "mean": sign.mean,
                "min": sign.min,
                "max": sign.max,
                "p95": sign.p95,
                "samples": sign.samples,
            });
            (name.to_string(), value)
        })
        .collect();
    let states: Map<String, Value> = summary
        .states
        .iter()
        .map(|(state, seconds)| (state.name().to_owned(), (*seconds).into()))
        .collect();
    json!({"hour": clock::rfc3339(*hour), "signs": signs, "state_seconds": states})
}

fn episode_json(report: &Report, (episode, row): &(Episode, EpisodeRow)) -> Value {
    let labels: Map<String, Value> =
        row.labels.iter().map(|(name, value)| (name.to_string(), value.as_str().into())).collect();
    json!({
        "alertname": row.name(),
        "severity": row.labels.get("severity"),
        "labels": labels,
        "summary": row.summary.as_deref(),
        "fingerprint": format!("{:016x}", episode.fingerprint),
        "fired_at": clock::rfc3339(episode.fired_at),
        "ended_at": row.ended_at.map(clock::rfc3339),
        "seconds": row.ended_at.unwrap_or(report.span.until).since(episode.fired_at).as_secs(),
        "told": row.told.iter().map(Text::as_str).collect::<Vec<_>>(),
    })
}

fn run_json(run: &Run) -> Value {
    let (outcome, detail) = outcome(&run.outcome);
    json!({
        "id": run.id.as_str(),
        "at": clock::rfc3339(run.at),
        "remedy": run.remedy.as_str(),
        "alertname": run.alertname.as_deref(),
        "outcome": outcome,
        "detail": detail,
        "judgement": run.judgement.map(|judgement| judgement.name()),
    })
}

fn title(report: &Report) -> String {
    let span = report.span.until.since(report.span.since);
    let (since, until) = (minute(report.span.since), minute(report.span.until));
    let host = if report.host.is_empty() { "this machine" } else { &report.host };
    format!("Report of {host}: {since} to {until} UTC ({})", span_text(span.as_secs()))
}

fn states_sentence(report: &Report) -> String {
    let states = report.states();
    let watched: u64 = states.iter().map(|(_, seconds)| seconds).sum();
    let without = report.hours.iter().filter(|(_, hour)| !matches!(hour, Hour::Summed(_))).count();
    let mut sentence = match watched {
        0 => "In no hour is the state known.".to_owned(),
        _ => {
            let parts = states.iter().map(|(state, seconds)| {
                let share = *seconds as f64 * 100.0 / watched as f64;
                format!("{} {share:.1} % ({})", word(*state), span_text(*seconds))
            });
            format!("The state was {}.", parts.collect::<Vec<_>>().join(", "))
        }
    };
    if without > 0 {
        let are = if without == 1 { "hour has" } else { "hours have" };
        sentence.push_str(&format!(" {without} of {} {are} no summary.", report.hours.len()));
    }
    sentence
}

fn left_out(report: &Report) -> String {
    match report.left_out {
        0 => String::new(),
        count => format!("\n{count} further lines are left out; ask for a shorter time.\n"),
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Unknown => "unknown",
        State::Stable => "stable",
        State::Warning => "warning",
        State::Critical => "critical",
    }
}

fn tables(report: &Report) -> [(&'static str, Table, &'static str); 4] {
    [
        (ALL_HOURS, hours(report), "none"),
        ("Alerts that fired", episodes(report), "None fired."),
        ("Treatments", runs(report), "None was called for."),
        ("Messages", channels(report), "None was due."),
    ]
}

/// Hours that follow one another and have no summary are one row.
fn hours(report: &Report) -> Table {
    let head = SIGNS.map(|(_, heading)| format!("{heading} mean/max/p95"));
    let mut table = Table::new(["hour".to_owned()].into_iter().chain(head).chain(["state".into()]));
    let mut rest = &report.hours[..];
    while let Some(((hour, what), others)) = rest.split_first() {
        let alike = match what {
            Hour::Missing => {
                others.iter().take_while(|(_, next)| matches!(next, Hour::Missing)).count()
            }
            Hour::Summed(_) | Hour::Running => 0,
        };
        let note = match what {
            Hour::Summed(summary) => {
                table.rows.push(summed_row(*hour, summary));
                rest = others;
                continue;
            }
            Hour::Running => RUNNING,
            Hour::Missing => MISSING,
        };
        let last = others.get(..alike).and_then(|alike| alike.last());
        let name = match last {
            Some((last, _)) => format!("{} to {}", minute(*hour), minute(*last)),
            None => minute(*hour),
        };
        let mut row = vec![name];
        row.extend(SIGNS.iter().map(|_| NONE.to_owned()));
        row.push(note.to_owned());
        table.rows.push(row);
        rest = others.get(alike..).unwrap_or_default();
    }
    table
}

fn summed_row(hour: Timestamp, summary: &Summary) -> Vec<String> {
    let mut row = vec![minute(hour)];
    for (short, _) in SIGNS {
        let sign = summary.signs.iter().find(|(name, _)| *name == short);
        row.push(match sign {
            Some((_, sign)) => format!("{:.1}/{:.1}/{:.1}", sign.mean, sign.max, sign.p95),
            None => NONE.to_owned(),
        });
    }
    let states = summary.states.iter();
    let states = states
        .map(|(state, seconds)| format!("{} {}", word(*state), span_text(u64::from(*seconds))));
    let states: Vec<String> = states.collect();
    row.push(if states.is_empty() { "not known".to_owned() } else { states.join(", ") });
    row
}

fn episodes(report: &Report) -> Table {
    let head = ["from", "for", "severity", "alert", "what", "told"];
    let mut table = Table::new(head.map(str::to_owned));
    for (episode, row) in &report.episodes {
        let length =
            span_text(row.ended_at.unwrap_or(report.span.until).since(episode.fired_at).as_secs());
        let told: Vec<&str> = row.told.iter().map(Text::as_str).collect();
        table.rows.push(vec![
            second(episode.fired_at),
            if row.ended_at.is_some() { length } else { format!("{length}, still firing") },
            row.labels.get("severity").unwrap_or(NONE).to_owned(),
            row.name().to_owned(),
            row.summary.as_deref().unwrap_or(NONE).to_owned(),
            if told.is_empty() { "nobody".to_owned() } else { told.join(", ") },
        ]);
    }
    table
}

fn runs(report: &Report) -> Table {
    let head = ["at", "treatment", "for", "outcome", "did it help"];
    let mut table = Table::new(head.map(str::to_owned));
    for run in &report.runs {
        let (outcome, detail) = outcome(&run.outcome);
        table.rows.push(vec![
            second(run.at),
            run.remedy.to_string(),
            run.alertname.as_deref().unwrap_or("a person").to_owned(),
            detail.map_or(outcome.to_owned(), |detail| format!("{outcome}: {detail}")),
            run.judgement.map_or(NONE, |judgement| judgement.name()).to_owned(),
        ]);
    }
    table
}

fn outcome(outcome: &Outcome) -> (&'static str, Option<&str>) {
    match outcome {
        Outcome::Refused(reason) => ("refused", Some(reason)),
        Outcome::Rehearsed(summary) => ("rehearsed", Some(summary)),
        Outcome::Running(what) => ("running", Some(what)),
        Outcome::Succeeded(summary) => ("done", Some(summary)),
        Outcome::Failed(summary) => ("failed", Some(summary)),
        Outcome::Unknown => ("unknown", None),
    }
}

fn channels(report: &Report) -> Table {
    let head = ["notifier", "sent", "put off", "given up", "last trouble"];
    let mut table = Table::new(head.map(str::to_owned));
    for (name, row) in &report.channels {
        table.rows.push(vec![
            name.to_string(),
            row.sent.to_string(),
            row.put_off.to_string(),
            row.given_up.to_string(),
            row.trouble.as_deref().unwrap_or(NONE).to_owned(),
        ]);
    }
    table
}

struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(head: impl IntoIterator<Item = String>) -> Table {
        Table { head: head.into_iter().collect(), rows: Vec::new() }
    }

    fn write_plain(&self, text: &mut String) {
        let all = || [&self.head].into_iter().chain(&self.rows);
        let width = |column: usize| {
            let cells = all().filter_map(|row| row.get(column));
            cells.map(|cell| plain(cell).chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        for row in all() {
            let cells = row.iter().zip(&widths);
            let cells = cells.map(|(cell, width)| format!("{:<width$}", plain(cell)));
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
    }

    fn write_markdown(&self, text: &mut String) {
        let line = |row: &[String]| {
            let cells: Vec<String> =
                row.iter().map(|cell| plain(cell).replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        text.push_str(&line(&self.head));
        text.push_str(&format!("|{}\n", "---|".repeat(self.head.len())));
        self.rows.iter().for_each(|row| text.push_str(&line(row)));
    }
}

/// What rules and programs have said stays on its line, and moves no cursor.
fn plain(cell: &str) -> String {
    cell.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// `2026-11-22 10:00`
fn minute(at: Timestamp) -> String {
    clock::rfc3339(at).chars().take(16).collect::<String>().replace('T', " ")
}

fn second(at: Timestamp) -> String {
    clock::rfc3339(at).chars().take(19).collect::<String>().replace('T', " ")
}

/// The two largest units: `2 h 5 min`.
fn span_text(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (length, unit) in units {
        let count = rest / length;
        rest %= length;
        if count > 0 || (length == 1 && parts.is_empty()) {
            parts.push(format!("{count} {unit}"));
        } else if !parts.is_empty() {
            break;
        }
    }
    parts.truncate(2);
    parts.join(" ")
}
