//! Restarts a unit of systemd.

use std::sync::Arc;

use farol_model::Alert;

use super::{
    BuiltIn, Fault, Field, FieldKind, Fields, HOUR, Job, NotGranted, Outcome, Surroundings,
    Treatment, child, grant,
};

pub(super) const BUILT_IN: BuiltIn = BuiltIn {
    name: "restart_unit",
    about: "Restarts one of `units`: the one that the alert's label `name` or `unit` names, else the only \
            one.",
    cooldown: HOUR,
    is_default: false,
    fields: &[Field {
        name: "units",
        kind: FieldKind::Texts,
        default: None,
        help: "Units that may be restarted, with their ending: `nginx.service`.",
    }],
    build,
};

const SYSTEMCTL: &[&str] = &["/usr/bin/systemctl", "/bin/systemctl"];
const GRANT: &str = "run farol as root, or let a polkit rule give its user \
                     org.freedesktop.systemd1.manage-units for this unit";

#[derive(Clone, Debug, PartialEq, Eq)]
struct RestartUnit {
    units: Vec<String>,
}

fn build(fields: &Fields) -> Result<Arc<dyn Treatment>, Fault> {
    let units = fields.texts("units");
    if units.is_empty() {
        return Err(Fault::new("units", "is empty"));
    }
    for unit in &units {
        if !is_unit(unit) {
            let why = format!("{unit} is not a unit's name; write it like nginx.service");
            return Err(Fault::new("units", why));
        }
    }
    Ok(Arc::new(RestartUnit { units }))
}

/// As systemd has it, without patterns, which its programs would expand.
fn is_unit(name: &str) -> bool {
    const ENDINGS: [&str; 6] = ["service", "socket", "timer", "mount", "path", "target"];
    let is_inner = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    let Some((stem, ending)) = name.rsplit_once('.') else { return false };
    let is_plain = name.len() < 256 && name.chars().all(is_inner);
    is_plain && !stem.is_empty() && !name.starts_with('-') && ENDINGS.contains(&ending)
}

/// The one that the alert is about, where it may be; the only one, where the alert is about none.
/// `is_one` says whether a label's value may be the name of such a one at all.
pub(super) fn pick<'a>(
    from: &'a [String],
    alert: Option<&Alert>,
    labels: &[&str],
    is_one: fn(&str) -> bool,
) -> Result<&'a str, String> {
    let list = || from.join(", ");
    let named = labels.iter().find_map(|label| {
        let value = alert?.labels.get(label)?;
        is_one(value).then_some((label, value))
    });
    match (named, from) {
        (Some((label, value)), _) => {
            from.iter().find(|one| *one == value).map(String::as_str).ok_or_else(|| {
                format!("the alert is about {value} ({label}), and only {} may be", list())
            })
        }
        (None, [only]) => Ok(only),
        (None, _) if alert.is_none() => Err(format!("which of {}? only an alert says it", list())),
        (None, _) => {
            let labels = labels.join(" or ");
            Err(format!("the alert names none of {} by its label {labels}", list()))
        }
    }
}

impl Treatment for RestartUnit {
    fn what(&self) -> String {
        format!("restart {}", self.units.join(" or "))
    }

    fn granted(&self, _surroundings: &Surroundings) -> Result<(), NotGranted> {
        if !std::path::Path::new("/run/systemd/system").is_dir() {
            return Err(NotGranted::new(
                "systemd cannot be reached from here",
                "run farol on the host, or in a container with /run/systemd and /run/dbus of the host",
            ));
        }
        match child::find(SYSTEMCTL) {
            // Whether a polkit rule allows it shows when it is tried.
            Some(_) => Ok(()),
            None => Err(NotGranted::new("there is no systemctl", "install it")),
        }
    }

    fn rehearse(&self, job: &Job<'_>) -> Outcome {
        match pick(&self.units, job.alert, &["name", "unit"], is_unit) {
            Ok(unit) => Outcome::good(format!("would restart {unit}")),
            Err(why) => Outcome::bad(why),
        }
    }

    fn run(&self, job: &Job<'_>) -> Outcome {
        let unit = match pick(&self.units, job.alert, &["name", "unit"], is_unit) {
            Ok(unit) => unit,
            Err(why) => return Outcome::bad(why),
        };
        let Some(systemctl) = child::find(SYSTEMCTL) else {
            return Outcome::bad("there is no systemctl");
        };
        let arguments = ["--no-ask-password", "--no-pager", "restart", "--", unit];
        let outcome = child::run(&child::of_system(systemctl, &arguments), job.leash);
        explained(outcome, &format!("restarted {unit}"))
    }
}

/// What systemd's programs say when polkit does not allow it is a right that is missing.
pub(super) fn explained(outcome: Outcome, done: &str) -> Outcome {
    const DENIALS: [&str; 4] =
        ["authentication required", "Access denied", "not authorized", "Permission denied"];
    if outcome.ok {
        return Outcome { summary: done.to_owned(), ..outcome };
    }
    let said = outcome.output.to_ascii_lowercase();
    let is_denied = DENIALS.iter().any(|denial| said.contains(&denial.to_ascii_lowercase()));
    if is_denied && !grant::is_root() {
        let missing = NotGranted::new("systemd does not allow it", GRANT);
        return Outcome { summary: missing.to_string(), ..outcome };
    }
    outcome
}

#[cfg(test)]
mod tests {
    use farol_model::{Labels, Phase, Timestamp};

    use super::*;

    fn about(label: &str, value: &str) -> Alert {
        Alert {
            group: "g".into(),
            rule: "r".into(),
            labels: Labels::new(vec![(label.into(), value.into())]),
            annotations: Labels::empty(),
            series: Labels::empty(),
            value: 1.0,
            phase: Phase::Firing,
            active_at: Timestamp::default(),
            fired_at: None,
            keeping_since: None,
            missing_since: None,
            unseen: 0,
            seen_at: Timestamp::default(),
            ended_at: None,
            firings: Vec::new(),
            is_flapping: false,
            remedy: None,
        }
    }

    #[test]
    fn a_unit_is_restarted_only_if_it_is_listed_and_never_in_place_of_another() {
        let one = ["web.service".to_owned()];
        let two = ["web.service".to_owned(), "db.service".to_owned()];
        let web = Ok("web.service");
        for (units, alert, expected) in [
            (&two[..], Some(about("name", "db.service")), Ok("db.service")),
            (&two[..], Some(about("unit", "web.service")), web),
            (
                &one[..],
                Some(about("name", "db.service")),
                Err("is about db.service (name), and only"),
            ),
            // No unit's name: of something else.
            (&one[..], Some(about("name", "frontend")), web),
            (&one[..], Some(about("job", "node")), web),
            (&one[..], None, web),
            (&two[..], Some(about("job", "node")), Err("names none of web.service, db.service")),
            (&two[..], None, Err("only an alert says it")),
        ] {
            let picked = pick(units, alert.as_ref(), &["name", "unit"], is_unit);
            match expected {
                Ok(unit) => assert_eq!(picked.as_deref(), Ok(unit)),
                Err(part) => assert!(picked.as_ref().unwrap_err().contains(part), "{picked:?}"),
            }
        }
    }

    #[test]
    fn a_unit_has_an_ending_and_is_no_pattern() {
        for (name, expected) in [
            ("nginx.service", true),
            ("getty@tty1.service", true),
            ("nginx", false),
            ("*.service", false),
            (".service", false),
            ("-x.service", false),
            ("a b.service", false),
        ] {
            assert_eq!(is_unit(name), expected, "{name}");
        }
    }
}
