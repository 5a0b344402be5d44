//! A text as plain values, for who may not know this crate.

use std::collections::HashSet;

use farol_model::{Exposed, ExposedFamily, ExposedSample, Kind, Text};

use super::{Family, FamilyKind, Format, Limits, ParseError, parse};

/// Reads text format 0.0.4. Of the kinds that `model` does not have, each name of a sample (a
/// histogram's `_bucket`, `_sum` and `_count`) becomes an untyped family with the same help.
pub fn exposed(text: &[u8], limits: &Limits) -> Result<Exposed, ParseError> {
    let parsed = parse(text, Format::Text, limits)?;
    let names: HashSet<&Text> = parsed.samples.iter().map(|scraped| &scraped.sample.name).collect();
    let mut families = Vec::new();
    for name in names {
        let family = family_of(name, |family| parsed.families.get(family));
        families.extend(family.map(|family| ExposedFamily {
            name: name.clone(),
            kind: kind(family.kind),
            help: family.help.clone(),
        }));
    }
    families.sort_by(|a, b| a.name.cmp(&b.name));
    let samples = parsed.samples.into_iter().map(|scraped| ExposedSample {
        sample: scraped.sample,
        line: scraped.line,
        has_time: scraped.at.is_some(),
    });
    Ok(Exposed { samples: samples.collect(), families })
}

/// The family of its own name or, of a histogram or summary, of the name without its ending.
fn family_of<'a>(name: &str, get: impl Fn(&str) -> Option<&'a Family>) -> Option<&'a Family> {
    let is_of_many =
        |family: &&Family| matches!(family.kind, FamilyKind::Histogram | FamilyKind::Summary);
    get(name).or_else(|| {
        let mut endings = ["_bucket", "_sum", "_count"].into_iter();
        endings.find_map(|ending| get(name.strip_suffix(ending)?).filter(is_of_many))
    })
}

fn kind(kind: FamilyKind) -> Kind {
    match kind {
        FamilyKind::Counter => Kind::Counter,
        FamilyKind::Gauge | FamilyKind::Info | FamilyKind::StateSet => Kind::Gauge,
        FamilyKind::Histogram
        | FamilyKind::GaugeHistogram
        | FamilyKind::Summary
        | FamilyKind::Untyped => Kind::Untyped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_the_kind_and_help_of_its_family() {
        let text = b"# HELP jobs_total Jobs done.\n# TYPE jobs_total counter\njobs_total 3\n\
            # HELP wait How long.\n# TYPE wait histogram\nwait_bucket{le=\"+Inf\"} 1\nwait_sum 2\nwait_count 1 1700000000000\nplain 4\n";
        let exposed = exposed(text, &Limits::default()).unwrap();
        let families: Vec<_> = exposed
            .families
            .iter()
            .map(|family| (family.name.as_str(), family.kind, family.help.as_str()))
            .collect();
        assert_eq!(
            families,
            [
                ("jobs_total", Kind::Counter, "Jobs done."),
                ("wait_bucket", Kind::Untyped, "How long."),
                ("wait_count", Kind::Untyped, "How long."),
                ("wait_sum", Kind::Untyped, "How long."),
            ]
        );
        let lines: Vec<_> = exposed.samples.iter().map(|one| (one.line, one.has_time)).collect();
        assert_eq!(lines, [(3, false), (6, false), (7, false), (8, true), (9, false)]);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        let error = exposed(b"good 1\nbad one\n", &Limits::default()).unwrap_err();
        assert_eq!(error.line, 2);
    }
}
