//! What is read and how it is printed, what is refused and where: the cases stand in text files.
//!
//! `parse/good.txt`: an expression a line, and after `=>` its canonical text if that is another.
//! `parse/bad.txt`: an expression, `=>`, the place and the message. In both `⏎` stands for a new line.
//! `parse/pretty.txt`: an expression in the first line of each part, below it how it is laid out.

#![expect(clippy::unwrap_used, reason = "a test that panics fails")]

use farol_query::{Expr, parse, parse_selector, pretty};
use proptest::prelude::*;

const GOOD: &str = include_str!("parse/good.txt");
const BAD: &str = include_str!("parse/bad.txt");
const PRETTY: &str = include_str!("parse/pretty.txt");

/// Lines that are no comment, in two parts.
fn cases(file: &'static str) -> impl Iterator<Item = (String, Option<&'static str>)> {
    let lines = file.lines().filter(|line| !line.is_empty() && !line.starts_with("//"));
    lines.map(|line| match line.split_once(" => ") {
        Some((text, expected)) => (unescaped(text), Some(expected)),
        None => (unescaped(line), None),
    })
}

fn unescaped(text: &str) -> String {
    text.replace('⏎', "\n")
}

/// What two trees must have in common: all but the places.
fn shape(expr: &Expr) -> String {
    let shown = format!("{expr:?}");
    let parts = shown.split("span: Span {").enumerate();
    parts
        .map(|(place, part)| if place == 0 { part } else { part.split_once('}').unwrap().1 })
        .collect()
}

