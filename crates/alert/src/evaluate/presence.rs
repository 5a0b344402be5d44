//! What a rule speaks of, whether it is above its threshold or not.
//!
//! An expression that returns nothing says that all is well, or that nothing is known. The same
//! expression with its comparisons taken out tells the two apart.

use farol_query::{
    Aggregate, Aggregation, Binary, BinaryOp, Bool, Expr, Kind, Selector, Subquery, Type,
};
use farol_store::Matcher;

#[derive(Clone, Debug)]
pub(super) enum Presence {
    /// It speaks of what is not there (`absent`): there is nothing that could be missing.
    Always,
    /// Its labels depend on values; where it returns anything, all of it is known.
    Any(Expr),
    /// It returns each series of which something is known, without the metric's name.
    Each(Expr),
}

pub(super) fn of(expr: &Expr) -> Presence {
    if speaks_of_absence(expr) {
        return Presence::Always;
    }
    match is_labelled_by_value(expr) {
        true => Presence::Any(without_comparisons(expr)),
        false => Presence::Each(without_comparisons(expr)),
    }
}

/// The same whatever the labels: each selector that names a metric takes all of its series.
pub(super) fn widened(expr: &Expr) -> Expr {
    let kind = match &expr.kind {
        Kind::Number { .. } | Kind::Text(_) => return expr.clone(),
        Kind::Selector(selector) => Kind::Selector(without_labels(selector)),
        Kind::Range { selector, range } => {
            Kind::Range { selector: without_labels(selector), range: range.clone() }
        }
        Kind::Paren(inner) => Kind::Paren(widened(inner).into()),
        Kind::Unary { sign, expr } => Kind::Unary { sign: *sign, expr: widened(expr).into() },
        Kind::Binary(binary) => {
            let (left, right) = (widened(&binary.left), widened(&binary.right));
            Kind::Binary(Binary { left, right, ..Binary::clone(binary) }.into())
        }
        Kind::Aggregate(aggregate) => {
            let inner = widened(&aggregate.expr);
            Kind::Aggregate(Aggregate { expr: inner, ..Aggregate::clone(aggregate) }.into())
        }
        Kind::Call { function, args } => {
            Kind::Call { function, args: args.iter().map(widened).collect() }
        }
        Kind::Subquery(subquery) => {
            let inner = widened(&subquery.expr);
            Kind::Subquery(Subquery { expr: inner, ..Subquery::clone(subquery) }.into())
        }
    };
    Expr { span: expr.span, kind }
}

fn without_labels(selector: &Selector) -> Selector {
    let is_name = |matcher: &&Matcher| matcher.name == *"__name__";
    let names: Vec<Matcher> = selector.matchers.iter().filter(is_name).cloned().collect();
    let matchers = if names.is_empty() { selector.matchers.clone() } else { names };
    Selector { matchers, ..selector.clone() }
}

fn speaks_of_absence(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Call { function, .. } if function.name.starts_with("absent") => true,
        // What is left out by it may be absent.
        Kind::Binary(binary) if binary.op == BinaryOp::Unless => speaks_of_absence(&binary.left),
        _ => parts(expr).into_iter().any(speaks_of_absence),
    }
}

fn is_labelled_by_value(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Aggregate(aggregate) if aggregate.op == Aggregation::CountValues => true,
        _ => parts(expr).into_iter().any(is_labelled_by_value),
    }
}

fn parts(expr: &Expr) -> Vec<&Expr> {
    match &expr.kind {
        Kind::Number { .. } | Kind::Text(_) | Kind::Selector(_) | Kind::Range { .. } => Vec::new(),
        Kind::Paren(inner) | Kind::Unary { expr: inner, .. } => vec![inner],
        Kind::Binary(binary) => vec![&binary.left, &binary.right],
        Kind::Aggregate(aggregate) => vec![&aggregate.expr],
        Kind::Call { args, .. } => args.iter().collect(),
        Kind::Subquery(subquery) => vec![&subquery.expr],
    }
}

fn without_comparisons(expr: &Expr) -> Expr {
    let kind = match &expr.kind {
        Kind::Number { .. } | Kind::Text(_) | Kind::Selector(_) | Kind::Range { .. } => {
            return expr.clone();
        }
        Kind::Paren(inner) => Kind::Paren(without_comparisons(inner).into()),
        Kind::Unary { sign, expr } => {
            Kind::Unary { sign: *sign, expr: without_comparisons(expr).into() }
        }
        Kind::Binary(binary) => return of_binary(expr, binary),
        Kind::Aggregate(aggregate) => return of_aggregate(expr, aggregate),
        Kind::Call { function, args } => {
            let args = args.iter().map(without_comparisons).collect();
            Kind::Call { function, args }
        }
        Kind::Subquery(subquery) => {
            let inner = without_comparisons(&subquery.expr);
            Kind::Subquery(Subquery { expr: inner, ..Subquery::clone(subquery) }.into())
        }
    };
    Expr { span: expr.span, kind }
}

