//! What a request asks for: parameters from its URL and its body, and the forms their values have.

use farol_model::Timestamp;
use farol_query::{parse_duration, parse_selector};
use farol_store::{Matcher, Range};

use super::{error::ApiError, gate::Ticket};

/// As they came; a key may come several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Params(Vec<(String, String)>);

/// More selectors in one request than anybody means.
const MOST_SELECTORS: usize = 1000;

/// What Go's clients write for the least and the greatest time there are: text and seconds.
const LEAST: (&str, i64) = ("-292273086-05-16T16:47:06Z", -9_223_309_901_257_974);
const GREATEST: (&str, i64) = ("292277025-08-18T07:12:54.999999999Z", 9_223_309_901_257_974);

impl Params {
    /// A parameter in the body goes before the same one in the URL.
    pub(crate) fn read(query: Option<&str>, body: &[u8]) -> Result<Params, ApiError> {
        let mut params = Params::default();
        params.add(body)?;
        params.add(query.unwrap_or_default().as_bytes())?;
        Ok(params)
    }

    fn add(&mut self, text: &[u8]) -> Result<(), ApiError> {
        for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let mut parts = pair.splitn(2, |byte| *byte == b'=');
            let mut next = || decode(parts.next().unwrap_or_default(), true);
            self.0.push((next()?, next()?));
        }
        Ok(())
    }

    /// The first; an empty one is none.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Milliseconds.
    pub(crate) fn time(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.get(name).map(|_| self.needed_time(name)).transpose()
    }

    pub(crate) fn needed_time(&self, name: &str) -> Result<i64, ApiError> {
        time(self.get(name).unwrap_or_default()).map_err(|why| ApiError::parameter(name, why))
    }

    /// Milliseconds.
    pub(crate) fn duration(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.get(name).map(|_| self.needed_duration(name)).transpose()
    }

    pub(crate) fn needed_duration(&self, name: &str) -> Result<i64, ApiError> {
        duration(self.get(name).unwrap_or_default()).map_err(|why| ApiError::parameter(name, why))
    }

    /// 0 is no limit.
    pub(crate) fn limit(&self, name: &str) -> Result<usize, ApiError> {
        let Some(text) = self.get(name) else { return Ok(0) };
        match text.parse::<i64>() {
            Ok(limit) => usize::try_from(limit)
                .map_err(|_| ApiError::parameter(name, "limit must be non-negative")),
            Err(_) => Err(ApiError::parameter(name, format!("{text:?} is not a whole number"))),
        }
    }

    /// From `start` to `end`; without them all there is.
    pub(crate) fn range(&self) -> Result<Range, ApiError> {
        let start = self.time("start")?.filter(|start| *start > LEAST.1 * 1000);
        let end = self.time("end")?.filter(|end| *end < GREATEST.1 * 1000);
        Ok(Range {
            start: start.map_or(Range::ALL.start, Timestamp::from_millis),
            end: end.map_or(Range::ALL.end, Timestamp::from_millis),
        })
    }

    /// Of `match[]`. Their patterns may take long to read: before each it is asked whether to go on.
    pub(crate) fn selectors(&self, ticket: &Ticket) -> Result<Vec<Vec<Matcher>>, ApiError> {
        const NAME: &str = "match[]";
        if self.all(NAME).nth(MOST_SELECTORS).is_some() {
            return Err(ApiError::parameter(NAME, format!("there are more than {MOST_SELECTORS}")));
        }
        let parse = |text| match ticket.watch() {
            Some(stop) => Err(stop.into()),
            None => parse_selector(text).map_err(|why| ApiError::parameter(NAME, why)),
        };
        self.all(NAME).map(parse).collect()
    }
}

