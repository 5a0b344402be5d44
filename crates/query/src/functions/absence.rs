//! What there is when there is nothing: `absent` and `absent_over_time`.

use farol_model::{Labels, Text};
use farol_store::Op;

use crate::{
    ABSENT, Expr, Kind, Metric, Series,
    eval::{Calling, EvalError, Value},
    is_absent,
    labels::NAME,
};

pub(super) fn absent(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let labels = labels_asked_for(&calling.exprs[0]);
    let mut values = vec![1.0; calling.steps.count];
    for series in calling.into_vector() {
        for (value, present) in values.iter_mut().zip(&series.values) {
            if !is_absent(*present) {
                *value = ABSENT;
            }
        }
    }
    let series = Series { metric: Metric::new(Text::EMPTY, labels), values };
    Ok(Value::Vector(if series.has_any() { vec![series] } else { Vec::new() }))
}

pub(super) fn absent_over_time(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    absent(calling)
}

/// What a selector says that its series have: the labels with one value, without the name. A label
/// about which it says more than that is none of them.
fn labels_asked_for(expr: &Expr) -> Labels {
    let matchers = match &expr.kind {
        Kind::Paren(inner) => return labels_asked_for(inner),
        Kind::Selector(selector) | Kind::Range { selector, .. } => &selector.matchers,
        _ => return Labels::empty(),
    };
    let mut labels: Vec<(Text, Text)> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in matchers.iter().filter(|matcher| matcher.name != NAME) {
        if matcher.op == Op::Equal && !seen.contains(&matcher.name.as_str()) {
            seen.push(&matcher.name);
            labels.push((matcher.name.clone(), matcher.value.clone()));
        } else {
            labels.retain(|(name, _)| *name != matcher.name);
        }
    }
    Labels::new(labels)
}

#[cfg(test)]
mod tests {
    use farol_store::Matcher;

    use super::*;
    use crate::{Modifiers, Selector, Span};

    #[test]
    fn labels_are_what_the_selector_leaves_no_doubt_about() {
        let matcher = |name, op, value| Matcher::new(name, op, value).unwrap();
        let matchers = vec![
            matcher("job", Op::Equal, "a"),
            matcher("job", Op::Equal, "b"),
            matcher("mode", Op::NotEqual, "idle"),
            matcher("cpu", Op::Matches, "0|1"),
            matcher("instance", Op::Equal, "here"),
            matcher("none", Op::Equal, ""),
            matcher(NAME, Op::Equal, "up"),
        ];
        let selector = Selector { name: None, matchers, modifiers: Modifiers::default() };
        let expr = Expr { span: Span::default(), kind: Kind::Selector(selector) };
        let within = Expr { span: Span::default(), kind: Kind::Paren(Box::new(expr)) };
        assert_eq!(labels_asked_for(&within), Labels::from([("instance", "here")]));
    }
}
