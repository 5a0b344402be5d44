//! A rule's own expression with another number in its comparison: below it the alert is over.

use farol_query::{Binary, BinaryOp, Bool, Expr, Kind, Sign, Span, Type, parse};

/// The expression's text with `level` in place of the number that it compares with, and what that text
/// means. In `a > 90 and b < 5` that is the first comparison, 90.
pub fn with_level(expr: &Expr, text: &str, level: f64) -> Result<(String, Expr), String> {
    const ADVICE: &str = "say with recover_expr when it is over";
    let Some(comparison) = comparison(expr) else {
        return Err(format!("the expression does not compare with a number; {ADVICE}"));
    };
    if is_comparison(&comparison.left) {
        return Err(format!("the expression compares with more than one number; {ADVICE}"));
    }
    let Some(number) = number(&comparison.right) else {
        return Err(format!("the expression does not compare with a number; {ADVICE}"));
    };
    let sign = comparison.op.sign();
    let side = match comparison.op {
        BinaryOp::Greater | BinaryOp::GreaterOrEqual if level < number => None,
        BinaryOp::Greater | BinaryOp::GreaterOrEqual => Some("below"),
        BinaryOp::Less | BinaryOp::LessOrEqual if level > number => None,
        BinaryOp::Less | BinaryOp::LessOrEqual => Some("above"),
        _ => return Err(format!("{sign} knows no level; {ADVICE}")),
    };
    if let Some(side) = side {
        return Err(format!("the rule asks for {sign} {number}, so the level must lie {side} it"));
    }
    let Span { start, end } = comparison.right.span;
    let (Some(before), Some(after)) = (text.get(..start), text.get(end..)) else {
        return Err("the expression is not that of the text".to_owned());
    };
    let text = format!("{before}{level}{after}");
    let expr = parse(&text).map_err(|error| error.to_string())?;
    Ok((text, expr))
}

/// Whether the rule fires above the number that it compares with, or below it; none where it does not
/// say where the bad values are.
pub fn fires_above(expr: &Expr) -> Option<bool> {
    let above = match comparison(expr)?.op {
        BinaryOp::Greater | BinaryOp::GreaterOrEqual => true,
        BinaryOp::Less | BinaryOp::LessOrEqual => false,
        _ => return None,
    };
    Some(above)
}

/// What the rule compares: the value that an alert of it bears, also where the comparison does not hold.
pub fn compared(expr: &Expr) -> Option<&Expr> {
    comparison(expr).map(|comparison| &comparison.left)
}

/// The comparison that decides: of `and` and `unless` that on their left.
fn comparison(expr: &Expr) -> Option<&Binary> {
    match &expr.kind {
        Kind::Paren(inner) => comparison(inner),
        Kind::Binary(binary) if matches!(binary.op, BinaryOp::And | BinaryOp::Unless) => {
            comparison(&binary.left)
        }
        Kind::Binary(binary) if binary.op.is_comparison() && binary.bool == Bool::No => {
            (binary.left.type_of() == Type::Vector).then_some(binary)
        }
        _ => None,
    }
}

fn is_comparison(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Paren(inner) => is_comparison(inner),
        Kind::Binary(binary) if binary.op.is_set() => {
            is_comparison(&binary.left) || is_comparison(&binary.right)
        }
        Kind::Binary(binary) => binary.op.is_comparison() && binary.bool == Bool::No,
        _ => false,
    }
}

/// What `8 * 1024 ^ 3` comes to; none if that depends on more than the text.
fn number(expr: &Expr) -> Option<f64> {
    match &expr.kind {
        Kind::Number { value, .. } => Some(*value),
        Kind::Paren(inner) => number(inner),
        Kind::Unary { sign: Sign::Plus, expr } => number(expr),
        Kind::Unary { sign: Sign::Minus, expr } => Some(-number(expr)?),
        Kind::Binary(binary) => {
            let (left, right) = (number(&binary.left)?, number(&binary.right)?);
            match binary.op {
                BinaryOp::Add => Some(left + right),
                BinaryOp::Subtract => Some(left - right),
                BinaryOp::Multiply => Some(left * right),
                BinaryOp::Divide => Some(left / right),
                BinaryOp::Modulo => Some(left % right),
                BinaryOp::Power => Some(left.powf(right)),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_rule_compares_is_the_value_that_its_alerts_bear() {
        for (text, expected) in [
            ("x > 5", Some("x")),
            ("100 * (1 - a / b) >= 90", Some("100 * (1 - a / b)")),
            ("(x < 5) and on (i) y > 1", Some("x")),
            ("x == 1 unless on (i) y == 1", Some("x")),
            ("count(x > 5) > 3", Some("count(x > 5)")),
            ("a > b", Some("a")),
            ("x > bool 5", None),
            ("x > 5 or y > 5", None),
            ("absent(x)", None),
        ] {
            let expr = parse(text).unwrap();
            let compared = compared(&expr).map(ToString::to_string);
            assert_eq!(compared.as_deref(), expected, "{text}");
        }
    }
}
