//! Selectors of series: `name{label="value"}`, `{"name in quotes", "label"=~"pattern"}`.

use farol_model::Text;
use farol_store::{MatchError, Matcher, Op};

use super::{MOST_PATTERNS, Parser, Problem, Read, either};
use crate::{Modifiers, Selector, Span, labels::NAME, lex::Token, print::quoted};

/// As they are written between a label and its value.
const OPERATORS: &[(&str, Op)] =
    &[("=", Op::Equal), ("!=", Op::NotEqual), ("=~", Op::Matches), ("!~", Op::MatchesNot)];

impl Parser<'_> {
    /// Without what may follow it.
    pub(super) fn selector(&mut self) -> Read<Selector> {
        let start = self.span().start;
        let name = self.word().map(Text::from);
        if name.is_some() {
            self.advance();
        } else if !self.is_sign("{") {
            return Err(self.unexpected("a selector", "a metric's name or \"{\""));
        }
        let mut matchers = Vec::new();
        if self.take_sign("{") {
            matchers = self.in_braces(name.as_deref())?;
        }
        let span = self.since(start);
        if let Some(name) = &name {
            matchers.push(Matcher::equal(NAME, name.clone()));
        } else if matchers.iter().all(|matcher| matcher.is_match("")) {
            let problem = "vector selector must contain at least one non-empty matcher, as in \
                           {__name__=~\".+\"}";
            return self.fail(span, problem);
        }
        Ok(Selector { name, matchers, modifiers: Modifiers::default() })
    }

    /// After the opening brace, up to and with the closing one.
    fn in_braces(&mut self, name: Option<&str>) -> Read<Vec<Matcher>> {
        let mut matchers = Vec::new();
        let mut name = name.map(str::to_owned);
        while !self.take_sign("}") {
            let start = self.span().start;
            let (matcher, is_bare_name) = self.matcher(matchers.is_empty())?;
            if *matcher.name == *NAME {
                if let Some(first) = &name {
                    let problem = format!(
                        "metric name must not be set twice: {} or {}",
                        quoted(first),
                        quoted(&matcher.value)
                    );
                    return self.fail(self.since(start), problem);
                }
                if is_bare_name {
                    name = Some(matcher.value.to_string());
                }
            }
            matchers.push(matcher);
            if !self.take_sign(",") && !self.is_sign("}") {
                return Err(self.unexpected("label matching", &either(&[",", "}"])));
            }
        }
        Ok(matchers)
    }

    /// And whether it is a metric's name in quotes.
    fn matcher(&mut self, is_first: bool) -> Read<(Matcher, bool)> {
        let start = self.span();
        let label = match self.peek() {
            Token::Word => Text::from(self.word().unwrap_or_default()),
            Token::Text(label) => Text::from(label.as_str()),
            Token::Sign("{") => {
                return self.fail(start, "native histograms are not supported");
            }
            _ => {
                let expected = if is_first { "a label or \"}\"" } else { "a label" };
                return Err(self.unexpected("label matching", expected));
            }
        };
        let is_quoted = matches!(self.peek(), Token::Text(_));
        self.advance();
        if is_quoted && (self.is_sign(",") || self.is_sign("}")) {
            return Ok((Matcher::equal(NAME, label), true));
        }
        if label.is_empty() {
            return self.fail(start, "invalid label name \"\": it is empty");
        }
        let op = self.match_operator()?;
        let Token::Text(value) = self.peek() else {
            return Err(self.unexpected("label matching", "the label's value in quotes"));
        };
        let value = Text::from(value.as_str());
        self.advance();
        let span = Span { start: start.start, end: self.last_end() };
        self.patterns += usize::from(matches!(op, Op::Matches | Op::MatchesNot));
        if self.patterns > MOST_PATTERNS {
            return self.fail(span, format!("more than {MOST_PATTERNS} regular expressions"));
        }
        let matcher = Matcher::new(label, op, value).map_err(|error| Problem {
            span,
            problem: format!("invalid regular expression: {}", in_one_line(&error)),
        })?;
        Ok((matcher, false))
    }

    fn match_operator(&mut self) -> Read<Op> {
        let found = OPERATORS.iter().find(|(sign, _)| self.is_sign(sign));
        let Some((_, op)) = found else {
            if self.is_sign("==") {
                return self
                    .fail(self.span(), "unexpected \"==\" in label matching, expected \"=\"");
            }
            return Err(self.unexpected("label matching", &either(&["=", "!=", "=~", "!~"])));
        };
        self.advance();
        Ok(*op)
    }
}

/// The pattern's own message draws a picture; its last line says what is wrong.
fn in_one_line(error: &MatchError) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}
