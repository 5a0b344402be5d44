//! What an answer says about itself: warnings and remarks, each with its place in the expression.

use std::collections::BTreeSet;

use crate::Span;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The answer is probably not what was meant.
    Warning,
    Info,
}

/// One remark. Its text ends with ` (line:column)` of what it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Note {
    pub level: Level,
    pub text: String,
}

/// Remarks as they are gathered: each once.
#[derive(Debug)]
pub(crate) struct Notes<'a> {
    /// The expression's text.
    query: &'a str,
    notes: BTreeSet<Note>,
}

/// So many are kept; a bad query could make one for each series.
const MOST: usize = 100;

impl<'a> Notes<'a> {
    pub(crate) fn new(query: &'a str) -> Notes<'a> {
        Notes { query, notes: BTreeSet::new() }
    }

    /// A warning about the data, and not about the expression.
    pub(crate) fn say(&mut self, text: &str) {
        if self.notes.len() < MOST {
            self.notes.insert(Note { level: Level::Warning, text: text.to_owned() });
        }
    }

    pub(crate) fn warn(&mut self, span: Span, text: &str) {
        self.add(Level::Warning, span, text);
    }

    pub(crate) fn inform(&mut self, span: Span, text: &str) {
        self.add(Level::Info, span, text);
    }

    /// Warnings first, then by their text.
    pub(crate) fn into_list(self) -> Vec<Note> {
        self.notes.into_iter().collect()
    }

    fn add(&mut self, level: Level, span: Span, text: &str) {
        if self.notes.len() >= MOST {
            return;
        }
        let prefix = match level {
            Level::Warning => "PromQL warning",
            Level::Info => "PromQL info",
        };
        let (line, column) = line_and_column(self.query, span.start);
        self.notes.insert(Note { level, text: format!("{prefix}: {text} ({line}:{column})") });
    }
}

/// Both from 1, the column in characters.
pub(crate) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    (line, before.get(line_start..).unwrap_or("").chars().count() + 1)
}
