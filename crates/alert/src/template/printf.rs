//! Go's `fmt`: print, println and printf, with its remarks about what does not fit.

use super::{
    number::{fixed, general, scientific},
    value::Value,
};

/// So wide may one value be, and so many digits may it have.
const WIDEST: usize = 1000;

/// Values next to each other, with a space where neither is a text.
pub(super) fn print(values: &[Value]) -> String {
    let mut out = String::new();
    let is_text = |value: &Value| matches!(value, Value::Text(_));
    for (at, value) in values.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| values.get(before));
        if before.is_some_and(|before| !is_text(before) && !is_text(value)) {
            out.push(' ');
        }
        out.push_str(&value.formatted());
    }
    out
}

pub(super) fn println(values: &[Value]) -> String {
    let values: Vec<String> = values.iter().map(Value::formatted).collect();
    format!("{}\n", values.join(" "))
}

pub(super) fn printf(format: &str, values: &[Value]) -> Result<String, String> {
    let mut printer = Printer { values, next: 0, out: String::new(), is_reordered: false };
    let mut rest = format;
    while let Some((plain, after)) = rest.split_once('%') {
        printer.out.push_str(plain);
        rest = printer.verb(after)?;
        if printer.out.len() > super::run::MOST_OUTPUT {
            return Err("makes a text that is too long".to_owned());
        }
    }
    printer.out.push_str(rest);
    printer.tell_extra();
    Ok(printer.out)
}

struct Printer<'v> {
    values: &'v [Value],
    next: usize,
    out: String,
    /// `%[2]d` was used: then nobody minds what is left over.
    is_reordered: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

impl Printer<'_> {
    /// One verb and its flags; the text behind it.
    fn verb<'f>(&mut self, text: &'f str) -> Result<&'f str, String> {
        let mut spec = Spec::default();
        let mut rest = text;
        loop {
            match rest.chars().next() {
                Some('-') => spec.minus = true,
                Some('+') => spec.plus = true,
                Some('#') => spec.sharp = true,
                Some(' ') => spec.space = true,
                Some('0') => spec.zero = true,
                _ => break,
            }
            rest = rest.get(1..).unwrap_or_default();
        }
        rest = self.reordered(rest);
        (spec.width, rest) = self.number(rest)?;
        if let Some(after) = rest.strip_prefix('.') {
            let after = self.reordered(after);
            let (precision, after) = self.number(after)?;
            spec.precision = Some(precision.unwrap_or(0));
            rest = after;
        }
        rest = self.reordered(rest);
        let mut chars = rest.chars();
        let Some(verb) = chars.next() else {
            self.out.push_str("%!(NOVERB)");
            return Ok("");
        };
        match verb {
            '%' => self.out.push('%'),
            verb => match self.take() {
                Some(value) => {
                    let text = formatted(value, verb, &spec);
                    self.out.push_str(&text);
                }
                None => self.out.push_str(&format!("%!{verb}(MISSING)")),
            },
        }
        Ok(chars.as_str())
    }

    /// `[2]`: the second value is the next.
    fn reordered<'f>(&mut self, rest: &'f str) -> &'f str {
        let inner = rest.strip_prefix('[').and_then(|inner| inner.split_once(']'));
        let Some((number, after)) = inner else { return rest };
        let Some(number) = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1))
        else {
            return rest;
        };
        self.next = number;
        self.is_reordered = true;
        after
    }

    /// Digits, or `*` for the next value.
    fn number<'f>(&mut self, rest: &'f str) -> Result<(Option<usize>, &'f str), String> {
        let too_wide = || format!("a width or precision of more than {WIDEST}");
        if let Some(after) = rest.strip_prefix('*') {
            let given = match self.take() {
                Some(Value::Int(given)) => usize::try_from(*given).ok(),
                _ => None,
            };
            let given = given.ok_or_else(|| "* wants a whole number".to_owned())?;
            return if given > WIDEST { Err(too_wide()) } else { Ok((Some(given), after)) };
        }
        let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if digits.is_empty() {
            return Ok((None, rest));
        }
        match digits.parse::<usize>() {
            Ok(number) if number <= WIDEST => Ok((Some(number), after)),
            _ => Err(too_wide()),
        }
    }

    fn take(&mut self) -> Option<&Value> {
        let value = self.values.get(self.next);
        self.next += 1;
        value
    }

    fn tell_extra(&mut self) {
        if self.is_reordered || self.next >= self.values.len() {
            return;
        }
        let extra: Vec<String> = self.values[self.next..]
            .iter()
            .map(|value| match value {
                Value::Nothing => "<nil>".to_owned(),
                value => format!("{}={}", value.kind(), value.formatted()),
            })
            .collect();
        self.out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
}

