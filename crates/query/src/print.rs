//! Expressions as text: in one line (`Display`), and over several.

use std::fmt::{self, Write};

use farol_model::Text;
use farol_store::{Matcher, Op};

use crate::{
    Aggregate, At, Binary, BinaryOp, Bool, Card, DurationExpr, DurationOp, Expr, Grouping, Kind,
    Matching, Modifiers, Selector, Sign, Subquery, labels::NAME, print_duration,
};

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Number { value, is_duration } => number(f, *value, *is_duration),
            Kind::Text(text) => write_quoted(f, text),
            Kind::Paren(inner) => write!(f, "({inner})"),
            Kind::Unary { sign, expr } => write!(f, "{sign}{expr}"),
            Kind::Binary(binary) => {
                if is_power_of_infinity(binary) {
                    f.write_str("Inf")?;
                } else {
                    write!(f, "{}", binary.left)?;
                }
                write!(f, " {} {}", Between(binary), binary.right)
            }
            Kind::Aggregate(aggregate) => {
                write!(f, "{}(", Head(aggregate))?;
                if let Some(parameter) = &aggregate.parameter {
                    write!(f, "{parameter}, ")?;
                }
                write!(f, "{})", aggregate.expr)
            }
            Kind::Call { function, args } => {
                write!(f, "{}(", function.name)?;
                for (place, arg) in args.iter().enumerate() {
                    let comma = if place > 0 { ", " } else { "" };
                    write!(f, "{comma}{arg}")?;
                }
                f.write_char(')')
            }
            Kind::Selector(selector) => write!(f, "{selector}{}", selector.modifiers),
            Kind::Range { selector, range } => {
                write!(f, "{selector}[{range}]{}", selector.modifiers)
            }
            Kind::Subquery(subquery) => write!(f, "{}{}", subquery.expr, Suffix(subquery)),
        }
    }
}

/// As Prometheus' `format_query` lays it out: what does not fit into a line is indented by two blanks
/// a level.
pub fn pretty(expr: &Expr) -> String {
    let mut text = String::new();
    lay_out(expr, 0, &mut text);
    text
}

/// In bytes, the indentation not counted.
const LONGEST_LINE: usize = 100;

/// Starts with the indentation.
fn lay_out(expr: &Expr, level: usize, text: &mut String) {
    indent(level, text);
    lay_out_here(expr, level, text);
}

fn lay_out_here(expr: &Expr, level: usize, text: &mut String) {
    let fits = Counter::fits(expr);
    match &expr.kind {
        Kind::Aggregate(aggregate) if !fits => {
            push(text, format_args!("{}(\n", Head(aggregate)));
            if let Some(parameter) = &aggregate.parameter {
                lay_out(parameter, level + 1, text);
                text.push_str(",\n");
            }
            lay_out(&aggregate.expr, level + 1, text);
            close(level, text);
        }
        Kind::Binary(binary) if !fits => {
            // The operator stands at the level, and so its sides one deeper.
            indent(1, text);
            if is_power_of_infinity(binary) {
                text.push_str("Inf");
            } else {
                lay_out_here(&binary.left, level + 1, text);
            }
            text.push('\n');
            indent(level, text);
            push(text, format_args!("{}\n", Between(binary)));
            lay_out(&binary.right, level + 1, text);
        }
        Kind::Call { function, args } if !fits => {
            push(text, format_args!("{}(\n", function.name));
            for (place, arg) in args.iter().enumerate() {
                text.push_str(if place > 0 { ",\n" } else { "" });
                lay_out(arg, level + 1, text);
            }
            close(level, text);
        }
        Kind::Paren(inner) if !fits => {
            text.push_str("(\n");
            lay_out(inner, level + 1, text);
            close(level, text);
        }
        Kind::Subquery(subquery) if !fits => {
            lay_out_here(&subquery.expr, level, text);
            push(text, format_args!("{}", Suffix(subquery)));
        }
        Kind::Unary { sign, expr } if !fits => {
            push(text, format_args!("{sign}"));
            let before = text.len();
            lay_out_here(expr, level, text);
            let blanks = text.bytes().skip(before).take_while(|byte| *byte == b' ').count();
            text.replace_range(before..before + blanks, "");
        }
        Kind::Number { .. }
        | Kind::Text(_)
        | Kind::Selector(_)
        | Kind::Range { .. }
        | Kind::Paren(_)
        | Kind::Unary { .. }
        | Kind::Binary(_)
        | Kind::Aggregate(_)
        | Kind::Call { .. }
        | Kind::Subquery(_) => push(text, format_args!("{expr}")),
    }
}

