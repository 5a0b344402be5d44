//! A selector of series as Prometheus writes it: `node_load1`, `node_load1{job="node"}`,
//! `{__name__=~"node_.*",device!=""}`. Text to matchers; an error shows the column.

use std::fmt;

use farol_store::{Matcher, Op};

/// Why a text is no selector.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    selector: String,
    /// In characters, from 1.
    column: usize,
    problem: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Wrong { selector, column, problem } = self;
        write!(f, "column {column}: {problem}")?;
        // A pointer into several lines would point nowhere.
        if selector.chars().any(char::is_control) {
            return Ok(());
        }
        write!(f, "\n    {selector}\n    {:>column$}", "^")
    }
}

impl std::error::Error for Wrong {}

/// At least one of the matchers does not match the empty string: else every series would be meant.
pub(super) fn parse(text: &str) -> Result<Vec<Matcher>, Wrong> {
    let mut cursor = Cursor { text, at: 0 };
    selector(&mut cursor).map_err(|Problem { at, problem }| {
        let before = text.get(..at).unwrap_or(text);
        Wrong { selector: text.to_owned(), column: before.chars().count() + 1, problem }
    })
}

struct Problem {
    /// In bytes.
    at: usize,
    problem: String,
}

fn selector(cursor: &mut Cursor<'_>) -> Result<Vec<Matcher>, Problem> {
    cursor.skip_blanks();
    let mut matchers = Vec::new();
    let name = cursor.take_while(|char| is_in_label(char) || char == ':');
    if name.starts_with(|char: char| char.is_ascii_digit()) {
        return Err(Problem { at: cursor.at - name.len(), problem: NO_SELECTOR.to_owned() });
    }
    if !name.is_empty() {
        matchers.push(Matcher::equal(NAME, name));
    }
    cursor.skip_blanks();
    if cursor.take("{") {
        in_braces(cursor, &mut matchers)?;
        cursor.skip_blanks();
    } else if name.is_empty() {
        return Err(cursor.problem(NO_SELECTOR));
    }
    if cursor.peek().is_some() {
        return Err(cursor.problem("a selector ends here, and more follows"));
    }
    if matchers.iter().all(|matcher| matcher.is_match("")) {
        let problem = "this selects every series: one condition at least must not match the empty \
                       text, as in {__name__=~\".+\"}";
        return Err(Problem { at: 0, problem: problem.to_owned() });
    }
    Ok(matchers)
}

const NAME: &str = "__name__";
const NO_SELECTOR: &str = "a selector begins with a metric's name or {";

/// After the opening brace, up to and with the closing one.
fn in_braces(cursor: &mut Cursor<'_>, matchers: &mut Vec<Matcher>) -> Result<(), Problem> {
    loop {
        cursor.skip_blanks();
        if cursor.take("}") {
            return Ok(());
        }
        let at = cursor.at;
        let matcher = matcher(cursor)?;
        if matcher.name == NAME && matchers.iter().any(is_plain_name) && is_plain_name(&matcher) {
            return Err(Problem { at, problem: "the metric's name is given twice".to_owned() });
        }
        matchers.push(matcher);
        cursor.skip_blanks();
        if !cursor.take(",") && cursor.peek() != Some('}') {
            return Err(cursor.problem("a comma or } is missing"));
        }
    }
}

fn is_plain_name(matcher: &Matcher) -> bool {
    matcher.name == NAME && matcher.op == Op::Equal
}

fn matcher(cursor: &mut Cursor<'_>) -> Result<Matcher, Problem> {
    let start = cursor.at;
    let label = cursor.take_while(is_in_label);
    if label.is_empty() || label.starts_with(|char: char| char.is_ascii_digit()) {
        return Err(Problem { at: start, problem: "a label's name is missing".to_owned() });
    }
    cursor.skip_blanks();
    let op = OPERATORS.iter().find(|(written, _)| cursor.take(written));
    let (_, op) = op.ok_or_else(|| cursor.problem("one of = != =~ !~ is missing"))?;
    cursor.skip_blanks();
    let at = cursor.at;
    let value = quoted(cursor)?;
    Matcher::new(label, *op, value)
        .map_err(|error| Problem { at, problem: format!("not a pattern: {}", in_one_line(&error)) })
}

/// Longer ones first: `=` begins `=~`.
const OPERATORS: &[(&str, Op)] =
    &[("=~", Op::Matches), ("!~", Op::MatchesNot), ("!=", Op::NotEqual), ("=", Op::Equal)];

/// The pattern's own message draws a picture; its last line says what is wrong.
fn in_one_line(error: &farol_store::MatchError) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

