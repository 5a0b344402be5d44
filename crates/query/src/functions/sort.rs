//! The order of an instant answer.

use crate::eval::{Calling, EvalError, Value};

pub(super) fn by_label_falling(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let _ = calling;
    todo!()
}

pub(super) fn by_label_rising(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let _ = calling;
    todo!()
}

pub(super) fn falling(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let _ = calling;
    todo!()
}

pub(super) fn rising(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let _ = calling;
    todo!()
}