fn close(level: usize, text: &mut String) {
    text.push('\n');
    indent(level, text);
    text.push(')');
}

fn indent(level: usize, text: &mut String) {
    for _ in 0..level {
        text.push_str("  ");
    }
}

fn push(text: &mut String, what: fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a string takes every text");
}

/// Counts what is written, and gives up where a line is full: long expressions are not printed
/// anew at each of their levels.
struct Counter(usize);

impl Counter {
    fn fits(expr: &Expr) -> bool {
        write!(Counter(0), "{expr}").is_ok()
    }
}

impl Write for Counter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        if self.0 > LONGEST_LINE { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Whose sign would count for the whole power: `+Inf ^ 2` is `+(Inf ^ 2)`.
fn is_power_of_infinity(binary: &Binary) -> bool {
    let is_infinity = matches!(binary.left.kind, Kind::Number { value: f64::INFINITY, .. });
    is_infinity && binary.op == BinaryOp::Power
}

fn number(f: &mut fmt::Formatter<'_>, value: f64, is_duration: bool) -> fmt::Result {
    match value {
        _ if is_duration => f.write_str(&print_duration((value * 1000.0).round() as i64)),
        f64::INFINITY => f.write_str("+Inf"),
        f64::NEG_INFINITY => f.write_str("-Inf"),
        // Never with an exponent, as Prometheus.
        _ => write!(f, "{value}"),
    }
}

/// `sum by (a) `, without a blank if nothing is written.
struct Head<'a>(&'a Aggregate);

impl fmt::Display for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.op.name())?;
        match &self.0.grouping {
            Grouping::Without(labels) => write!(f, " without ({}) ", Names(labels)),
            Grouping::By(labels) if !labels.is_empty() => write!(f, " by ({}) ", Names(labels)),
            Grouping::By(_) => Ok(()),
        }
    }
}

/// An operator with what is written beside it.
struct Between<'a>(&'a Binary);

impl fmt::Display for Between<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.op.sign())?;
        if self.0.bool == Bool::Yes {
            f.write_str(" bool")?;
        }
        let Some(Matching { card, grouping, include, .. }) = &self.0.matching else {
            return Ok(());
        };
        let group = match card {
            Card::OneToOne | Card::ManyToMany => None,
            Card::ManyToOne => Some("group_left"),
            Card::OneToMany => Some("group_right"),
        };
        match grouping {
            Grouping::By(labels) => write!(f, " on ({})", Names(labels))?,
            Grouping::Without(labels) if !labels.is_empty() || group.is_some() => {
                write!(f, " ignoring ({})", Names(labels))?;
            }
            Grouping::Without(_) => {}
        }
        match group {
            Some(group) => write!(f, " {group} ({})", Names(include)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sign::Plus => "+",
            Sign::Minus => "-",
        })
    }
}

/// Without the modifiers: a range comes before them.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            f.write_str(name)?;
        }
        let is_before = |matcher: &Matcher| {
            self.name.as_ref() == Some(&matcher.value)
                && *matcher.name == *NAME
                && matcher.op == Op::Equal
        };
        let others = self.matchers.iter().filter(|matcher| !is_before(matcher));
        let mut others: Vec<String> = others.map(matcher).collect();
        if others.is_empty() {
            return Ok(());
        }
        others.sort();
        write!(f, "{{{}}}", others.join(","))
    }
}

fn matcher(matcher: &Matcher) -> String {
    let op = match matcher.op {
        Op::Equal => "=",
        Op::NotEqual => "!=",
        Op::Matches => "=~",
        Op::MatchesNot => "!~",
    };
    let name =
        if is_word(&matcher.name) { matcher.name.to_string() } else { quoted(&matcher.name) };
    format!("{name}{op}{}", quoted(&matcher.value))
}

