//! A template done: its text with each action replaced by what it comes to.

use farol_model::Text;

use super::{
    Context, Problem, Sample,
    functions::Function,
    number::shortest,
    parse::{Branch, BranchKind, Command, Node, Operand, OperandKind, Pipeline},
    problem, time,
    value::Value,
};

/// In bytes; of the whole output and of each text that a function makes.
pub(super) const MOST_OUTPUT: usize = 64 * 1024;

/// Actions, operands and turns of `range`; long texts and patterns count as many.
const MOST_STEPS: usize = 20_000;

const MOST_QUERIES: usize = 20;

/// So deep may templates call each other.
const DEEPEST: usize = 30;

pub(super) fn run(
    nodes: &[Node],
    named: &[(Text, Vec<Node>)],
    context: &Context<'_>,
) -> Result<String, Problem> {
    let mut run = Run {
        named,
        context,
        out: String::new(),
        variables: vec![
            ("$".into(), Value::Data),
            ("$labels".into(), Value::Labels(context.labels.clone())),
            ("$externalLabels".into(), Value::Labels(context.external_labels.clone())),
            ("$externalURL".into(), Value::Text(context.external_url.into())),
            ("$value".into(), Value::Float(context.value)),
        ],
        steps: 0,
        queries: 0,
        depth: 0,
    };
    run.walk(nodes, &Value::Data)?;
    Ok(run.out)
}

pub(super) struct Run<'a> {
    named: &'a [(Text, Vec<Node>)],
    pub(super) context: &'a Context<'a>,
    out: String,
    /// The innermost last.
    variables: Vec<(Text, Value)>,
    steps: usize,
    queries: usize,
    depth: usize,
}

/// What follows a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

