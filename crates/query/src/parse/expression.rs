//! Expressions by precedence, and what may follow one: ranges, subqueries, `offset`, `@`.

use farol_model::Text;

use super::{Node, Parser, Problem, Read, either};
use crate::{
    Aggregation, At, BinaryOp, DurationExpr, Expr, Kind, Modifiers, Sign, Span, Subquery, Type,
    lex::{Token, cut},
};

/// Keywords that are no metric's name.
const RESERVED: &[&str] = &["bool", "on", "ignoring", "group_left", "group_right", "atan2"];

impl Parser<'_> {
    pub(super) fn expression(&mut self) -> Read<Node> {
        self.deeper(|parser| parser.operators_from(1))
    }

    /// Operators that bind as strongly as the level or stronger.
    fn operators_from(&mut self, least: u8) -> Read<Node> {
        let mut left = self.unary()?;
        while let Some(op) = self.operator() {
            let level = level(op);
            if level < least {
                break;
            }
            let written = self.operator_and_modifiers(op)?;
            let right = self.deeper(|parser| parser.operators_from(level + 1))?;
            left = self.binary(written, left, right)?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Read<Node> {
        let sign = match self.peek() {
            Token::Sign("+") => Sign::Plus,
            Token::Sign("-") => Sign::Minus,
            _ => return self.power(),
        };
        let start = self.span().start;
        self.advance();
        let mut inner = self.deeper(Self::unary)?;
        let span = self.since(start);
        if let Kind::Number { value, is_duration } = &mut inner.expr.kind {
            // No duration is minus nothing: it could not be printed.
            if sign == Sign::Minus && !(*is_duration && *value == 0.0) {
                *value = -*value;
            }
            inner.expr.span = span;
            return Ok(inner);
        }
        let found = inner.expr.type_of();
        if !matches!(found, Type::Scalar | Type::Vector) {
            let problem = format!(
                "unary expression only allowed on expressions of type scalar or instant vector, \
                 got {:?}",
                found.name()
            );
            return self.fail(span, problem);
        }
        let kind = Kind::Unary { sign, expr: inner.expr };
        self.above(Expr { span, kind }, [inner.height])
    }

    /// `a ^ b ^ c` is `a ^ (b ^ c)`, `-a ^ b` is `-(a ^ b)`, `a ^ -b` is what it seems.
    fn power(&mut self) -> Read<Node> {
        let left = self.with_modifiers()?;
        if self.operator() != Some(BinaryOp::Power) {
            return Ok(left);
        }
        let written = self.operator_and_modifiers(BinaryOp::Power)?;
        let right = self.deeper(Self::unary)?;
        self.binary(written, left, right)
    }

    fn with_modifiers(&mut self) -> Read<Node> {
        let mut node = self.primary()?;
        // An offset of nothing leaves no trace in the tree, and yet is one.
        let mut has_offset = false;
        loop {
            if self.is_sign("[") {
                node = self.in_brackets(node, has_offset)?;
                has_offset = false;
            } else if self.is_word("offset") {
                self.offset(&mut node.expr, has_offset)?;
                has_offset = true;
            } else if self.is_sign("@") {
                self.at_time(&mut node.expr)?;
            } else {
                return Ok(node);
            }
        }
    }

    fn primary(&mut self) -> Read<Node> {
        let span = self.span();
        let kind = match self.peek() {
            Token::Number(value) => Kind::Number { value: *value, is_duration: false },
            Token::Duration(millis) => {
                Kind::Number { value: *millis as f64 / 1000.0, is_duration: true }
            }
            Token::Text(text) => Kind::Text(Text::from(text.as_str())),
            Token::Sign("(") => return self.parenthesized(),
            Token::Sign("{") => return self.selecting(),
            Token::Word => return self.named(),
            Token::Sign(_) | Token::Bad(_) | Token::End => {
                let expected = "a number, a string, a metric, a function or \"(\"";
                return Err(self.unexpected("an expression", expected));
            }
        };
        self.advance();
        self.above(Expr { span, kind }, [])
    }

    fn parenthesized(&mut self) -> Read<Node> {
        let start = self.span().start;
        self.advance();
        let inner = self.expression()?;
        if !self.take_sign(")") {
            return Err(match self.after_expression() {
                Some(problem) => problem,
                None => self.unexpected("parentheses", "an operator or \")\""),
            });
        }
        let kind = Kind::Paren(inner.expr);
        self.above(Expr { span: self.since(start), kind }, [inner.height])
    }

    /// A word begins an aggregation, a call or a selector.
    fn named(&mut self) -> Read<Node> {
        let word = self.word().unwrap_or_default();
        let is_called = *self.peek_second() == Token::Sign("(");
        if let Some(op) = aggregation(word) {
            let start = self.span().start;
            self.advance();
            if is_called || self.is_word("by") || self.is_word("without") {
                return self.aggregate(op, start);
            }
            self.at -= 1;
        } else if is_called && !RESERVED.iter().any(|name| name.eq_ignore_ascii_case(word)) {
            return self.call();
        }
        if RESERVED.iter().any(|name| name.eq_ignore_ascii_case(word)) {
            let expected = "a number, a string, a metric, a function or \"(\"";
            return Err(self.unexpected("an expression", expected));
        }
        self.selecting()
    }

    fn selecting(&mut self) -> Read<Node> {
        let start = self.span().start;
        let selector = self.selector()?;
        self.above(Expr { span: self.since(start), kind: Kind::Selector(selector) }, [])
    }

    fn in_brackets(&mut self, node: Node, has_offset: bool) -> Read<Node> {
        let start = self.span().start;
        let Node { expr, height } = node;
        self.advance();
        let range = self.positive_duration("a range")?;
        if self.take_sign("]") {
            return self.range(*expr, range, Span { start, end: self.last_end() }, has_offset);
        }
        self.expect_sign(":", "a range", &either(&["]", ":"]))?;
        let step = match self.is_sign("]") {
            true => None,
            false => Some(self.positive_duration("a subquery's step")?),
        };
        self.expect_sign("]", "a subquery", "\"]\"")?;
        let span = self.since(expr.span.start);
        let found = expr.type_of();
        if found != Type::Vector {
            let hint = match found {
                Type::Scalar => ": make a scalar one by vector(…)",
                Type::Matrix => ": a range vector has its range already",
                Type::Vector | Type::Text => "",
            };
            let problem = format!(
                "subquery is only allowed on instant vector, got {} instead{hint}",
                found.name()
            );
            return self.fail(span, problem);
        }
        let subquery = Subquery { expr: *expr, range, step, modifiers: Modifiers::default() };
        self.above(Expr { span, kind: Kind::Subquery(Box::new(subquery)) }, [height])
    }

    fn range(
        &self,
        expr: Expr,
        range: DurationExpr,
        brackets: Span,
        has_offset: bool,
    ) -> Read<Node> {
        let span = self.since(expr.span.start);
        let Kind::Selector(selector) = expr.kind else {
            let written = self.written(Span { start: brackets.start, end: brackets.end - 1 });
            let problem = format!(
                "ranges only allowed for vector selectors: of an expression a subquery is taken, as \
                 in {}:]",
                cut(written)
            );
            return self.fail(brackets, problem);
        };
        if has_offset {
            let problem = "no offset modifiers allowed before range: write offset after the ]";
            return self.fail(brackets, problem);
        }
        if selector.modifiers.at.is_some() {
            return self.fail(brackets, "no @ modifiers allowed before range: write @ after the ]");
        }
        self.above(Expr { span, kind: Kind::Range { selector, range } }, [])
    }

    fn offset(&mut self, expr: &mut Expr, has_offset: bool) -> Read<()> {
        let span = self.span();
        self.advance();
        let offset = self.offset_duration()?;
        let end = self.last_end();
        let Some(modifiers) = modifiers(&mut expr.kind) else {
            let problem = "offset modifier must be preceded by an instant vector selector or range \
                           vector selector or a subquery";
            return self.fail(span, problem);
        };
        if has_offset {
            return self.fail(span, "offset may not be set multiple times");
        }
        let is_nothing = matches!(offset, DurationExpr::Fixed { millis: 0, .. });
        modifiers.offset = if is_nothing { None } else { Some(offset) };
        expr.span.end = end;
        Ok(())
    }

    fn at_time(&mut self, expr: &mut Expr) -> Read<()> {
        let span = self.span();
        self.advance();
        let at = self.time()?;
        let end = self.last_end();
        let Some(modifiers) = modifiers(&mut expr.kind) else {
            let problem = "@ modifier must be preceded by an instant vector selector or range \
                           vector selector or a subquery";
            return self.fail(span, problem);
        };
        if modifiers.at.is_some() {
            return self.fail(span, "@ <timestamp> may not be set multiple times");
        }
        modifiers.at = Some(at);
        expr.span.end = end;
        Ok(())
    }

    fn time(&mut self) -> Read<At> {
        let at = match self.word() {
            Some(word) if word.eq_ignore_ascii_case("start") => At::Start,
            Some(word) if word.eq_ignore_ascii_case("end") => At::End,
            _ => return self.timestamp(),
        };
        self.advance();
        self.expect_sign("(", "@", "\"()\" after start or end")?;
        self.expect_sign(")", "@", "\")\": start() and end() take nothing")?;
        Ok(at)
    }

    fn timestamp(&mut self) -> Read<At> {
        let start = self.span().start;
        let is_negative = self.is_sign("-");
        if is_negative || self.is_sign("+") {
            self.advance();
        }
        let seconds = match self.peek() {
            Token::Number(seconds) => *seconds,
            Token::Duration(millis) => *millis as f64 / 1000.0,
            Token::Word | Token::Text(_) | Token::Sign(_) | Token::Bad(_) | Token::End => {
                return Err(self.unexpected("@", "a timestamp in seconds, start() or end()"));
            }
        };
        self.advance();
        let millis = (if is_negative { -seconds } else { seconds } * 1000.0).round();
        if !millis.is_finite() || millis.abs() >= i64::MAX as f64 {
            let span = self.since(start);
            let written = cut(self.written(span));
            let problem = format!("timestamp out of bounds for @ modifier: {written}");
            return self.fail(span, problem);
        }
        Ok(At::Time(millis as i64))
    }

    /// Of a token where the expression could have ended, if more can be said of it.
    pub(super) fn after_expression(&self) -> Option<Problem> {
        let problem = match (self.peek(), self.word()) {
            (Token::Bad(problem), _) => problem.clone(),
            (Token::Sign("="), _) => "unexpected \"=\": a comparison is written ==".to_owned(),
            (Token::Sign("=~" | "!~"), _) => {
                "a pattern compares a label's value, within braces: {label=~\"…\"}".to_owned()
            }
            (_, Some(word)) => {
                let word = word.to_ascii_lowercase();
                match word.as_str() {
                    "smoothed" | "anchored" => format!("the modifier {word} is not supported"),
                    "fill" | "fill_left" | "fill_right" => {
                        format!("the modifier {word} is not supported")
                    }
                    "by" | "without" => format!(
                        "unexpected {word:?}: grouping stands beside an aggregation, as in sum {word} \
                         (label) (…)"
                    ),
                    "bool" | "on" | "ignoring" | "group_left" | "group_right" => {
                        format!("unexpected {word:?}: it follows a binary operator")
                    }
                    _ => return None,
                }
            }
            _ => return None,
        };
        Some(Problem { span: self.span(), problem })
    }

    pub(super) fn more_follows(&self) -> Problem {
        self.after_expression().unwrap_or_else(|| {
            let problem =
                format!("unexpected {}, expected an operator or the end", self.described());
            Problem { span: self.span(), problem }
        })
    }

    /// The operator that stands here.
    pub(super) fn operator(&self) -> Option<BinaryOp> {
        let is_here = |sign: &str| match self.peek() {
            Token::Sign(found) => *found == sign,
            Token::Word => self.is_word(sign),
            _ => false,
        };
        BinaryOp::ALL.iter().find(|(sign, _)| is_here(sign)).map(|(_, op)| *op)
    }
}

fn modifiers(kind: &mut Kind) -> Option<&mut Modifiers> {
    match kind {
        Kind::Selector(selector) | Kind::Range { selector, .. } => Some(&mut selector.modifiers),
        Kind::Subquery(subquery) => Some(&mut subquery.modifiers),
        Kind::Number { .. }
        | Kind::Text(_)
        | Kind::Paren(_)
        | Kind::Unary { .. }
        | Kind::Binary(_)
        | Kind::Aggregate(_)
        | Kind::Call { .. } => None,
    }
}

fn aggregation(word: &str) -> Option<Aggregation> {
    let mut rows = Aggregation::ALL.iter();
    rows.find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, op)| *op)
}

/// How strongly an operator binds.
fn level(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And | BinaryOp::Unless => 2,
        BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::Greater
        | BinaryOp::Less
        | BinaryOp::GreaterOrEqual
        | BinaryOp::LessOrEqual => 3,
        BinaryOp::Add | BinaryOp::Subtract => 4,
        BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Modulo | BinaryOp::Atan2 => 5,
        BinaryOp::Power => 6,
    }
}