/// `%41` and, in parameters, `+`.
fn decode(text: &[u8], plus_is_blank: bool) -> Result<String, ApiError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' if plus_is_blank => decoded.push(b' '),
            b'%' => {
                let digit = |place: usize| {
                    after.get(place).and_then(|digit| char::from(*digit).to_digit(16))
                };
                let (Some(high), Some(low)) = (digit(0), digit(1)) else {
                    let shown = String::from_utf8_lossy(&after[..after.len().min(2)]).into_owned();
                    return Err(ApiError::bad(format!("invalid URL escape \"%{shown}\"")));
                };
                decoded.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            byte => decoded.push(*byte),
        }
    }
    String::from_utf8(decoded).map_err(|_| ApiError::bad("the parameters are not UTF-8"))
}

/// The name of a label as it stands in a path.
pub(crate) fn label_name(segment: &str) -> Result<String, ApiError> {
    let bad = |name: &str| ApiError::bad(format!("invalid label name: {name:?}"));
    let name = decode(segment.as_bytes(), false).map_err(|_| bad(segment))?;
    let name = unescape(&name).unwrap_or(name);
    if name.is_empty() { Err(bad("")) } else { Ok(name) }
}

/// `U__a_2e_b` is `a.b`: how names that not everybody can write are written. Nothing for a name
/// that is not of this kind.
fn unescape(name: &str) -> Option<String> {
    const LONGEST: usize = 6;
    let mut rest = name.strip_prefix("U__")?;
    let mut plain = String::with_capacity(rest.len());
    while let Some((before, after)) = rest.split_once('_') {
        plain.push_str(before);
        if let Some(after) = after.strip_prefix('_') {
            plain.push('_');
            rest = after;
            continue;
        }
        let (digits, after) = after.split_once('_')?;
        if digits.len() > LONGEST || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        plain.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
        rest = after;
    }
    plain.push_str(rest);
    Some(plain)
}

fn time(text: &str) -> Result<i64, String> {
    for (sentinel, seconds) in [LEAST, GREATEST] {
        if text == sentinel {
            return Ok(seconds * 1000);
        }
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return millis(seconds, text, "timestamp");
    }
    let at: Result<jiff::Timestamp, _> = text.parse();
    at.map(|at| at.as_millisecond())
        .map_err(|_| format!("cannot parse {text:?} to a valid timestamp"))
}

fn duration(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return millis(seconds, text, "duration");
    }
    parse_duration(text).map_err(|_| format!("cannot parse {text:?} to a valid duration"))
}

