//! Calls of functions, and aggregations.

use super::{Node, Parser, Read, either, operator::is_fill, similar::similar};
use crate::{
    Aggregate, Aggregation, Expr, Function, Grouping, Kind, Span, Type, lex::cut, print::quoted,
};

impl Parser<'_> {
    /// At a word that a parenthesis follows.
    pub(super) fn call(&mut self) -> Read<Node> {
        let name_span = self.span();
        let name = self.word().unwrap_or_default();
        let Some(function) = Function::find(name) else {
            return self.fail(name_span, unknown(name));
        };
        self.advance();
        let arguments = self.arguments(&format!("the call to function {}", quoted(name)))?;
        let span = self.since(name_span.start);
        self.check_count(function, arguments.len(), span)?;
        for (place, argument) in arguments.iter().enumerate() {
            let wanted = function.args.get(place).or(function.args.last());
            let context = || format!("call to function {}", quoted(function.name));
            self.expect_type(&argument.expr, wanted.copied(), context)?;
        }
        let heights: Vec<usize> = arguments.iter().map(|argument| argument.height).collect();
        let args = arguments.into_iter().map(|argument| *argument.expr).collect();
        self.above(Expr { span, kind: Kind::Call { function, args } }, heights)
    }

    /// Behind the aggregation's name.
    pub(super) fn aggregate(&mut self, op: Aggregation, start: usize) -> Read<Node> {
        let mut grouping = self.grouping()?;
        let arguments = self.arguments(&format!("aggregation {}", quoted(op.name())))?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        let span = self.since(start);
        let expected = if op.parameter().is_some() { 2 } else { 1 };
        let found = arguments.len();
        if found == 0 {
            return self.fail(span, "no arguments for aggregate expression provided");
        }
        if found != expected {
            let hint = match op.parameter() {
                Some(_) if found == 1 => format!(": {} takes its parameter first", op.name()),
                _ => String::new(),
            };
            let problem = format!(
                "wrong number of arguments for aggregate expression provided, expected {expected}, \
                 got {found}{hint}"
            );
            return self.fail(span, problem);
        }
        let heights: Vec<usize> = arguments.iter().map(|argument| argument.height).collect();
        let mut exprs = arguments.into_iter().map(|argument| *argument.expr);
        let parameter = if expected == 2 { exprs.next() } else { None };
        let expr = exprs.next().expect("they are as many as expected");
        self.expect_type(&expr, Some(Type::Vector), || "aggregation expression".to_owned())?;
        if let Some(parameter) = &parameter {
            self.expect_type(parameter, op.parameter(), || "aggregation parameter".to_owned())?;
        }
        // `by ()` says nothing.
        let is_written =
            grouping.as_ref().is_some_and(|by| !matches!(by, Grouping::By(l) if l.is_empty()));
        let grouping = grouping.unwrap_or(Grouping::By(Vec::new()));
        let aggregate = Aggregate { op, parameter, expr, grouping, is_written };
        self.above(Expr { span, kind: Kind::Aggregate(Box::new(aggregate)) }, heights)
    }

    fn grouping(&mut self) -> Read<Option<Grouping>> {
        Ok(if self.take_word("by") {
            Some(Grouping::By(self.labels("by")?))
        } else if self.take_word("without") {
            Some(Grouping::Without(self.labels("without")?))
        } else {
            None
        })
    }

    fn arguments(&mut self, context: &str) -> Read<Vec<Node>> {
        self.expect_sign("(", context, "\"(\"")?;
        let mut arguments = Vec::new();
        if self.take_sign(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression()?);
            if self.take_sign(")") {
                return Ok(arguments);
            }
            let comma = self.span();
            if !self.take_sign(",") {
                let problem = self.after_expression();
                return Err(
                    problem.unwrap_or_else(|| self.unexpected(context, &either(&[",", ")"])))
                );
            }
            if self.is_sign(")") {
                return self.fail(comma, "trailing commas not allowed in function call args");
            }
        }
    }

    fn check_count(&self, function: &Function, found: usize, span: Span) -> Read<()> {
        let most = function.args.len();
        let least = most - function.optional;
        let expected = if function.optional == 0 && !function.repeats {
            if found == most {
                return Ok(());
            }
            format!("{most}")
        } else if found < least {
            format!("at least {least}")
        } else if found > most && !function.repeats {
            format!("at most {most}")
        } else {
            return Ok(());
        };
        let problem = format!(
            "expected {expected} argument(s) in call to {}, got {found}: {}",
            quoted(function.name),
            usage(function)
        );
        self.fail(span, problem)
    }

    fn expect_type(
        &self,
        expr: &Expr,
        wanted: Option<Type>,
        context: impl FnOnce() -> String,
    ) -> Read<()> {
        let found = expr.type_of();
        let Some(wanted) = wanted.filter(|wanted| *wanted != found) else { return Ok(()) };
        let hint = match (wanted, found) {
            (Type::Matrix, Type::Vector) if matches!(expr.kind, Kind::Selector(_)) => {
                ": add a range, as in [5m]"
            }
            (Type::Matrix, Type::Vector) => ": take a subquery of it, as in (…)[1h:5m]",
            (Type::Vector, Type::Matrix) => ": take a value of its range first, as in rate(…)",
            (Type::Vector, Type::Scalar) => ": make it one by vector(…)",
            (Type::Scalar, Type::Vector) => ": make it one by scalar(…)",
            _ => "",
        };
        let problem =
            format!("expected type {} in {}, got {}{hint}", wanted.name(), context(), found.name());
        self.fail(expr.span, problem)
    }
}

fn unknown(name: &str) -> String {
    let problem = format!("unknown function with name {}", quoted(&cut(name)));
    if is_fill(name) {
        return format!("the modifier {} is not supported", name.to_lowercase());
    }
    let elsewhere = match name {
        "start" | "end" => Some("it only stands after @"),
        "step" | "range" => Some("it only stands in durations, as in [step()]"),
        _ => None,
    };
    match elsewhere.or_else(|| similar(name)) {
        Some(hint) if elsewhere.is_some() => format!("{problem}: {hint}"),
        Some(near) => format!("{problem}, did you mean {}?", quoted(near)),
        None => problem,
    }
}

/// `clamp_max(instant vector, scalar)`
fn usage(function: &Function) -> String {
    let mut args: Vec<String> = Vec::new();
    let least = function.args.len() - function.optional;
    for (place, arg) in function.args.iter().enumerate() {
        let is_last = place + 1 == function.args.len();
        let dots = if is_last && function.repeats { " …" } else { "" };
        let name = arg.name();
        args.push(if place < least { format!("{name}{dots}") } else { format!("[{name}{dots}]") });
    }
    format!("{}({})", function.name, args.join(", "))
}
