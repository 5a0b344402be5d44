//! When it is quiet: one-off and recurring windows, in the time of a place.
//!
//! A recurring window has one span for each of its days. A span begins when the clock first shows
//! `from` and ends when it last shows `to`; one that crosses midnight belongs to the day on which it
//! begins. In the night in which an hour is missing, a time that no clock shows is the moment at which
//! it was skipped, and a span that lies wholly within the missing hour is empty. In the night in which
//! an hour comes twice, a span is never interrupted: it is longer.

use farol_model::{Text, Timestamp};
use jiff::{
    civil::{Date, DateTime, Time},
    tz::{AmbiguousOffset, Offset, TimeZone},
};

#[derive(Clone, Debug)]
pub struct Window {
    pub name: Text,
    pub spans: Spans,
}

#[derive(Clone, Debug)]
pub enum Spans {
    Once { from: Timestamp, to: Timestamp },
    Recurring(Recurring),
}

/// An empty list allows every value.
#[derive(Clone, Debug)]
pub struct Recurring {
    times: Vec<Times>,
    /// From Sunday (0) on, both ends included; may wrap around.
    weekdays: Vec<(i8, i8)>,
    /// 1 is the first, -1 the last.
    days_of_month: Vec<(i8, i8)>,
    months: Vec<(i8, i8)>,
    zone: TimeZone,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    from: Time,
    /// None is the midnight at which the day ends.
    to: Option<Time>,
}

/// Further than this no change is looked for: the next 29th of February is nearer.
const MOST_DAYS: usize = 3000;
/// What has been open for so long is taken to stay so: this is asked after each evaluation.
const LONGEST_OPEN_DAYS: usize = 400;

pub fn is_open(window: &Window, at: Timestamp) -> bool {
    match &window.spans {
        Spans::Once { from, to } => *from <= at && at < *to,
        Spans::Recurring(recurring) => recurring.is_open(at),
    }
}

/// When it opens or closes next; none when it does not open within eight years, or not close within one.
pub fn next_change(window: &Window, at: Timestamp) -> Option<Timestamp> {
    match &window.spans {
        Spans::Once { from, to } => [*from, *to].into_iter().find(|change| *change > at),
        Spans::Recurring(recurring) => recurring.next_change(at),
    }
}

impl Recurring {
    /// Reads what a person wrote: `22:00` and `07:00`, `monday:friday`, `-1`, `june`, `Europe/Lisbon`.
    pub fn read(
        times: &[(&str, &str)],
        weekdays: &[&str],
        days_of_month: &[&str],
        months: &[&str],
        zone: &str,
    ) -> Result<Recurring, String> {
        let times = times.iter().map(|(from, to)| Times::read(from, to));
        let times = times.collect::<Result<Vec<Times>, String>>()?;
        let whole_day = Times { from: Time::midnight(), to: None };
        Ok(Recurring {
            times: if times.is_empty() { vec![whole_day] } else { times },
            weekdays: ranges(weekdays, weekday)?,
            days_of_month: ranges(days_of_month, day_of_month)?,
            months: ranges(months, month)?,
            zone: self::zone(zone)?,
        })
    }

    fn is_open(&self, at: Timestamp) -> bool {
        let Some(today) = self.date(at) else { return false };
        // The day before, for what crosses midnight; one more each way, for a zone that skipped a day.
        let days = [today.yesterday(), Ok(today), today.tomorrow()];
        days.into_iter()
            .flatten()
            .any(|day| self.spans_of(day).into_iter().any(|(begin, end)| begin <= at && at < end))
    }

    fn next_change(&self, at: Timestamp) -> Option<Timestamp> {
        if self.is_always_open() {
            return None;
        }
        let is_open = self.is_open(at);
        let days = if is_open { LONGEST_OPEN_DAYS } else { MOST_DAYS };
        let mut day = self.date(at)?.yesterday().ok()?;
        for _ in 0..days {
            let next = day.tomorrow().ok()?;
            // A span that crosses midnight may end after the next day's begin.
            let spans = [day, next].into_iter().flat_map(|day| self.spans_of(day));
            let mut edges: Vec<Timestamp> = spans.flat_map(|(begin, end)| [begin, end]).collect();
            edges.sort_unstable();
            let mut later = edges.into_iter().filter(|edge| *edge > at);
            if let Some(change) = later.find(|edge| self.is_open(*edge) != is_open) {
                return Some(change);
            }
            day = next;
        }
        None
    }

    fn is_always_open(&self) -> bool {
        let is_whole = |times: &Times| times.from == Time::midnight() && times.to.is_none();
        self.weekdays.is_empty()
            && self.days_of_month.is_empty()
            && self.months.is_empty()
            && self.times.iter().any(is_whole)
    }

    fn date(&self, at: Timestamp) -> Option<Date> {
        let at = jiff::Timestamp::from_millisecond(at.as_millis()).ok()?;
        Some(self.zone.to_datetime(at).date())
    }

