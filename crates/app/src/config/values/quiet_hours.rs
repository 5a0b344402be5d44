//! One item of `quiet_hours`.

use farol_alert::{Matcher, Window, windows::Spans};
use farol_model::Timestamp;
use farol_wire::yaml::{Content, Node};

use super::{
    super::{
        settings::QUIET_FIELDS,
        types::{QuietHours, Times},
        units::Wrong,
    },
    Reading, TextRule, checked,
};

/// Whom a window that names nobody lets sleep: nobody is left without what is critical.
const DEFAULT_MATCHER: &str = "severity!~\"critical|page\"";
const MOST: usize = 100;

impl Reading<'_> {
    /// A mapping of [`QUIET_FIELDS`]. Two of one name could not be told apart.
    pub(super) fn quiet_hours(&mut self, node: &Node) -> Option<(QuietHours, String, String)> {
        let key = self.setting.key;
        let Content::Map(pairs) = &node.content else {
            let why = "is a list of windows, each with a name and, for instance, times".to_owned();
            self.complain(node, key, why);
            return None;
        };
        let faults = self.problems.len();
        let mut name = None;
        let mut hours = QuietHours {
            name: String::new(),
            times: Vec::new(),
            weekdays: Vec::new(),
            days_of_month: Vec::new(),
            months: Vec::new(),
            time_zone: "UTC".to_owned(),
            once: None,
            matchers: vec![DEFAULT_MATCHER.to_owned()],
        };
        let (mut from, mut to) = (None, None);
        for (field, value) in pairs {
            let full = format!("{key}.{}", field.text);
            let text = |text: &str| checked(TextRule::Label, text);
            match field.text.as_str() {
                "name" => name = self.scalar(value, &full, text, Clone::clone),
                "time_zone" => {
                    let zone = self.scalar(value, &full, text, Clone::clone);
                    hours.time_zone = zone.map(|(zone, _)| zone).unwrap_or_default();
                }
                "times" => hours.times = self.listed(value, &full, Self::times),
                "weekdays" => hours.weekdays = self.words(value, &full),
                "days_of_month" => hours.days_of_month = self.words(value, &full),
                "months" => hours.months = self.words(value, &full),
                "matchers" => {
                    hours.matchers = self.listed(value, &full, |reading, item, key| {
                        Some(reading.scalar(item, key, matcher, Clone::clone)?.0)
                    });
                }
                "from" => from = self.scalar(value, &full, moment, |_| String::new()),
                "to" => to = self.scalar(value, &full, moment, |_| String::new()),
                _ => self.unknown_field(field, full, "a window", QUIET_FIELDS),
            }
        }
        if self.problems.len() > faults {
            return None;
        }
        let Some((name, _)) = name else {
            self.complain(node, key, "the window has no name".to_owned());
            return None;
        };
        hours.name = name;
        hours.once = match (from, to) {
            (Some((from, _)), Some((to, _))) => Some((from, to)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                let why = "a window that comes once has both from and to".to_owned();
                self.complain(node, key, why);
                return None;
            }
        };
        if let Err(why) = fit(&hours) {
            self.complain(node, key, format!("{:?} {why}", hours.name));
            return None;
        }
        let (shown, identity) = (hours.to_string(), hours.name.clone());
        Some((hours, shown, identity))
    }

    pub(super) fn times(&mut self, node: &Node, key: &str) -> Option<Times> {
        let Content::Map(pairs) = &node.content else {
            self.complain(node, key, "is not a mapping of from and to".to_owned());
            return None;
        };
        let (mut from, mut to) = (None, None);
        for (field, value) in pairs {
            let full = format!("{key}.{}", field.text);
            let text = |text: &str| checked(TextRule::Label, text);
            match field.text.as_str() {
                "from" => from = self.scalar(value, &full, text, Clone::clone),
                "to" => to = self.scalar(value, &full, text, Clone::clone),
                _ => self.unknown_field(field, full, "a time", &["from", "to"]),
            }
        }
        match (from, to) {
            (Some((from, _)), Some((to, _))) => Some(Times { from, to }),
            _ => {
                self.complain(node, key, "a time has both from and to, as 22:00".to_owned());
                None
            }
        }
    }

    pub(super) fn words(&mut self, node: &Node, key: &str) -> Vec<String> {
        self.listed(node, key, |reading, item, key| {
            let text = |text: &str| checked(TextRule::Label, text);
            Some(reading.scalar(item, key, text, Clone::clone)?.0)
        })
    }

    /// One value without a list is a list of one.
    pub(super) fn listed<T>(
        &mut self,
        node: &Node,
        key: &str,
        mut read: impl FnMut(&mut Self, &Node, &str) -> Option<T>,
    ) -> Vec<T> {
        let items = match &node.content {
            Content::List(items) => items.as_slice(),
            Content::Empty | Content::Refused | Content::Scalar(_) | Content::Map(_) => {
                std::slice::from_ref(node)
            }
        };
        if items.len() > MOST {
            self.complain(node, key, format!("has more than {MOST} items"));
            return Vec::new();
        }
        items.iter().filter_map(|item| read(self, item, key)).collect()
    }
}

/// What only the whole window can tell.
fn fit(hours: &QuietHours) -> Result<(), String> {
    let Window { spans, .. } = hours.window().map_err(|why| format!("is no window: {why}"))?;
    let is_recurring = !(hours.times.is_empty()
        && hours.weekdays.is_empty()
        && hours.days_of_month.is_empty()
        && hours.months.is_empty());
    match (spans, is_recurring) {
        (Spans::Once { .. }, true) => {
            Err("comes either once (from, to) or again and again (times, weekdays, days_of_month, \
                 months), not both"
                .to_owned())
        }
        (Spans::Once { from, to }, false) if to <= from => Err("ends before it begins".to_owned()),
        (Spans::Recurring(_), false) => {
            Err("says no time, and would be open for ever; give it times, weekdays, \
                 days_of_month, months, or from and to"
                .to_owned())
        }
        (Spans::Once { .. }, false) | (Spans::Recurring(_), true) => Ok(()),
    }
}

fn matcher(text: &str) -> Result<String, Wrong> {
    // The sentence names the text itself.
    let read = Matcher::read(text);
    read.map(|matcher| matcher.to_string())
        .map_err(|why| Wrong::new(format!("is no matcher: {why}")))
}

fn moment(text: &str) -> Result<Timestamp, Wrong> {
    let at: jiff::Timestamp = text
        .parse()
        .map_err(|_| Wrong::new("is not a time as 2026-12-24T18:00:00Z or with +01:00"))?;
    Ok(Timestamp::from_millis(at.as_millisecond()))
}
