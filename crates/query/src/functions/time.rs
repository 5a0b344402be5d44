//! Of times, and between scalars and vectors.

use crate::eval::{Calling, EvalError, Value};

pub(super) fn day_of_month(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn day_of_week(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn day_of_year(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn days_in_month(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn hour(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn minute(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn month(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn pi(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let _ = calling;
    todo!()
}

pub(super) fn scalar(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let _ = calling;
    todo!()
}

pub(super) fn time(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let _ = calling;
    todo!()
}

pub(super) fn timestamp(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let _ = calling;
    todo!()
}

pub(super) fn vector(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let _ = calling;
    todo!()
}

pub(super) fn year(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}
