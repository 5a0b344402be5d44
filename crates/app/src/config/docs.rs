//! The reference page and the example file, written from the table. A test compares them with
//! what is in the repository.

use std::fmt::Write as _;

use super::{
    settings::{Kind, SETTINGS, Setting},
    units,
};

/// `docs/reference/configuration.md`.
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n## Settings\n");
    let mut section = None;
    for setting in SETTINGS {
        if section != Some(section_of(setting)) {
            section = Some(section_of(setting));
            page.push_str(&section_head(section_of(setting)));
        }
        add(&mut page, format_args!("{}\n", row(setting)));
    }
    page.push_str("\n## Names\n\nThe environment variable and the flags of each key.\n\n");
    page.push_str("| key | environment | flags |\n|---|---|---|\n");
    for setting in SETTINGS {
        let (key, variable, flags) = (setting.key, setting.variable(), flag_names(setting));
        add(&mut page, format_args!("| `{key}` | `{variable}` | {flags} |\n"));
    }
    page
}

/// `infra/farol.example.yml`: every setting with its default. It loads to exactly the defaults,
/// and so it does with every `#key` uncommented.
pub fn example() -> String {
    let mut page = EXAMPLE_HEAD.to_owned();
    let mut open: Vec<&str> = Vec::new();
    for setting in SETTINGS {
        let parts: Vec<&str> = setting.key.split('.').collect();
        let Some((name, sections)) = parts.split_last() else { continue };
        let shared = open.iter().zip(sections).take_while(|(a, b)| a == b).count();
        open.truncate(shared);
        if shared == 0 {
            page.push('\n');
        }
        for section in sections.iter().skip(shared) {
            let indent = indent(open.len());
            open.push(section);
            add(&mut page, format_args!("{indent}{}{section}:\n", mark(&open.join("."))));
        }
        let indent = indent(open.len());
        for line in comment(setting) {
            add(&mut page, format_args!("{indent}# {line}\n"));
        }
        let mark = if setting.default.is_empty() { "#" } else { "" };
        add(&mut page, format_args!("{indent}{mark}{name}: {}\n", yaml_value(setting)));
    }
    page
}

const INTRODUCTION: &str = "\
<!-- Generated from the table of settings; `UPDATE=1 cargo test -p farol --test config` rewrites it. -->

# Configuration

Farol runs without any. What is said later counts more: **defaults, file, environment, flags**. A list replaces the list
of a lower source, except `collectors.enable` and `collectors.disable`, which are applied one after the other.

- *The file* is YAML: `--config FILE`, else `FAROL_CONFIG`, else `/etc/farol/farol.yml` if it is there. One document of
  at most 1 MiB; anchors, aliases, merge keys and tags are refused, unknown and repeated keys are errors.
- *The environment*: `FAROL_` and the key in capitals with `_` for each dot. Lists are separated by commas, `none` is the
  empty list; an empty variable counts as not set.
- *Flags*: the key with `-` for `_`. node_exporter's and Prometheus' names work too. A list's flag may be repeated.

`farol config` prints every setting with its value and where that came from; `farol check` says all that is wrong with a
file, line by line, and changes nothing.

## Notations

| type | written |
|---|---|
| duration | `500ms`, `10s`, `1m30s`, `7d`; units ms, s, m, h, d, w, y, the largest first |
| size | `512MiB` (KiB, MiB, GiB, TiB: powers of 1024), `64KB` (KB, MB, GB, TB: powers of 1000), `1048576` (bytes). Prometheus' own `512MB` means what is `512MiB` here |
| address | `127.0.0.1:8000`, `[::1]:8000`, `localhost:8000`, `:8000` for every address |
| pattern | a regular expression that matches anywhere unless anchored; `^$` excludes nothing |
| probe | `example.org` (icmp), `example.org:443` (tcp), or `{target: …, interval: …, timeout: …}` |
| notifier | `{name: team, discord: {webhook_url: \"${env:DISCORD_WEBHOOK_URL}\"}}` |
| remedy | `{name: free_tmp, cleanup_temp_files: {older_than: 3d}, dry_run: false, cooldown: 3d}` |

## Secrets

