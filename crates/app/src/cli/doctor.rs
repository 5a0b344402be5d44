//! `farol doctor`: what can be seen of the host from here, what not and why, and the line that mends
//! it. Needs no running Farol: it looks for itself. The exit code is 0 when all that is collected
//! is the host's, and 1 when something is missing.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, builder::PossibleValuesParser};
use serde_json::{Value, json};

use super::Out;
use crate::{config, diagnosis::Diagnosis};

pub(super) fn configure(command: Command) -> Command {
    let format = Arg::new("format")
        .long("format")
        .value_parser(PossibleValuesParser::new(["text", "json"]))
        .default_value("text")
        .help("For people or for programs");
    config::add_flags(command.arg(format))
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let loaded = config::from_process(config::flags_from(matches))?;
    let diagnosis = Diagnosis::of(&loaded);
    let as_json = matches.get_one::<String>("format").is_some_and(|format| format == "json");
    if as_json {
        out.line(serde_json::to_string_pretty(&object(&diagnosis))?);
    } else {
        out.text(render(&diagnosis));
    }
    Ok(if diagnosis.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn render(diagnosis: &Diagnosis) -> String {
    let mut page = Vec::new();
    for place in &diagnosis.places {
        page.push(format!("{:<11}{:<24}{}", place.what, place.value, place.why));
    }
    let kernel = diagnosis.kernel.as_deref().unwrap_or("unknown");
    page.push(format!("{:<11}{kernel}", "kernel"));
    page.push(format!("{:<11}{}", "container", diagnosis.container.as_deref().unwrap_or("none")));
    let names = diagnosis.sources.iter().map(|source| source.name.len());
    let width = names.max().unwrap_or_default().max("SOURCE".len()) + 2;
    page.push(format!("\n{:<width$}{:<9}WHY", "SOURCE", "SEEN"));
    for source in &diagnosis.sources {
        page.push(match &source.missing {
            None => format!("{:<width$}host's", source.name),
            Some(missing) => format!("{:<width$}{:<9}{}", source.name, "missing", missing.reason),
        });
    }
    page.push(format!("\n{:<35}{:<9}NEEDS", "PRIVILEGE", "GRANTED"));
    for privilege in &diagnosis.privileges {
        let granted = if privilege.granted { "yes" } else { "no" };
        let (what, needs) = (privilege.what, privilege.needs);
        page.push(format!("{what:<35}{granted:<9}{needs}"));
    }
    page.push(String::new());
    page.extend(advice(diagnosis));
    page.join("\n") + "\n"
}

fn advice(diagnosis: &Diagnosis) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(name) = &diagnosis.foreign_name {
        lines.push(format!("{name:?} is the container's own name: --host-name sets another"));
    }
    if let Some(flags) = diagnosis.docker_flags() {
        lines.push("To see the whole host, add to the container".to_owned());
        lines.push(format!("    docker run … {flags}"));
        lines.push("or to its service in a compose file".to_owned());
        lines.extend(diagnosis.compose_lines().iter().map(|line| format!("    {line}")));
        if flags.contains("rslave") {
            lines.push(NOT_SHARED.to_owned());
        }
    }
    lines.extend(diagnosis.words().iter().map(|words| format!("Mended by {words}")));
    if diagnosis.is_whole() {
        lines.push("All that is collected is the host's.".to_owned());
    }
    lines
}

/// What the engine says on a machine whose root is mounted privately.
const NOT_SHARED: &str =
    "(where the engine says that / is not shared: ro alone; then later mounts are not seen)";

fn object(diagnosis: &Diagnosis) -> Value {
    let places = diagnosis
        .places
        .iter()
        .map(|place| json!({ "what": place.what, "value": place.value, "why": place.why }));
    let sources = diagnosis.sources.iter().map(|source| {
        let missing = source.missing.as_ref();
        json!({
            "name": source.name,
            "host_view": missing.is_none(),
            "reason": missing.map(|missing| &missing.reason),
            "mend": missing.map(|missing| missing.mend.to_string()),
        })
    });
    let privileges = diagnosis.privileges.iter().map(|privilege| {
        json!({ "what": privilege.what, "granted": privilege.granted, "needs": privilege.needs })
    });
    json!({
        "whole": diagnosis.is_whole(),
        "container": diagnosis.container,
        "kernel": diagnosis.kernel,
        "places": places.collect::<Vec<_>>(),
        "sources": sources.collect::<Vec<_>>(),
        "foreign_name": diagnosis.foreign_name,
        "privileges": privileges.collect::<Vec<_>>(),
        "mend": {
            "docker": diagnosis.docker_flags(),
            "compose": diagnosis.compose_lines(),
            "words": diagnosis.words(),
        },
    })
}
