//! Durations as PromQL writes them: `1h30m`, `250ms`; and what sums of them come to.

use std::fmt;

use crate::{DurationExpr, DurationOp, Sign};

/// Why a text is no duration, or what is wrong with one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurationError(pub(crate) String);

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DurationError {}

/// Milliseconds of `1y2w3d4h5m6s7ms`: units from large to small, each at most once.
pub fn parse_duration(text: &str) -> Result<i64, DurationError> {
    if text.is_empty() {
        return Err(DurationError("a duration is missing: write one as 5m or 1h30m".to_owned()));
    }
    if text == "0" {
        return Ok(0);
    }
    let invalid = || {
        let shown: String = text.chars().take(40).collect();
        DurationError(format!(
            "not a valid duration string: {shown:?}: write it as 5m or 1h30m, with the units y, w, \
             d, h, m, s, ms from large to small"
        ))
    };
    let mut rest = text;
    let mut units = UNITS;
    let mut total = 0_i64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at_checked(digits).ok_or_else(invalid)?;
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at_checked(letters).ok_or_else(invalid)?;
        let place = units.iter().position(|(name, _)| *name == unit).ok_or_else(invalid)?;
        if number.is_empty() {
            return Err(invalid());
        }
        // Digits alone: what fails to be read is too large.
        let part = number.parse::<i64>().ok().and_then(|count| count.checked_mul(units[place].1));
        let sum = part.and_then(|part| total.checked_add(part)).filter(|sum| *sum <= LONGEST);
        total = sum.ok_or_else(out_of_range)?;
        units = &units[place + 1..];
        rest = after;
    }
    Ok(total)
}

/// The shortest such text, `0s` for nothing.
pub fn print_duration(millis: i64) -> String {
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut text = if millis < 0 { "-".to_owned() } else { String::new() };
    let mut rest = millis.unsigned_abs();
    for (unit, size) in UNITS {
        let size = size.unsigned_abs();
        // 90d is easier to read than 12w6d.
        let is_exact_only = matches!(*unit, "y" | "w");
        if rest < size || (is_exact_only && !rest.is_multiple_of(size)) {
            continue;
        }
        text.push_str(&(rest / size).to_string());
        text.push_str(unit);
        rest %= size;
    }
    text
}

const UNITS: &[(&str, i64)] = &[
    ("y", 365 * 24 * 60 * 60 * 1000),
    ("w", 7 * 24 * 60 * 60 * 1000),
    ("d", 24 * 60 * 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// About 292 years: what Prometheus can count in nanoseconds.
const LONGEST: i64 = i64::MAX / 1_000_000;

fn out_of_range() -> DurationError {
    DurationError("duration out of range: at most 292 years".to_owned())
}

/// Whole milliseconds of seconds.
pub(crate) fn millis_of(seconds: f64) -> Result<i64, DurationError> {
    let millis = (seconds * 1000.0).round();
    if millis.abs() <= LONGEST as f64 { Ok(millis as i64) } else { Err(out_of_range()) }
}

impl DurationExpr {
    /// What it comes to in a question with this step and this range; all are milliseconds.
    pub fn millis(&self, step: i64, range: i64) -> Result<i64, DurationError> {
        match self {
            DurationExpr::Fixed { millis, .. } => Ok(*millis),
            _ => millis_of(self.seconds(step, range)?),
        }
    }

    /// Whether it is the same in every question.
    pub fn is_constant(&self) -> bool {
        match self {
            DurationExpr::Fixed { .. } | DurationExpr::Number(_) => true,
            DurationExpr::Step | DurationExpr::Range => false,
            DurationExpr::Signed { inner, .. } | DurationExpr::Paren(inner) => inner.is_constant(),
            DurationExpr::Binary { left, right, .. }
            | DurationExpr::Min(left, right)
            | DurationExpr::Max(left, right) => left.is_constant() && right.is_constant(),
        }
    }

    fn seconds(&self, step: i64, range: i64) -> Result<f64, DurationError> {
        let of = |inner: &DurationExpr| inner.seconds(step, range);
        Ok(match self {
            DurationExpr::Fixed { millis, .. } => *millis as f64 / 1000.0,
            DurationExpr::Number(seconds) => *seconds,
            DurationExpr::Step => step as f64 / 1000.0,
            DurationExpr::Range => range as f64 / 1000.0,
            DurationExpr::Paren(inner) | DurationExpr::Signed { sign: Sign::Plus, inner } => {
                of(inner)?
            }
            DurationExpr::Signed { sign: Sign::Minus, inner } => -of(inner)?,
            DurationExpr::Min(left, right) => of(left)?.min(of(right)?),
            DurationExpr::Max(left, right) => of(left)?.max(of(right)?),
            DurationExpr::Binary { op, left, right } => combine(*op, of(left)?, of(right)?)?,
        })
    }
}

fn combine(op: DurationOp, left: f64, right: f64) -> Result<f64, DurationError> {
    let by_zero = |what: &str| DurationError(format!("{what} by zero in a duration"));
    Ok(match op {
        DurationOp::Add => left + right,
        DurationOp::Subtract => left - right,
        DurationOp::Multiply => left * right,
        DurationOp::Divide if right == 0.0 => return Err(by_zero("division")),
        DurationOp::Divide => left / right,
        DurationOp::Modulo if right == 0.0 => return Err(by_zero("modulo")),
        DurationOp::Modulo => left % right,
        DurationOp::Power => left.powf(right),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_and_printed_as_prometheus_does() {
        let cases = [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("0w", 0, "0s"),
            ("324ms", 324, "324ms"),
            ("3s", 3_000, "3s"),
            ("5m", 300_000, "5m"),
            ("90m", 5_400_000, "1h30m"),
            ("1h", 3_600_000, "1h"),
            ("4d", 345_600_000, "4d"),
            ("7d", 604_800_000, "1w"),
            ("90d", 7_776_000_000, "90d"),
            ("4d1h", 349_200_000, "4d1h"),
            ("14d", 1_209_600_000, "2w"),
            ("10y", 315_360_000_000, "10y"),
            ("3w2d1h", 1_990_800_000, "23d1h"),
            ("1y2w3d4h5m6s7ms", 33_019_506_007, "382d4h5m6s7ms"),
            ("1m00s", 60_000, "1m"),
        ];
        for (text, millis, printed) in cases {
            assert_eq!(parse_duration(text), Ok(millis), "{text}");
            assert_eq!(print_duration(millis), printed, "{text}");
        }
        assert_eq!(print_duration(-5_400_000), "-1h30m");
    }

    #[test]
    fn what_is_no_duration_is_told_why() {
        let bad =
            ["1", "1y1m1d", "1d1d", "-1w", "+1s", "1.5d", "d", "s5", "1hour", " 5m", "5m ", "5M"];
        for text in bad {
            let error = parse_duration(text).unwrap_err().to_string();
            assert!(error.contains("not a valid duration string"), "{text}: {error}");
        }
        assert!(parse_duration("").unwrap_err().to_string().contains("missing"));
        for text in ["293y", "99999999999999999999s", "9223372036854775807y", "292y9999999999999ms"]
        {
            let error = parse_duration(text).unwrap_err().to_string();
            assert!(error.contains("out of range"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_printed_duration_is_the_same_duration(millis in 0..=LONGEST) {
            prop_assert_eq!(parse_duration(&print_duration(millis)), Ok(millis));
        }
    }
}
