//! The functions that templates may call: Go's own, and those of Prometheus.

use std::{borrow::Cow, cmp::Ordering, collections::BTreeMap, net::IpAddr, sync::Arc};

use farol_model::Text;
use farol_query::parse_duration;
use farol_wire::yaml::nearest;
use regex::{Regex, RegexBuilder};

use super::{
    Sample,
    number::{general, shortest},
    printf,
    run::{MOST_OUTPUT, Run},
    time,
    value::{Args, Value},
};

/// One row of [`FUNCTIONS`].
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: &'static str,
    /// The fewest and the most.
    pub(super) arguments: (usize, usize),
    /// Of `and` and `or`: the first argument that is so is the answer, and no other is looked at.
    pub(super) short_circuit: Option<bool>,
    pub(super) run: Body,
}

type Body = fn(&mut Run<'_>, &[Value]) -> Result<Value, String>;

const fn function(name: &'static str, least: usize, most: usize, run: Body) -> Function {
    Function { name, arguments: (least, most), short_circuit: None, run }
}

const MANY: usize = usize::MAX;

const FUNCTIONS: &[Function] = &[
    Function { short_circuit: Some(false), ..function("and", 1, MANY, last) },
    Function { short_circuit: Some(true), ..function("or", 1, MANY, last) },
    function("not", 1, 1, |_, given| Ok(Value::Bool(!given[0].is_true()))),
    function("eq", 2, MANY, equal),
    function("ne", 2, 2, |_, given| Ok(Value::Bool(!are_equal(&given[0], &given[1])?))),
    function("lt", 2, 2, |_, given| ordered(given, Ordering::is_lt)),
    function("le", 2, 2, |_, given| ordered(given, Ordering::is_le)),
    function("gt", 2, 2, |_, given| ordered(given, Ordering::is_gt)),
    function("ge", 2, 2, |_, given| ordered(given, Ordering::is_ge)),
    function("len", 1, 1, len),
    function("index", 1, MANY, index),
    function("slice", 1, 3, slice),
    function("print", 0, MANY, |_, given| text(printf::print(given))),
    function("println", 0, MANY, |_, given| text(printf::println(given))),
    function("printf", 1, MANY, |_, given| text(printf::printf(string(given, 0)?, &given[1..])?)),
    function("html", 0, MANY, |_, given| text(html(&printf::print(given)))),
    function("js", 0, MANY, |_, given| text(js(&printf::print(given)))),
    function("urlquery", 0, MANY, |_, given| text(url_query(&printf::print(given)))),
    function("query", 1, 1, query),
    function("first", 1, 1, first),
    function("label", 2, 2, |_, given| {
        let name = string(given, 0)?;
        text(sample(given, 1)?.labels.get(name).unwrap_or_default())
    }),
    function("value", 1, 1, |_, given| Ok(Value::Float(sample(given, 0)?.value))),
    function("strvalue", 1, 1, |_, given| {
        text(sample(given, 0)?.labels.get("__value__").unwrap_or_default())
    }),
    function("sortByLabel", 2, 2, sort_by_label),
    function("args", 0, MANY, args),
    function("reReplaceAll", 3, 3, replace_all),
    function("match", 2, 2, |run, given| {
        let text = string(given, 1)?;
        Ok(Value::Bool(pattern(run, string(given, 0)?)?.is_match(text)))
    }),
    function("safeHtml", 1, 1, |_, given| text(string(given, 0)?)),
    function("title", 1, 1, |_, given| text(title(string(given, 0)?))),
    function("toUpper", 1, 1, |_, given| text(string(given, 0)?.to_uppercase())),
    function("toLower", 1, 1, |_, given| text(string(given, 0)?.to_lowercase())),
    function("graphLink", 1, 1, |_, given| text(link(string(given, 0)?, 0))),
    function("tableLink", 1, 1, |_, given| text(link(string(given, 0)?, 1))),
    function("stripPort", 1, 1, |_, given| {
        let given = string(given, 0)?;
        text(split_host_port(given).map_or(given, |(host, _)| host))
    }),
    function("stripDomain", 1, 1, |_, given| text(&*strip_domain(string(given, 0)?))),
    function("humanize", 1, 1, |_, given| text(humanize(float(given)?))),
    function("humanize1024", 1, 1, |_, given| text(humanize1024(float(given)?))),
    function("humanizeDuration", 1, 1, |_, given| text(humanize_duration(float(given)?))),
    function("humanizePercentage", 1, 1, |_, given| {
        text(format!("{}%", four(float(given)? * 100.0)))
    }),
    function("humanizeTimestamp", 1, 1, humanize_timestamp),
    function("toTime", 1, 1, |_, given| {
        // As Prometheus keeps times: in milliseconds.
        Ok(Value::Time(nanos(float(given)?)? / 1_000_000 * 1_000_000))
    }),
    function("toDuration", 1, 1, |_, given| {
        Ok(Value::Duration(nanos(float(given)?)? / 1_000_000 * 1_000_000))
    }),
    function("now", 0, 0, |run, _| {
        let answer = run.query("time()")?;
        Ok(answer.first().map_or(Value::Nothing, |sample| Value::Float(sample.value)))
    }),
    function("parseDuration", 1, 1, |_, given| {
        let millis = parse_duration(string(given, 0)?).map_err(|error| error.to_string())?;
        Ok(Value::Float(millis as f64 / 1000.0))
    }),
    function("pathPrefix", 0, 0, |run, _| text(path(run.context.external_url))),
    function("externalURL", 0, 0, |run, _| text(run.context.external_url)),
];

pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// Says that there is no such function, and which was probably meant.
pub(super) fn unknown(name: &str) -> String {
    let meant = nearest(name, FUNCTIONS.iter().map(|function| function.name));
    let meant = meant.map_or(String::new(), |meant| format!("; did you mean {meant:?}?"));
    format!("function {name:?} not defined{meant}")
}

fn text(text: impl Into<Text>) -> Result<Value, String> {
    Ok(Value::Text(text.into()))
}

/// The argument as a text, which it must be.
fn string(given: &[Value], at: usize) -> Result<&str, String> {
    match given.get(at) {
        Some(Value::Text(text)) => Ok(text),
        other => Err(wrong_type("string", other)),
    }
}

fn sample(given: &[Value], at: usize) -> Result<&Sample, String> {
    match given.get(at) {
        Some(Value::Sample(sample)) => Ok(sample),
        other => Err(wrong_type("*template.sample", other)),
    }
}

fn samples(given: &[Value], at: usize) -> Result<&Arc<[Sample]>, String> {
    match given.get(at) {
        Some(Value::Samples(samples)) => Ok(samples),
        other => Err(wrong_type("template.queryResult", other)),
    }
}

fn wrong_type(wanted: &str, given: Option<&Value>) -> String {
    let given = given.map_or("nothing", Value::kind);
    format!("wrong type for value; expected {wanted}; got {given}")
}

/// The only argument as a number, whether it is one or is written as one.
fn float(given: &[Value]) -> Result<f64, String> {
    match given.first() {
        Some(Value::Float(number)) => Ok(*number),
        Some(Value::Int(number)) => Ok(*number as f64),
        Some(Value::Duration(nanos)) => Ok(*nanos as f64 / 1e9),
        Some(Value::Text(text)) => {
            parse_float(text).ok_or_else(|| format!("parsing {:?}: invalid syntax", text.as_str()))
        }
        other => Err(format!("can't convert {} to float", other.map_or("nothing", Value::kind))),
    }
}

fn parse_float(text: &str) -> Option<f64> {
    let is_number = |char: char| char.is_ascii_digit() || matches!(char, '.' | '+' | '-');
    let is_word = |text: &str| {
        let word = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
        matches!(word.as_str(), "inf" | "infinity" | "nan")
    };
    (text.starts_with(is_number) || is_word(text)).then(|| text.parse().ok())?
}

/// What [`Run`] does itself for `and` and `or`.
fn last(_: &mut Run<'_>, given: &[Value]) -> Result<Value, String> {
    Ok(given.last().cloned().unwrap_or(Value::Nothing))
}

fn equal(_: &mut Run<'_>, given: &[Value]) -> Result<Value, String> {
    let [first, others @ ..] = given else { return Ok(Value::Bool(false)) };
    for other in others {
        if are_equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

/// Only values of one kind are compared: 1 and 1.0 are not, as in Go.
fn are_equal(left: &Value, right: &Value) -> Result<bool, String> {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
        (Value::Int(left), Value::Int(right)) => Ok(left == right),
        (Value::Duration(left), Value::Duration(right)) => Ok(left == right),
        (Value::Float(left), Value::Float(right)) => Ok(left == right),
        (Value::Text(left), Value::Text(right)) => Ok(left == right),
        (Value::Nothing, other) | (other, Value::Nothing) => Ok(matches!(other, Value::Nothing)),
        _ => Err(incompatible(left, right)),
    }
}

fn ordered(given: &[Value], is_so: fn(Ordering) -> bool) -> Result<Value, String> {
    let [left, right] = given else { return Ok(Value::Bool(false)) };
    let ordering = match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Duration(left), Value::Duration(right)) => Some(left.cmp(right)),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        _ => return Err(incompatible(left, right)),
    };
    Ok(Value::Bool(ordering.is_some_and(is_so)))
}

