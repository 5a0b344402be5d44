//! What there is when there is nothing: `absent` and `absent_over_time`.

use crate::eval::{Calling, EvalError, Value};

pub(super) fn absent(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let _ = calling;
    todo!()
}

pub(super) fn absent_over_time(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let _ = calling;
    todo!()
}
