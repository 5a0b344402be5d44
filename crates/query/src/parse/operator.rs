//! Binary operators: their modifiers, and which sides they take.

use farol_model::Text;

use super::{Node, Parser, Read, either};
use crate::{
    Binary, BinaryOp, Bool, Card, Expr, Grouping, Kind, Matching, Span, Type, lex::Token,
    print::quoted,
};

/// An operator with what is written beside it.
#[derive(Debug)]
pub(super) struct Written {
    op: BinaryOp,
    bool: Bool,
    matching: Matching,
    span: Span,
}

impl Parser<'_> {
    pub(super) fn operator_and_modifiers(&mut self, op: BinaryOp) -> Read<Written> {
        let start = self.span().start;
        self.advance();
        let bool = if self.take_word("bool") { Bool::Yes } else { Bool::No };
        let mut matching = Matching {
            card: if op.is_set() { Card::ManyToMany } else { Card::OneToOne },
            grouping: Grouping::Without(Vec::new()),
            is_written: false,
            include: Vec::new(),
        };
        let is_on = self.is_word("on");
        if is_on || self.is_word("ignoring") {
            self.advance();
            let labels = self.labels(if is_on { "on" } else { "ignoring" })?;
            matching.is_written = is_on || !labels.is_empty();
            matching.grouping =
                if is_on { Grouping::By(labels) } else { Grouping::Without(labels) };
            self.group(op, &mut matching)?;
        }
        self.no_fill()?;
        let is_group = self.is_word("group_left") || self.is_word("group_right");
        if is_group && *self.peek_second() == Token::Sign("(") {
            let word = self.word().unwrap_or_default();
            let problem = format!("{word} must follow on(…) or ignoring(…)");
            return self.fail(self.span(), problem);
        }
        Ok(Written { op, bool, matching, span: self.since(start) })
    }

    fn group(&mut self, op: BinaryOp, matching: &mut Matching) -> Read<()> {
        let start = self.span();
        let (card, word) = if self.is_word("group_left") {
            (Card::ManyToOne, "group_left")
        } else if self.is_word("group_right") {
            (Card::OneToMany, "group_right")
        } else {
            return Ok(());
        };
        if op.is_set() {
            let problem = format!("no grouping allowed for {} operation", quoted(op.sign()));
            return self.fail(start, problem);
        }
        self.advance();
        // Without a list the parenthesis begins the right side; as in Prometheus the list wins.
        let include = if self.is_sign("(") { self.labels(word)? } else { Vec::new() };
        if let Grouping::By(labels) = &matching.grouping
            && let Some(twice) = include.iter().find(|label| labels.contains(label))
        {
            let problem =
                format!("label {} must not occur in ON and GROUP clause at once", quoted(twice));
            return self.fail(start, problem);
        }
        *matching =
            Matching { card, is_written: true, include, grouping: matching.grouping.clone() };
        Ok(())
    }

    fn no_fill(&self) -> Read<()> {
        let is_called = *self.peek_second() == Token::Sign("(");
        match self.word() {
            Some(word) if is_called && is_fill(word) => {
                let problem = format!("the modifier {} is not supported", word.to_lowercase());
                self.fail(self.span(), problem)
            }
            _ => Ok(()),
        }
    }

    /// `(a, "b.c",)`
    pub(super) fn labels(&mut self, context: &str) -> Read<Vec<Text>> {
        self.expect_sign("(", context, "\"(\" and labels")?;
        let mut labels = Vec::new();
        while !self.take_sign(")") {
            let expected = if labels.is_empty() { "a label or \")\"" } else { "a label" };
            labels.push(self.label(context, expected)?);
            if !self.take_sign(",") && !self.is_sign(")") {
                return Err(self.unexpected(context, &either(&[",", ")"])));
            }
        }
        Ok(labels)
    }

    /// A name, also one that is a keyword elsewhere, or a name in quotes.
    fn label(&mut self, context: &str, expected: &str) -> Read<Text> {
        let label = match self.peek() {
            Token::Text(label) if label.is_empty() => {
                return self.fail(self.span(), "invalid label name \"\": it is empty");
            }
            Token::Text(label) => Text::from(label.as_str()),
            Token::Word => {
                let word = self.word().unwrap_or_default();
                if word.contains(':') {
                    let problem = format!(
                        "invalid label name {}: a label with a colon is written in quotes",
                        quoted(word)
                    );
                    return self.fail(self.span(), problem);
                }
                Text::from(word)
            }
            _ => return Err(self.unexpected(context, expected)),
        };
        self.advance();
        Ok(label)
    }

    pub(super) fn binary(&self, written: Written, left: Node, right: Node) -> Read<Node> {
        let Written { op, bool, matching, span: op_span } = written;
        let span = Span { start: left.expr.span.start, end: right.expr.span.end };
        // A type is asked of the whole tree below: once.
        let types = [left.expr.type_of(), right.expr.type_of()];
        for (side, found) in [&left, &right].into_iter().zip(types) {
            let hint = match found {
                Type::Scalar | Type::Vector => continue,
                Type::Matrix => ": take a value of its range first, as in rate(…)",
                Type::Text => "",
            };
            let problem = format!(
                "binary expression must contain only scalar and instant vector types, got {}{hint}",
                found.name()
            );
            return self.fail(side.expr.span, problem);
        }
        let scalars = types.iter().filter(|found| **found == Type::Scalar).count();
        if bool == Bool::Yes && !op.is_comparison() {
            return self.fail(op_span, "bool modifier can only be used on comparison operators");
        }
        if op.is_comparison() && bool == Bool::No && scalars == 2 {
            let problem =
                format!("comparisons between scalars must use BOOL modifier: {} bool", op.sign());
            return self.fail(op_span, problem);
        }
        if op.is_set() && scalars > 0 {
            let problem = format!(
                "set operator {} not allowed in binary scalar expression",
                quoted(op.sign())
            );
            return self.fail(op_span, problem);
        }
        let has_labels = match &matching.grouping {
            Grouping::By(labels) | Grouping::Without(labels) => !labels.is_empty(),
        };
        if has_labels && scalars > 0 {
            return self.fail(op_span, "vector matching only allowed between instant vectors");
        }
        let matching = (scalars == 0).then_some(matching);
        let binary = Binary { op, bool, matching, left: *left.expr, right: *right.expr };
        let kind = Kind::Binary(Box::new(binary));
        self.above(Expr { span, kind }, [left.height, right.height])
    }
}

pub(super) fn is_fill(word: &str) -> bool {
    ["fill", "fill_left", "fill_right"].iter().any(|fill| fill.eq_ignore_ascii_case(word))
}
