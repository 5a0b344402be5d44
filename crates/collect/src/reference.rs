//! The reference page of all metrics, rendered from the same tables that feed `# HELP` and
//! `# TYPE`: it cannot tell anything else than the program does.

use std::fmt::Write as _;

use farol_model::{Kind, Metric};

use crate::{COLLECTORS, Entry, own, process, runner, summary, top_rows};

const HEAD: &str = "\
<!-- Generated from the collectors' tables; \
`UPDATE=1 cargo test -p farol --test metrics` rewrites it. -->

# Metrics

What the host yields is named, labelled and typed as node_exporter's. A `*` in a name stands for what the kernel calls it.
A metric that a machine cannot tell is absent, never 0 or -1; why, is said by `/health` and in the journal's `errors`.

*Fast* collectors run each second by default, *slow* ones each ten seconds.
";

/// Chapters that are no collectors: name, what it is, its table.
pub type Chapter = (&'static str, &'static str, &'static [Metric]);

/// The whole page, in Markdown; `more` are the chapters of crates above this one.
pub fn reference_markdown(more: &[Chapter]) -> String {
    let mut page = String::from(HEAD);
    push_collectors(&mut page);
    for entry in COLLECTORS.iter().filter(|entry| !entry.metrics.is_empty()) {
        let state = if entry.on { "on" } else { "off" };
        let about = format!("{}; {} lane, {state} by default.", entry.about, entry.lane.name());
        push_chapter(&mut page, entry.name, &about, entry.metrics);
    }
    let rest: [Chapter; 5] = [
        ("scrape", "How each collector's last run went.", runner::METRICS),
        ("summary", "The machine's vital signs, computed from the above.", summary::metrics()),
        ("process", "This process; read at the scrape, not stored.", process::METRICS),
        ("follow", "In `farol serve`: its own reading; not stored.", own::FOLLOWER_METRICS),
        (
            "top rows",
            "The rows of `top` as series in the store; not on `/metrics`. Labels: `name`, `user`, `unit`, `container`; processes that agree in all of them are added up.",
            top_rows::METRICS,
        ),
    ];
    for (name, about, metrics) in rest.iter().chain(more) {
        push_chapter(&mut page, name, about, metrics);
    }
    page
}

fn push_collectors(page: &mut String) {
    page.push_str("\n| collector | lane | default | what | reads |\n|---|---|---|---|---|\n");
    for Entry { name, lane, on, about, reads, .. } in COLLECTORS {
        let (lane, state) = (lane.name(), if *on { "on" } else { "off" });
        let reads: Vec<String> = reads.iter().map(|path| format!("`{path}`")).collect();
        let reads = reads.join(", ");
        write_to(page, format_args!("| `{name}` | {lane} | {state} | {about} | {reads} |\n"));
    }
}

fn push_chapter(page: &mut String, name: &str, about: &str, metrics: &[Metric]) {
    let about = capitalised(about);
    write_to(page, format_args!("\n## {name}\n\n{about}\n\n"));
    page.push_str("| metric | type | unit | help |\n|---|---|---|---|\n");
    for metric in metrics {
        let (kind, unit) = (kind_name(metric.kind), metric.unit);
        let help = metric.help.replace('|', "\\|").replace('*', "\\*");
        write_to(page, format_args!("| `{}` | {kind} | {unit} | {help} |\n", metric.name));
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Untyped => "untyped",
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(characters).collect()
}

fn write_to(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("a String takes all text");
}
