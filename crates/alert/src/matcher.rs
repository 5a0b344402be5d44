//! Which alerts are meant: matchers as Alertmanager writes them (`severity="critical"`, `instance=~"web.*"`).

use std::{fmt, sync::OnceLock};

use farol_model::{Labels, SilenceMatcher, Text};
use farol_store::{Matcher as Test, Op};

/// A matcher that is known to be good: its pattern is compiled at its first use.
#[derive(Clone, Debug)]
pub struct Matcher {
    written: SilenceMatcher,
    test: OnceLock<Option<Test>>,
}

impl Matcher {
    /// Refuses a name that no label can have and a pattern that is none.
    pub fn new(written: SilenceMatcher) -> Result<Matcher, String> {
        if !is_label_name(&written.name) {
            return Err(format!("{:?} is not a label's name", written.name.as_str()));
        }
        let test = compile(&written).map_err(|error| format!("{written}: {}", reason(&error)))?;
        Ok(Matcher { written, test: OnceLock::from(Some(test)) })
    }

    /// Of one that was checked when it was made: what cannot be compiled matches nothing.
    pub fn trusted(written: SilenceMatcher) -> Matcher {
        Matcher { written, test: OnceLock::new() }
    }

    /// Reads `name="value"`, with `=`, `!=`, `=~` or `!~`; the quotes may be left out.
    pub fn read(text: &str) -> Result<Matcher, String> {
        Matcher::new(read(text)?)
    }

    /// Reads `{name="value",other=~"a|b"}`; the braces may be left out.
    pub fn read_all(text: &str) -> Result<Vec<Matcher>, String> {
        let text = text.trim();
        let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
        let parts = split(inner)?;
        parts.into_iter().map(Matcher::read).collect()
    }

    pub fn written(&self) -> &SilenceMatcher {
        &self.written
    }

    /// A label that is not there has the value `""`.
    pub fn is_match(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.written.name).unwrap_or_default();
        self.is_value(value)
    }

    fn is_value(&self, value: &str) -> bool {
        let test = self.test.get_or_init(|| compile(&self.written).ok());
        test.as_ref().is_some_and(|test| test.is_match(value))
    }

    /// Whether an alert without the label is meant.
    pub fn matches_nothing(&self) -> bool {
        self.is_value("")
    }
}

/// Whether all match; none is every alert.
pub fn all_match(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| matcher.is_match(labels))
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(f)
    }
}

fn compile(written: &SilenceMatcher) -> Result<Test, farol_store::MatchError> {
    let op = match (written.is_regex, written.is_equal) {
        (false, true) => Op::Equal,
        (false, false) => Op::NotEqual,
        (true, true) => Op::Matches,
        (true, false) => Op::MatchesNot,
    };
    Test::new(written.name.clone(), op, written.value.clone())
}

/// The engine draws the pattern over several lines; the last is its reason.
fn reason(error: &farol_store::MatchError) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

fn is_label_name(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(is_word) && name.chars().next().is_some_and(|first| !first.is_ascii_digit())
}

fn read(text: &str) -> Result<SilenceMatcher, String> {
    let text = text.trim();
    let wrong = || format!("{text:?} is not a matcher: write name=\"value\", with =, !=, =~ or !~");
    let at = text.find(['=', '!']).ok_or_else(wrong)?;
    let (name, rest) = text.split_at(at);
    let (is_equal, is_regex, value) = if let Some(value) = rest.strip_prefix("=~") {
        (true, true, value)
    } else if let Some(value) = rest.strip_prefix("!~") {
        (false, true, value)
    } else if let Some(value) = rest.strip_prefix("!=") {
        (false, false, value)
    } else if let Some(value) = rest.strip_prefix('=') {
        (true, false, value)
    } else {
        return Err(wrong());
    };
    let value = unquoted(value.trim()).ok_or_else(wrong)?;
    let name = name.trim();
    Ok(SilenceMatcher { name: name.into(), value: value.into(), is_regex, is_equal })
}

/// A value in quotes, with `\"`, `\\` and `\n`; or one without any.
fn unquoted(value: &str) -> Option<String> {
    let Some(rest) = value.strip_prefix('"') else {
        return (!value.contains('"')).then(|| value.to_owned());
    };
    let inner = rest.strip_suffix('"')?;
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return None,
            '\\' => match chars.next()? {
                'n' => out.push('\n'),
                c @ ('"' | '\\') => out.push(c),
                c => out.extend(['\\', c]),
            },
            c => out.push(c),
        }
    }
    Some(out)
}

/// At the commas outside of quotes.
fn split(text: &str) -> Result<Vec<&str>, String> {
    let mut parts = Vec::new();
    let (mut begin, mut is_quoted, mut is_escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => {
                parts.extend(text.get(begin..at));
                begin = at + 1;
            }
            _ => {}
        }
    }
    if is_quoted {
        return Err(format!("{text:?}: a quote is open at the end"));
    }
    parts.extend(text.get(begin..));
    parts.retain(|part| !part.trim().is_empty());
    Ok(parts)
}

/// As Alertmanager writes it.
pub fn written_all(matchers: &[Matcher]) -> Text {
    let each: Vec<String> = matchers.iter().map(ToString::to_string).collect();
    format!("{{{}}}", each.join(",")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_read_and_written_as_alertmanager_does() {
        for (text, expected) in [
            ("alertname=HostDown", r#"alertname="HostDown""#),
            (r#" severity != "critical" "#, r#"severity!="critical""#),
            (r#"instance=~"web|db.*""#, r#"instance=~"web|db.*""#),
            (r#"instance!~"a,b""#, r#"instance!~"a,b""#),
            (r#"x="a\"b\\c\nd""#, r#"x="a\"b\\c\nd""#),
            (r#"x=~"\d+""#, r#"x=~"\\d+""#),
            ("x=", r#"x="""#),
        ] {
            let matcher = Matcher::read(text).unwrap();
            assert_eq!(matcher.to_string(), expected, "{text}");
            assert_eq!(Matcher::read(expected).unwrap().written(), matcher.written());
        }
        let all = Matcher::read_all(r#"{a="1, 2", b=~"x|y",}"#).unwrap();
        assert_eq!(written_all(&all), r#"{a="1, 2",b=~"x|y"}"#);
        assert!(Matcher::read_all(" ").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_matcher_is_refused_in_words() {
        for text in
            ["", "a", "a!b", "=x", "1a=x", "a-b=x", r#"a="x"#, r#"a=x"y"#, "a=~(", "a=~)(", "é=x"]
        {
            let error = Matcher::read(text).unwrap_err();
            assert!(!error.is_empty(), "{text}");
        }
        assert!(Matcher::read_all(r#"a="b, c=d"#).unwrap_err().contains("quote"));
    }

    #[test]
    fn a_pattern_matches_the_whole_value_and_a_missing_label_is_empty() {
        let labels = Labels::from([("instance", "web1")]);
        for (text, expected) in [
            ("instance=web1", true),
            ("instance=~web", false),
            ("instance=~web.", true),
            ("instance!~web", true),
            ("job=", true),
            ("job!=x", true),
            ("job=~x?", true),
            ("job!=", false),
        ] {
            assert_eq!(Matcher::read(text).unwrap().is_match(&labels), expected, "{text}");
        }
    }
}