fn incompatible(left: &Value, right: &Value) -> String {
    let (left, right) = (left.kind(), right.kind());
    let hint = match (left, right) {
        ("int", "float64") | ("float64", "int") => "; write the number with a point, as in 1.0",
        _ => "",
    };
    format!("incompatible types for comparison: {left} and {right}{hint}")
}

fn len(_: &mut Run<'_>, given: &[Value]) -> Result<Value, String> {
    let length = match &given[0] {
        Value::Text(text) => text.len(),
        Value::Labels(labels) => labels.len(),
        Value::Samples(samples) => samples.len(),
        Value::Args(args) => args.named.len(),
        other => return Err(format!("len of type {}", other.kind())),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn index(_: &mut Run<'_>, given: &[Value]) -> Result<Value, String> {
    let [value, keys @ ..] = given else { return Ok(Value::Nothing) };
    let mut value = value.clone();
    for key in keys {
        value = match (&value, key) {
            (Value::Labels(labels), Value::Text(name)) => {
                Value::Text(labels.get(name).unwrap_or_default().into())
            }
            (Value::Args(args), Value::Text(name)) => {
                args.named.get(name.as_str()).cloned().unwrap_or(Value::Nothing)
            }
            (Value::Samples(samples), Value::Int(at)) => {
                let found = usize::try_from(*at).ok().and_then(|at| samples.get(at));
                Value::Sample(found.ok_or_else(|| format!("index out of range: {at}"))?.clone())
            }
            (Value::Text(text), Value::Int(at)) => {
                let found = usize::try_from(*at).ok().and_then(|at| text.as_bytes().get(at));
                Value::Int(i64::from(*found.ok_or_else(|| format!("index out of range: {at}"))?))
            }
            (Value::Labels(_) | Value::Args(_), key) => {
                return Err(wrong_type("string", Some(key)));
            }
            (Value::Samples(_) | Value::Text(_), key) => {
                return Err(format!("cannot index slice/array with type {}", key.kind()));
            }
            (other, _) => return Err(format!("can't index item of type {}", other.kind())),
        };
    }
    Ok(value)
}

/// From the second argument (else the beginning) to the third (else the end), in bytes.
fn slice(_: &mut Run<'_>, given: &[Value]) -> Result<Value, String> {
    let length = match &given[0] {
        Value::Text(text) => text.len(),
        Value::Samples(samples) => samples.len(),
        other => return Err(format!("slice of type {}", other.kind())),
    };
    let bound = |at: usize, default: usize| match given.get(at) {
        None => Ok(default),
        Some(Value::Int(bound)) => usize::try_from(*bound)
            .ok()
            .filter(|bound| *bound <= length)
            .ok_or_else(|| format!("index out of range: {bound}")),
        Some(other) => Err(format!("cannot index slice/array with type {}", other.kind())),
    };
    let (start, end) = (bound(1, 0)?, bound(2, length)?);
    if start > end {
        return Err(format!("invalid slice index: {start} > {end}"));
    }
    match &given[0] {
        Value::Samples(samples) => {
            Ok(Value::Samples(samples.get(start..end).unwrap_or_default().into()))
        }
        Value::Text(held) => {
            let bytes = held.as_bytes().get(start..end).unwrap_or_default();
            text(String::from_utf8_lossy(bytes).into_owned())
        }
        _ => Ok(Value::Nothing),
    }
}

fn query(run: &mut Run<'_>, given: &[Value]) -> Result<Value, String> {
    Ok(Value::Samples(run.query(string(given, 0)?)?.into()))
}

fn first(_: &mut Run<'_>, given: &[Value]) -> Result<Value, String> {
    let first = samples(given, 0)?.first().cloned();
    let first = first.ok_or_else(|| "first() called on vector with no elements".to_owned())?;
    Ok(Value::Sample(first))
}

fn sort_by_label(_: &mut Run<'_>, given: &[Value]) -> Result<Value, String> {
    let name = string(given, 0)?;
    let mut sorted = samples(given, 1)?.to_vec();
    sorted.sort_by(|a, b| a.labels.get(name).unwrap_or("").cmp(b.labels.get(name).unwrap_or("")));
    Ok(Value::Samples(sorted.into()))
}

fn args(_: &mut Run<'_>, given: &[Value]) -> Result<Value, String> {
    const MOST: usize = 1000;
    let mut args = Args::default();
    let mut named = BTreeMap::new();
    for (at, value) in given.iter().enumerate() {
        args.size += match value {
            Value::Args(inner) => inner.size + 1,
            _ => 1,
        };
        named.insert(format!("arg{at}"), value.clone());
    }
    if args.size > MOST {
        return Err(format!("more than {MOST} values"));
    }
    args.named = named;
    Ok(Value::Args(Arc::new(args)))
}

fn pattern(run: &mut Run<'_>, pattern: &str) -> Result<Regex, String> {
    const COST: usize = 100;
    const MOST_BYTES: usize = 256 * 1024;
    run.costs(COST)?;
    let built = RegexBuilder::new(pattern).size_limit(MOST_BYTES).build();
    built.map_err(|error| {
        let reason = error.to_string();
        let last = reason.lines().next_back().unwrap_or_default();
        format!("{pattern:?} is no regular expression: {last}")
    })
}

fn replace_all(run: &mut Run<'_>, given: &[Value]) -> Result<Value, String> {
    let (replacement, within) = (string(given, 1)?, string(given, 2)?);
    let pattern = pattern(run, string(given, 0)?)?;
    let too_long = || format!("makes a text of more than {MOST_OUTPUT} bytes");
    let mut replaced = String::new();
    let mut done = 0;
    for captures in pattern.captures_iter(within) {
        let Some(whole) = captures.get(0) else { continue };
        replaced.push_str(within.get(done..whole.start()).unwrap_or_default());
        done = whole.end();
        // Each reference may stand for all that was found.
        let references = replacement.matches('$').count();
        if replacement.len() + references.saturating_mul(whole.len()) > 4 * MOST_OUTPUT {
            return Err(too_long());
        }
        captures.expand(replacement, &mut replaced);
        if replaced.len() > MOST_OUTPUT {
            return Err(too_long());
        }
    }
    replaced.push_str(within.get(done..).unwrap_or_default());
    text(replaced)
}

/// The first letter of each word large.
fn title(given: &str) -> String {
    let mut out = String::new();
    let mut before = ' ';
    for char in given.chars() {
        if is_part_of_word(before) {
            out.push(char);
        } else {
            out.extend(char.to_uppercase());
        }
        before = char;
    }
    out
}

fn is_part_of_word(char: char) -> bool {
    if char.is_ascii() {
        return char.is_ascii_alphanumeric() || char == '_';
    }
    !char.is_whitespace()
}

fn link(expression: &str, tab: u8) -> String {
    format!("/graph?g0.expr={}&g0.tab={tab}", url_query(expression))
}

/// Host and port of `host:port` or `[host]:port`.
fn split_host_port(given: &str) -> Option<(&str, &str)> {
    let (host, port) = given.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let is_plain = |text: &str| !text.contains(['[', ']']);
    (is_plain(host) && is_plain(port)).then_some((host, port))
}

/// `host.example.com:80` is `host:80`; an address stays.
fn strip_domain(given: &str) -> Cow<'_, str> {
    let (host, port) = split_host_port(given).unwrap_or((given, ""));
    if host.parse::<IpAddr>().is_ok() {
        return Cow::Borrowed(given);
    }
    let name = host.split('.').next().unwrap_or_default();
    match port {
        "" => Cow::Borrowed(name),
        port if name.contains([':', '%']) => Cow::Owned(format!("[{name}]:{port}")),
        port => Cow::Owned(format!("{name}:{port}")),
    }
}

fn four(value: f64) -> String {
    general(value, Some(4), false)
}

const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

fn is_plain(value: f64) -> bool {
    value == 0.0 || !value.is_finite()
}

fn humanize(value: f64) -> String {
    const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
    if is_plain(value) {
        return four(value);
    }
    let (value, prefix) =
        if value.abs() >= 1.0 { shrunk(value, 1000.0, LARGE) } else { grown(value) };
    format!("{}{prefix}", four(value))
}

fn humanize1024(value: f64) -> String {
    const LARGE: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
    if value.abs() <= 1.0 || !value.is_finite() {
        return four(value);
    }
    let (value, prefix) = shrunk(value, 1024.0, LARGE);
    format!("{}{prefix}", four(value))
}

fn shrunk(mut value: f64, by: f64, prefixes: [&'static str; 8]) -> (f64, &'static str) {
    let mut prefix = "";
    for next in prefixes {
        if value.abs() < by {
            break;
        }
        prefix = next;
        value /= by;
    }
    (value, prefix)
}

fn grown(mut value: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for next in SMALL {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = next;
        value *= 1000.0;
    }
    (value, prefix)
}

fn humanize_duration(value: f64) -> String {
    if !value.is_finite() {
        return four(value);
    }
    if value == 0.0 {
        return format!("{}s", four(value));
    }
    if value.abs() < 1.0 {
        let (value, prefix) = grown(value);
        return format!("{}{prefix}s", four(value));
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let size = value.abs();
    let whole = size as i64;
    let (seconds, minutes) = (whole % 60, whole / 60 % 60);
    let (hours, days) = (whole / 3600 % 24, whole / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", four(size)),
        (0, 0, minutes) => format!("{sign}{minutes}m {seconds}s"),
        (0, hours, minutes) => format!("{sign}{hours}h {minutes}m {seconds}s"),
        (days, hours, minutes) => format!("{sign}{days}d {hours}h {minutes}m {seconds}s"),
    }
}

fn humanize_timestamp(_: &mut Run<'_>, given: &[Value]) -> Result<Value, String> {
    let value = float(given)?;
    if !value.is_finite() {
        return text(four(value));
    }
    text(time::print(nanos(value)? / 1_000_000 * 1_000_000))
}

fn nanos(seconds: f64) -> Result<i64, String> {
    let nanos = seconds * 1e9;
    if nanos.is_nan() || nanos.abs() > i64::MAX as f64 {
        return Err(format!(
            "{} cannot be represented as a nanoseconds timestamp since it overflows int64",
            shortest(seconds)
        ));
    }
    Ok(nanos as i64)
}

/// Of `https://host/prometheus` the `/prometheus`.
fn path(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.find('/').and_then(|at| after_scheme.get(at..)).unwrap_or_default();
    path.split(['?', '#']).next().unwrap_or_default()
}

fn html(given: &str) -> String {
    let mut out = String::new();
    for char in given.chars() {
        match char {
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\0' => out.push('\u{fffd}'),
            char => out.push(char),
        }
    }
    out
}

fn js(given: &str) -> String {
    let mut out = String::new();
    for char in given.chars() {
        match char {
            '\\' | '\'' | '"' => out.extend(['\\', char]),
            '<' | '>' | '&' | '=' | '\0'..' ' => {
                out.push_str(&format!("\\u{:04X}", u32::from(char)));
            }
            char => out.push(char),
        }
    }
    out
}

/// As the value of a parameter in a link.
fn url_query(given: &str) -> String {
    let mut out = String::new();
    for byte in given.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