/// Rounded to milliseconds.
#[expect(clippy::cast_possible_truncation, reason = "what is beyond an i64 is refused before")]
fn millis(seconds: f64, text: &str, what: &str) -> Result<i64, String> {
    /// Every whole number of milliseconds below has its i64.
    const MOST_SECONDS: f64 = 9.223_372_036_854_7e15;
    if !seconds.is_finite() {
        return Err(format!("cannot parse {text:?} to a valid {what}"));
    }
    if seconds.abs() > MOST_SECONDS {
        return Err(format!("cannot parse {text:?} to a valid {what}. It overflows int64"));
    }
    let whole = seconds.trunc();
    Ok(whole as i64 * 1000 + ((seconds - whole) * 1000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, body: &str) -> Params {
        Params::read(Some(query), body.as_bytes()).unwrap()
    }

    #[test]
    fn parameters_come_from_the_body_then_the_url_and_accumulate() {
        let params = read("query=url&match[]=c&x", "query=b%6Fdy+1%2B1&match%5B%5D=a&match[]=b&=");
        assert_eq!(params.get("query"), Some("body 1+1"));
        assert_eq!(params.all("match[]").collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(params.get("x"), None);
        assert_eq!(read("a=b=c", "").get("a"), Some("b=c"));
        assert_eq!(read("a=%F0%9F%A6%80", "").get("a"), Some("🦀"));
        for bad in ["a=%", "a=%4", "a=%zz", "%gg=1", "a=%ff", "a=%2 "] {
            let error = Params::read(Some(bad), b"").unwrap_err();
            assert_eq!(error.kind, super::super::error::Kind::BadData, "{bad}");
        }
    }

    #[test]
    fn times_are_decimal_seconds_or_rfc_3339() {
        for (text, expected) in [
            ("0", 0),
            ("1700000000", 1_700_000_000_000),
            ("1700000000.05", 1_700_000_000_050),
            ("1700000000.0006", 1_700_000_000_001),
            ("1700000000.9999", 1_700_000_001_000),
            ("-1.5", -1500),
            ("1.7e9", 1_700_000_000_000),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000),
            ("2023-11-14T22:13:20.0509Z", 1_700_000_000_050),
            ("2023-11-14T23:13:20.050+01:00", 1_700_000_000_050),
            ("-292273086-05-16T16:47:06Z", -9_223_309_901_257_974_000),
            ("292277025-08-18T07:12:54.999999999Z", 9_223_309_901_257_974_000),
            ("-9223309901257974", -9_223_309_901_257_974_000),
        ] {
            assert_eq!(time(text), Ok(expected), "{text}");
        }
        for text in ["", "now", "NaN", "inf", "-infinity", "1e300", "2023-11-14", "12:00", "1s"] {
            assert!(time(text).unwrap_err().starts_with("cannot parse \""), "{text}");
        }
        let far = time("1e300").unwrap_err();
        assert_eq!(far, "cannot parse \"1e300\" to a valid timestamp. It overflows int64");
    }

    #[test]
    fn a_range_from_the_least_to_the_greatest_time_is_all_there_is() {
        let range = |query: &str| read(query, "").range().unwrap();
        assert_eq!(range(""), Range::ALL);
        assert_eq!(range("start=-9223309901257974&end=9223309901257974.999"), Range::ALL);
        assert_eq!(
            range("start=-292273086-05-16T16:47:06Z&end=292277025-08-18T07:12:54.999999999Z"),
            Range::ALL
        );
        let at = Timestamp::from_millis;
        assert_eq!(range("start=1&end=2.5"), Range { start: at(1000), end: at(2500) });
    }

    #[test]
    fn limits_are_whole_numbers_and_not_negative() {
        let limit = |text: &str| {
            read(&format!("limit={text}"), "").limit("limit").map_err(|error| error.text)
        };
        assert_eq!(limit(""), Ok(0));
        assert_eq!(limit("0"), Ok(0));
        assert_eq!(limit("40000"), Ok(40_000));
        let negative = "invalid parameter \"limit\": limit must be non-negative";
        assert_eq!(limit("-1"), Err(negative.into()));
        for bad in ["1.5", "x", "99999999999999999999"] {
            let expected = format!("invalid parameter \"limit\": {bad:?} is not a whole number");
            assert_eq!(limit(bad), Err(expected));
        }
    }

    #[test]
    fn names_of_labels_are_decoded_twice() {
        let name = |segment: &str| label_name(segment).map_err(|error| error.text);
        for (segment, expected) in [
            ("job", "job"),
            ("http%2Estatus", "http.status"),
            ("a+b", "a+b"),
            ("U__http_2e_status__code", "http.status_code"),
            ("U__a_2F_b", "a/b"),
            ("U___1F980_", "🦀"),
            // Not of the kind after all.
            ("U__a_", "U__a_"),
            ("U__a_2e", "U__a_2e"),
            ("U__a_xyz_", "U__a_xyz_"),
            ("U__a_d800_", "U__a_d800_"),
            ("U__a_0000041_", "U__a_0000041_"),
        ] {
            assert_eq!(name(segment), Ok(expected.into()), "{segment}");
        }
        assert_eq!(name("U__"), Err("invalid label name: \"\"".into()));
        assert_eq!(name(""), Err("invalid label name: \"\"".into()));
        assert_eq!(name("%ff"), Err("invalid label name: \"%ff\"".into()));
        assert_eq!(name("%4"), Err("invalid label name: \"%4\"".into()));
    }
}
