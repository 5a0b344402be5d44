//! Series as unit tests write them: `name{labels}` and `0+10x5 _ _x3 stale 7`.

use farol_model::{Labels, STALE, Text};
use farol_query::parse_selector;
use farol_store::Op;

/// Of one series: so many are a mistake in a repetition.
const MOST: usize = 1_000_000;

/// One a step; none where there is no sample.
pub(super) fn values(text: &str) -> Result<Vec<Option<f64>>, String> {
    let mut values = Vec::new();
    for item in text.split_whitespace() {
        let wrong = || format!("{item:?} is no value; known are 1, 0+10x5, 7x3, _, _x4 and stale");
        if item.starts_with("{{") {
            return Err(format!("{item:?}: native histograms are not known here"));
        }
        let (pattern, times) = match repetition(item) {
            Some((pattern, times)) => (pattern, Some(times.ok_or_else(wrong)?)),
            None => (item, None),
        };
        if times.unwrap_or(0).saturating_add(values.len()) >= MOST {
            return Err(format!("{item:?}: a series has {MOST} values at most"));
        }
        if pattern == "_" {
            values.extend(std::iter::repeat_n(None, times.unwrap_or(1)));
            continue;
        }
        let (start, growth) = start_and_growth(pattern).ok_or_else(wrong)?;
        if growth.is_some() && times.is_none() {
            return Err(wrong());
        }
        let mut value = start;
        for _ in 0..=times.unwrap_or(0) {
            values.push(Some(value));
            if let Some(growth) = growth {
                value += growth;
            }
        }
    }
    Ok(values)
}

/// `0+10x5` is `0+10`, repeated five times; how often is none where it is no number.
fn repetition(item: &str) -> Option<(&str, Option<usize>)> {
    let (pattern, times) = item.rsplit_once('x')?;
    Some((pattern, times.parse().ok()))
}

fn start_and_growth(pattern: &str) -> Option<(f64, Option<f64>)> {
    if let Some(value) = number(pattern) {
        return Some((value, None));
    }
    let signs = pattern.char_indices().filter(|(at, sign)| *at > 0 && matches!(sign, '+' | '-'));
    signs
        .filter_map(|(at, _)| pattern.split_at_checked(at))
        .find_map(|(start, growth)| Some((number(start)?, Some(number(growth)?))))
}

fn number(text: &str) -> Option<f64> {
    match text {
        "stale" => Some(STALE),
        _ => text.parse().ok(),
    }
}

/// A series by its name (empty if it has none) and labels.
pub(super) fn series(text: &str) -> Result<(Text, Labels), String> {
    let is_bare = text.trim_start().starts_with('{');
    // A selector must ask for something; a series need not have anything.
    let named = if is_bare { format!("nameless{text}") } else { text.to_owned() };
    let matchers = match parse_selector(&named) {
        Ok(matchers) => matchers,
        // It has its name within the braces.
        Err(error) if is_bare => parse_selector(text).map_err(|_| error.to_string())?,
        Err(error) => return Err(error.to_string()),
    };
    let mut name = Text::EMPTY;
    let mut labels = Vec::new();
    for matcher in matchers {
        if matcher.op != Op::Equal {
            return Err(format!("{text:?} is no series: its labels have values, no patterns"));
        }
        match &*matcher.name {
            "__name__" if is_bare && matcher.value == "nameless" => {}
            "__name__" => name = matcher.value,
            _ => labels.push((matcher.name, matcher.value)),
        }
    }
    Ok((name, Labels::new(labels)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_promtool_reads_them() {
        for (text, want) in [
            ("1 2.5 -3", "1 2.5 -3"),
            ("0+10x3", "0 10 20 30"),
            ("10-2x2 7", "10 8 6 7"),
            ("-3+2x2", "-3 -1 1"),
            ("-3-2x2", "-3 -5 -7"),
            ("7x2", "7 7 7"),
            ("0x0", "0"),
            ("_ _x2 1 stale", "_ _ _ 1 stale"),
            ("1e2+1e-1x1", "100 100.1"),
            ("Inf -Inf +inf", "inf -inf inf"),
            ("", ""),
        ] {
            let shown = |value: Option<f64>| match value {
                None => "_".to_owned(),
                Some(value) if farol_model::is_stale(value) => "stale".to_owned(),
                Some(value) => value.to_string(),
            };
            let came: Vec<String> = values(text).unwrap().into_iter().map(shown).collect();
            assert_eq!(came.join(" "), want, "{text}");
        }
        assert!(values("nan").unwrap()[0].unwrap().is_nan());
    }

    #[test]
    fn what_is_no_value_is_refused_in_words() {
        for (text, said) in [
            ("one", "\"one\" is no value"),
            ("1+2", "\"1+2\" is no value"),
            ("1+2x", "is no value"),
            ("1x9999999", "1000000 values at most"),
            ("{{schema:1}}", "native histograms"),
        ] {
            let error = values(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_series_is_a_name_and_labels() {
        let of = |text: &str| series(text).map(|(name, labels)| format!("{name}{labels:?}"));
        assert_eq!(of("up{a=\"b\"}").unwrap(), "up{\"a\": \"b\"}");
        assert_eq!(of("up").unwrap(), "up{}");
        assert_eq!(of("{}").unwrap(), "{}");
        assert_eq!(of("{a=\"b\"}").unwrap(), "{\"a\": \"b\"}");
        assert_eq!(of("{__name__=\"up\", a=\"b\"}").unwrap(), "up{\"a\": \"b\"}");
        assert!(of("up{a=~\"b\"}").unwrap_err().contains("no patterns"));
        assert!(of("up{").is_err());
    }
}
