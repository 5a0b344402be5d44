//! The values of a mapping by their keys: what is of the wrong kind or unknown is noted with its place.

use std::time::Duration;

use farol_model::Text;
use farol_query::{Expr, Type, parse, parse_duration};
use farol_wire::yaml::{Content, Fault, Key, Mark, Node, nearest, quoted};

use super::RuleError;

/// Reads one file and gathers what is wrong with it.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) file: Text,
    pub(crate) errors: Vec<RuleError>,
}

/// A mapping whose keys are known ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'n> {
    pub(crate) mark: Mark,
    pairs: &'n [(Key, Node)],
    are_known: bool,
}

impl<'n> Fields<'n> {
    /// Its value; none where nothing stands behind the key.
    pub(crate) fn get(&self, key: &str) -> Option<&'n Node> {
        let (_, node) = self.pairs.iter().find(|(found, _)| found.text == key)?;
        (node.content != Content::Empty).then_some(node)
    }

    /// Whether all keys were known ones.
    pub(super) fn are_known(&self) -> bool {
        self.are_known
    }

    /// Where the key stands, whether or not something stands behind it.
    pub(crate) fn key(&self, key: &str) -> Option<Mark> {
        Some(self.pairs.iter().find(|(found, _)| found.text == key)?.0.mark)
    }
}

impl Reader {
    pub(crate) fn complain(&mut self, mark: Mark, problem: impl Into<String>) {
        let Mark { line, column } = mark;
        self.errors.push(RuleError {
            file: self.file.clone(),
            line,
            column,
            problem: problem.into(),
        });
    }

    pub(crate) fn faults(&mut self, faults: Vec<Fault>) {
        for Fault { mark, sentence } in faults {
            self.complain(mark, sentence);
        }
    }

    /// A mapping that has these keys and no others; `what` names it.
    pub(crate) fn fields<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        keys: &[&str],
    ) -> Option<Fields<'n>> {
        let pairs = self.pairs(node, what)?;
        let mut are_known = true;
        for (key, _) in pairs {
            let given = key.text.as_str();
            if keys.contains(&given) {
                continue;
            }
            are_known = false;
            let advice = match nearest(given, keys.iter().copied()) {
                Some(known) => format!("did you mean {known:?}?"),
                None => format!("known are {}", keys.join(", ")),
            };
            self.complain(key.mark, format!("unknown key {} in {what}; {advice}", quoted(given)));
        }
        Some(Fields { mark: node.mark, pairs, are_known })
    }

    /// A mapping of any keys. Nothing is an empty one.
    pub(crate) fn pairs<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [(Key, Node)]> {
        match &node.content {
            Content::Map(pairs) => Some(pairs),
            Content::Empty => Some(&[]),
            Content::Refused => None,
            Content::Scalar(_) | Content::List(_) => {
                self.complain(node.mark, format!("{what} must be a mapping of keys to values"));
                None
            }
        }
    }

    /// The items of a list. Nothing is an empty one.
    pub(crate) fn items<'n>(&mut self, node: Option<&'n Node>, what: &str) -> &'n [Node] {
        match node.map(|node| (node.mark, &node.content)) {
            Some((_, Content::List(items))) => items,
            None | Some((_, Content::Empty | Content::Refused)) => &[],
            Some((mark, Content::Scalar(_) | Content::Map(_))) => {
                self.complain(mark, format!("{what} must be a list"));
                &[]
            }
        }
    }

    /// A scalar as it was written; nothing is the empty text.
    pub(crate) fn scalar<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        match &node.content {
            Content::Scalar(text) => Some(text),
            Content::Empty => Some(""),
            Content::Refused => None,
            Content::List(_) | Content::Map(_) => {
                self.complain(node.mark, format!("{what} must be a text"));
                None
            }
        }
    }

    pub(crate) fn text<'n>(&mut self, fields: &Fields<'n>, key: &str) -> Option<&'n str> {
        self.scalar(fields.get(key)?, &format!("{key:?}"))
    }

    pub(crate) fn duration(&mut self, fields: &Fields<'_>, key: &str) -> Option<Duration> {
        let text = self.text(fields, key)?;
        match parse_duration(text) {
            Ok(millis) => Some(Duration::from_millis(millis.unsigned_abs())),
            Err(error) => {
                self.complain(fields.get(key)?.mark, format!("{key}: {error}"));
                None
            }
        }
    }

    pub(crate) fn number<N: std::str::FromStr>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        kind: &str,
    ) -> Option<N> {
        let text = self.text(fields, key)?;
        let number = text.parse().ok();
        if number.is_none() {
            self.complain(fields.get(key)?.mark, format!("{key}: {} is no {kind}", quoted(text)));
        }
        number
    }

    /// An expression that yields series, or a number that becomes one.
    pub(crate) fn expression(&mut self, fields: &Fields<'_>, key: &str) -> Option<(Expr, Text)> {
        let node = fields.get(key)?;
        let text = self.scalar(node, &format!("{key:?}"))?;
        match checked(text) {
            Ok(expr) => Some((expr, text.into())),
            Err(problem) => {
                self.complain(node.mark, format!("{key}: {problem}"));
                None
            }
        }
    }
}

/// The problem begins with the place inside the expression.
fn checked(text: &str) -> Result<Expr, String> {
    let expr = parse(text).map_err(|error| error.to_string())?;
    match expr.type_of() {
        Type::Vector | Type::Scalar => Ok(expr),
        kind @ (Type::Matrix | Type::Text) => {
            Err(format!("it yields a {}; a rule wants an instant vector or a scalar", kind.name()))
        }
    }
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`
pub(crate) fn is_label_name(name: &str) -> bool {
    is_metric_name(name) && !name.contains(':')
}

/// The same with colons.
pub(crate) fn is_metric_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    name.bytes().next().is_some_and(|first| !first.is_ascii_digit()) && name.bytes().all(is_part)
}
