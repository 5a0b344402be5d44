//! Labels made of other labels.

use crate::eval::{Calling, EvalError, Value};

pub(super) fn join(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let _ = calling;
    todo!()
}

pub(super) fn replace(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let _ = calling;
    todo!()
}
