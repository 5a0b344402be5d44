//! Time stamps as the journal writes them: RFC 3339 in UTC with milliseconds, always 24 bytes.
//!
//! Only the years 0000 to 9999 can be written so; a time stamp outside (a very broken clock) is
//! written as the nearest that can.

use farol_model::Timestamp;

const DAY: i64 = 86_400_000;
/// 0000-01-01T00:00:00.000Z and 9999-12-31T23:59:59.999Z.
const EARLIEST: i64 = -62_167_219_200_000;
const LATEST: i64 = 253_402_300_799_999;

/// Days since 1970-01-01, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Day(pub(crate) i64);

impl Day {
    pub(crate) fn of(at: Timestamp) -> Day {
        Day(writable(at).div_euclid(DAY))
    }

    pub(crate) fn start(self) -> Timestamp {
        Timestamp::from_millis(self.0 * DAY)
    }

    /// `2026-11-22`
    pub(crate) fn text(self) -> String {
        let (year, month, day) = civil(self.0);
        format!("{year:04}-{month:02}-{day:02}")
    }

    pub(crate) fn parse(text: &str) -> Option<Day> {
        let bytes = text.as_bytes();
        if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
            return None;
        }
        let (year, month, day) =
            (digits(&bytes[..4])?, digits(&bytes[5..7])?, digits(&bytes[8..])?);
        let days = days_of(year, month, day);
        (civil(days) == (year, month, day)).then_some(Day(days))
    }
}

pub(crate) fn write(out: &mut Vec<u8>, at: Timestamp) {
    let millis = writable(at);
    let (year, month, day) = civil(millis.div_euclid(DAY));
    let of_day = millis.rem_euclid(DAY);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    put(&mut text[0..4], year);
    put(&mut text[5..7], month);
    put(&mut text[8..10], day);
    put(&mut text[11..13], of_day / 3_600_000);
    put(&mut text[14..16], of_day / 60_000 % 60);
    put(&mut text[17..19], of_day / 1000 % 60);
    put(&mut text[20..23], of_day % 1000);
    out.extend_from_slice(&text);
}

pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.len() != 24 || bytes[10] != b'T' || bytes[19] != b'.' || bytes[23] != b'Z' {
        return None;
    }
    if bytes[13] != b':' || bytes[16] != b':' {
        return None;
    }
    let Day(days) = Day::parse(text.get(..10)?)?;
    let (hour, minute) = (digits(&bytes[11..13])?, digits(&bytes[14..16])?);
    let (second, milli) = (digits(&bytes[17..19])?, digits(&bytes[20..23])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let of_day = ((hour * 60 + minute) * 60 + second) * 1000 + milli;
    Some(Timestamp::from_millis(days * DAY + of_day))
}

fn writable(at: Timestamp) -> i64 {
    at.as_millis().clamp(EARLIEST, LATEST)
}

fn put(into: &mut [u8], mut number: i64) {
    for place in into.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |number, byte| {
        byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'))
    })
}

/// Year, month and day of a day number, by counting years from March so that the leap day is last
/// (Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let from_march_year = if month <= 2 { year - 1 } else { year };
    let era = from_march_year.div_euclid(400);
    let year_of_era = from_march_year.rem_euclid(400);
    let from_march = (month + 9) % 12;
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(millis: i64) -> String {
        let mut out = Vec::new();
        write(&mut out, Timestamp::from_millis(millis));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_moments_are_written_as_everybody_writes_them() {
        assert_eq!(text(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(text(1_709_164_800_123), "2024-02-29T00:00:00.123Z");
        assert_eq!(text(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(text(i64::MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(text(i64::MIN), "0000-01-01T00:00:00.000Z");
        assert_eq!(Day::of(Timestamp::from_millis(1_709_164_800_123)).text(), "2024-02-29");
    }

    #[test]
    fn what_is_not_a_moment_is_refused() {
        for wrong in [
            "",
            "2024-02-30T00:00:00.000Z",
            "2024-13-01T00:00:00.000Z",
            "2024-02-29T24:00:00.000Z",
            "2024-02-29T00:00:00.000+",
            "2024-02-29 00:00:00.000Z",
            "2024-02-2éT00:00:00.00Z",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_moment_comes_back(millis in EARLIEST..=LATEST) {
            let back = parse(&text(millis));
            proptest::prop_assert_eq!(back, Some(Timestamp::from_millis(millis)));
            let day = Day::of(Timestamp::from_millis(millis));
            proptest::prop_assert_eq!(Day::parse(&day.text()), Some(day));
        }
    }
}
