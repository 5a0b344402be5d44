//! From the text of a template to its pieces: plain text, and the words of each action.

use farol_model::Text;

use super::{Problem, problem, value::Value};

#[derive(Clone, Debug)]
pub(super) enum Item {
    Text(String),
    Action { at: usize, tokens: Vec<Token> },
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) at: usize,
    /// A space stands before it: `.a.b` is one thing and `.a .b` are two.
    pub(super) is_apart: bool,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Constant(Value),
    Dot,
    /// `.name`
    Field(Text),
    /// `$` or `$name`
    Variable(Text),
    /// The name of a function, or a word such as `if`.
    Word(Text),
    Pipe,
    Open,
    Close,
    Comma,
    Declare,
    Assign,
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

pub(super) fn items(text: &str) -> Result<Vec<Item>, Problem> {
    let mut items = Vec::new();
    let mut lexer = Lexer { text, at: 0 };
    let mut trims = false;
    loop {
        let rest = lexer.rest();
        let found = rest.find("{{");
        let plain = rest.get(..found.unwrap_or(rest.len())).unwrap_or_default();
        lexer.at += plain.len();
        let action = lexer.at;
        let trims_before = found.is_some() && {
            lexer.at += 2;
            lexer.take_opening_trim()
        };
        let plain = if trims { plain.trim_start_matches(SPACES) } else { plain };
        let plain = if trims_before { plain.trim_end_matches(SPACES) } else { plain };
        if !plain.is_empty() {
            items.push(Item::Text(plain.to_owned()));
        }
        if found.is_none() {
            return Ok(items);
        }
        if lexer.rest().starts_with("/*") {
            trims = lexer.comment(action)?;
        } else {
            let (tokens, is_trimmed) = lexer.action(action)?;
            trims = is_trimmed;
            items.push(Item::Action { at: action, tokens });
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|char| !is_part(char)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    /// `- ` behind `{{`: the space before the action goes.
    fn take_opening_trim(&mut self) -> bool {
        let found = self.rest().strip_prefix('-').is_some_and(|rest| rest.starts_with(SPACES));
        if found {
            self.at += 1;
            self.take_while(|char| SPACES.contains(&char));
        }
        found
    }

    /// `}}`, or ` -}}`, and whether it was the second.
    fn take_end(&mut self, is_apart: bool) -> Option<bool> {
        if is_apart && self.take("-}}") {
            return Some(true);
        }
        self.take("}}").then_some(false)
    }

    /// Whether the space behind it goes.
    fn comment(&mut self, action: usize) -> Result<bool, Problem> {
        let Some(end) = self.rest().find("*/") else { return problem(action, "unclosed comment") };
        self.at += end + 2;
        let spaces = self.take_while(|char| SPACES.contains(&char));
        match self.take_end(!spaces.is_empty()) {
            // A space is for a trim marker only.
            Some(trims) if trims || spaces.is_empty() => Ok(trims),
            _ => problem(action, "comment ends before closing delimiter"),
        }
    }

    /// The words up to the end, and whether the space behind it goes.
    fn action(&mut self, action: usize) -> Result<(Vec<Token>, bool), Problem> {
        let mut tokens = Vec::new();
        loop {
            let spaces = self.take_while(|char| SPACES.contains(&char));
            let is_apart = !spaces.is_empty() || tokens.is_empty();
            if let Some(trims) = self.take_end(!spaces.is_empty()) {
                return Ok((tokens, trims));
            }
            let at = self.at;
            let Some(kind) = self.token(at)? else { return problem(action, "unclosed action") };
            tokens.push(Token { at, is_apart, kind });
        }
    }

    /// None at the end of the text.
    fn token(&mut self, at: usize) -> Result<Option<Kind>, Problem> {
        let Some(first) = self.next() else { return Ok(None) };
        let kind = match first {
            '|' => Kind::Pipe,
            '(' => Kind::Open,
            ')' => Kind::Close,
            ',' => Kind::Comma,
            '=' => Kind::Assign,
            ':' if self.take("=") => Kind::Declare,
            '"' => Kind::Constant(Value::Text(self.quoted(at, '"')?.into())),
            '`' => {
                let rest = self.rest();
                let Some(end) = rest.find('`') else {
                    return problem(at, "unterminated raw quoted string");
                };
                self.at += end + 1;
                Kind::Constant(Value::Text(rest.get(..end).unwrap_or_default().into()))
            }
            '\'' => {
                let text = self.quoted(at, '\'')?;
                let mut chars = text.chars();
                match (chars.next(), chars.next()) {
                    (Some(char), None) => Kind::Constant(Value::Int(i64::from(u32::from(char)))),
                    _ => return problem(at, "malformed character constant"),
                }
            }
            '$' => {
                let name = self.take_while(is_word);
                Kind::Variable(format!("${name}").into())
            }
            '.' if !self.peek().is_some_and(|char| char.is_ascii_digit()) => {
                match self.take_while(is_word) {
                    "" => Kind::Dot,
                    name => Kind::Field(name.into()),
                }
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.at = at;
                Kind::Constant(self.number(at)?)
            }
            _ if is_word(first) => {
                self.at = at;
                match self.take_while(is_word) {
                    "true" => Kind::Constant(Value::Bool(true)),
                    "false" => Kind::Constant(Value::Bool(false)),
                    word => Kind::Word(word.into()),
                }
            }
            _ => {
                let code = u32::from(first);
                let shown: String = first.escape_debug().collect();
                let message = format!("unrecognized character in action: U+{code:04X} '{shown}'");
                return problem(at, message);
            }
        };
        Ok(Some(kind))
    }

    /// Go's escapes. Bytes that are no text become U+FFFD.
    fn quoted(&mut self, at: usize, quote: char) -> Result<String, Problem> {
        let mut bytes = Vec::new();
        loop {
            let char = match self.next() {
                None | Some('\n') => return problem(at, "unterminated quoted string"),
                Some(char) if char == quote => break,
                Some('\\') => match self.escape() {
                    Some(Escape::Char(char)) => char,
                    Some(Escape::Byte(byte)) => {
                        bytes.push(byte);
                        continue;
                    }
                    None => return problem(at, "a \\ in quotes that is no escape; write \\\\"),
                },
                Some(char) => char,
            };
            let mut buffer = [0; 4];
            bytes.extend_from_slice(char.encode_utf8(&mut buffer).as_bytes());
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn escape(&mut self) -> Option<Escape> {
        let char = match self.next()? {
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            char @ ('\\' | '"' | '\'') => char,
            'x' => {
                return self.code(2, 16).and_then(|code| u8::try_from(code).ok()).map(Escape::Byte);
            }
            'u' => char::from_u32(self.code(4, 16)?)?,
            'U' => char::from_u32(self.code(8, 16)?)?,
            '0'..='7' => {
                self.at -= 1;
                return self.code(3, 8).and_then(|code| u8::try_from(code).ok()).map(Escape::Byte);
            }
            _ => return None,
        };
        Some(Escape::Char(char))
    }

    fn code(&mut self, digits: usize, radix: u32) -> Option<u32> {
        let digits = self.rest().get(..digits)?;
        if !digits.chars().all(|char| char.is_digit(radix)) {
            return None;
        }
        self.at += digits.len();
        u32::from_str_radix(digits, radix).ok()
    }

    fn number(&mut self, at: usize) -> Result<Value, Problem> {
        let sign = if self.take("-") { "-" } else { "" };
        if sign.is_empty() {
            self.take("+");
        }
        let mut text = String::new();
        let mut before = ' ';
        while let Some(char) = self.peek() {
            let is_exponent_sign = matches!(char, '+' | '-')
                && matches!(before, 'e' | 'E')
                && !text.starts_with("0x")
                && !text.starts_with("0X");
            if !(is_word(char) || char == '.' || is_exponent_sign) {
                break;
            }
            text.push(char);
            before = char;
            self.next();
        }
        let plain = text.replace('_', "").to_ascii_lowercase();
        let bad = || problem(at, format!("bad number syntax: {:?}", format!("{sign}{text}")));
        let whole = [("0x", 16), ("0o", 8), ("0b", 2)]
            .iter()
            .find_map(|(prefix, radix)| Some((plain.strip_prefix(prefix)?, *radix)));
        let (digits, radix) = match whole {
            Some(whole) => whole,
            None if plain.contains(['.', 'e']) => {
                let is_number =
                    plain.starts_with(|char: char| char.is_ascii_digit() || char == '.');
                let number = plain.parse::<f64>().ok().filter(|_| is_number);
                return match number {
                    Some(number) if sign == "-" => Ok(Value::Float(-number)),
                    Some(number) => Ok(Value::Float(number)),
                    None => bad(),
                };
            }
            None if plain.len() > 1 && plain.starts_with('0') => (plain.trim_start_matches('0'), 8),
            None => (plain.as_str(), 10),
        };
        let digits = if digits.is_empty() && plain.starts_with('0') { "0" } else { digits };
        if digits.is_empty() || !digits.chars().all(|char| char.is_digit(radix)) {
            return bad();
        }
        match i64::from_str_radix(&format!("{sign}{digits}"), radix) {
            Ok(number) => Ok(Value::Int(number)),
            Err(_) => problem(at, format!("integer overflow: {sign}{text}")),
        }
    }
}

enum Escape {
    Char(char),
    Byte(u8),
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}