Any value may hold `${env:NAME}`, `${file:/path}` (without its last line end) and `${cred:NAME}` (a systemd credential).
What they stand for is shown as `<redacted>` in dumps and messages. Write `$${` for a plain `${`; any other `$` is itself.
";

const EXAMPLE_HEAD: &str = "\
# Farol's configuration: every setting with its default. Generated from the table of settings.
# Copy what you change to /etc/farol/farol.yml; `farol check` says what is wrong with a file.
# Any value may hold ${env:NAME}, ${file:/path} or ${cred:NAME}. Lines that begin with #key have
# a default that depends on the machine.
";

fn section_of(setting: &Setting) -> &'static str {
    setting.key.split_once('.').map_or("", |(section, _)| section)
}

fn section_head(section: &str) -> String {
    let title = if section.is_empty() { "General" } else { section };
    format!("\n### {title}\n\n| key | type | default | meaning |\n|---|---|---|---|\n")
}

fn row(setting: &Setting) -> String {
    let default = match setting.default {
        "" => setting.unset.to_owned(),
        default => format!("`{}`", cell(default)),
    };
    let (key, kind, help) = (setting.key, cell(&kind(setting.kind)), cell(setting.help));
    format!("| `{key}` | {kind} | {default} | {help} |")
}

fn kind(kind: Kind) -> String {
    let word = kind.word();
    match kind {
        Kind::Duration { least, most } => {
            format!("{word}, {} to {}", units::show_duration(least), units::show_duration(most))
        }
        Kind::Size { least, most } => {
            format!("{word}, {} to {}", units::show_size(least), units::show_size(most))
        }
        Kind::Count { least, most } => format!("{word}, {least} to {most}"),
        Kind::Choice(words) => words.join(", "),
        Kind::Text(_)
        | Kind::Path
        | Kind::Paths
        | Kind::Bool
        | Kind::Pattern
        | Kind::Addresses
        | Kind::Hosts
        | Kind::Labels
        | Kind::Collectors
        | Kind::IcmpProbes
        | Kind::TcpProbes
        | Kind::ProcessGroups
        | Kind::LabelNames
        | Kind::QuietHours
        | Kind::Notifiers
        | Kind::Remedies => word.to_owned(),
    }
}

fn flag_names(setting: &Setting) -> String {
    let of_collectors = match setting.key {
        "collectors.enable" => Some("collector.NAME".to_owned()),
        "collectors.disable" => Some("no-collector.NAME".to_owned()),
        _ => None,
    };
    let aliases = setting.aliases.iter().map(|alias| match alias.deprecated {
        true => format!("`--{}` (deprecated)", alias.flag),
        false => format!("`--{}`", alias.flag),
    });
    let main = setting.flag().or(of_collectors).map(|flag| format!("`--{flag}`"));
    main.into_iter().chain(aliases).collect::<Vec<_>>().join(", ")
}

/// A `|` would end the cell, even in code.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn indent(level: usize) -> String {
    "  ".repeat(level)
}

/// `#` before a section of which nothing has a default.
fn mark(section: &str) -> &'static str {
    let prefix = format!("{section}.");
    let mut inside = SETTINGS.iter().filter(|setting| setting.key.starts_with(&prefix));
    if inside.all(|setting| setting.default.is_empty()) { "#" } else { "" }
}

fn comment(setting: &Setting) -> Vec<String> {
    let mut text = setting.help.to_owned();
    if setting.default.is_empty() {
        add(&mut text, format_args!(" Default: {}.", setting.unset));
    }
    wrapped(&text, 90)
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn yaml_value(setting: &Setting) -> String {
    let text = if setting.default.is_empty() { setting.example } else { setting.default };
    match setting.kind {
        kind if kind.is_list() && text == "none" => "[]".to_owned(),
        kind if kind.is_list() => {
            let items = text.split(',').map(|item| format!("\"{}\"", item.trim()));
            format!("[{}]", items.collect::<Vec<_>>().join(", "))
        }
        // Single quotes: nothing inside is an escape.
        Kind::Pattern => format!("'{}'", text.replace('\'', "''")),
        _ => text.to_owned(),
    }
}

fn add(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("writing to a string does not fail");
}
