//! The templates of labels and annotations: Go's `text/template` as far as rules use it, with the
//! functions that Prometheus adds.
//!
//! What is no template is refused when it is read, with its place. Rendering is bounded in steps,
//! output, depth and queries, so that no rule can hold up its evaluation or fill the memory.

use std::{fmt, sync::Arc};

use farol_model::{Labels, Text};

mod duration;
mod functions;
mod lex;
mod number;
mod parse;
mod printf;
mod run;
mod time;
mod value;

use parse::Node;

#[derive(Clone, Debug)]
pub struct Template {
    /// As it was written.
    pub text: Text,
    parsed: Arc<Parsed>,
}

#[derive(Debug)]
struct Parsed {
    nodes: Vec<Node>,
    /// What `define` has named.
    named: Vec<(Text, Vec<Node>)>,
}

/// Why a text is no template. Both from 1, the column in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for TemplateError {}

/// What a template may speak of.
pub struct Context<'a> {
    /// Of the expression's result, with `__name__` if it has one.
    pub labels: &'a Labels,
    pub value: f64,
    pub external_labels: &'a Labels,
    /// Where people reach this program; empty if that is not known.
    pub external_url: &'a str,
    /// Answers an expression at the time of the evaluation.
    pub query: &'a dyn Fn(&str) -> Result<Vec<Sample>, String>,
}

/// One series of a query's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// With `__name__` if it has one.
    pub labels: Labels,
    pub value: f64,
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("labels", &self.labels).finish_non_exhaustive()
    }
}

/// In bytes; nobody writes more into an annotation.
const LONGEST: usize = 64 * 1024;

impl Template {
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        let placed = |problem: Problem| {
            let (line, column) = line_and_column(text, problem.at);
            TemplateError { line, column, message: problem.message }
        };
        if text.len() > LONGEST {
            let message =
                format!("the template has {} bytes, {LONGEST} at most are read", text.len());
            return Err(placed(Problem { at: 0, message }));
        }
        let (nodes, named) = parse::parse(text).map_err(placed)?;
        Ok(Template { text: text.into(), parsed: Arc::new(Parsed { nodes, named }) })
    }

    /// The text with all actions done. An error begins with its place in the template.
    pub fn render(&self, context: &Context<'_>) -> Result<String, String> {
        run::run(&self.parsed.nodes, &self.parsed.named, context).map_err(|problem| {
            let (line, column) = line_and_column(&self.text, problem.at);
            format!("{line}:{column}: {}", problem.message)
        })
    }

    /// The same; what went wrong stands in the text, as in Prometheus.
    pub fn expand(&self, context: &Context<'_>) -> String {
        let rendered = self.render(context);
        rendered.unwrap_or_else(|error| format!("<error expanding template: {error}>"))
    }
}

/// What is wrong at a byte of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Problem {
    at: usize,
    message: String,
}

fn problem<T>(at: usize, message: impl Into<String>) -> Result<T, Problem> {
    Err(Problem { at, message: message.into() })
}

/// Both from 1, the column in characters.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let last = before.rsplit('\n').next().unwrap_or_default();
    (line, last.chars().count() + 1)
}