    fn spans_of(&self, day: Date) -> Vec<(Timestamp, Timestamp)> {
        if !self.has(day) {
            return Vec::new();
        }
        self.times.iter().filter_map(|times| self.span(day, *times)).collect()
    }

    fn has(&self, day: Date) -> bool {
        let is_in = |ranges: &[(i8, i8)], value: i8| {
            ranges.is_empty() || ranges.iter().any(|range| contains(*range, value))
        };
        let weekday = day.weekday().to_sunday_zero_offset();
        let of_month = |range: &(i8, i8)| {
            let days = day.days_in_month();
            let from_first = |day: i8| if day < 0 { days + 1 + day } else { day };
            (from_first(range.0)..=from_first(range.1)).contains(&day.day())
        };
        is_in(&self.weekdays, weekday)
            && is_in(&self.months, day.month())
            && (self.days_of_month.is_empty() || self.days_of_month.iter().any(of_month))
    }

    fn span(&self, day: Date, times: Times) -> Option<(Timestamp, Timestamp)> {
        let begin = self.moment(day.to_datetime(times.from), Occurrence::First)?;
        let ends_on = match times.to {
            Some(to) if to > times.from => day,
            Some(_) | None => day.tomorrow().ok()?,
        };
        let to = times.to.unwrap_or(Time::midnight());
        let end = self.moment(ends_on.to_datetime(to), Occurrence::Last)?;
        Some((begin, end))
    }

    /// The moment at which the clocks of the zone show `shown`.
    fn moment(&self, shown: DateTime, occurrence: Occurrence) -> Option<Timestamp> {
        let at = |offset: Offset| offset.to_timestamp(shown).ok();
        let moment = match self.zone.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Unambiguous { offset } => at(offset)?,
            // With the offset of later it is a moment before the clocks were set forward.
            AmbiguousOffset::Gap { after, .. } => {
                self.zone.following(at(after)?).next()?.timestamp()
            }
            AmbiguousOffset::Fold { before, after } => match occurrence {
                Occurrence::First => at(before)?,
                Occurrence::Last => at(after)?,
            },
        };
        Some(Timestamp::from_millis(moment.as_millisecond()))
    }
}

#[derive(Clone, Copy)]
enum Occurrence {
    First,
    Last,
}

impl Times {
    fn read(from: &str, to: &str) -> Result<Times, String> {
        let begin = time(from)?.ok_or("a window cannot begin at 24:00: write 00:00")?;
        let end = time(to)?;
        if Some(begin) == end {
            return Err(format!(
                "from {from} to {to} is no time at all: a whole day is from 00:00 to 24:00"
            ));
        }
        Ok(Times { from: begin, to: end })
    }
}

/// `24:00` is none.
fn time(text: &str) -> Result<Option<Time>, String> {
    let wrong = || format!("{text:?} is not a time of day: write it as 22:30");
    let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
    if hour.len() != 2 || minute.len() != 2 {
        return Err(wrong());
    }
    let number = |digits: &str| {
        let are_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
        if are_digits { digits.parse::<i8>().map_err(|_| wrong()) } else { Err(wrong()) }
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    if (hour, minute) == (24, 0) {
        return Ok(None);
    }
    Time::new(hour, minute, 0, 0).map(Some).map_err(|_| wrong())
}

fn contains((first, last): (i8, i8), value: i8) -> bool {
    if first <= last { (first..=last).contains(&value) } else { value >= first || value <= last }
}

fn ranges(
    texts: &[&str],
    read: impl Fn(&str) -> Result<i8, String>,
) -> Result<Vec<(i8, i8)>, String> {
    let range = |text: &&str| match text.split_once(':') {
        Some((first, last)) => Ok((read(first.trim())?, read(last.trim())?)),
        None => read(text.trim()).map(|only| (only, only)),
    };
    texts.iter().map(range).collect()
}

const WEEKDAYS: [&str; 7] =
    ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

fn weekday(text: &str) -> Result<i8, String> {
    let found = WEEKDAYS.iter().zip(0..).find(|(name, _)| name.eq_ignore_ascii_case(text));
    found
        .map(|(_, number)| number)
        .ok_or_else(|| format!("{text:?} is not a day of the week: write monday, or monday:friday"))
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

fn month(text: &str) -> Result<i8, String> {
    let by_name = MONTHS.iter().zip(1..).find(|(name, _)| name.eq_ignore_ascii_case(text));
    let by_number = || text.parse().ok().filter(|month| (1..=12).contains(month));
    by_name
        .map(|(_, number)| number)
        .or_else(by_number)
        .ok_or_else(|| format!("{text:?} is not a month: write june, june:august or 6"))
}

fn day_of_month(text: &str) -> Result<i8, String> {
    let day = text.parse().ok().filter(|day: &i8| *day != 0 && (-31..=31).contains(day));
    day.ok_or_else(|| {
        format!("{text:?} is not a day of the month: write 1, 1:7, or -1 for the last")
    })
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name)
        .map_err(|_| format!("{name:?} is not a time zone: write one as Europe/Lisbon, or UTC"))
}
