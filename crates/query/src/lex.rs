//! From text to tokens, each with its place.
//!
//! Reading never fails: what is no token becomes [`Token::Bad`], the last one, and is complained about
//! when the parser comes to it, so that an earlier mistake is told first.

use crate::{Span, parse_duration};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// A name or a keyword: which of them depends on where it stands.
    Word,
    Number(f64),
    /// Milliseconds.
    Duration(i64),
    /// Without its quotes, the escapes resolved.
    Text(String),
    /// Operators and brackets.
    Sign(&'static str),
    /// What is wrong.
    Bad(String),
    End,
}

/// The tokens of a text, `End` or `Bad` at last. Blanks and comments are left out.
pub(crate) fn tokens(text: &str) -> Vec<(Token, Span)> {
    let mut lexer = Lexer { text, at: 0, inside: Inside::Expression };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let start = lexer.at;
        let token = lexer.token();
        let is_last = matches!(token, Token::End | Token::Bad(_));
        tokens.push((token, Span { start, end: lexer.at }));
        if is_last {
            return tokens;
        }
    }
}

/// What decides how a colon is read, and whether `inf` is a number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Expression,
    /// `{…}`
    Braces,
    /// `[…]`
    Brackets,
}

/// Longer ones first.
const SIGNS: &[&str] = &[
    "==", "=~", "!=", "!~", ">=", "<=", "=", ">", "<", "+", "-", "*", "/", "%", "^", "@", "(", ")",
    "{", "}", "[", "]", ",", ":",
];

struct Lexer<'a> {
    text: &'a str,
    /// In bytes, always between two characters.
    at: usize,
    inside: Inside,
}

impl<'a> Lexer<'a> {
    fn token(&mut self) -> Token {
        let Some(char) = self.peek() else { return Token::End };
        let is_number = char.is_ascii_digit()
            || (char == '.' && self.rest().as_bytes().get(1).is_some_and(u8::is_ascii_digit));
        if is_number {
            return self.number();
        }
        let may_have_colon = self.inside == Inside::Expression;
        if char.is_ascii_alphabetic() || char == '_' || (char == ':' && may_have_colon) {
            return self.word(may_have_colon);
        }
        match char {
            '"' | '\'' => self.quoted(char),
            '`' => self.raw(),
            _ => self.sign(char),
        }
    }

    fn sign(&mut self, char: char) -> Token {
        let Some(sign) = SIGNS.iter().find(|sign| self.rest().starts_with(**sign)) else {
            self.at += char.len_utf8();
            return Token::Bad(unexpected_character(char));
        };
        self.at += sign.len();
        self.inside = match *sign {
            "{" => Inside::Braces,
            "[" => Inside::Brackets,
            "}" | "]" => Inside::Expression,
            _ => self.inside,
        };
        Token::Sign(sign)
    }

    fn word(&mut self, may_have_colon: bool) -> Token {
        let word = self
            .take_while(|char| is_in_word(char) || (char == ':' && may_have_colon))
            .to_ascii_lowercase();
        match word.as_str() {
            "inf" if self.inside != Inside::Braces => Token::Number(f64::INFINITY),
            "nan" if self.inside != Inside::Braces => Token::Number(f64::NAN),
            _ => Token::Word,
        }
    }

    fn number(&mut self) -> Token {
        let start = self.at;
        if let Some(value) = self.number_with_base() {
            return Token::Number(value);
        }
        self.at = start;
        self.take_while(is_digit);
        if self.take('.') {
            self.take_while(is_digit);
        }
        self.exponent();
        let written = self.text.get(start..self.at).unwrap_or_default();
        if !self.peek().is_some_and(is_in_word) {
            return match decimal(written) {
                Some(value) => Token::Number(value),
                None => bad_number(written),
            };
        }
        self.take_while(is_in_word);
        let written = self.text.get(start..self.at).unwrap_or_default();
        let has_unit = written.bytes().all(|byte| byte.is_ascii_alphanumeric());
        match parse_duration(written) {
            Ok(millis) => Token::Duration(millis),
            Err(error) if has_unit && error.0.contains("out of range") => Token::Bad(error.0),
            Err(_) => bad_number(written),
        }
    }

    /// `0x1f`, `0o17`, `0b1`, and `017`, which is octal as in Prometheus.
    fn number_with_base(&mut self) -> Option<f64> {
        if !self.take('0') {
            return None;
        }
        let base = match self.peek()? {
            'x' | 'X' => 16,
            'o' | 'O' => 8,
            'b' | 'B' => 2,
            '0'..='7' | '_' => return self.old_octal(),
            _ => return None,
        };
        self.at += 1;
        let digits = self.take_while(is_in_word);
        whole(digits.strip_prefix('_').unwrap_or(digits), base)
    }

    fn old_octal(&mut self) -> Option<f64> {
        let digits = self.take_while(is_in_word);
        if matches!(self.peek(), Some('.')) {
            return None;
        }
        whole(digits.strip_prefix('_').unwrap_or(digits), 8)
    }

