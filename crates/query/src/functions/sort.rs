//! The order of an instant answer. With several steps there is no such order.

use std::cmp::Ordering;

use crate::{
    Series,
    eval::{Calling, EvalError, Value},
};

pub(super) fn by_label_falling(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    by_label(calling, Ordering::reverse)
}

pub(super) fn by_label_rising(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    by_label(calling, |order| order)
}

pub(super) fn falling(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    by_value(calling, Ordering::reverse)
}

pub(super) fn rising(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    by_value(calling, |order| order)
}

fn by_value(
    calling: Calling<'_, '_>,
    direction: fn(Ordering) -> Ordering,
) -> Result<Value, EvalError> {
    let is_instant = calling.steps.count == 1;
    let mut vector = calling.into_vector();
    if is_instant {
        vector.sort_by(|a, b| {
            let (a, b) = (a.values[0], b.values[0]);
            // What is not a number comes last in both directions.
            a.is_nan()
                .cmp(&b.is_nan())
                .then_with(|| direction(a.partial_cmp(&b).unwrap_or(Ordering::Equal)))
        });
    }
    Ok(Value::Vector(vector))
}

fn by_label(
    calling: Calling<'_, '_>,
    direction: fn(Ordering) -> Ordering,
) -> Result<Value, EvalError> {
    let is_instant = calling.steps.count == 1;
    let labels: Vec<String> =
        (1..calling.args.len()).map(|place| calling.text(place).to_owned()).collect();
    let mut vector = calling.into_vector();
    if is_instant {
        vector.sort_by(|a, b| direction(labels_in_order(&labels, a, b)));
    }
    Ok(Value::Vector(vector))
}

fn labels_in_order(labels: &[String], a: &Series, b: &Series) -> Ordering {
    labels
        .iter()
        .map(|label| natural_order(a.metric.get(label), b.metric.get(label)))
        .find(|order| order.is_ne())
        .unwrap_or_else(|| a.metric.cmp(&b.metric))
}

/// As people count: `disk2` before `disk10`.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let (Some(left), Some(right)) = (a.first(), b.first()) else {
            return a.len().cmp(&b.len());
        };
        if !(left.is_ascii_digit() && right.is_ascii_digit()) {
            if left != right {
                return left.cmp(right);
            }
            (a, b) = (&a[1..], &b[1..]);
            continue;
        }
        let (left, right) = (leading_number(&mut a), leading_number(&mut b));
        let order = left.len().cmp(&right.len()).then_with(|| left.cmp(right));
        if order.is_ne() {
            return order;
        }
    }
}

/// Takes the digits at the beginning, and gives those that count.
fn leading_number<'t>(text: &mut &'t [u8]) -> &'t [u8] {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(length);
    *text = rest;
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_within_names_are_ordered_as_numbers() {
        let rising = ["", "0", "1", "2", "10", "a", "a1", "a2b", "a10", "a010b", "cpu9", "cpu80"];
        for (place, a) in rising.iter().enumerate() {
            for (other, b) in rising.iter().enumerate() {
                assert_eq!(natural_order(a, b), place.cmp(&other), "{a:?} and {b:?}");
            }
        }
        assert_eq!(natural_order("x007", "x7"), Ordering::Equal);
        let long = "9".repeat(1000);
        assert_eq!(natural_order(&long, &format!("1{long}")), Ordering::Less);
    }
}
