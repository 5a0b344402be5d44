//! Classic histograms: quantiles and fractions of buckets by `le`.

use crate::eval::{Calling, EvalError, Value};

pub(super) fn fraction(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let _ = calling;
    todo!()
}

pub(super) fn of_native(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let _ = calling;
    todo!()
}

pub(super) fn quantile(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let _ = calling;
    todo!()
}