/// `"…"` and `'…'` with escapes, `` `…` `` without.
fn quoted(cursor: &mut Cursor<'_>) -> Result<String, Problem> {
    let start = cursor.at;
    let quote = cursor.peek().filter(|char| matches!(char, '"' | '\'' | '`'));
    let quote = quote.ok_or_else(|| cursor.problem("a value stands in quotes"))?;
    cursor.next();
    let mut value = String::new();
    loop {
        let at = cursor.at;
        match cursor.next() {
            None => {
                let problem = "a quote without its end".to_owned();
                return Err(Problem { at: start, problem });
            }
            Some(char) if char == quote => return Ok(value),
            Some('\\') if quote != '`' => {
                let char = escaped(cursor).ok_or_else(|| {
                    let problem = "an escape that does not exist; a backslash itself is \\\\";
                    Problem { at, problem: problem.to_owned() }
                })?;
                value.push(char);
            }
            Some(char) => value.push(char),
        }
    }
}

/// After the backslash.
fn escaped(cursor: &mut Cursor<'_>) -> Option<char> {
    Some(match cursor.next()? {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        char @ ('\\' | '"' | '\'') => char,
        // Above it would be a byte, which alone is no character.
        'x' => hexadecimal(cursor, 2).filter(char::is_ascii)?,
        'u' => hexadecimal(cursor, 4)?,
        'U' => hexadecimal(cursor, 8)?,
        _ => return None,
    })
}

fn hexadecimal(cursor: &mut Cursor<'_>, digits: usize) -> Option<char> {
    let mut number = 0_u32;
    for _ in 0..digits {
        number = number.checked_mul(16)?.checked_add(cursor.next()?.to_digit(16)?)?;
    }
    char::from_u32(number)
}

fn is_in_label(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_'
}

struct Cursor<'a> {
    text: &'a str,
    /// In bytes.
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let char = self.peek()?;
        self.at += char.len_utf8();
        Some(char)
    }

    fn take(&mut self, expected: &str) -> bool {
        let found = self.rest().starts_with(expected);
        self.at += if found { expected.len() } else { 0 };
        found
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|char| !accept(char)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn problem(&self, problem: &str) -> Problem {
        Problem { at: self.at, problem: problem.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<(String, Op, String)> {
        let matchers = parse(text).unwrap().into_iter();
        matchers.map(|m| (m.name.to_string(), m.op, m.value.to_string())).collect()
    }

    fn expected(parts: &[(&str, Op, &str)]) -> Vec<(String, Op, String)> {
        parts.iter().map(|(name, op, value)| ((*name).into(), *op, (*value).into())).collect()
    }

    #[test]
    fn selectors_are_read_as_prometheus_reads_them() {
        assert_eq!(read("node_load1"), expected(&[(NAME, Op::Equal, "node_load1")]));
        assert_eq!(read(" a:b {} "), expected(&[(NAME, Op::Equal, "a:b")]));
        assert_eq!(
            read("x{job=\"node\", a != 'b' ,c=~`\\d+`,d!~\"\",}"),
            expected(&[
                (NAME, Op::Equal, "x"),
                ("job", Op::Equal, "node"),
                ("a", Op::NotEqual, "b"),
                ("c", Op::Matches, "\\d+"),
                ("d", Op::MatchesNot, ""),
            ])
        );
        assert_eq!(
            read("{__name__=~\"node_.*\",p=\"C:\\\\a\\n\\\"\\x41\\u00e9\"}"),
            expected(&[(NAME, Op::Matches, "node_.*"), ("p", Op::Equal, "C:\\a\n\"A\u{e9}")])
        );
    }

    #[test]
    fn what_is_wrong_is_shown_with_its_column() {
        let cases = [
            ("", 1, "begins with"),
            ("7up", 1, "begins with"),
            ("é{x=\"1\"}", 1, "begins with"),
            ("a b", 3, "more follows"),
            ("a{job=node}", 7, "in quotes"),
            ("a{job\"node\"}", 6, "= != =~ !~"),
            ("a{=\"b\"}", 3, "label's name"),
            ("a{b=\"é\" c=\"d\"}", 9, "a comma or }"),
            ("a{b=\"c\"", 8, "a comma or }"),
            ("a{b=\"c}", 5, "without its end"),
            ("a{b=\"\\d\"}", 6, "escape"),
            ("a{b=\"\\xff\"}", 6, "escape"),
            ("a{b=~\"(\"}", 6, "not a pattern: unclosed group"),
            ("a{__name__=\"b\"}", 3, "twice"),
            ("{}", 1, "every series"),
            ("{a=\"\",b=~\".*\",c!=\"x\"}", 1, "every series"),
        ];
        for (text, column, problem) in cases {
            let wrong = parse(text).unwrap_err();
            assert_eq!(wrong.column, column, "{text}: {wrong}");
            assert!(wrong.problem.contains(problem), "{text}: {wrong}");
        }
        let shown = parse("a{b=c}").unwrap_err().to_string();
        assert_eq!(shown, "column 5: a value stands in quotes\n    a{b=c}\n        ^");
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "([ab_:]|[{}=!~,\"'`\\\\]|x|é|\\PC| |\n){0,20}") {
            match parse(&text) {
                Ok(matchers) => prop_assert!(!matchers.is_empty()),
                Err(wrong) => prop_assert!(wrong.column <= text.chars().count() + 1),
            }
        }
    }
}
