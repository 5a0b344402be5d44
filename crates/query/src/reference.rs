//! The language's reference page, from the tables.

use std::fmt::Write;

use crate::{Aggregation, BinaryOp, FUNCTIONS, Function, Type};

/// The page `docs/reference/promql.md`.
pub fn reference_markdown() -> String {
    let mut page = String::from(
        "<!-- Generated from the language's tables; `UPDATE=1 cargo test -p farol-query --test reference` rewrites it. -->

# PromQL

Expressions mean what they mean in Prometheus 3, for floats and classic histograms. Not supported, and
said so by the error: native histograms, `smoothed`, `anchored`, and the `fill` modifiers of operators.

## Values

| type | what | written |
|---|---|---|
| scalar | one number | `1.5`, `1e6`, `0x1f`, `1_000`, `NaN`, `Inf`, `5m` (300) |
| string | a text | `\"…\"`, `'…'`, `` `…` `` |
| instant vector | one number for each series | `node_load1`, `{__name__=~\"node_.*\",job=\"x\"}` |
| range vector | the samples of each series in a window, without its start and with its end | `node_load1[5m]`, `node_load1[300]`, `(…)[1h:1m]` |

After a selector, a range or a subquery, `offset 5m` looks so much earlier, `@ 1700000000` at that
time, `@ start()` and `@ end()` at the ends of what is asked for.

## Operators

What binds most tightly comes first. All but `^` group from the left; a unary `-` binds like `*` does.

| operators | between | what |
|---|---|---|
",
    );
    for (ops, about) in OPERATORS {
        let signs: Vec<String> = ops.iter().map(|op| format!("`{}`", op.sign())).collect();
        let between = match ops.iter().all(|op| op.is_set()) {
            true => "vectors",
            false => "scalars, vectors",
        };
        row(&mut page, &[&signs.join(" "), between, about]);
    }
    page.push_str(
        "
Series of two vectors belong together if all their labels are equal, or those in `on(…)`, or all but
those in `ignoring(…)`. `group_left(…)` lets several of the left side meet one of the right, and takes
the labels named from there; `group_right(…)` the other way round.

## Aggregations

`by(…)` makes a group of all series that are alike in these labels, `without(…)` of those alike in all others.

| aggregation | what |
|---|---|
",
    );
    for (name, op) in Aggregation::ALL {
        let parameter = match op.parameter() {
            Some(kind) => format!("{}, ", kind.name()),
            None => String::new(),
        };
        let written = format!("`{name}({parameter}{})`", Type::Vector.name());
        row(&mut page, &[&written, about_aggregation(*op)]);
    }
    page.push_str(
        "
## Functions

What stands in brackets may be left out; `…` may come any number of times. Only where it says so is
the result still the same metric and keeps its name.

| function | returns | what |
|---|---|---|
",
    );
    for function in FUNCTIONS {
        let keeps = if function.keeps_name { "; keeps the name" } else { "" };
        let about = format!("{}{keeps}", function.about);
        row(&mut page, &[&signature(function), function.returns.name(), &about]);
    }
    page
}

const OPERATORS: &[(&[BinaryOp], &str)] = &[
    (&[BinaryOp::Power], "to the power of; groups from the right"),
    (
        &[BinaryOp::Multiply, BinaryOp::Divide, BinaryOp::Modulo, BinaryOp::Atan2],
        "times, divided by, the remainder, the angle of y and x",
    ),
    (&[BinaryOp::Add, BinaryOp::Subtract], "plus, minus"),
    (
        &[
            BinaryOp::Equal,
            BinaryOp::NotEqual,
            BinaryOp::Greater,
            BinaryOp::Less,
            BinaryOp::GreaterOrEqual,
            BinaryOp::LessOrEqual,
        ],
        "leaves out what is not so; with `bool` answers 0 or 1",
    ),
    (&[BinaryOp::And, BinaryOp::Unless], "series that the other side has, or has not"),
    (&[BinaryOp::Or], "series of either side; of both, those of the left"),
];

fn about_aggregation(op: Aggregation) -> &'static str {
    match op {
        Aggregation::Avg => "The mean",
        Aggregation::Bottomk => "So many series with the smallest values; keeps their labels",
        Aggregation::Count => "How many series there are",
        Aggregation::CountValues => {
            "For each value the number of series that have it, the value in a label of this name"
        }
        Aggregation::Group => "1 for each group",
        Aggregation::LimitRatio => {
            "Such a share of the series, chosen by their labels; with -r those that r leaves out"
        }
        Aggregation::Limitk => "So many series; keeps their labels",
        Aggregation::Max => "The largest value",
        Aggregation::Min => "The smallest value",
        Aggregation::Quantile => "A quantile, interpolated between its neighbours",
        Aggregation::Stddev => "The standard deviation",
        Aggregation::Stdvar => "The variance",
        Aggregation::Sum => "The sum",
        Aggregation::Topk => "So many series with the largest values; keeps their labels",
    }
}

/// `round(instant vector[, scalar])`
fn signature(function: &Function) -> String {
    let needed = function.args.len() - function.optional;
    let mut written = format!("`{}(", function.name);
    for (place, kind) in function.args.iter().enumerate() {
        if place == needed {
            written.push('[');
        }
        if place > 0 {
            written.push_str(", ");
        }
        written.push_str(kind.name());
    }
    if function.repeats {
        written.push_str(", …");
    }
    if function.optional > 0 {
        written.push(']');
    }
    written.push_str(")`");
    written
}

fn row(page: &mut String, cells: &[&str]) {
    let cells = cells.join(" | ").replace('\n', " ");
    writeln!(page, "| {cells} |").expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_is_told_of_once() {
        for (sign, op) in BinaryOp::ALL {
            let told = OPERATORS.iter().flat_map(|(ops, _)| *ops).filter(|told| *told == op);
            assert_eq!(told.count(), 1, "{sign}");
        }
    }

    #[test]
    fn a_signature_shows_what_may_be_left_out() {
        let written = |name| signature(Function::find(name).unwrap());
        assert_eq!(written("rate"), "`rate(range vector)`");
        assert_eq!(written("round"), "`round(instant vector[, scalar])`");
        assert_eq!(written("hour"), "`hour([instant vector])`");
        assert_eq!(
            written("label_join"),
            "`label_join(instant vector, string, string[, string, …])`"
        );
        assert_eq!(written("pi"), "`pi()`");
    }
}