fn of_binary(expr: &Expr, binary: &Binary) -> Expr {
    if binary.op == BinaryOp::Unless {
        return without_comparisons(&binary.left);
    }
    let (left, right) = (without_comparisons(&binary.left), without_comparisons(&binary.right));
    let is_filter = binary.op.is_comparison() && binary.bool == Bool::No;
    match (left.type_of(), right.type_of()) {
        (Type::Vector, Type::Scalar) if is_filter => left,
        (Type::Scalar, Type::Vector) if is_filter => right,
        _ => {
            // Between two vectors it also says which series have a partner: it answers of all.
            let bool = if is_filter { Bool::Yes } else { binary.bool };
            let kind = Kind::Binary(Binary { bool, left, right, ..binary.clone() }.into());
            Expr { span: expr.span, kind }
        }
    }
}

fn of_aggregate(expr: &Expr, aggregate: &Aggregate) -> Expr {
    let inner = without_comparisons(&aggregate.expr);
    match aggregate.op {
        // It leaves out by value.
        Aggregation::Topk
        | Aggregation::Bottomk
        | Aggregation::Limitk
        | Aggregation::LimitRatio => inner,
        Aggregation::Sum
        | Aggregation::Avg
        | Aggregation::Count
        | Aggregation::Min
        | Aggregation::Max
        | Aggregation::Group
        | Aggregation::Stddev
        | Aggregation::Stdvar
        | Aggregation::Quantile
        | Aggregation::CountValues => {
            let kind = Kind::Aggregate(Aggregate { expr: inner, ..aggregate.clone() }.into());
            Expr { span: expr.span, kind }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widened_it_speaks_of_all_series_of_its_metrics() {
        for (text, widened) in [
            ("x{a=\"b\"} > 5", "x > 5"),
            ("rate(x{a=\"b\"}[5m] offset 1m) > 1", "rate(x[5m] offset 1m) > 1"),
            ("sum by (i) (x{a!=\"b\"}) / y{c=~\"d\"}", "sum by (i) (x) / y"),
            ("{__name__=~\"x|y\",a=\"b\"}", "{__name__=~\"x|y\"}"),
            ("{a=\"b\"}", "{a=\"b\"}"),
            ("max_over_time((-x{a=\"b\"})[10m:1m])", "max_over_time((-x)[10m:1m])"),
        ] {
            assert_eq!(super::widened(&farol_query::parse(text).unwrap()).to_string(), widened);
        }
    }

    #[test]
    fn what_a_rule_speaks_of_is_its_expression_without_the_comparisons() {
        for (text, presence) in [
            ("x > 5", "each x"),
            ("5 < x", "each x"),
            ("(x > 5) * 2", "each (x) * 2"),
            ("x > bool 5", "each x > bool 5"),
            ("a > b", "each a > bool b"),
            ("a > on (i) group_left () (b < 3)", "each a > bool on (i) group_left () (b)"),
            ("a > 1 and on (i) b < 2", "each a and on (i) b"),
            ("a > 1 or b > 2", "each a or b"),
            ("a > 1 unless b > 2", "each a"),
            ("a > 1 unless absent(b)", "each a"),
            ("absent(x)", "always"),
            ("absent_over_time(x[5m]) > 0", "always"),
            ("sum by (i) (rate(x[5m]) > 1) > 3", "each sum by (i) (rate(x[5m]))"),
            ("topk(3, x > 1) > 2", "each x"),
            ("count_values(\"v\", x) > 1", "any count_values(\"v\", x)"),
            ("max_over_time((x > 5)[10m:1m]) > 0", "each max_over_time((x)[10m:1m])"),
            ("-(x > 5)", "each -(x)"),
            ("vector(1) > time()", "each vector(1)"),
            ("x > scalar(y)", "each x"),
        ] {
            let shown = match of(&farol_query::parse(text).unwrap()) {
                Presence::Always => "always".to_owned(),
                Presence::Any(expr) => format!("any {expr}"),
                Presence::Each(expr) => format!("each {expr}"),
            };
            assert_eq!(shown, presence, "{text}");
        }
    }
}
