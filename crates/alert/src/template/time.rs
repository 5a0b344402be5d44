//! Times as Go prints and lays them out, always in UTC.

use jiff::{Timestamp, Zoned, civil::Weekday, tz::TimeZone};

/// As `fmt.Sprint` does.
pub(super) fn print(nanos: i64) -> String {
    layout(nanos, "2006-01-02 15:04:05.999999999 -0700 MST")
}

/// What stands in a layout for what; the longer ones first.
const PARTS: &[(&str, fn(&Zoned) -> String)] = &[
    ("January", |time| month(time).to_owned()),
    ("Monday", |time| weekday(time).to_owned()),
    ("Z07:00", |_| "Z".to_owned()),
    ("-07:00", |_| "+00:00".to_owned()),
    ("Z0700", |_| "Z".to_owned()),
    ("-0700", |_| "+0000".to_owned()),
    ("2006", |time| format!("{:04}", time.year())),
    ("Jan", |time| month(time).chars().take(3).collect()),
    ("Mon", |time| weekday(time).chars().take(3).collect()),
    ("MST", |_| "UTC".to_owned()),
    ("002", |time| format!("{:03}", time.day_of_year())),
    ("-07", |_| "+00".to_owned()),
    ("01", |time| format!("{:02}", time.month())),
    ("02", |time| format!("{:02}", time.day())),
    ("03", |time| format!("{:02}", hour12(time))),
    ("04", |time| format!("{:02}", time.minute())),
    ("05", |time| format!("{:02}", time.second())),
    ("06", |time| format!("{:02}", time.year().rem_euclid(100))),
    ("15", |time| format!("{:02}", time.hour())),
    ("_2", |time| format!("{:2}", time.day())),
    ("PM", |time| if time.hour() < 12 { "AM" } else { "PM" }.to_owned()),
    ("pm", |time| if time.hour() < 12 { "am" } else { "pm" }.to_owned()),
    ("1", |time| time.month().to_string()),
    ("2", |time| time.day().to_string()),
    ("3", |time| hour12(time).to_string()),
    ("4", |time| time.minute().to_string()),
    ("5", |time| time.second().to_string()),
];

/// The time as the example in the layout shows it: `2006-01-02 15:04:05` is 2 January 2006.
pub(super) fn layout(nanos: i64, layout: &str) -> String {
    let Ok(time) = Timestamp::from_nanosecond(i128::from(nanos)) else { return String::new() };
    let time = time.to_zoned(TimeZone::UTC);
    let mut out = String::new();
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        if let Some((text, after)) = fraction(&time, rest) {
            out.push_str(&text);
            rest = after;
        } else if let Some((part, print)) = PARTS.iter().find(|(part, _)| rest.starts_with(part)) {
            out.push_str(&print(&time));
            rest = rest.get(part.len()..).unwrap_or_default();
        } else {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    out
}

/// `.000` writes so many digits, `.999` leaves zeros at the end away.
fn fraction<'a>(time: &Zoned, rest: &'a str) -> Option<(String, &'a str)> {
    let digits = rest.strip_prefix(['.', ','])?;
    let digit = digits.chars().next().filter(|char| matches!(char, '0' | '9'))?;
    let count = digits.chars().take_while(|char| *char == digit).count();
    let after = digits.get(count..).unwrap_or_default();
    if after.starts_with(|char: char| char.is_ascii_digit()) {
        return None;
    }
    let text = format!("{:09}", time.subsec_nanosecond());
    let text: String = text.chars().take(count).collect();
    let text = if digit == '9' { text.trim_end_matches('0') } else { &text };
    let text = if text.is_empty() { String::new() } else { format!(".{text}") };
    Some((text, after))
}

fn hour12(time: &Zoned) -> i8 {
    match time.hour() % 12 {
        0 => 12,
        hour => hour,
    }
}

fn month(time: &Zoned) -> &'static str {
    const NAMES: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    usize::try_from(time.month() - 1).ok().and_then(|at| NAMES.get(at)).copied().unwrap_or_default()
}

fn weekday(time: &Zoned) -> &'static str {
    match time.weekday() {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}