    /// Only if digits follow: `1e` is no number, and `5m` none either.
    fn exponent(&mut self) {
        let start = self.at;
        if !self.take('e') && !self.take('E') {
            return;
        }
        let _ = self.take('+') || self.take('-');
        if self.take_while(is_digit).is_empty() {
            self.at = start;
        }
    }

    fn quoted(&mut self, quote: char) -> Token {
        let start = self.at;
        self.at += quote.len_utf8();
        let mut bytes = Vec::new();
        loop {
            let at = self.at;
            match self.next() {
                None | Some('\n') => {
                    self.at = at;
                    let problem =
                        format!("unterminated quoted string: a closing {quote} is missing");
                    return Token::Bad(problem);
                }
                Some(char) if char == quote => break,
                Some('\\') => {
                    if let Err(problem) = self.escape(&mut bytes) {
                        return Token::Bad(problem);
                    }
                }
                Some(char) => bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        match String::from_utf8(bytes) {
            Ok(text) => Token::Text(text),
            Err(_) => {
                let written = self.text.get(start..self.at).unwrap_or_default();
                Token::Bad(format!("the bytes of {} are no UTF-8 text", cut(written)))
            }
        }
    }

    fn raw(&mut self) -> Token {
        self.at += 1;
        let text = self.take_while(|char| char != '`').to_owned();
        if self.take('`') {
            return Token::Text(text);
        }
        Token::Bad("unterminated raw string: a closing ` is missing".to_owned())
    }

    /// After the backslash.
    fn escape(&mut self, into: &mut Vec<u8>) -> Result<(), String> {
        let char = self.next().ok_or("escape sequence not terminated")?;
        let byte = match char {
            'a' => 0x07,
            'b' => 0x08,
            'f' => 0x0c,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 0x0b,
            '\\' => b'\\',
            '"' => b'"',
            '\'' => b'\'',
            '0'..='7' => {
                let first = char.to_digit(8).unwrap_or_default();
                let number = self.digits(first, 2, 8)?;
                u8::try_from(number).map_err(|_| "an octal escape ends at \\377")?
            }
            // Two digits are below 256.
            'x' => self.digits(0, 2, 16)?.to_le_bytes()[0],
            'u' | 'U' => {
                let number = self.digits(0, if char == 'u' { 4 } else { 8 }, 16)?;
                let char = char::from_u32(number).ok_or_else(|| {
                    format!("escape sequence is an invalid Unicode code point: {number:#x}")
                })?;
                into.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => {
                return Err(format!(
                    "unknown escape sequence '\\{}': a backslash itself is written \\\\, or the \
                     text between backquotes",
                    char.escape_debug()
                ));
            }
        };
        into.push(byte);
        Ok(())
    }

    fn digits(&mut self, first: u32, count: usize, base: u32) -> Result<u32, String> {
        let mut number = first;
        for _ in 0..count {
            let digit = self.peek().and_then(|char| char.to_digit(base));
            let digit = digit.ok_or_else(|| {
                let named = if base == 8 { "octal" } else { "hexadecimal" };
                format!("an escape sequence is too short: {count} {named} digits are expected here")
            })?;
            self.at += 1;
            number = number.wrapping_mul(base).wrapping_add(digit);
        }
        Ok(number)
    }

    fn skip_blanks(&mut self) {
        loop {
            self.take_while(|char| matches!(char, ' ' | '\t' | '\n' | '\r'));
            if self.peek() != Some('#') {
                return;
            }
            self.take_while(|char| char != '\n');
        }
    }

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

    fn take(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        self.at += if found { expected.len_utf8() } else { 0 };
        found
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|char| !accept(char)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }
}

/// The first characters of a foreign text, for a message.
pub(crate) fn cut(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

fn unexpected_character(char: char) -> String {
    match char {
        '!' => {
            "unexpected character '!': not equal is written !=, a pattern that must not match !~"
                .to_owned()
        }
        '&' | '|' => format!("unexpected character '{char}': write the words and, or, unless"),
        ';' => "unexpected character ';': a query is one expression".to_owned(),
        '$' => "unexpected character '$': a variable must be replaced before the query is sent"
            .to_owned(),
        '“' | '”' | '„' | '‘' | '’' | '‚' | '«' | '»' => {
            format!("unexpected character '{char}': quotes are straight, as in \"value\"")
        }
        '.' => "unexpected character '.': a name with a point is written in quotes within braces, \
                as in {\"my.metric\"}"
            .to_owned(),
        _ if char.is_alphanumeric() => format!(
            "unexpected character '{char}': a name with it is written in quotes within braces, as \
             in {{\"my.metric\"}}"
        ),
        _ => format!("unexpected character '{}'", char.escape_debug()),
    }
}

fn bad_number(written: &str) -> Token {
    Token::Bad(format!(
        "bad number or duration syntax: {:?}: write a number as 1.5, 1e3 or 0x1f, a duration as 5m \
         or 1h30m",
        cut(written)
    ))
}

fn is_in_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_'
}

fn is_digit(char: char) -> bool {
    char.is_ascii_digit() || char == '_'
}

/// `_` only stands between two digits.
fn decimal(written: &str) -> Option<f64> {
    let bytes = written.as_bytes();
    let is_between = |at: usize| {
        let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
        is_digit(at.checked_sub(1).and_then(|before| bytes.get(before)))
            && is_digit(bytes.get(at + 1))
    };
    if bytes.iter().enumerate().any(|(at, byte)| *byte == b'_' && !is_between(at)) {
        return None;
    }
    written.replace('_', "").parse().ok()
}

fn whole(digits: &str, base: u32) -> Option<f64> {
    if digits.is_empty() || digits.ends_with('_') || digits.contains("__") {
        return None;
    }
    let digits = digits.chars().filter(|char| *char != '_');
    let exact = digits.clone().try_fold(0_u64, |sum, char| {
        let digit = char.to_digit(base)?;
        sum.checked_mul(u64::from(base))?.checked_add(u64::from(digit))
    });
    if let Some(exact) = exact {
        return Some(exact as f64);
    }
    let mut digits = digits;
    digits.try_fold(0.0, |sum, char| {
        char.to_digit(base).map(|digit| sum * f64::from(base) + f64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Token {
        let mut found = tokens(text);
        if matches!(found[0].0, Token::Bad(_)) {
            return found.remove(0).0;
        }
        assert_eq!(found.len(), 2, "{text}: {found:?}");
        assert_eq!(found[0].1, Span { start: 0, end: text.len() });
        found.remove(0).0
    }

    #[test]
    fn numbers_are_read_in_every_form() {
        let cases = [
            ("1", 1.0),
            (".5", 0.5),
            ("1.", 1.0),
            ("1.5", 1.5),
            ("1e-3", 0.001),
            ("1E+3", 1000.0),
            ("1.e2", 100.0),
            ("0x1F", 31.0),
            ("0x_1f", 31.0),
            ("0o17", 15.0),
            ("017", 15.0),
            ("018", 18.0),
            ("0", 0.0),
            ("00", 0.0),
            ("017.5", 17.5),
            ("0b101", 5.0),
            ("1_000", 1000.0),
            ("1_000.000_1", 1000.0001),
            ("1e1_0", 1e10),
            ("0x1_0", 16.0),
            ("0xffffffffffffffffff", 4722366482869645213695.0),
            ("99999999999999999999", 1e20),
            ("1e999", f64::INFINITY),
            ("iNf", f64::INFINITY),
        ];
        for (text, value) in cases {
            assert_eq!(only(text), Token::Number(value), "{text}");
        }
        assert!(matches!(only("NAN"), Token::Number(value) if value.is_nan()));
        for text in ["1_", "1__0", "0x", "0xg", "1a", "0b12", "1._5", "5m_", "1e5m", "1_0m", "0_"] {
            assert!(matches!(only(text), Token::Bad(_)), "{text}: {:?}", only(text));
        }
    }

    #[test]
    fn texts_are_read_as_go_reads_them() {
        let cases = [
            (r#""""#, ""),
            (r#""a'b""#, "a'b"),
            (r#"'a"b'"#, "a\"b"),
            (r#""\a\b\f\n\r\t\v\\\"\'""#, "\x07\x08\x0c\n\r\t\x0b\\\"'"),
            (r#""\x41\101\u00e9\U0001f600""#, "AA\u{e9}\u{1f600}"),
            (r#""\xc3\xa9""#, "\u{e9}"),
            ("`a\\n\n\"`", "a\\n\n\""),
            ("\"é # no comment\"", "é # no comment"),
        ];
        for (text, value) in cases {
            assert_eq!(only(text), Token::Text(value.to_owned()), "{text}");
        }
        let bad =
            [r#""a"#, "\"a\nb\"", r#""\d""#, r#""\x4""#, r#""\400""#, r#""\ud800""#, r#""\xff""#];
        for text in bad.iter().chain(&["`a", "\"\\", "'\\u12"]) {
            assert!(matches!(only(text), Token::Bad(_)), "{text}");
        }
    }

    #[test]
    fn a_colon_belongs_to_a_name_unless_it_stands_in_brackets() {
        let shown = |text: &str| {
            let found = tokens(text);
            let parts = found.iter().map(|(_, span)| text.get(span.start..span.end).unwrap());
            parts.collect::<Vec<_>>().join("|")
        };
        assert_eq!(shown("a:b::c[5m:1m]:d"), "a:b::c|[|5m|:|1m|]|:d|");
        assert_eq!(shown("{a=~\"x\", inf!=\"y\"}#rest"), "{|a|=~|\"x\"|,|inf|!=|\"y\"|}|");
        assert_eq!(shown("1-5m+ .5e3>=x"), "1|-|5m|+|.5e3|>=|x|");
    }
}
