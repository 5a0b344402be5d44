//! Of times, and between scalars and vectors.

use jiff::{Timestamp, civil::DateTime, tz::Offset};

use crate::{
    Metric, Series,
    eval::{Calling, EvalError, Value},
    is_absent,
};

pub(super) fn day_of_month(value: f64, _: &[f64]) -> f64 {
    of_date(value, |date| date.day().into())
}

pub(super) fn day_of_week(value: f64, _: &[f64]) -> f64 {
    of_date(value, |date| date.weekday().to_sunday_zero_offset().into())
}

pub(super) fn day_of_year(value: f64, _: &[f64]) -> f64 {
    of_date(value, |date| date.day_of_year().into())
}

pub(super) fn days_in_month(value: f64, _: &[f64]) -> f64 {
    of_date(value, |date| date.days_in_month().into())
}

pub(super) fn hour(value: f64, _: &[f64]) -> f64 {
    of_date(value, |date| date.hour().into())
}

pub(super) fn minute(value: f64, _: &[f64]) -> f64 {
    of_date(value, |date| date.minute().into())
}

pub(super) fn month(value: f64, _: &[f64]) -> f64 {
    of_date(value, |date| date.month().into())
}

pub(super) fn year(value: f64, _: &[f64]) -> f64 {
    of_date(value, |date| date.year().into())
}

/// Seconds since 1970 as a date in UTC; what is no time, or beyond the years that have a number of
/// four digits, is not a number.
fn of_date(value: f64, part: impl Fn(DateTime) -> f64) -> f64 {
    let within = -1e12..1e12;
    if !within.contains(&value) {
        return f64::NAN;
    }
    match Timestamp::from_second(value as i64) {
        Ok(time) => part(Offset::UTC.to_datetime(time)),
        Err(_) => f64::NAN,
    }
}

pub(super) fn pi(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    Ok(Value::Scalar(vec![std::f64::consts::PI; calling.steps.count]))
}

/// The value of the only series; not a number where there is none or more than one.
pub(super) fn scalar(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let steps = calling.steps.count;
    let vector = calling.into_vector();
    let mut found = vec![0u8; steps];
    let mut values = vec![f64::NAN; steps];
    for series in &vector {
        for ((found, value), own) in found.iter_mut().zip(&mut values).zip(&series.values) {
            if is_absent(*own) {
                continue;
            }
            *value = if *found == 0 { *own } else { f64::NAN };
            *found = 1;
        }
    }
    Ok(Value::Scalar(values))
}

pub(super) fn time(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    Ok(Value::Scalar(calling.steps.times().map(seconds).collect()))
}

/// Of what has been computed, the time of the evaluation. (A selector's samples have their own: the
/// evaluator asks for them.)
pub(super) fn timestamp(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let steps = calling.steps;
    let mut vector = calling.into_vector();
    for series in &mut vector {
        series.metric.drops_name = true;
        for (value, time) in series.values.iter_mut().zip(steps.times()) {
            if !is_absent(*value) {
                *value = seconds(time);
            }
        }
    }
    Ok(Value::Vector(vector))
}

pub(super) fn vector(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let values = calling.args.into_iter().find_map(|arg| match arg {
        Value::Scalar(values) => Some(values),
        Value::Vector(_) | Value::Text(_) => None,
    });
    let values = values.expect("the parser has checked the types");
    Ok(Value::Vector(vec![Series { metric: Metric::default(), values }]))
}

fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_its_parts_in_utc() {
        // 2024-02-29 23:59:59, a Thursday.
        let leap = 1_709_251_199.0;
        let parts: Vec<f64> =
            [year, month, day_of_month, day_of_week, day_of_year, days_in_month, hour, minute]
                .iter()
                .map(|part| part(leap, &[]))
                .collect();
        assert_eq!(parts, [2024.0, 2.0, 29.0, 4.0, 60.0, 29.0, 23.0, 59.0]);
        assert_eq!(hour(-1.5, &[]), 23.0);
        assert_eq!(hour(-0.5, &[]), 0.0);
        assert_eq!(day_of_week(0.0, &[]), 4.0);
    }

    #[test]
    fn what_is_no_time_has_no_parts() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e18, 9e11] {
            assert!(year(value, &[]).is_nan() && days_in_month(value, &[]).is_nan(), "{value}");
        }
    }
}