impl<'a> Run<'a> {
    fn walk(&mut self, nodes: &'a [Node], dot: &Value) -> Result<Flow, Problem> {
        for node in nodes {
            let flow = match node {
                Node::Text(text) => self.write(text, 0).map(|()| Flow::Next)?,
                Node::Action(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    if pipeline.variables.is_empty() {
                        let text = self.print(&value);
                        self.write(&text, pipeline.at)?;
                    }
                    Flow::Next
                }
                Node::Branch(branch) => self.branch(branch, dot)?,
                Node::Template { at, name, data } => {
                    self.template(*at, name, data.as_ref(), dot)?;
                    Flow::Next
                }
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn write(&mut self, text: &str, at: usize) -> Result<(), Problem> {
        self.out.push_str(text);
        if self.out.len() > MOST_OUTPUT {
            return problem(at, format!("writes more than {MOST_OUTPUT} bytes"));
        }
        Ok(())
    }

    fn print(&self, value: &Value) -> String {
        match value {
            Value::Data => {
                let Context { labels, value, external_labels, external_url, .. } = self.context;
                let shown =
                    |labels: &farol_model::Labels| Value::Labels(labels.clone()).formatted();
                let (labels, external) = (shown(labels), shown(external_labels));
                format!("{{{labels} {external} {external_url} {}}}", shortest(*value))
            }
            value => value.print(),
        }
    }

    fn branch(&mut self, branch: &'a Branch, dot: &Value) -> Result<Flow, Problem> {
        let declared = self.variables.len();
        let value = self.pipeline(&branch.pipeline, dot)?;
        let flow = match branch.kind {
            BranchKind::If if value.is_true() => self.walk(&branch.then, dot),
            BranchKind::With if value.is_true() => self.walk(&branch.then, &value),
            BranchKind::If | BranchKind::With => self.walk(&branch.otherwise, dot),
            BranchKind::Range => self.range(branch, &value, dot),
        };
        self.variables.truncate(declared);
        flow
    }

    fn range(&mut self, branch: &'a Branch, value: &Value, dot: &Value) -> Result<Flow, Problem> {
        let at = branch.pipeline.at;
        let pairs = self.pairs(value, at)?;
        if pairs.is_empty() {
            return self.walk(&branch.otherwise, dot);
        }
        for (key, element) in pairs {
            self.step(1, at)?;
            let declared = self.variables.len();
            match &branch.pipeline.variables[..] {
                [] => {}
                [name] => self.set(&branch.pipeline, name, element.clone())?,
                [first, second, ..] => {
                    self.set(&branch.pipeline, first, key)?;
                    self.set(&branch.pipeline, second, element.clone())?;
                }
            }
            let flow = self.walk(&branch.then, &element)?;
            self.variables.truncate(declared);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }

    /// What `range` goes over: keys and elements.
    fn pairs(&self, value: &Value, at: usize) -> Result<Vec<(Value, Value)>, Problem> {
        let text = |text: &Text| Value::Text(text.clone());
        Ok(match value {
            Value::Nothing => Vec::new(),
            Value::Samples(samples) => {
                let numbered = (0..).zip(samples.iter());
                numbered
                    .map(|(at, sample)| (Value::Int(at), Value::Sample(sample.clone())))
                    .collect()
            }
            Value::Labels(labels) => {
                labels.iter().map(|(name, value)| (text(name), text(value))).collect()
            }
            Value::Args(args) => {
                let pairs = args.named.iter();
                pairs
                    .map(|(name, value)| (Value::Text(name.as_str().into()), value.clone()))
                    .collect()
            }
            Value::Int(count) => {
                let most = i64::try_from(MOST_STEPS).unwrap_or(i64::MAX);
                if *count > most {
                    return problem(at, format!("range over {count}: {most} turns at most"));
                }
                (0..*count).map(|at| (Value::Int(at), Value::Int(at))).collect()
            }
            other => return problem(at, format!("range can't iterate over a {}", other.kind())),
        })
    }

    fn template(
        &mut self,
        at: usize,
        name: &Text,
        data: Option<&'a Pipeline>,
        dot: &Value,
    ) -> Result<(), Problem> {
        let named = self.named;
        let Some((_, nodes)) = named.iter().find(|(known, _)| known == name) else {
            return problem(at, format!("template {name:?} not defined"));
        };
        if self.depth >= DEEPEST {
            return problem(at, format!("templates call each other more than {DEEPEST} deep"));
        }
        self.step(1, at)?;
        let data = data.map_or(Ok(Value::Nothing), |data| self.pipeline(data, dot))?;
        let outside = std::mem::replace(&mut self.variables, vec![("$".into(), data.clone())]);
        self.depth += 1;
        let result = self.walk(nodes, &data);
        self.depth -= 1;
        self.variables = outside;
        result.map(|_| ())
    }

    fn pipeline(&mut self, pipeline: &'a Pipeline, dot: &Value) -> Result<Value, Problem> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        let value = value.unwrap_or(Value::Nothing);
        // Of two, range sets both itself.
        if let [name] = &pipeline.variables[..] {
            self.set(pipeline, name, value.clone())?;
        }
        Ok(value)
    }

    fn set(&mut self, pipeline: &Pipeline, name: &Text, value: Value) -> Result<(), Problem> {
        if !pipeline.assigns {
            self.variables.push((name.clone(), value));
            return Ok(());
        }
        match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            Some((_, held)) => *held = value,
            None => return problem(pipeline.at, format!("undefined variable: {name}")),
        }
        Ok(())
    }

    /// `piped` is what the command before it came to: the last argument.
    fn command(
        &mut self,
        command: &'a Command,
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, Problem> {
        let [first, rest @ ..] = &command.operands[..] else { return Ok(Value::Nothing) };
        self.step(1, first.at)?;
        let has_arguments = !rest.is_empty() || piped.is_some();
        match &first.kind {
            OperandKind::Function(function) if first.fields.is_empty() => {
                self.call(first, function, rest, dot, piped)
            }
            _ if !has_arguments => self.operand(first, dot),
            _ => self.method(first, rest, dot, piped),
        }
    }

    fn call(
        &mut self,
        operand: &Operand,
        function: &'static Function,
        rest: &'a [Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, Problem> {
        let given = rest.len() + usize::from(piped.is_some());
        let (least, most) = function.arguments;
        if given < least || given > most {
            let wanted =
                if least == most { format!("{least}") } else { format!("at least {least}") };
            let name = function.name;
            let message = format!("wrong number of args for {name}: want {wanted} got {given}");
            return problem(operand.at, message);
        }
        if let Some(stops_at) = function.short_circuit {
            return self.short_circuit(stops_at, rest, dot, piped);
        }
        let mut arguments = Vec::with_capacity(given);
        for operand in rest {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(piped);
        if function.name.starts_with("print") {
            // Only here is it known what the alert is.
            for argument in arguments.iter_mut().filter(|value| matches!(value, Value::Data)) {
                *argument = Value::Text(self.print(argument).into());
            }
        }
        let length: usize = arguments.iter().map(length).sum();
        self.step(length / 256, operand.at)?;
        let named = |message: String| Problem {
            at: operand.at,
            message: format!("error calling {}: {message}", function.name),
        };
        let value = (function.run)(self, &arguments).map_err(named)?;
        if length_of_result(&value) > MOST_OUTPUT {
            return Err(named(format!("makes a text of more than {MOST_OUTPUT} bytes")));
        }
        Ok(value)
    }

    /// `and` and `or`: the first that decides, and what stands behind it is not asked.
    fn short_circuit(
        &mut self,
        stops_at: bool,
        rest: &'a [Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, Problem> {
        let mut value = Value::Nothing;
        for operand in rest {
            value = self.operand(operand, dot)?;
            if value.is_true() == stops_at {
                return Ok(value);
            }
        }
        Ok(piped.unwrap_or(value))
    }

    fn operand(&mut self, operand: &'a Operand, dot: &Value) -> Result<Value, Problem> {
        let mut value = self.base(operand, dot)?;
        for field in &operand.fields {
            let found = self.field(&value, field);
            value = found.map_err(|message| Problem { at: operand.at, message })?;
        }
        Ok(value)
    }

    /// Without the fields.
    fn base(&mut self, operand: &'a Operand, dot: &Value) -> Result<Value, Problem> {
        Ok(match &operand.kind {
            OperandKind::Constant(value) => value.clone(),
            OperandKind::Nil => Value::Nothing,
            OperandKind::Dot => dot.clone(),
            OperandKind::Variable(name) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                match found {
                    Some((_, value)) => value.clone(),
                    None => return problem(operand.at, format!("undefined variable: {name}")),
                }
            }
            OperandKind::Function(function) => {
                self.step(1, operand.at)?;
                self.call(operand, function, &[], dot, None)?
            }
            OperandKind::Pipeline(pipeline) => {
                self.step(1, operand.at)?;
                let declared = self.variables.len();
                let value = self.pipeline(pipeline, dot)?;
                self.variables.truncate(declared);
                value
            }
        })
    }

    fn field(&self, value: &Value, name: &str) -> Result<Value, String> {
        let text = |text: Option<&str>| Value::Text(text.unwrap_or_default().into());
        Ok(match (value, name) {
            (Value::Data, "Labels") => Value::Labels(self.context.labels.clone()),
            (Value::Data, "ExternalLabels") => Value::Labels(self.context.external_labels.clone()),
            (Value::Data, "ExternalURL") => Value::Text(self.context.external_url.into()),
            (Value::Data, "Value") => Value::Float(self.context.value),
            (Value::Sample(Sample { labels, .. }), "Labels") => Value::Labels(labels.clone()),
            (Value::Sample(Sample { value, .. }), "Value") => Value::Float(*value),
            (Value::Labels(labels), name) => text(labels.get(name)),
            (Value::Args(args), name) => args.named.get(name).cloned().unwrap_or(Value::Nothing),
            (Value::Nothing, _) => Value::Nothing,
            (Value::Time(_) | Value::Duration(_), name) => self.plain_method(value, name)?,
            (value, name) => {
                return Err(format!("can't evaluate field {name} in type {}", value.kind()));
            }
        })
    }

    /// Methods of times and durations that take nothing.
    fn plain_method(&self, value: &Value, name: &str) -> Result<Value, String> {
        const NANOS: f64 = 1e9;
        Ok(match (value, name) {
            (Value::Time(nanos), "UTC" | "Local") => Value::Time(*nanos),
            (Value::Time(nanos), "Unix") => Value::Int(nanos.div_euclid(1_000_000_000)),
            (Value::Time(nanos), "UnixMilli") => Value::Int(nanos.div_euclid(1_000_000)),
            (Value::Time(nanos), "UnixNano") => Value::Int(*nanos),
            (Value::Time(_) | Value::Duration(_), "String") => {
                Value::Text(value.formatted().into())
            }
            (Value::Duration(nanos), "Seconds") => Value::Float(*nanos as f64 / NANOS),
            (Value::Duration(nanos), "Minutes") => Value::Float(*nanos as f64 / NANOS / 60.0),
            (Value::Duration(nanos), "Hours") => Value::Float(*nanos as f64 / NANOS / 3600.0),
            (Value::Duration(nanos), "Milliseconds") => Value::Int(nanos / 1_000_000),
            (value, name) => {
                return Err(format!("can't evaluate field {name} in type {}", value.kind()));
            }
        })
    }

    /// Only a method takes arguments, and the only one is `Format`.
    fn method(
        &mut self,
        first: &'a Operand,
        rest: &'a [Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, Problem> {
        let at = first.at;
        let Some((name, before)) = first.fields.split_last() else {
            return problem(at, "can't give argument to non-function");
        };
        let mut owner = self.base(first, dot)?;
        for field in before {
            owner = self.field(&owner, field).map_err(|message| Problem { at, message })?;
        }
        let mut arguments = Vec::new();
        for operand in rest {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(piped);
        match (&owner, name.as_str(), &arguments[..]) {
            (Value::Time(nanos), "Format", [Value::Text(layout)]) => {
                Ok(Value::Text(time::layout(*nanos, layout).into()))
            }
            _ => problem(at, format!("{name} is not a method but has arguments")),
        }
    }

    pub(super) fn query(&mut self, expression: &str) -> Result<Vec<Sample>, String> {
        if self.queries >= MOST_QUERIES {
            return Err(format!("more than {MOST_QUERIES} queries in one template"));
        }
        self.queries += 1;
        (self.context.query)(expression)
    }

    /// For what costs more than most.
    pub(super) fn costs(&mut self, steps: usize) -> Result<(), String> {
        self.step(steps, 0).map_err(|problem| problem.message)
    }

    fn step(&mut self, steps: usize, at: usize) -> Result<(), Problem> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > MOST_STEPS {
            return problem(at, format!("takes more than {MOST_STEPS} steps"));
        }
        Ok(())
    }
}

fn length(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Samples(samples) => samples.len() * 16,
        Value::Labels(labels) => labels.len() * 16,
        Value::Args(args) => args.size * 16,
        _ => 0,
    }
}

fn length_of_result(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        _ => 0,
    }
}
