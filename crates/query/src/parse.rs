//! From tokens to an expression whose types are right. Every error has its place, and says what was
//! expected there.
//!
//! The reading stops at the first mistake. It is bounded: in the length of the text, in how deep
//! expressions nest, and in how long a chain of operators is, so that whoever walks the tree later
//! may do so by recursion.

use std::fmt;

use farol_store::Matcher;

use crate::{
    Expr, Span,
    lex::{Token, cut, tokens},
    notes::line_and_column,
    print::quoted,
};

mod call;
mod duration;
mod expression;
mod operator;
mod selector;
mod similar;

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Both from 1, the column in characters.
    pub line: usize,
    pub column: usize,
    pub span: Span,
    /// Without the place.
    pub problem: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: parse error: {}", self.line, self.column, self.problem)
    }
}

impl std::error::Error for ParseError {}

pub fn parse(text: &str) -> Result<Expr, ParseError> {
    whole(text, |parser| {
        if *parser.peek() == Token::End {
            return parser.fail(parser.span(), "no expression found in input");
        }
        Ok(*parser.expression()?.expr)
    })
}

/// A selector of series alone, as in `match[]`: no modifiers.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    whole(text, |parser| Ok(parser.selector()?.matchers))
}

/// In bytes.
const LONGEST: usize = 1 << 20;

/// So deep may brackets, calls, signs and powers nest.
const DEEPEST: usize = 100;

/// So high may a tree be: chains of operators make it high without nesting.
const HIGHEST: usize = 200;

/// Regular expressions in all selectors together: each takes time and memory to be made.
const MOST_PATTERNS: usize = 500;

/// Everything in the text must be read.
fn whole<'a, T>(
    text: &'a str,
    read: impl FnOnce(&mut Parser<'a>) -> Result<T, Problem>,
) -> Result<T, ParseError> {
    let placed = |Problem { span, problem }| {
        let (line, column) = line_and_column(text, span.start);
        ParseError { line, column, span, problem }
    };
    if text.len() > LONGEST {
        let problem =
            format!("the expression has {} bytes, {LONGEST} at most are read", text.len());
        return Err(placed(Problem { span: Span::default(), problem }));
    }
    let tokens = tokens(text);
    let mut parser = Parser { text, tokens, at: 0, depth: 0, patterns: 0, duration_parts: 0 };
    let result = read(&mut parser).and_then(|result| {
        if *parser.peek() == Token::End { Ok(result) } else { Err(parser.more_follows()) }
    });
    result.map_err(placed)
}

#[derive(Debug)]
struct Problem {
    span: Span,
    problem: String,
}

type Read<T> = Result<T, Problem>;

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token, Span)>,
    /// Never behind the last one.
    at: usize,
    depth: usize,
    /// Regular expressions read so far.
    patterns: usize,
    /// Of the duration that is being read.
    duration_parts: usize,
}

/// An expression, and the height of its tree. In a box, because it is handed from level to level and
/// the stack is what bounds how many there may be.
#[derive(Debug)]
struct Node {
    expr: Box<Expr>,
    height: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    /// Where the token stands.
    fn span(&self) -> Span {
        self.tokens[self.at].1
    }

    fn peek_second(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].0
    }

    /// The token's text if it is a word.
    fn word(&self) -> Option<&'a str> {
        let Token::Word = self.peek() else { return None };
        Some(self.written(self.span()))
    }

    fn written(&self, span: Span) -> &'a str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    fn advance(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    /// Where the token before this one ends.
    fn last_end(&self) -> usize {
        self.at.checked_sub(1).map_or(0, |before| self.tokens[before].1.end)
    }

    fn since(&self, start: usize) -> Span {
        Span { start, end: self.last_end() }
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(found) if *found == sign)
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        if found {
            self.advance();
        }
        found
    }

    fn is_word(&self, word: &str) -> bool {
        self.word().is_some_and(|found| found.eq_ignore_ascii_case(word))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.advance();
        }
        found
    }

    fn expect_sign(&mut self, sign: &str, context: &str, expected: &str) -> Read<()> {
        if self.take_sign(sign) { Ok(()) } else { Err(self.unexpected(context, expected)) }
    }

    fn fail<T>(&self, span: Span, problem: impl Into<String>) -> Read<T> {
        Err(Problem { span, problem: problem.into() })
    }

    fn unexpected(&self, context: &str, expected: &str) -> Problem {
        let problem = match self.peek() {
            Token::Bad(problem) => problem.clone(),
            _ => format!("unexpected {} in {context}, expected {expected}", self.described()),
        };
        Problem { span: self.span(), problem }
    }

    fn described(&self) -> String {
        let written = cut(self.written(self.span()));
        match self.peek() {
            Token::End => "end of input".to_owned(),
            Token::Word | Token::Sign(_) | Token::Bad(_) => quoted(&written),
            Token::Number(_) => format!("number {written}"),
            Token::Duration(_) => format!("duration {written}"),
            Token::Text(_) => format!("string {written}"),
        }
    }

    /// Reads something that may contain its own kind.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        if self.depth >= DEEPEST {
            let problem = format!("the expression nests deeper than {DEEPEST} levels");
            return self.fail(self.span(), problem);
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// A node above others.
    fn above(&self, expr: Expr, heights: impl IntoIterator<Item = usize>) -> Read<Node> {
        let height = heights.into_iter().max().unwrap_or(0) + 1;
        if height > HIGHEST {
            let problem = format!(
                "more than {HIGHEST} operators follow one another: split the expression, or use \
                 one pattern =~\"a|b\" in place of many selectors"
            );
            return self.fail(expr.span, problem);
        }
        Ok(Node { expr: Box::new(expr), height })
    }
}

/// `"a"`, `"b"` or `"c"`, for messages.
fn either(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => quoted(word),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(|word| quoted(word)).collect();
            format!("{} or {}", first.join(", "), quoted(last))
        }
    }
}
