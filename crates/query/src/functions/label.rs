//! Labels made of other labels.

use std::collections::HashMap;

use farol_model::{Labels, Text};
use regex::Captures;

use crate::{
    Metric, Series,
    eval::{Calling, EvalError, SAME_LABELS, Value},
    is_absent,
};

pub(super) fn join(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let (target, separator) = (calling.text(1).to_owned(), calling.text(2).to_owned());
    let sources: Vec<String> =
        (3..calling.args.len()).map(|place| calling.text(place).to_owned()).collect();
    if sources.iter().any(String::is_empty) {
        return Err(EvalError::Failed("invalid source label name in label_join(): ".to_owned()));
    }
    check_target(&target, "label_join")?;
    let mut vector = calling.into_vector();
    for series in &mut vector {
        let parts: Vec<&str> = sources.iter().map(|source| series.metric.get(source)).collect();
        let joined = parts.join(&separator);
        series.metric = series.metric.with(&target, &joined);
    }
    merged(vector).map(Value::Vector)
}

pub(super) fn replace(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let [target, template, source, pattern] =
        [1, 2, 3, 4].map(|place| calling.text(place).to_owned());
    let pattern = farol_store::anchored(&pattern).map_err(|_| {
        EvalError::Failed(format!("invalid regular expression in label_replace(): {pattern}"))
    })?;
    check_target(&target, "label_replace")?;
    let mut vector = calling.into_vector();
    for series in &mut vector {
        let Some(found) = pattern.captures(series.metric.get(&source)) else { continue };
        let value = expand(&template, &found);
        series.metric = series.metric.with(&target, &value);
    }
    merged(vector).map(Value::Vector)
}

fn check_target(label: &str, function: &str) -> Result<(), EvalError> {
    match label.is_empty() {
        true => Err(EvalError::Failed(format!("invalid destination label name in {function}(): "))),
        false => Ok(()),
    }
}

/// Puts what was found into a template: `$1`, `${1}`, `$name`, `${name}`, `$$` for a dollar. A name is
/// as long as it can be (`$1x` is not `${1}x`); what there is not is nothing; a dollar before
/// anything else stands for itself.
fn expand(template: &str, found: &Captures<'_>) -> String {
    let mut expanded = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = reference(after) {
            let group = match number(name) {
                Some(number) => found.get(number),
                None => found.name(name),
            };
            expanded.push_str(group.map_or("", |group| group.as_str()));
            rest = after;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    expanded
}

/// The name after a dollar, and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (text, is_braced) = match text.strip_prefix('{') {
        Some(text) => (text, true),
        None => (text, false),
    };
    let end = text
        .find(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
        .unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    let rest = if is_braced { rest.strip_prefix('}')? } else { rest };
    (!name.is_empty()).then_some((name, rest))
}

/// Of a group; one with zeros in front is a name.
fn number(name: &str) -> Option<usize> {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || (name.starts_with('0') && name.len() > 1) { None } else { name.parse().ok() }
}

/// Series that have become the same are one, as long as they have no value at the same step.
fn merged(vector: Vec<Series>) -> Result<Vec<Series>, EvalError> {
    let mut places: HashMap<(Text, Labels), usize> = HashMap::with_capacity(vector.len());
    let mut kept: Vec<Series> = Vec::with_capacity(vector.len());
    for series in vector {
        let Metric { name, labels, drops_name: _ } = series.metric.clone();
        match places.get(&(name.clone(), labels.clone())) {
            None => {
                places.insert((name, labels), kept.len());
                kept.push(series);
            }
            Some(place) => {
                let held = &mut kept[*place];
                held.metric.drops_name &= series.metric.drops_name;
                for (value, other) in held.values.iter_mut().zip(series.values) {
                    if is_absent(other) {
                        continue;
                    }
                    if !is_absent(*value) {
                        return Err(EvalError::Failed(SAME_LABELS.to_owned()));
                    }
                    *value = other;
                }
            }
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use farol_store::anchored;

    use super::*;
    use crate::ABSENT;

    #[test]
    fn a_template_is_filled_in_as_go_does() {
        let pattern = anchored("(?P<first>a+)-(b*)(c)?").unwrap();
        let found = pattern.captures("aa-b").unwrap();
        for (template, expected) in [
            ("$1", "aa"),
            ("${1}x", "aax"),
            ("$1x", ""),
            ("$first.$2", "aa.b"),
            ("${first}${2}", "aab"),
            ("$3|${none}|$9", "||"),
            ("$$1", "$1"),
            ("$ 1", "$ 1"),
            ("${1", "${1"),
            ("${}", "${}"),
            ("$01", ""),
            ("$0", "aa-b"),
            ("$99999999999999999999", ""),
            ("€$2ä", "€"),
            ("€${2}ä$", "€bä$"),
        ] {
            assert_eq!(expand(template, &found), expected, "{template}");
        }
    }

    #[test]
    fn a_pattern_stands_for_the_whole_value() {
        assert!(anchored("a|b").unwrap().captures("ab").is_none());
        assert!(anchored("a.b").unwrap().captures("a\nb").is_some());
        assert!(anchored("a)|(b").is_err());
        assert!(anchored("(").is_err());
    }

    #[test]
    fn series_that_become_the_same_must_not_meet() {
        let series = |values: [f64; 2]| Series {
            metric: Metric::new("m".into(), Labels::from([("a", "1")])),
            values: values.to_vec(),
        };
        let apart = merged(vec![series([1.0, ABSENT]), series([ABSENT, 2.0])]).unwrap();
        assert_eq!(apart.len(), 1);
        assert_eq!(apart[0].values, [1.0, 2.0]);
        let error = merged(vec![series([1.0, ABSENT]), series([3.0, 2.0])]).unwrap_err();
        assert_eq!(error, EvalError::Failed(SAME_LABELS.to_owned()));
    }
}
