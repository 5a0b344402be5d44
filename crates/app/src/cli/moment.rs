//! A moment as a person writes it on the command line.

use farol_model::Timestamp;

use crate::config;

/// What the help of such a flag says.
pub(super) const HELP: &str =
    "a span back such as 1h30m, a time such as 2026-11-22T10:00:00Z, a day (UTC), or Unix seconds";

/// The text of the flag `flag` at the time `now`.
pub(super) fn parse(flag: &str, text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp::from_millis(at.as_millisecond()));
    }
    // A day begins where the journal's days begin: at midnight UTC.
    if let Ok(day) = text.parse::<jiff::civil::Date>()
        && let Ok(midnight) = day.to_zoned(jiff::tz::TimeZone::UTC)
    {
        return Ok(Timestamp::from_millis(midnight.timestamp().as_millisecond()));
    }
    if let Some(at) = unix_seconds(text) {
        return Ok(at);
    }
    let span = config::parse_duration(text).map_err(|_| {
        anyhow::anyhow!(
            "{flag} {text:?} is neither a span such as 1h30m nor a time such as \
             2026-11-22T10:00:00Z, 2026-11-22 (UTC) or 1795341600 (Unix seconds)"
        )
    })?;
    let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    Ok(Timestamp::from_millis(now.as_millis().saturating_sub(millis)))
}

/// From 1973 to 5138: a smaller number is a span that lacks its unit, a larger one has milliseconds.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked before")]
fn unix_seconds(text: &str) -> Option<Timestamp> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds: f64 = text.parse().ok().filter(|_| is_plain)?;
    (1e8..1e11)
        .contains(&seconds)
        .then(|| Timestamp::from_millis((seconds * 1000.0).round() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_span_before_now_or_a_time() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let read = |text| parse("--since", text, now).unwrap().as_millis();
        assert_eq!(read("1h30m"), 1_699_994_600_000);
        assert_eq!(read("2023-11-14T22:13:20Z"), 1_700_000_000_000);
        assert_eq!(read("2023-11-14"), 1_699_920_000_000);
        assert_eq!(read("1700000000.25"), 1_700_000_000_250);
        for wrong in ["yesterday", "5", "1700000000000", "-1700000000", "1e9", "NaN"] {
            let said = parse("--since", wrong, now).unwrap_err().to_string();
            assert!(said.contains("1h30m") && said.contains("--since"), "{said}");
        }
    }
}
