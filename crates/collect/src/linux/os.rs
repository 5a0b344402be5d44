//! `os`: the distribution. Source: `<root>/etc/os-release`, else `<root>/usr/lib/os-release`
//! (os-release(5), written by the distribution, not by the kernel).

use farol_model::{Lane, Metric};

use super::lines::malformed;
use crate::{
    CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape, host::read_small,
};

const INFO: &str = "node_os_info";
const VERSION: &str = "node_os_version";
const SUPPORT_END: &str = "node_os_support_end_timestamp_seconds";
const FILES: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];

pub(crate) const ENTRY: Entry = Entry {
    name: "os",
    about: "name and version of the operating system",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Root,
    reads: &["/etc/os-release", "/usr/lib/os-release"],
    metrics: &[
        Metric::gauge(
            INFO,
            "",
            "A metric with a constant '1' value labeled by build_id, id, id_like, image_id, \
             image_version, name, pretty_name, variant, variant_id, version, version_codename, \
             version_id.",
        ),
        Metric::gauge(VERSION, "", "Metric containing the major.minor part of the OS version."),
        Metric::gauge(
            SUPPORT_END,
            "seconds",
            "Metric containing the end-of-life date timestamp of the OS.",
        ),
    ],
    build,
};

/// A variable of the file and the label it becomes.
const LABELS: [(&str, &str); 12] = [
    ("BUILD_ID", "build_id"),
    ("ID", "id"),
    ("ID_LIKE", "id_like"),
    ("IMAGE_ID", "image_id"),
    ("IMAGE_VERSION", "image_version"),
    ("NAME", "name"),
    ("PRETTY_NAME", "pretty_name"),
    ("VARIANT", "variant"),
    ("VARIANT_ID", "variant_id"),
    ("VERSION", "version"),
    ("VERSION_CODENAME", "version_codename"),
    ("VERSION_ID", "version_id"),
];

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Os))
}

struct Os;

impl Collector for Os {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let mut missing = None;
        for file in FILES {
            let path = host.root.join(file);
            match read_small(&path).map_err(|error| CollectError::reading(&path, &error)) {
                Ok(text) => {
                    parse(file, &text, out);
                    return Ok(());
                }
                Err(absent @ CollectError::Absent(_)) => missing = missing.or(Some(absent)),
                Err(failed) => return Err(failed),
            }
        }
        Err(missing.unwrap_or_else(|| CollectError::Absent("no os-release file".into())))
    }
}

pub(crate) fn parse(file: &str, text: &str, out: &mut Scrape) {
    let mut variables = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('=') {
            Some((name, value)) => variables.push((name.trim(), unquoted(value.trim()))),
            None => out.problem(malformed(file, line)),
        }
    }
    let value = |name: &str| {
        let held = variables.iter().rev().find(|(held, _)| *held == name);
        held.map_or("", |(_, value)| value.as_str())
    };
    let labels = LABELS.map(|(variable, label)| (label, value(variable)));
    out.push(INFO, &labels, 1.0);
    if let Some(version) = major_minor(value("VERSION_ID")) {
        let labels = [("id", value("ID")), ("id_like", value("ID_LIKE")), ("name", value("NAME"))];
        out.push(VERSION, &labels, version);
    }
    match value("SUPPORT_END") {
        "" => {}
        date => match days_since_1970(date) {
            Some(days) => out.push(SUPPORT_END, &[], days as f64 * 86400.0),
            None => out.problem(malformed(file, date)),
        },
    }
}

/// Shell quoting as os-release(5) allows it: '…' is literal, in "…" and bare text a backslash takes
/// the next character as it is.
fn unquoted(value: &str) -> String {
    let within = |quote: char| value.strip_prefix(quote).and_then(|v| v.strip_suffix(quote));
    if let Some(literal) = within('\'') {
        return literal.to_owned();
    }
    let mut text = String::new();
    let mut characters = within('"').unwrap_or(value).chars();
    while let Some(character) = characters.next() {
        let next = if character == '\\' { characters.next() } else { Some(character) };
        text.extend(next);
    }
    text
}

/// "22.04.3" → 22.04, as node_exporter has it; `None` for "rolling", and for 0.
fn major_minor(version_id: &str) -> Option<f64> {
    let mut dots = 0;
    let end = version_id
        .find(|character: char| {
            dots += usize::from(character == '.');
            !(character.is_ascii_digit() || character == '.' && dots == 1)
        })
        .unwrap_or(version_id.len());
    let number = version_id.get(..end)?;
    if !number.starts_with(|character: char| character.is_ascii_digit()) {
        return None;
    }
    number.parse().ok().filter(|version| *version > 0.0)
}

/// "2030-05-31" → days; the calendar in whole numbers (Howard Hinnant's days_from_civil).
fn days_since_1970(date: &str) -> Option<i64> {
    let mut parts = date.split('-').map(|part| part.parse::<u16>().ok().map(i64::from));
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laid_out::write;

    #[test]
    fn quoted_and_bare_values_become_labels() {
        let mut out = Scrape::new();
        let text = "# a comment\nNAME=\"Ubuntu\"\nVERSION_ID=\"22.04\"\nID=ubuntu\nVERSION='22.04 \"LTS\"'\n\
                    SUPPORT_END=2024-11-12\n";
        parse("etc/os-release", text, &mut out);
        let [info, version, end] = out.samples() else { unreachable!("three samples") };
        assert_eq!(info.labels.get("version"), Some("22.04 \"LTS\""));
        assert_eq!(info.labels.get("id_like"), None);
        assert_eq!(version.value, 22.04);
        assert_eq!(end.value, 1_731_369_600.0);
    }

    #[test]
    fn a_version_is_its_first_two_numbers_or_none_at_all() {
        assert_eq!(major_minor("12"), Some(12.0));
        assert_eq!(major_minor("3.18.4"), Some(3.18));
        assert_eq!(major_minor("20240101-rc"), Some(20_240_101.0));
        assert_eq!(major_minor("7."), Some(7.0));
        assert_eq!(major_minor(""), None);
        assert_eq!(major_minor("rolling"), None);
    }

    #[test]
    fn the_second_file_is_read_when_the_first_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::recorded(folder.path());
        let mut out = Scrape::new();
        let error = Os.collect(&host, &mut out).unwrap_err();
        assert!(matches!(error, CollectError::Absent(reason) if reason.contains("etc/os-release")));
        std::fs::create_dir_all(host.root.join("usr/lib")).unwrap();
        write(&host.root.join("usr/lib/os-release"), "ID=arch\n");
        Os.collect(&host, &mut out).unwrap();
        assert_eq!(out.samples()[0].labels.get("id"), Some("arch"));
    }
}
