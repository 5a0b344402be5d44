//! `format_query`, `parse_query`: an expression laid out, and as a tree in Prometheus' own shape.

use farol_model::Text;
use farol_query::{
    Aggregate, At, Binary, Card, DurationExpr, Expr, Function, Grouping, Kind, Matching, Modifiers,
    Selector, Sign, Subquery, Type, pretty,
};
use farol_store::{Matcher, Op};
use serde_json::{Value, json};

use super::{Asked, error::ApiError, json as written, query::parsed};

pub(super) fn format_query(asked: &Asked<'_>) -> Result<Vec<u8>, ApiError> {
    let text = pretty(&parsed(asked)?);
    Ok(written::success(|out| written::string(&text, out)))
}

pub(super) fn parse_query(asked: &Asked<'_>) -> Result<Vec<u8>, ApiError> {
    let tree = tree(&parsed(asked)?);
    Ok(written::success(|out| out.extend_from_slice(tree.to_string().as_bytes())))
}

/// The parser bounds how deep an expression is.
fn tree(expr: &Expr) -> Value {
    match &expr.kind {
        Kind::Number { value, .. } => json!({ "type": "numberLiteral", "val": number(*value) }),
        Kind::Text(text) => json!({ "type": "stringLiteral", "val": text.as_str() }),
        Kind::Paren(inner) => json!({ "type": "parenExpr", "expr": tree(inner) }),
        Kind::Unary { sign, expr } => {
            let op = match sign {
                Sign::Plus => "+",
                Sign::Minus => "-",
            };
            json!({ "type": "unaryExpr", "op": op, "expr": tree(expr) })
        }
        Kind::Binary(binary) => binary_tree(binary),
        Kind::Aggregate(aggregate) => aggregate_tree(aggregate),
        Kind::Call { function, args } => json!({
            "type": "call",
            "func": function_tree(function),
            "args": args.iter().map(tree).collect::<Value>(),
        }),
        Kind::Selector(selector) => selector_tree("vectorSelector", selector),
        Kind::Range { selector, range } => {
            let mut tree = selector_tree("matrixSelector", selector);
            tree["range"] = json!(millis(range));
            tree
        }
        Kind::Subquery(subquery) => subquery_tree(subquery),
    }
}

fn binary_tree(binary: &Binary) -> Value {
    json!({
        "type": "binaryExpr",
        "op": binary.op.sign(),
        "lhs": tree(&binary.left),
        "rhs": tree(&binary.right),
        "matching": binary.matching.as_ref().map(matching_tree),
        "bool": binary.bool == farol_query::Bool::Yes,
    })
}

fn matching_tree(matching: &Matching) -> Value {
    let (labels, on) = grouping(&matching.grouping);
    let card = match matching.card {
        Card::OneToOne => "one-to-one",
        Card::ManyToOne => "many-to-one",
        Card::OneToMany => "one-to-many",
        Card::ManyToMany => "many-to-many",
    };
    json!({
        "card": card,
        "labels": labels,
        "on": on,
        "include": texts(&matching.include),
    })
}

fn aggregate_tree(aggregate: &Aggregate) -> Value {
    let (labels, is_by) = grouping(&aggregate.grouping);
    json!({
        "type": "aggregation",
        "op": aggregate.op.name(),
        "expr": tree(&aggregate.expr),
        "param": aggregate.parameter.as_ref().map(tree),
        "grouping": labels,
        "without": !is_by,
    })
}

/// The labels, and whether to go by them.
fn grouping(grouping: &Grouping) -> (Value, bool) {
    match grouping {
        Grouping::By(labels) => (texts(labels), true),
        Grouping::Without(labels) => (texts(labels), false),
    }
}

fn texts(texts: &[Text]) -> Value {
    texts.iter().map(|text| text.as_str()).collect()
}

fn function_tree(function: &Function) -> Value {
    let variadic = match (function.repeats, function.optional) {
        (true, _) => -1,
        (false, optional) => i64::try_from(optional).unwrap_or(i64::MAX),
    };
    json!({
        "name": function.name,
        "argTypes": function.args.iter().map(|kind| word(*kind)).collect::<Value>(),
        "variadic": variadic,
        "returnType": word(function.returns),
    })
}

const fn word(kind: Type) -> &'static str {
    match kind {
        Type::Scalar => "scalar",
        Type::Vector => "vector",
        Type::Matrix => "matrix",
        Type::Text => "string",
    }
}

fn selector_tree(kind: &str, selector: &Selector) -> Value {
    let mut tree = json!({
        "type": kind,
        "name": selector.name.as_ref().map_or("", Text::as_str),
        "matchers": selector.matchers.iter().map(matcher_tree).collect::<Value>(),
    });
    add_modifiers(&selector.modifiers, &mut tree);
    tree
}

fn subquery_tree(subquery: &Subquery) -> Value {
    let mut tree = json!({
        "type": "subquery",
        "expr": tree(&subquery.expr),
        "range": millis(&subquery.range),
        "step": subquery.step.as_ref().map_or(Some(0), millis),
    });
    add_modifiers(&subquery.modifiers, &mut tree);
    tree
}

fn add_modifiers(modifiers: &Modifiers, tree: &mut Value) {
    let (time, edge) = match modifiers.at {
        None => (None, None),
        Some(At::Time(at)) => (Some(at), None),
        Some(At::Start) => (None, Some("start")),
        Some(At::End) => (None, Some("end")),
    };
    tree["offset"] = json!(modifiers.offset.as_ref().map_or(Some(0), millis));
    tree["timestamp"] = json!(time);
    tree["startOrEnd"] = json!(edge);
}

fn matcher_tree(matcher: &Matcher) -> Value {
    let sign = match matcher.op {
        Op::Equal => "=",
        Op::NotEqual => "!=",
        Op::Matches => "=~",
        Op::MatchesNot => "!~",
    };
    json!({ "type": sign, "name": matcher.name.as_str(), "value": matcher.value.as_str() })
}

/// Nothing where it depends on the question.
fn millis(duration: &DurationExpr) -> Option<i64> {
    match duration {
        DurationExpr::Fixed { millis, .. } => Some(*millis),
        DurationExpr::Paren(inner) => millis(inner),
        DurationExpr::Signed { sign: Sign::Plus, inner } => millis(inner),
        DurationExpr::Signed { sign: Sign::Minus, inner } => millis(inner)?.checked_neg(),
        DurationExpr::Number(_)
        | DurationExpr::Binary { .. }
        | DurationExpr::Step
        | DurationExpr::Range
        | DurationExpr::Min(..)
        | DurationExpr::Max(..) => None,
    }
}

/// Without an exponent, as Prometheus' tree has it.
fn number(value: f64) -> String {
    if value.is_finite() {
        return format!("{value}");
    }
    let mut text = Vec::new();
    farol_query::print_number(value, &mut text);
    String::from_utf8(text).expect("a number is ASCII")
}