fn must_parse(text: &str) -> Expr {
    parse(text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

#[test]
fn what_is_right_is_printed_in_its_canonical_form_and_read_again() {
    let mut failures = Vec::new();
    for (text, canonical) in cases(GOOD) {
        let canonical = canonical.map_or_else(|| text.clone(), unescaped);
        match parse(&text) {
            Err(error) => failures.push(format!("{text}\n    {error}")),
            Ok(expr) if expr.to_string() != canonical => {
                failures.push(format!("{text}\n    is printed {expr}\n    and should {canonical}"));
            }
            Ok(_) => {
                let again = must_parse(&canonical).to_string();
                assert_eq!(again, canonical, "printed twice");
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let mut failures = Vec::new();
    for (text, expected) in cases(BAD) {
        let found = match parse(&text) {
            Ok(expr) => format!("no error: {expr:?}"),
            Err(error) => {
                assert!(error.span.start <= error.span.end && error.span.end <= text.len());
                format!("{}:{}: {}", error.line, error.column, error.problem)
            }
        };
        if Some(found.as_str()) != expected {
            failures.push(format!("{} => {found}", text.replace('\n', "⏎")));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn long_expressions_are_laid_out_over_lines() {
    for part in PRETTY.split("\n\n").filter(|part| !part.starts_with("//")) {
        let (text, expected) = part.split_once('\n').unwrap();
        assert_eq!(pretty(&must_parse(text)), expected.trim_end_matches('\n'), "{text}");
        assert_eq!(pretty(&must_parse(expected)), expected.trim_end_matches('\n'), "again: {text}");
    }
}

#[test]
fn a_selector_alone_is_read_without_what_may_follow_one() {
    let read = |text: &str| {
        let matchers = parse_selector(text).map_err(|error| error.to_string())?;
        let shown = matchers.iter().map(|m| format!("{} {:?} {}", m.name, m.op, m.value));
        Ok::<String, String>(shown.collect::<Vec<_>>().join(", "))
    };
    let good = [
        ("node_load1", "__name__ Equal node_load1"),
        (" a:b {} # comment", "__name__ Equal a:b"),
        ("sum", "__name__ Equal sum"),
        (
            "x{job=\"node\", a != 'b' ,c=~`\\d+`,d!~\"\",}",
            "job Equal node, a NotEqual b, c Matches \\d+, d MatchesNot , __name__ Equal x",
        ),
        ("{__name__!=\"\"}", "__name__ NotEqual "),
        ("{\"my.metric\",\"label.x\"=\"y\"}", "__name__ Equal my.metric, label.x Equal y"),
    ];
    for (text, expected) in good {
        assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
    }
    let bad = [
        (
            "",
            "1:1: parse error: unexpected end of input in a selector, expected a metric's name or \"{\"",
        ),
        ("7up", "1:1: parse error: bad number or duration syntax"),
        ("a b", "1:3: parse error: unexpected \"b\", expected an operator or the end"),
        ("a[5m]", "1:2: parse error: unexpected \"[\", expected"),
        ("a offset 5m", "1:3: parse error: unexpected \"offset\", expected"),
        ("rate(a)", "1:5: parse error: unexpected \"(\", expected"),
        ("{a=\"\",b=~\".*\",c!=\"x\"}", "1:1: parse error: vector selector must contain"),
    ];
    for (text, expected) in bad {
        let found = read(text).unwrap_err();
        assert!(found.starts_with(expected), "{text}: {found}");
    }
}

/// Deep, long and broken texts come back as errors, not as an overflow of the stack.
#[test]
fn no_text_is_too_deep_or_too_long() {
    let many = 100_000;
    let texts = [
        "(".repeat(many),
        "-".repeat(many),
        "-".repeat(many) + "a",
        "+-".repeat(many) + "1",
        "a+".repeat(many) + "a",
        "a^".repeat(many) + "a",
        "2^-".repeat(many) + "2",
        "a or ".repeat(many) + "a",
        "sum(".repeat(many),
        "abs(".repeat(many),
        "a[".repeat(many),
        "{".repeat(many),
        "a[5m".to_owned() + &"+1".repeat(many) + "]",
        "a[".to_owned() + &"(".repeat(many),
        "a[".to_owned() + &"-".repeat(many) + "5m]",
        "a[".to_owned() + &"min(".repeat(many),
        "a[5m".to_owned() + &"^2".repeat(many) + "]",
        "a".to_owned() + &"[5m:]".repeat(many),
        "a{".to_owned() + &"b=~\"c\",".repeat(501) + "}",
        "x".repeat(2 << 20),
    ];
    for text in texts {
        let error = parse(&text).unwrap_err();
        assert!(error.problem.len() < 1_000, "{}", error.problem.len());
    }
    // A number takes its signs in.
    assert_eq!(must_parse(&("-".repeat(50) + "1")).to_string(), "1");
    let wide = format!("label_join(a, \"b\"{})", ", \"c\"".repeat(10_000));
    assert_eq!(must_parse(&must_parse(&wide).to_string()).to_string().len(), wide.len());
}

#[test]
fn expressions_as_deep_as_they_may_be_are_read_printed_and_laid_out() {
    let deepest = |before: &str, middle: &str, after: &str, most: usize| {
        let text = |levels| before.repeat(levels) + middle + &after.repeat(levels);
        let level = (1..=most).take_while(|levels| parse(&text(*levels)).is_ok()).last();
        let expr = must_parse(&text(level.unwrap()));
        assert_eq!(must_parse(&pretty(&expr)).to_string(), expr.to_string());
        level.unwrap()
    };
    assert!(deepest("(", "a", ")", 500) >= 90);
    assert!(deepest("a ^ ", "b", "", 500) >= 90);
    assert!(deepest("-", "a", "", 500) >= 90);
    assert!(deepest("label_replace(", "a", ", \"b\", \"c\", \"d\", \"e\")", 500) >= 90);
    assert!(deepest("a or ", "b", "", 500) >= 190);
}

/// Texts of expressions, vectors and scalars, with blanks where they may be.
fn expressions() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        "[0-9]{1,4}(\\.[0-9]{1,3})?(e-?[0-9]{1,2})?",
        "0x[0-9a-f]{1,8}",
        "[1-9][0-9]{0,3}(ms|s|m|h|d|w|y)",
        "[1-9]h[0-5]?[1-9]m",
        Just("Inf".to_owned()),
        Just("nan".to_owned()),
    ];
    let duration = prop_oneof![
        "[1-9][0-9]{0,2}(ms|s|m|h)",
        "[1-9][0-9]{0,3}(\\.[0-9]{1,4})?",
        Just("step()".to_owned()),
        Just("range() / 2".to_owned()),
    ];
    let duration = duration.prop_recursive(3, 8, 2, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            (two.clone(), prop::sample::select(vec!["+", "*"]))
                .prop_map(|((a, b), op)| format!("{a}{op} {b}")),
            two.prop_map(|(a, b)| format!("Max({a}, {b})")),
            inner.clone().prop_map(|a| format!("(({a}))")),
            inner.prop_map(|a| format!("(5h - -{a} % 7 + 1e9)")),
        ]
    });
    let modifiers = prop_oneof![
        3 => Just(String::new()),
        1 => duration.clone().prop_map(|d| format!(" offset ({d})")),
        1 => "[0-9]{1,3}(s|m)".prop_map(|d| format!(" OFFSET -{d}")),
        1 => "-?[0-9]{1,9}(\\.[0-9]{1,4})?".prop_map(|t| format!(" @ {t} offset 5m")),
        1 => Just(" offset -7 @ end()".to_owned()),
    ];
    let value = prop_oneof!["[a-z.*]{0,4}", "\\PC{0,4}"];
    let selector = (
        "(a|up|node_cpu:rate5m|sum|by|offset|start|min)",
        prop::option::of((prop::sample::select(vec!["=", "!="]), value.clone())),
        prop::option::of((prop::sample::select(vec!["=", "=~"]), "[a-z.*]{1,3}")),
    );
    let selector = selector.prop_map(|(name, first, second)| {
        let first = first.map(|(op, value)| format!("by {op} {value:?}"));
        let second = second.map(|(op, value)| format!("\"l x\"{op}'{value}'"));
        let parts: Vec<String> = second.into_iter().chain(first).collect();
        format!("{name}{{{}}}", parts.join(", "))
    });
    let selector = selector.prop_filter("a regex, and escapes of Go", |text| {
        parse(text).is_ok_and(|expr| expr.to_string().len() > 1)
    });
    let leaf = (selector.clone(), modifiers.clone()).prop_map(|(s, m)| s + &m);
    let ranged = (selector, duration.clone(), modifiers.clone())
        .prop_map(|(s, d, m)| format!("rate({s}[{d}]{m})"));
    let vector = prop_oneof![2 => leaf, 1 => ranged];
    vector.prop_recursive(5, 40, 3, move |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            inner.clone().prop_map(|a| format!("( {a})")),
            inner.clone().prop_map(|a| format!("-{a}")),
            (inner.clone(), number.clone()).prop_map(|(a, n)| format!("{a} > bool - {n}")),
            (inner.clone(), number.clone()).prop_map(|(a, n)| format!("{n} ^ {a}")),
            (two.clone(), "(\\+|-|\\*|/|%|\\^| atan2|==|!=|<=|>|>= bool| and| OR| unless)")
                .prop_map(|((a, b), op)| format!("{a} {op} {b}")),
            (two.clone(), "(on|ignoring) ?\\((a|a, \"b.c\"|by,)?\\)")
                .prop_map(|((a, b), on)| format!("{a} + {on} {b}")),
            (two, "group_(left|right) ?(\\(\\)|\\(d\\)|\\(x,\"y z\",\\))")
                .prop_map(|((a, b), group)| format!("{a} * on (a) {group} {b}")),
            (inner.clone(), "(Sum|avg|count|group|stdvar)", "(by|without) ?\\((a|a,b)?\\)")
                .prop_map(|(a, op, by)| format!("{op} {by} ({a})")),
            (inner.clone(), number.clone())
                .prop_map(|(a, n)| format!("topk({n}, {a}) by (\"a.b\",)")),
            (inner.clone(), number.clone())
                .prop_map(|(a, n)| format!("clamp({a}, -{n}, scalar(up))")),
            (inner.clone(), duration.clone(), modifiers.clone())
                .prop_map(|(a, d, m)| format!("max_over_time(({a})[{d}:]{m})")),
            (inner, duration.clone())
                .prop_map(|(a, d)| format!("last_over_time(abs({a})[1h:{d}])")),
        ]
    })
}

proptest! {
    #[test]
    fn printed_expressions_are_read_as_the_same_tree(text in expressions()) {
        let expr = parse(&text);
        // Random durations can come to nothing, and random modifiers can follow one another.
        prop_assume!(expr.is_ok());
        let expr = expr.unwrap();
        prop_assert_eq!(expr.span.end, text.len(), "{}", text);
        let printed = expr.to_string();
        prop_assert_eq!(shape(&must_parse(&printed)), shape(&expr), "{}", printed);
        let laid_out = pretty(&expr);
        prop_assert_eq!(shape(&must_parse(&laid_out)), shape(&expr), "{}", laid_out);
    }

    #[test]
    fn whatever_is_asked_is_read_or_refused_in_its_place(
        text in "(a|sum|by|on|bool|offset|and|or|1|5m|0x|inf|start|[-+*/^%@(){}\\[\\],:=!~<>\"'`\\\\#\n ]|\\PC){0,24}"
    ) {
        match parse(&text) {
            Ok(expr) => prop_assert_eq!(must_parse(&expr.to_string()).to_string(), expr.to_string()),
            Err(error) => {
                prop_assert!(error.span.start <= error.span.end && error.span.end <= text.len());
                prop_assert!(text.is_char_boundary(error.span.start));
                prop_assert!(!error.problem.is_empty());
            }
        }
    }
}
