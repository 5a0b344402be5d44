//! The language's behaviour, written down in `suite/*.test`: load these series, evaluate this, expect
//! that. `suite/README.md` has the notation.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::string_slice,
    reason = "a test reads its own files and panics where it fails"
)]

#[path = "suite/run.rs"]
mod run;
#[path = "suite/script.rs"]
mod script;
#[path = "common/world.rs"]
mod world;

use std::{collections::BTreeSet, fs, path::PathBuf};

use farol_query::{Aggregation, BinaryOp, Expr, FUNCTIONS, Kind, parse};

fn files() -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/suite");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "test"))
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(&path).unwrap())
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn every_case_answers_as_it_is_written() {
    let mut failures = Vec::new();
    let mut cases = 0;
    for (name, text) in files() {
        let commands = script::read(&name, &text).unwrap();
        cases += run::run(&name, &commands, &mut failures);
    }
    println!("{cases} cases");
    let count = failures.len();
    assert!(failures.is_empty(), "{}\n{count} of {cases} cases failed", failures.join("\n"));
}

/// What is not there is not tested: a new row in a table asks for its cases.
#[test]
fn every_function_operator_and_aggregation_has_a_case() {
    let mut seen = BTreeSet::new();
    for (name, text) in files() {
        for command in script::read(&name, &text).unwrap() {
            if let script::Command::Eval(eval) = command
                && let Ok(expr) = parse(&eval.expr)
            {
                gather(&expr, &mut seen);
            }
        }
    }
    let functions = FUNCTIONS.iter().map(|function| function.name);
    let aggregations = Aggregation::ALL.iter().map(|(name, _)| *name);
    let operators = BinaryOp::ALL.iter().map(|(sign, _)| *sign);
    let all = functions.chain(aggregations).chain(operators);
    let missing: Vec<&str> = all.filter(|name| !seen.contains(name)).collect();
    assert!(missing.is_empty(), "no case has {missing:?}");
}

fn gather(expr: &Expr, seen: &mut BTreeSet<&'static str>) {
    match &expr.kind {
        Kind::Number { .. } | Kind::Text(_) | Kind::Selector(_) | Kind::Range { .. } => {}
        Kind::Paren(inner) => gather(inner, seen),
        Kind::Unary { expr, .. } => gather(expr, seen),
        Kind::Binary(binary) => {
            seen.insert(binary.op.sign());
            gather(&binary.left, seen);
            gather(&binary.right, seen);
        }
        Kind::Aggregate(aggregate) => {
            seen.insert(aggregate.op.name());
            gather(&aggregate.expr, seen);
            if let Some(parameter) = &aggregate.parameter {
                gather(parameter, seen);
            }
        }
        Kind::Call { function, args } => {
            seen.insert(function.name);
            args.iter().for_each(|arg| gather(arg, seen));
        }
        Kind::Subquery(subquery) => gather(&subquery.expr, seen),
    }
}

/// The same question of the same series twice says nothing new.
#[test]
fn no_case_is_there_twice() {
    for (name, text) in files() {
        let mut seen = BTreeSet::new();
        for command in script::read(&name, &text).unwrap() {
            match command {
                script::Command::Clear => seen.clear(),
                script::Command::Load(_) => {}
                script::Command::Eval(eval) => {
                    let key = format!("{:?} {}", eval.when, eval.expr);
                    assert!(seen.insert(key), "{name}:{}: there already: {}", eval.line, eval.expr);
                }
            }
        }
    }
}