fn formatted(value: &Value, verb: char, spec: &Spec) -> String {
    if verb == 'T' {
        return padded(if matches!(value, Value::Nothing) { "<nil>" } else { value.kind() }, spec);
    }
    match (value, verb) {
        (Value::Nothing, 'v') => padded("<nil>", spec),
        (Value::Nothing, verb) => format!("%!{verb}(<nil>)"),
        (Value::Bool(is_true), 'v' | 't') => padded(&is_true.to_string(), spec),
        (Value::Int(number), _) => whole(*number, verb, spec).unwrap_or_else(|| bad(value, verb)),
        (Value::Float(number), _) => float(*number, verb, spec).unwrap_or_else(|| bad(value, verb)),
        (Value::Text(held), _) => text(held, verb, spec).unwrap_or_else(|| bad(value, verb)),
        (Value::Time(_) | Value::Duration(_), 'v' | 's') => padded(&value.formatted(), spec),
        (Value::Duration(nanos), 'd') => whole(*nanos, verb, spec).unwrap_or_default(),
        (Value::Labels(_) | Value::Sample(_) | Value::Samples(_) | Value::Args(_), 'v' | 's') => {
            value.formatted()
        }
        (Value::Data, 'v' | 's') => value.formatted(),
        (value, verb) => bad(value, verb),
    }
}

fn bad(value: &Value, verb: char) -> String {
    format!("%!{verb}({}={})", value.kind(), value.formatted())
}

fn whole(number: i64, verb: char, spec: &Spec) -> Option<String> {
    let size = number.unsigned_abs();
    let (prefix, digits) = match verb {
        'v' | 'd' => ("", size.to_string()),
        'x' => (if spec.sharp { "0x" } else { "" }, format!("{size:x}")),
        'X' => (if spec.sharp { "0X" } else { "" }, format!("{size:X}")),
        'o' => (if spec.sharp { "0" } else { "" }, format!("{size:o}")),
        'O' => ("0o", format!("{size:o}")),
        'b' => (if spec.sharp { "0b" } else { "" }, format!("{size:b}")),
        'c' => return Some(padded(&character(number).to_string(), spec)),
        'q' => {
            let shown: String = character(number).escape_debug().collect();
            return Some(padded(&format!("'{shown}'"), spec));
        }
        'U' => return Some(padded(&format!("U+{size:04X}"), spec)),
        _ => return None,
    };
    let digits = match spec.precision {
        Some(0) if number == 0 => String::new(),
        Some(precision) => format!("{digits:0>precision$}"),
        None => digits,
    };
    let sign = sign(number < 0, spec);
    // A precision says how many zeros, so the flag does not.
    let zeroed = Spec { zero: spec.zero && spec.precision.is_none(), ..*spec };
    Some(signed(&format!("{sign}{prefix}"), &digits, &zeroed))
}

fn character(number: i64) -> char {
    u32::try_from(number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}')
}

fn float(number: f64, verb: char, spec: &Spec) -> Option<String> {
    let digits = match verb {
        'v' | 'g' | 'G' if spec.sharp => general(number, Some(spec.precision.unwrap_or(6)), true),
        'v' | 'g' | 'G' => general(number, spec.precision, false),
        'e' | 'E' => scientific(number, spec.precision.unwrap_or(6)),
        'f' | 'F' => fixed(number, spec.precision.unwrap_or(6)),
        _ => return None,
    };
    let digits = if verb.is_ascii_uppercase() && number.is_finite() {
        digits.to_ascii_uppercase()
    } else {
        digits
    };
    let is_negative = digits.starts_with('-');
    let size = digits.trim_start_matches(['-', '+']);
    // Only an infinity has its plus without being asked.
    let plus = number == f64::INFINITY && !spec.space;
    let sign = if plus { "+" } else { sign(is_negative, spec) };
    let zeroed = Spec { zero: spec.zero && number.is_finite(), ..*spec };
    Some(signed(sign, size, &zeroed))
}

fn sign(is_negative: bool, spec: &Spec) -> &'static str {
    match (is_negative, spec.plus, spec.space) {
        (true, _, _) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        (false, false, false) => "",
    }
}

/// Zeros go between the sign and the digits.
fn signed(sign: &str, digits: &str, spec: &Spec) -> String {
    let width = spec.width.unwrap_or(0);
    if spec.zero && !spec.minus {
        let width = width.saturating_sub(sign.chars().count());
        return format!("{sign}{digits:0>width$}");
    }
    padded(&format!("{sign}{digits}"), spec)
}

fn text(held: &str, verb: char, spec: &Spec) -> Option<String> {
    let cut: String = match spec.precision {
        Some(most) => held.chars().take(most).collect(),
        None => held.to_owned(),
    };
    let shown = match verb {
        'v' | 's' => cut,
        'q' if spec.sharp && !cut.contains('`') => format!("`{cut}`"),
        'q' => quoted(&cut),
        'x' => cut.bytes().map(|byte| format!("{byte:02x}")).collect(),
        'X' => cut.bytes().map(|byte| format!("{byte:02X}")).collect(),
        _ => return None,
    };
    Some(padded(&shown, spec))
}

/// As a string in Go's source.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            char if char.is_control() && u32::from(char) < 0x80 => {
                out.push_str(&format!("\\x{:02x}", u32::from(char)));
            }
            char if char.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => out.push(char),
        }
    }
    out.push('"');
    out
}

fn padded(text: &str, spec: &Spec) -> String {
    let width = spec.width.unwrap_or(0);
    match (spec.minus, spec.zero) {
        (true, _) => format!("{text:<width$}"),
        (false, true) => format!("{text:0>width$}"),
        (false, false) => format!("{text:>width$}"),
    }
}
