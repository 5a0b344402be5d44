//! What is the same at every step, so that it need be evaluated once only.

use crate::{Expr, Kind};

/// Functions whose value depends on the time of the evaluation even where their argument does not.
const BY_TIME: &[&str] = &[
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "hour",
    "minute",
    "month",
    "predict_linear",
    "time",
    "timestamp",
    "year",
];

/// Whether evaluating it once and copying spares anything.
pub(super) fn is_worth_once(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Number { .. } | Kind::Text(_) => false,
        _ => is_invariant(expr),
    }
}

fn is_invariant(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Number { .. } | Kind::Text(_) => true,
        Kind::Paren(inner) | Kind::Unary { expr: inner, .. } => is_invariant(inner),
        Kind::Binary(binary) => is_invariant(&binary.left) && is_invariant(&binary.right),
        Kind::Aggregate(aggregate) => {
            aggregate.parameter.as_ref().is_none_or(is_invariant) && is_invariant(&aggregate.expr)
        }
        Kind::Call { function, args } => {
            !BY_TIME.contains(&function.name) && args.iter().all(is_invariant)
        }
        Kind::Selector(selector) | Kind::Range { selector, .. } => selector.modifiers.at.is_some(),
        Kind::Subquery(subquery) => subquery.modifiers.at.is_some(),
    }
}
