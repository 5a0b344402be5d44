//! Durations and arithmetic with them: `5m`, `300`, `step() * 4`, `max(1m, range() / 10)`.

use super::{Parser, Problem, Read};
use crate::{
    DurationExpr, DurationOp, Sign, Span,
    duration::{DurationError, millis_of},
    lex::Token,
};

/// So many signs, numbers and parentheses may one have.
const MOST_PARTS: usize = 100;

const EXPECTED: &str = "a duration as 5m, a number of seconds, step(), range(), min(…), max(…)";

const OPERATORS: &[(&str, DurationOp, u8)] = &[
    ("+", DurationOp::Add, 1),
    ("-", DurationOp::Subtract, 1),
    ("*", DurationOp::Multiply, 2),
    ("/", DurationOp::Divide, 2),
    ("%", DurationOp::Modulo, 2),
    ("^", DurationOp::Power, 3),
];

impl Parser<'_> {
    /// In brackets: more than nothing, as far as that is known by now.
    pub(super) fn positive_duration(&mut self, context: &str) -> Read<DurationExpr> {
        let start = self.span().start;
        self.duration_parts = 0;
        let duration = self.durations_from(1, context)?;
        let span = self.since(start);
        let (duration, millis) = in_millis(duration, span)?;
        if millis.is_some_and(|millis| millis <= 0) {
            return self.fail(span, "duration must be greater than 0");
        }
        Ok(duration)
    }

    /// After `offset`: arithmetic only in parentheses, else it would be the expression's.
    pub(super) fn offset_duration(&mut self) -> Read<DurationExpr> {
        let start = self.span().start;
        self.duration_parts = 0;
        let duration = match self.duration_sign() {
            None => self.duration_part("offset")?,
            Some(sign) => {
                self.advance();
                signed(sign, self.duration_part("offset")?)
            }
        };
        Ok(in_millis(duration, self.since(start))?.0)
    }

    fn durations_from(&mut self, least: u8, context: &str) -> Read<DurationExpr> {
        let mut left = self.signed_duration(context)?;
        while let Some((op, level)) = self.duration_operator().filter(|(_, level)| *level >= least)
        {
            self.advance();
            let right = self.durations_from(level + 1, context)?;
            left = DurationExpr::Binary { op, left: Box::new(left), right: Box::new(right) };
        }
        Ok(left)
    }

    /// As in expressions, a sign binds less than `^` and more than `*`.
    fn signed_duration(&mut self, context: &str) -> Read<DurationExpr> {
        if let Some(sign) = self.duration_sign() {
            self.count_part()?;
            self.advance();
            return Ok(signed(sign, self.signed_duration(context)?));
        }
        let left = self.duration_part(context)?;
        if !self.take_sign("^") {
            return Ok(left);
        }
        let right = self.signed_duration(context)?;
        let (left, right) = (Box::new(left), Box::new(right));
        Ok(DurationExpr::Binary { op: DurationOp::Power, left, right })
    }

    fn duration_part(&mut self, context: &str) -> Read<DurationExpr> {
        self.count_part()?;
        let part = match self.peek() {
            Token::Duration(millis) => DurationExpr::Fixed { millis: *millis, is_number: false },
            Token::Number(seconds) => {
                let seconds = *seconds;
                if !seconds.is_finite() {
                    return self.fail(self.span(), "duration out of range: at most 292 years");
                }
                of_seconds(seconds)
            }
            Token::Sign("(") => {
                self.advance();
                let inner = self.durations_from(1, context)?;
                self.expect_sign(")", context, "an operator or \")\"")?;
                return Ok(parenthesized(inner));
            }
            Token::Word => return self.duration_function(context),
            _ => return Err(self.unexpected(context, EXPECTED)),
        };
        self.advance();
        Ok(part)
    }

    fn duration_function(&mut self, context: &str) -> Read<DurationExpr> {
        let word = self.word().unwrap_or_default().to_ascii_lowercase();
        let of_two: Option<fn(Box<DurationExpr>, Box<DurationExpr>) -> DurationExpr> =
            match word.as_str() {
                "step" | "range" => None,
                "min" => Some(DurationExpr::Min),
                "max" => Some(DurationExpr::Max),
                _ => return Err(self.unexpected(context, EXPECTED)),
            };
        self.advance();
        self.expect_sign("(", &word, "\"(\"")?;
        let Some(of_two) = of_two else {
            self.expect_sign(")", &word, &format!("\")\": {word}() takes nothing"))?;
            let is_step = word == "step";
            return Ok(if is_step { DurationExpr::Step } else { DurationExpr::Range });
        };
        let left = self.durations_from(1, &word)?;
        self.expect_sign(",", &word, "\",\" and a second duration")?;
        let right = self.durations_from(1, &word)?;
        self.expect_sign(")", &word, "\")\" after two durations")?;
        Ok(of_two(Box::new(left), Box::new(right)))
    }

    fn duration_sign(&self) -> Option<Sign> {
        match self.peek() {
            Token::Sign("+") => Some(Sign::Plus),
            Token::Sign("-") => Some(Sign::Minus),
            _ => None,
        }
    }

    fn duration_operator(&self) -> Option<(DurationOp, u8)> {
        let row = OPERATORS.iter().find(|(sign, _, _)| self.is_sign(sign));
        row.map(|(_, op, level)| (*op, *level))
    }

    fn count_part(&mut self) -> Read<()> {
        self.duration_parts += 1;
        if self.duration_parts > MOST_PARTS {
            let problem = format!("a duration of more than {MOST_PARTS} parts");
            return self.fail(self.span(), problem);
        }
        Ok(())
    }
}

/// The milliseconds too if they are known already. What is one number becomes them.
fn in_millis(duration: DurationExpr, span: Span) -> Read<(DurationExpr, Option<i64>)> {
    if !duration.is_constant() {
        return Ok((duration, None));
    }
    let placed = |DurationError(problem): DurationError| Problem { span, problem };
    let millis = match duration {
        DurationExpr::Number(seconds) => millis_of(seconds).map_err(placed)?,
        _ => duration.millis(0, 0).map_err(placed)?,
    };
    let duration = match duration {
        DurationExpr::Number(_) | DurationExpr::Fixed { .. } => {
            DurationExpr::Fixed { millis, is_number: false }
        }
        _ => duration,
    };
    Ok((duration, Some(millis)))
}

fn of_seconds(seconds: f64) -> DurationExpr {
    let millis = seconds * 1000.0;
    match millis_of(seconds) {
        Ok(whole) if whole as f64 == millis => {
            DurationExpr::Fixed { millis: whole, is_number: true }
        }
        _ => DurationExpr::Number(seconds),
    }
}

/// A sign before a number becomes part of it, and plus says nothing.
fn signed(sign: Sign, inner: DurationExpr) -> DurationExpr {
    match (sign, inner) {
        (Sign::Plus, inner) => inner,
        (Sign::Minus, DurationExpr::Fixed { millis, is_number }) => {
            DurationExpr::Fixed { millis: -millis, is_number }
        }
        (Sign::Minus, DurationExpr::Number(seconds)) => DurationExpr::Number(-seconds),
        (Sign::Minus, inner) => DurationExpr::Signed { sign, inner: Box::new(inner) },
    }
}

/// None around what stands alone.
fn parenthesized(inner: DurationExpr) -> DurationExpr {
    match inner {
        DurationExpr::Binary { .. } | DurationExpr::Signed { .. } => {
            DurationExpr::Paren(Box::new(inner))
        }
        _ => inner,
    }
}