impl fmt::Display for Modifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            None => {}
            Some(At::Start) => f.write_str(" @ start()")?,
            Some(At::End) => f.write_str(" @ end()")?,
            Some(At::Time(millis)) => {
                let sign = if millis < 0 { "-" } else { "" };
                let millis = millis.unsigned_abs();
                write!(f, " @ {sign}{}.{:03}", millis / 1000, millis % 1000)?;
            }
        }
        match &self.offset {
            None => Ok(()),
            Some(offset) => write!(f, " offset {offset}"),
        }
    }
}

/// What a subquery has behind its expression.
struct Suffix<'a>(&'a Subquery);

impl fmt::Display for Suffix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Subquery { range, step, modifiers, .. } = self.0;
        match step {
            None => write!(f, "[{range}:]{modifiers}"),
            Some(step) => write!(f, "[{range}:{step}]{modifiers}"),
        }
    }
}

impl fmt::Display for DurationExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DurationExpr::Fixed { millis, is_number: false } => {
                f.write_str(&print_duration(*millis))
            }
            DurationExpr::Fixed { millis, is_number: true } => {
                write!(f, "{}", *millis as f64 / 1000.0)
            }
            DurationExpr::Number(seconds) => write!(f, "{seconds}"),
            DurationExpr::Signed { sign, inner } => write!(f, "{sign}{inner}"),
            DurationExpr::Paren(inner) => write!(f, "({inner})"),
            DurationExpr::Binary { op, left, right } => {
                let sign = match op {
                    DurationOp::Add => "+",
                    DurationOp::Subtract => "-",
                    DurationOp::Multiply => "*",
                    DurationOp::Divide => "/",
                    DurationOp::Modulo => "%",
                    DurationOp::Power => "^",
                };
                write!(f, "{left} {sign} {right}")
            }
            DurationExpr::Step => f.write_str("step()"),
            DurationExpr::Range => f.write_str("range()"),
            DurationExpr::Min(left, right) => write!(f, "min({left}, {right})"),
            DurationExpr::Max(left, right) => write!(f, "max({left}, {right})"),
        }
    }
}

/// Labels in parentheses, in quotes where they need them.
struct Names<'a>(&'a [Text]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, name) in self.0.iter().enumerate() {
            f.write_str(if place > 0 { ", " } else { "" })?;
            // Outside of braces these are numbers.
            let is_number = name.eq_ignore_ascii_case("inf") || name.eq_ignore_ascii_case("nan");
            if is_word(name) && !is_number {
                f.write_str(name)?;
            } else {
                write_quoted(f, name)?;
            }
        }
        Ok(())
    }
}

fn is_word(name: &str) -> bool {
    name.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// As Go quotes a string.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    write_quoted(&mut quoted, text).expect("a string takes every text");
    quoted
}

fn write_quoted(into: &mut impl Write, text: &str) -> fmt::Result {
    into.write_char('"')?;
    for char in text.chars() {
        match char {
            '"' => into.write_str("\\\"")?,
            '\\' => into.write_str("\\\\")?,
            '\x07' => into.write_str("\\a")?,
            '\x08' => into.write_str("\\b")?,
            '\x0c' => into.write_str("\\f")?,
            '\n' => into.write_str("\\n")?,
            '\r' => into.write_str("\\r")?,
            '\t' => into.write_str("\\t")?,
            '\x0b' => into.write_str("\\v")?,
            '\0'..='\x1f' | '\x7f' => write!(into, "\\x{:02x}", u32::from(char))?,
            ' '..='~' => into.write_char(char)?,
            _ if is_printable(char) => into.write_char(char)?,
            _ if u32::from(char) < 0x1_0000 => write!(into, "\\u{:04x}", u32::from(char))?,
            _ => write!(into, "\\U{:08x}", u32::from(char))?,
        }
    }
    into.write_char('"')
}

fn is_printable(char: char) -> bool {
    let mut pair = String::from("a");
    pair.push(char);
    // Behind a letter an accent counts as printable.
    !char.is_whitespace() && pair.escape_debug().count() == 2
}
