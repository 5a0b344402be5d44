//! One item of `remedies`: a name, the treatment with its fields, and its policy.
//!
//! Which fields a treatment has its own row says; nothing here knows one.

use std::time::Duration;

use farol_act::remedy::{BUILT_INS, BuiltIn, FieldKind, Fields, Given, Policy, Settings};
use farol_model::Text;
use farol_wire::yaml::{Content, Key, Node};

use super::{
    super::{
        types::{QuietHours, Remedy},
        units,
    },
    Reading, TextRule, bounded, checked,
};

/// Besides the treatment, of which there is exactly one.
const FIELDS: &[&str] =
    &["name", "dry_run", "sustained", "cooldown", "per_day", "hours", "wait", "deadline"];
const HOURS: &[&str] = &["times", "weekdays", "days_of_month", "months", "time_zone"];

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

impl Reading<'_> {
    /// A rule calls for a remedy by its name, so that two of one name would be one.
    pub(super) fn remedy(&mut self, node: &Node) -> Option<(Remedy, String, String)> {
        let key = self.setting.key;
        let faults = self.problems.len();
        let Content::Map(pairs) = &node.content else {
            let why = "is a list of remedies, each with a name and a treatment".to_owned();
            self.complain(node, key, why);
            return None;
        };
        let known: Vec<&str> =
            FIELDS.iter().copied().chain(BUILT_INS.iter().map(|row| row.name)).collect();
        let policy = Policy::default();
        let mut remedy = Remedy {
            name: Text::EMPTY,
            kind: "",
            fields: Fields::default(),
            dry_run: true,
            sustained: policy.sustained,
            cooldown: policy.cooldown,
            per_day: policy.per_day,
            hours: None,
            wait: Settings::WAIT,
            deadline: Settings::DEADLINE,
        };
        let mut treatments = Vec::new();
        let mut cooldown = None;
        for (field, value) in pairs {
            let full = format!("{key}.{}", field.text);
            let full = full.as_str();
            match field.text.as_str() {
                "name" => {
                    let read = |text: &str| checked(TextRule::Label, text);
                    if let Some((name, _)) = self.scalar(value, full, read, Clone::clone) {
                        remedy.name = name.into();
                    }
                }
                "dry_run" => self.set(value, full, units::boolean, &mut remedy.dry_run),
                "sustained" => {
                    let most = 7 * 24 * HOUR;
                    self.within(value, full, Duration::ZERO, most, &mut remedy.sustained);
                }
                "cooldown" => {
                    let mut given = HOUR;
                    self.within(value, full, MINUTE, YEAR, &mut given);
                    cooldown = Some(given);
                }
                "per_day" => {
                    let read = |text: &str| {
                        let count = units::count(text)?;
                        let count = bounded(count, 1, 100, |count| count.to_string())?;
                        Ok(usize::try_from(count).unwrap_or(1))
                    };
                    self.set(value, full, read, &mut remedy.per_day);
                }
                "hours" => remedy.hours = self.hours(value, full),
                "wait" => self.within(value, full, Duration::ZERO, HOUR, &mut remedy.wait),
                "deadline" => self.within(value, full, SECOND, HOUR, &mut remedy.deadline),
                name => match BuiltIn::of(name) {
                    Some(row) => treatments.push((row, value)),
                    None => self.unknown_field(field, full.to_owned(), "a remedy", &known),
                },
            }
        }
        match treatments.as_slice() {
            [(row, value)] => {
                remedy.kind = row.name;
                remedy.cooldown = cooldown.unwrap_or(row.cooldown);
                remedy.fields = self.treatment(row, value)?;
            }
            [] => {
                let names: Vec<&str> = BUILT_INS.iter().map(|row| row.name).collect();
                let why =
                    format!("the remedy has no treatment; give it one of {}", names.join(", "));
                self.complain(node, key, why);
            }
            several => {
                let names: Vec<&str> = several.iter().map(|(row, _)| row.name).collect();
                let why = format!("a remedy has one treatment, not {}", names.join(" and "));
                self.complain(node, key, why);
            }
        }
        if remedy.name.is_empty() && self.problems.len() == faults {
            self.complain(node, key, "the remedy has no name".to_owned());
        }
        if self.problems.len() > faults {
            return None;
        }
        let identity = remedy.name.to_string();
        Some((remedy.clone(), remedy.to_string(), identity))
    }

    fn treatment(&mut self, row: &'static BuiltIn, node: &Node) -> Option<Fields> {
        let key = format!("{}.{}", self.setting.key, row.name);
        let pairs: &[(Key, Node)] = match &node.content {
            Content::Map(pairs) => pairs,
            // All that it has may have a default.
            Content::Empty => &[],
            Content::Refused => return None,
            Content::Scalar(_) | Content::List(_) => {
                self.complain(node, &key, "is a mapping of fields".to_owned());
                return None;
            }
        };
        let faults = self.problems.len();
        let mut fields = Fields::defaults(row.fields);
        let known: Vec<&str> = row.fields.iter().map(|field| field.name).collect();
        let mut secrets = Vec::new();
        for (field, value) in pairs {
            let full = format!("{key}.{}", field.text);
            match row.fields.iter().find(|known| known.name == field.text) {
                Some(known) => {
                    if let Some((given, is_secret)) = self.given(known.kind, value, &full) {
                        fields.set(known.name, given);
                        secrets.extend(is_secret.then_some(known.name));
                    }
                }
                None => self.unknown_field(field, full, &format!("`{}`", row.name), &known),
            }
        }
        if self.problems.len() > faults {
            return None;
        }
        if let Some(missing) = row.fields.iter().find(|field| !fields.has(field.name)) {
            self.complain(node, &key, format!("`{}` has no {}", row.name, missing.name));
            return None;
        }
        if let Err(fault) = (row.build)(&fields) {
            let given = pairs.iter().find(|(field, _)| field.text == fault.field);
            let place = given.map_or(node, |(_, value)| value);
            // The reason names the value.
            let why = match secrets.contains(&fault.field) {
                true => "does not fit, and is not shown, since it was a placeholder".to_owned(),
                false => fault.why,
            };
            self.complain(place, &format!("{key}.{}", fault.field), why);
            return None;
        }
        Some(fields)
    }

    /// And whether it was a placeholder.
    fn given(&mut self, kind: FieldKind, node: &Node, key: &str) -> Option<(Given, bool)> {
        let text = |text: &str| match text.chars().any(char::is_control) {
            true => Err(units::Wrong::new("holds a control character")),
            false => Ok(text.to_owned()),
        };
        match kind {
            FieldKind::Text => {
                let (text, shown) = self.scalar(node, key, text, Clone::clone)?;
                let is_secret = shown != text;
                Some((Given::Text(text), is_secret))
            }
            FieldKind::Texts => {
                let faults = self.problems.len();
                let items = self.listed(node, key, |reading, item, key| {
                    reading.scalar(item, key, text, Clone::clone)
                });
                let is_secret = items.iter().any(|(text, shown)| shown != text);
                let texts = items.into_iter().map(|(text, _)| text).collect();
                (self.problems.len() == faults).then_some((Given::Texts(texts), is_secret))
            }
            FieldKind::Duration => {
                let mut duration = Duration::ZERO;
                self.within(node, key, Duration::ZERO, YEAR, &mut duration);
                Some((Given::Duration(duration), false))
            }
            FieldKind::Bool => {
                let (bool, _) = self.scalar(node, key, units::boolean, bool::to_string)?;
                Some((Given::Bool(bool), false))
            }
        }
    }

    fn hours(&mut self, node: &Node, key: &str) -> Option<QuietHours> {
        let Content::Map(pairs) = &node.content else {
            self.complain(node, key, format!("is a mapping of {}", HOURS.join(", ")));
            return None;
        };
        let faults = self.problems.len();
        let mut hours = QuietHours {
            name: "hours".to_owned(),
            times: Vec::new(),
            weekdays: Vec::new(),
            days_of_month: Vec::new(),
            months: Vec::new(),
            time_zone: "UTC".to_owned(),
            once: None,
            matchers: Vec::new(),
        };
        for (field, value) in pairs {
            let full = format!("{key}.{}", field.text);
            match field.text.as_str() {
                "times" => hours.times = self.listed(value, &full, Self::times),
                "weekdays" => hours.weekdays = self.words(value, &full),
                "days_of_month" => hours.days_of_month = self.words(value, &full),
                "months" => hours.months = self.words(value, &full),
                "time_zone" => {
                    let read = |text: &str| checked(TextRule::Label, text);
                    self.set(value, &full, read, &mut hours.time_zone);
                }
                _ => self.unknown_field(field, full, "`hours`", HOURS),
            }
        }
        if self.problems.len() > faults {
            return None;
        }
        if let Err(why) = hours.window() {
            self.complain(node, key, why);
            return None;
        }
        Some(hours)
    }

    fn set<T: ToString>(
        &mut self,
        node: &Node,
        key: &str,
        read: impl Fn(&str) -> Result<T, units::Wrong>,
        into: &mut T,
    ) {
        if let Some((value, _)) = self.scalar(node, key, read, T::to_string) {
            *into = value;
        }
    }

    fn within(
        &mut self,
        node: &Node,
        key: &str,
        least: Duration,
        most: Duration,
        into: &mut Duration,
    ) {
        let read = |text: &str| bounded(units::duration(text)?, least, most, units::show_duration);
        let show = |duration: &Duration| units::show_duration(*duration);
        if let Some((value, _)) = self.scalar(node, key, read, show) {
            *into = value;
        }
    }
}
