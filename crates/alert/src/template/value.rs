//! What an expression in a template comes to, and how Go would print it.

use std::{collections::BTreeMap, sync::Arc};

use farol_model::{Labels, Text};

use super::{Sample, duration, number::shortest, time};

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// What is not there.
    Nothing,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Text),
    Labels(Labels),
    Sample(Sample),
    Samples(Arc<[Sample]>),
    /// Nanoseconds since 1970.
    Time(i64),
    /// Nanoseconds.
    Duration(i64),
    /// What `args` makes.
    Args(Arc<Args>),
    /// The dot at the beginning: labels, value and so on.
    Data,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Args {
    pub(super) named: BTreeMap<String, Value>,
    /// Values in it and in those in it: a few words can double it again and again.
    pub(super) size: usize,
}

impl Value {
    /// The type's name in Go's messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Nothing => "nil",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float64",
            Value::Text(_) => "string",
            Value::Labels(_) => "map[string]string",
            Value::Sample(_) => "*template.sample",
            Value::Samples(_) => "template.queryResult",
            Value::Time(_) => "*time.Time",
            Value::Duration(_) => "time.Duration",
            Value::Args(_) => "map[string]interface {}",
            Value::Data => "struct of the alert",
        }
    }

    /// Whether `if` takes it for true: what is neither zero nor empty.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Value::Nothing => false,
            Value::Bool(is_true) => *is_true,
            Value::Int(number) | Value::Duration(number) => *number != 0,
            Value::Float(number) => *number != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::Labels(labels) => !labels.is_empty(),
            Value::Samples(samples) => !samples.is_empty(),
            Value::Args(args) => !args.named.is_empty(),
            Value::Sample(_) | Value::Time(_) | Value::Data => true,
        }
    }

    /// As an action writes it.
    pub(super) fn print(&self) -> String {
        match self {
            Value::Nothing => "<no value>".to_owned(),
            Value::Sample(sample) => print_sample(sample),
            _ => self.formatted(),
        }
    }

    /// As `%v` writes it.
    pub(super) fn formatted(&self) -> String {
        match self {
            Value::Nothing => "<nil>".to_owned(),
            Value::Bool(is_true) => is_true.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Float(number) => shortest(*number),
            Value::Text(text) => text.to_string(),
            Value::Labels(labels) => print_labels(labels),
            Value::Sample(sample) => format!("&{}", print_sample(sample)),
            Value::Samples(samples) => {
                let samples: Vec<String> = samples.iter().map(print_sample).collect();
                format!("[{}]", samples.join(" "))
            }
            Value::Time(nanos) => time::print(*nanos),
            Value::Duration(nanos) => duration::print(*nanos),
            Value::Args(args) => {
                let pairs: Vec<String> = args
                    .named
                    .iter()
                    .map(|(name, value)| format!("{name}:{}", value.formatted()))
                    .collect();
                format!("map[{}]", pairs.join(" "))
            }
            // The run, which knows the alert, writes it whole.
            Value::Data => "{}".to_owned(),
        }
    }
}

fn print_labels(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}:{value}")).collect();
    format!("map[{}]", pairs.join(" "))
}

fn print_sample(sample: &Sample) -> String {
    format!("{{{} {}}}", print_labels(&sample.labels), shortest(sample.value))
}
