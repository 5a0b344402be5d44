//! Random series, and random expressions over them whose types are right: from a seed, or from a
//! fuzzer's bytes. The same seed makes the same.

use farol_query::{ABSENT, FUNCTIONS, Function, Type};

use crate::world::Line;

/// Where the decisions come from.
#[derive(Clone, Debug)]
pub(crate) struct Source<'b> {
    state: u64,
    /// Used up first; with these alone every further decision is 0.
    bytes: &'b [u8],
}

impl<'b> Source<'b> {
    pub(crate) fn seeded(seed: u64) -> Source<'static> {
        // Seeds that are alike would begin alike.
        let state = (seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xff51_afd7_ed55_8ccd) | 1;
        Source { state, bytes: &[] }
    }

    pub(crate) fn of(bytes: &'b [u8]) -> Source<'b> {
        Source { state: 0, bytes }
    }

    fn next(&mut self) -> u64 {
        if let Some((first, rest)) = self.bytes.split_first() {
            self.bytes = rest;
            return u64::from(*first);
        }
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state >> 11
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1).unsigned_abs()) as i64
    }

    fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// The first sample is never before this: 2023-11-14T22:00:00Z, a full hour.
pub(crate) const START: i64 = 1_700_000_000_000 - 1_700_000_000_000 % 3_600_000;
pub(crate) const SPAN: i64 = 2 * 3_600_000;
/// Every sample is so far past a full second, and every window ends at one.
const PAST: i64 = 7;

/// What may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// What Prometheus 2.42 and 3 define alike; `EXCLUDED` says what is missing, and why.
    Shared,
    Whole,
}

/// Functions that the shared dialect leaves out.
pub(crate) const EXCLUDED: &[(&str, &str)] = &[
    ("absent_over_time", "is there, but over single selectors alone"),
    ("first_over_time", "came later"),
    ("histogram_avg", "came later"),
    ("histogram_fraction", "was for native histograms alone"),
    ("histogram_stddev", "came later"),
    ("histogram_stdvar", "came later"),
    ("label_join", "is there, but with labels of its own"),
    ("label_replace", "is there, but with labels of its own"),
    ("mad_over_time", "came later"),
    ("sort_by_label", "came later"),
    ("sort_by_label_desc", "came later"),
    ("ts_of_first_over_time", "came later"),
    ("ts_of_last_over_time", "came later"),
    ("ts_of_max_over_time", "came later"),
    ("ts_of_min_over_time", "came later"),
];

// ---------------------------------------------------------------------------------------- series

struct Shape {
    name: &'static str,
    labels: &'static [(&'static str, &'static [&'static str])],
    is_counter: bool,
}

const JOBS: &[&str] = &["api", "web", "db"];
const INSTANCES: &[&str] = &["a:1", "b:1"];

const SHAPES: &[Shape] = &[
    Shape {
        name: "requests_total",
        labels: &[("job", JOBS), ("instance", INSTANCES), ("code", &["200", "500"])],
        is_counter: true,
    },
    Shape {
        name: "errors_total",
        labels: &[("job", JOBS), ("instance", INSTANCES)],
        is_counter: true,
    },
    Shape { name: "load", labels: &[("job", JOBS), ("instance", INSTANCES)], is_counter: false },
    Shape { name: "limit", labels: &[("job", JOBS)], is_counter: false },
    Shape {
        name: "temperature",
        labels: &[("room", &["1", "2", "3"]), ("floor", &["", "up"])],
        is_counter: false,
    },
    Shape { name: "lonely", labels: &[], is_counter: false },
];
const BOUNDS: &[&str] = &["0.1", "0.5", "1", "2.5", "+Inf"];
const BUCKETS: &str = "latency_seconds_bucket";

pub(crate) fn series(source: &mut Source<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for shape in SHAPES {
        for labels in combinations(shape.labels) {
            if source.percent(12) {
                continue;
            }
            let times = times(source);
            let samples = match shape.is_counter {
                true => counter(source, times),
                false => gauge(source, times),
            };
            lines.push(line(shape.name, &labels, samples));
        }
    }
    for job in JOBS {
        buckets(source, job, &mut lines);
    }
    lines
}

fn combinations(labels: &[(&str, &[&str])]) -> Vec<Vec<(String, String)>> {
    let mut all = vec![Vec::new()];
    for (name, values) in labels {
        let with = |held: &Vec<(String, String)>, value: &str| {
            let mut labels = held.clone();
            labels.push(((*name).to_owned(), value.to_owned()));
            labels
        };
        all =
            all.iter().flat_map(|held| values.iter().map(move |value| with(held, value))).collect();
    }
    all
}

fn line(name: &str, labels: &[(String, String)], samples: Vec<(i64, f64)>) -> Line {
    let mut labels: Vec<(String, String)> =
        labels.iter().filter(|(_, value)| !value.is_empty()).cloned().collect();
    labels.push(("__name__".to_owned(), name.to_owned()));
    labels.sort();
    Line { labels, samples }
}

/// Mostly regular; with gaps, and beginning and ending somewhere. `true` where the series has ended.
fn times(source: &mut Source<'_>) -> Vec<(i64, bool)> {
    let interval = *source.pick(&[15, 30, 60, 97]) * 1000;
    let jitter = *source.pick(&[0, 0, 2, 9]);
    let mut at = START + source.between(0, 30) * 1000;
    if source.percent(30) {
        at += source.between(0, 100) * 60_000;
    }
    let end = START + if source.percent(30) { source.between(60, 120) * 60_000 } else { SPAN };
    let mut times = Vec::new();
    while at < end && times.len() < 500 {
        times.push((at + source.between(0, jitter) * 1000 + PAST, false));
        at += interval;
        if source.percent(2) {
            let gap = source.between(1, 20);
            if source.percent(60) {
                times.push((at + 9000 + PAST, true));
            }
            at += interval * gap + 9000;
        }
    }
    times
}

/// In whole quarters, so that sums are exact in whatever order; far enough from 0 that no limit of
/// extrapolation is met, which 2.42 defined otherwise.
fn counter(source: &mut Source<'_>, times: Vec<(i64, bool)>) -> Vec<(i64, f64)> {
    const BASE: i64 = 1000;
    let growth = *source.pick(&[0, 3, 40, 200]);
    let mut value = BASE * 4 + source.between(0, 4000);
    let mut since_reset = 0;
    let mut samples = Vec::new();
    for (at, has_ended) in times {
        if has_ended {
            samples.push((at, ABSENT));
            continue;
        }
        value += source.between(0, growth);
        since_reset += 1;
        if value > 10_000 || (value > 5_500 && since_reset > 8 && source.percent(2)) {
            value = BASE * 4;
            since_reset = 0;
        }
        samples.push((at, value as f64 / 4.0));
    }
    samples
}

fn gauge(source: &mut Source<'_>, times: Vec<(i64, bool)>) -> Vec<(i64, f64)> {
    let (low, high) = *source.pick(&[(0, 12), (-80, 80), (400, 900), (1, 4)]);
    let is_wild = source.percent(8);
    let value = |source: &mut Source<'_>| match source.below(60) {
        0 if is_wild => f64::NAN,
        1 if is_wild => f64::INFINITY,
        2 if is_wild => f64::NEG_INFINITY,
        _ => source.between(low, high) as f64 / 4.0,
    };
    let sample = |(at, has_ended)| (at, if has_ended { ABSENT } else { value(source) });
    times.into_iter().map(sample).collect()
}

/// A classic histogram: cumulative, and none above its last.
fn buckets(source: &mut Source<'_>, job: &str, lines: &mut Vec<Line>) {
    let times = times(source);
    let mut counts: Vec<i64> = (0..BOUNDS.len() as i64).map(|place| 1000 * (place + 1)).collect();
    let mut rows = vec![Vec::new(); BOUNDS.len()];
    for (at, has_ended) in times {
        let grown = source.between(0, 9);
        let from = source.below(BOUNDS.len());
        counts.iter_mut().skip(from).for_each(|count| *count += grown);
        for (row, count) in rows.iter_mut().zip(&counts) {
            row.push((at, if has_ended { ABSENT } else { *count as f64 }));
        }
    }
    for (bound, samples) in BOUNDS.iter().zip(rows) {
        let labels = [("job", job), ("le", bound)];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        lines.push(line(BUCKETS, &labels, samples));
    }
}

// ----------------------------------------------------------------------------------- expressions

/// How far two implementations that are both right may be apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exactness {
    /// Whole quarters: equal however they are added up.
    Exact,
    /// The same operations in the same order: equal, but sums of them need not be.
    Same,
    /// Equal but for the last digits.
    Loose,
}

/// An expression whose parts can be taken out.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) kind: Type,
    pub(crate) exactness: Exactness,
    /// The text before, between and after the children.
    parts: Vec<String>,
    children: Vec<Tree>,
}

impl Tree {
    fn leaf(kind: Type, exactness: Exactness, text: impl Into<String>) -> Tree {
        Tree { kind, exactness, parts: vec![text.into()], children: Vec::new() }
    }

    fn node(kind: Type, exactness: Exactness, parts: &[&str], children: Vec<Tree>) -> Tree {
        assert_eq!(parts.len(), children.len() + 1);
        Tree {
            kind,
            exactness,
            parts: parts.iter().map(|part| (*part).to_owned()).collect(),
            children,
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (place, part) in self.parts.iter().enumerate() {
            text.push_str(part);
            if let Some(child) = self.children.get(place) {
                text.push_str(&child.text());
            }
        }
        text
    }

    /// Smaller expressions out of this one, the smallest first: each part by itself, and the whole
    /// with one part replaced by a part of that part.
    pub(crate) fn smaller(&self) -> Vec<Tree> {
        let mut all = Vec::new();
        self.descendants(&mut all);
        for (place, child) in self.children.iter().enumerate() {
            for smaller in child.smaller() {
                if smaller.kind == child.kind {
                    let mut tree = self.clone();
                    tree.children[place] = smaller.in_parens();
                    all.push(tree);
                }
            }
        }
        all.sort_by_key(|tree| tree.text().len());
        all
    }

    /// Where what binds more tightly than it may come to stand beside it.
    fn in_parens(self) -> Tree {
        if !self.text().contains([' ', '-']) {
            return self;
        }
        Tree::node(self.kind, self.exactness, &["(", ")"], vec![self])
    }

    fn descendants(&self, into: &mut Vec<Tree>) {
        for child in &self.children {
            into.push(child.clone());
            child.descendants(into);
        }
    }
}

/// A vector or a scalar; sometimes a range, for an instant question.
pub(crate) fn expression(source: &mut Source<'_>, dialect: Dialect) -> Tree {
    let mut maker = Maker { source, dialect };
    let depth = 1 + maker.source.below(4);
    match maker.source.below(20) {
        0 => maker.scalar(depth),
        1 => maker.matrix(depth),
        _ => maker.vector(depth),
    }
}

struct Maker<'s, 'b> {
    source: &'s mut Source<'b>,
    dialect: Dialect,
}

const LABELS: &[&str] = &["job", "instance", "code", "room", "floor", "le", "absent"];

impl Maker<'_, '_> {
    fn vector(&mut self, depth: usize) -> Tree {
        if depth == 0 {
            return self.selector();
        }
        let depth = depth - 1;
        match self.source.below(24) {
            0..=2 => self.selector(),
            3 => self.unary(Type::Vector, depth),
            4..=5 => self.with_scalar(depth),
            6..=9 => self.between_vectors(depth),
            10 => self.set_operation(depth),
            11..=14 => self.aggregation(depth),
            15 => self.relabelled(depth),
            16 => self.histogram_quantile(depth),
            17 => self.parens(Type::Vector, depth),
            _ => self.call(Type::Vector, depth),
        }
    }

    fn scalar(&mut self, depth: usize) -> Tree {
        if depth == 0 || self.source.percent(30) {
            let text = self.source.pick(&["0", "1", "2", "0.25", "7.5", "-3", "1e2", "0x10", "1h"]);
            // A duration as a number came later.
            let text = if *text == "1h" && self.dialect == Dialect::Shared { "3" } else { text };
            return Tree::leaf(Type::Scalar, Exactness::Exact, text);
        }
        let depth = depth - 1;
        match self.source.below(6) {
            0 => Tree::leaf(Type::Scalar, Exactness::Same, "time()"),
            1 => {
                let inner = self.vector(depth);
                Tree::node(Type::Scalar, inner.exactness, &["scalar(", ")"], vec![inner])
            }
            2 => self.unary(Type::Scalar, depth),
            3 => self.parens(Type::Scalar, depth),
            _ => {
                let left = self.scalar(depth);
                let right = self.scalar(depth);
                self.operation(left, "", right, Type::Scalar, true)
            }
        }
    }

    fn matrix(&mut self, depth: usize) -> Tree {
        if depth == 0 || self.source.percent(65) {
            let selector = self.plain_selector();
            return self.windowed(selector);
        }
        let inner = self.vector(depth - 1);
        self.subquery(inner)
    }

    /// Certainly a number.
    fn tame(&mut self) -> Tree {
        let name = *self.source.pick(&["requests_total", "errors_total", BUCKETS]);
        let mut tree = self.selector_of(name);
        let factor = *self.source.pick(&["", " * 10000", " * -1e6", " * 86400"]);
        tree.parts[0].push_str(factor);
        tree
    }

    /// A range of a counter: of the counters' functions.
    fn counter_matrix(&mut self) -> Tree {
        let name = *self.source.pick(&["requests_total", "errors_total", BUCKETS]);
        let selector = self.selector_of(name);
        if self.source.percent(20) { self.subquery(selector) } else { self.windowed(selector) }
    }

    fn windowed(&mut self, selector: Tree) -> Tree {
        let range = self.range();
        let modifiers = self.modifiers();
        Tree::node(
            Type::Matrix,
            Exactness::Exact,
            &["", &format!("[{range}]{modifiers}")],
            vec![selector],
        )
    }

    /// Its start never falls on a multiple of its step: 2.42 would take that in.
    /// Some step is always in it: where none is, 2.42 answers with one beyond its end if what is
    /// asked for is the same at every step.
    fn subquery(&mut self, inner: Tree) -> Tree {
        let range = *self.source.pick(&["125s", "2m5s", "10m15s", "25m5s"]);
        let step = *self.source.pick(&["10s", "30s", "1m", "2m", ""]);
        let modifiers = self.modifiers();
        let exactness = inner.exactness;
        let close = format!("[{range}:{step}]{modifiers}");
        let needs_parens = inner.children.len() > 1 || inner.text().starts_with(['-', '+']);
        let parts = match needs_parens {
            true => ["(".to_owned(), format!("){close}")],
            false => [String::new(), close],
        };
        Tree::node(Type::Matrix, exactness, &[&parts[0], &parts[1]], vec![inner])
    }

    fn range(&mut self) -> String {
        let shared = &["30s", "1m", "90s", "5m", "7m10s", "20m", "1h"];
        let more =
            &["[", "300", "1h30m", "1ms", "2m - 30s", "step() + 1m", "max(1m, range())"][1..];
        let texts = self.choose(shared, more);
        (*self.source.pick(&texts)).to_owned()
    }

    fn choose(&self, shared: &[&'static str], more: &[&'static str]) -> Vec<&'static str> {
        match self.dialect {
            Dialect::Shared => shared.to_vec(),
            Dialect::Whole => [shared, more].concat(),
        }
    }

    /// Always a multiple of ten seconds, or three seconds past one.
    fn modifiers(&mut self) -> String {
        let mut text = String::new();
        if self.source.percent(15) {
            let offset = self.source.pick(&["10s", "1m", "13m20s", "-2m", "1h"]);
            text.push_str(&format!(" offset {offset}"));
        }
        if self.source.percent(10) {
            let at = START / 1000 + self.source.between(30, 690) * 10 + 3;
            let at = match self.source.below(4) {
                0 => "start()".to_owned(),
                1 => "end()".to_owned(),
                _ => at.to_string(),
            };
            text.push_str(&format!(" @ {at}"));
        }
        text
    }

    fn selector(&mut self) -> Tree {
        let mut tree = self.plain_selector();
        let modifiers = self.modifiers();
        tree.parts[0].push_str(&modifiers);
        tree
    }

    fn plain_selector(&mut self) -> Tree {
        let place = self.source.below(SHAPES.len() + 1);
        let name = SHAPES.get(place).map_or(BUCKETS, |shape| shape.name);
        self.selector_of(name)
    }

    fn selector_of(&mut self, name: &str) -> Tree {
        let mut matchers = Vec::new();
        while matchers.len() < 2 && self.source.percent(35) {
            let matcher = *self.source.pick(&[
                "job=\"api\"",
                "job!=\"web\"",
                "job=~\"a.*|d.\"",
                "instance=\"a:1\"",
                "instance!~\"b.+\"",
                "code=\"200\"",
                "code=~\"[45]..\"",
                "room=\"1\"",
                "floor=\"\"",
                "floor!=\"\"",
                "le=\"+Inf\"",
                "le!~\".*5\"",
                "absent=\"\"",
                "job=\"none\"",
            ]);
            matchers.push(matcher);
        }
        if name == "load" && self.source.percent(40) {
            let name = *self.source.pick(&["load|limit", "l.*", "load|errors_total"]);
            matchers.push("instance!=\"b:1\"");
            let text = format!("{{__name__=~\"{name}\",{}}}", matchers.join(","));
            return Tree::leaf(Type::Vector, Exactness::Exact, text);
        }
        let text = match matchers.is_empty() {
            true => name.to_owned(),
            false => format!("{name}{{{}}}", matchers.join(",")),
        };
        Tree::leaf(Type::Vector, Exactness::Exact, text)
    }

    fn of(&mut self, kind: Type, depth: usize) -> Tree {
        match kind {
            Type::Scalar => self.scalar(depth),
            Type::Vector => self.vector(depth),
            Type::Matrix => self.matrix(depth),
            Type::Text => {
                let text = *self.source.pick(&["job", "instance", "x", "$1", "(.*)", "-", ""]);
                Tree::leaf(Type::Text, Exactness::Exact, format!("\"{text}\""))
            }
        }
    }

    /// One whose every bit both sides agree on: of it one may ask whether it is above something.
    fn same(&mut self, kind: Type, depth: usize) -> Tree {
        let tree = self.of(kind, depth);
        if tree.exactness < Exactness::Loose || self.dialect == Dialect::Whole {
            return tree;
        }
        self.of(kind, 0)
    }

    fn unary(&mut self, kind: Type, depth: usize) -> Tree {
        let inner = self.of(kind, depth);
        let sign = *self.source.pick(&["-", "+"]);
        let exactness = inner.exactness;
        Tree::node(kind, exactness, &[&format!("({sign}("), "))"], vec![inner])
    }

    fn parens(&mut self, kind: Type, depth: usize) -> Tree {
        let inner = self.of(kind, depth);
        let exactness = inner.exactness;
        Tree::node(kind, exactness, &["(", ")"], vec![inner])
    }

    fn with_scalar(&mut self, depth: usize) -> Tree {
        let vector = self.vector(depth);
        let scalar = self.scalar(depth.min(1));
        match self.source.percent(50) {
            true => self.operation(vector, "", scalar, Type::Vector, false),
            false => self.operation(scalar, "", vector, Type::Vector, false),
        }
    }

    fn between_vectors(&mut self, depth: usize) -> Tree {
        let left = self.vector(depth);
        let right = self.vector(depth);
        let matching = self.matching();
        self.operation(left, &matching, right, Type::Vector, false)
    }

    fn operation(
        &mut self,
        left: Tree,
        matching: &str,
        right: Tree,
        kind: Type,
        is_scalar: bool,
    ) -> Tree {
        let exactness = left.exactness.max(right.exactness);
        let smooth: &[(&str, Exactness)] = &[
            ("+", Exactness::Exact),
            ("-", Exactness::Exact),
            ("*", Exactness::Same),
            ("/", Exactness::Same),
        ];
        let sharp: &[(&str, Exactness)] = &[
            ("%", Exactness::Same),
            ("^", Exactness::Loose),
            ("atan2", Exactness::Loose),
            ("==", Exactness::Exact),
            ("!=", Exactness::Exact),
            (">", Exactness::Exact),
            ("<", Exactness::Exact),
            (">=", Exactness::Exact),
            ("<=", Exactness::Exact),
        ];
        let may_be_sharp = exactness < Exactness::Loose || self.dialect == Dialect::Whole;
        let (sign, of_sign) = match may_be_sharp && self.source.percent(60) {
            true => *self.source.pick(sharp),
            false => *self.source.pick(smooth),
        };
        let is_comparison = sign.starts_with(['=', '!', '<', '>']);
        let answers_bool = is_comparison && (is_scalar || self.source.percent(30));
        let bool = if answers_bool { " bool" } else { "" };
        let middle = format!(" {sign}{bool}{matching} ");
        let operand = |tree: Tree| match tree.children.len() > 1 && !tree.parts[0].ends_with('(') {
            true => {
                let (kind, exactness) = (tree.kind, tree.exactness);
                Tree::node(kind, exactness, &["(", ")"], vec![tree])
            }
            false => tree,
        };
        let children = vec![operand(left), operand(right)];
        if sign == "atan2" && kind == Type::Vector {
            // 2.42 left the name with it.
            return Tree::node(kind, Exactness::Loose, &["abs(", &middle, ")"], children);
        }
        Tree::node(kind, exactness.max(of_sign), &["", &middle, ""], children)
    }

    fn label_list(&mut self) -> String {
        let count = self.source.below(4);
        let mut labels: Vec<&str> = (0..count).map(|_| *self.source.pick(LABELS)).collect();
        labels.sort_unstable();
        labels.dedup();
        labels.join(", ")
    }

    fn matching(&mut self) -> String {
        if self.source.percent(35) {
            return String::new();
        }
        let how = *self.source.pick(&["on", "ignoring"]);
        let labels = match self.source.below(4) {
            0 => "job".to_owned(),
            1 => "job, instance".to_owned(),
            2 => "code, instance".to_owned(),
            _ => self.label_list(),
        };
        let group = match self.source.below(5) {
            0 => " group_left ()".to_owned(),
            1 => " group_right ()".to_owned(),
            2 => {
                let side = *self.source.pick(&["left", "right"]);
                // A label that is matched on cannot be taken over as well.
                let label = if labels.contains("room") { "floor" } else { "room" };
                let label = if how == "on" { label } else { "absent" };
                if labels.contains(label) {
                    String::new()
                } else {
                    format!(" group_{side} ({label})")
                }
            }
            _ => String::new(),
        };
        format!(" {how} ({labels}){group}")
    }

    fn set_operation(&mut self, depth: usize) -> Tree {
        let left = self.vector(depth);
        let right = self.vector(depth);
        let sign = *self.source.pick(&["and", "or", "unless"]);
        let matching = match self.source.below(3) {
            0 => String::new(),
            1 => format!(" on ({})", self.label_list()),
            _ => format!(" ignoring ({})", self.label_list()),
        };
        let exactness = left.exactness.max(right.exactness);
        let middle = format!(") {sign}{matching} (");
        Tree::node(Type::Vector, exactness, &["((", &middle, "))"], vec![left, right])
    }

    fn aggregation(&mut self, depth: usize) -> Tree {
        let grouping = match self.source.below(3) {
            0 => String::new(),
            1 => format!(" by ({})", self.label_list()),
            _ => format!(" without ({})", self.label_list()),
        };
        let shared = &[
            "sum",
            "avg",
            "count",
            "min",
            "max",
            "group",
            "stddev",
            "stdvar",
            "topk",
            "bottomk",
            "quantile",
            "count_values",
        ];
        let names = self.choose(shared, &["limitk", "limit_ratio"]);
        let name = *self.source.pick(&names);
        let close = format!("){grouping}");
        let of = |exactness, inner, open: &str| {
            Tree::node(Type::Vector, exactness, &[open, &close], vec![inner])
        };
        match name {
            "topk" | "bottomk" => {
                let inner = self.same(Type::Vector, depth);
                let k = self.source.below(4);
                let exactness = inner.exactness;
                let chosen = of(exactness, inner, &format!("{name}({k}, "));
                // Of equal ones any may have been taken: only what does not tell is asked for.
                let around = *self.source.pick(&["sum", "count", "min", "max"]);
                let exactness = if around == "sum" { added(exactness) } else { exactness };
                Tree::node(Type::Vector, exactness, &[&format!("{around}("), ")"], vec![chosen])
            }
            "quantile" => {
                let inner = self.vector(depth);
                let q = *self.source.pick(&["0", "0.3", "0.5", "0.95", "1", "-1", "2"]);
                of(Exactness::Loose, inner, &format!("quantile({q}, "))
            }
            "count_values" => {
                let inner = self.plain_selector();
                // With `by`, 2.42 loses a label if the new one does not sort last.
                let labels = ["value", "job"];
                let label =
                    *self.source.pick(&labels[..if grouping.starts_with(" by") { 1 } else { 2 }]);
                of(Exactness::Exact, inner, &format!("count_values(\"{label}\", "))
            }
            "limitk" => {
                let inner = self.vector(depth);
                let exactness = inner.exactness;
                of(exactness, inner, "limitk(2, ")
            }
            "limit_ratio" => {
                let inner = self.vector(depth);
                let exactness = inner.exactness;
                let ratio = *self.source.pick(&["0.5", "-0.3", "1.5"]);
                of(exactness, inner, &format!("limit_ratio({ratio}, "))
            }
            _ => {
                // Of one infinite value alone 2.42 says that it deviates by 0.
                let is_deviation = name.starts_with("std") && self.dialect == Dialect::Shared;
                let inner = if is_deviation { self.tame() } else { self.vector(depth) };
                let exactness = match name {
                    "count" | "group" => Exactness::Exact,
                    "min" | "max" => inner.exactness,
                    "sum" => added(inner.exactness),
                    _ => Exactness::Loose,
                };
                of(exactness, inner, &format!("{name}("))
            }
        }
    }

    fn relabelled(&mut self, depth: usize) -> Tree {
        let inner = self.vector(depth);
        let exactness = inner.exactness;
        let to = *self.source.pick(&["job", "room", "new"]);
        let from = *self.source.pick(&["job", "instance", "absent", "code"]);
        let pattern = *self.source.pick(&["(.*)", "a(.).*", "(?P<x>[a-z]+).*", "", "none"]);
        let with = *self.source.pick(&["$1", "${x}-$1", "fixed", "", "$$1"]);
        let close = match self.source.percent(60) {
            true => format!(", \"{to}\", \"{with}\", \"{from}\", \"{pattern}\")"),
            false => {
                format!(", \"{to}\", \"{}\", \"{from}\", \"job\")", *self.source.pick(&["", "/"]))
            }
        };
        let open = if close.matches(',').count() == 4 && close.ends_with("\"job\")") {
            "label_join("
        } else {
            "label_replace("
        };
        Tree::node(Type::Vector, exactness, &[open, &close], vec![inner])
    }

    fn histogram_quantile(&mut self, depth: usize) -> Tree {
        let quantile = match self.source.below(6) {
            0 => self.scalar(depth),
            1 => Tree::leaf(Type::Scalar, Exactness::Exact, "1.5"),
            _ => Tree::leaf(
                Type::Scalar,
                Exactness::Exact,
                *self.source.pick(&["0.5", "0.9", "0", "1"]),
            ),
        };
        let buckets = match self.source.below(4) {
            0 => self.selector_of(BUCKETS),
            1 => {
                let matrix = {
                    let selector = self.selector_of(BUCKETS);
                    self.windowed(selector)
                };
                Tree::node(Type::Vector, Exactness::Loose, &["rate(", ")"], vec![matrix])
            }
            2 => {
                let inner = self.selector_of(BUCKETS);
                Tree::node(Type::Vector, Exactness::Exact, &["sum by (le) (", ")"], vec![inner])
            }
            _ => self.vector(depth),
        };
        let parts = ["histogram_quantile(", ", ", ")"];
        Tree::node(Type::Vector, Exactness::Loose, &parts, vec![quantile, buckets])
    }

    fn call(&mut self, returns: Type, depth: usize) -> Tree {
        let is_there = |function: &&Function| {
            function.returns == returns
                && (self.dialect == Dialect::Whole
                    || !EXCLUDED.iter().any(|(name, _)| *name == function.name))
        };
        let functions: Vec<&Function> = FUNCTIONS.iter().filter(is_there).collect();
        let function = *self.source.pick(&functions);
        let mut count = function.args.len();
        if function.optional > 0 && self.source.percent(50) {
            count -= function.optional;
        } else if function.repeats {
            count += self.source.below(3);
        }
        let mut args = Vec::new();
        for place in 0..count {
            let kind = function.args[place.min(function.args.len() - 1)];
            args.push(self.argument(function.name, kind, depth));
        }
        let exactness = args.iter().map(|arg| arg.exactness).max().unwrap_or(Exactness::Exact);
        let exactness = exactness_of(function.name, exactness);
        let mut parts = vec![format!("{}(", function.name)];
        parts.extend((1..args.len()).map(|_| ", ".to_owned()));
        match args.is_empty() {
            true => parts[0].push(')'),
            false => parts.push(")".to_owned()),
        }
        Tree { kind: returns, exactness, parts, children: args }
    }

    fn argument(&mut self, function: &str, kind: Type, depth: usize) -> Tree {
        match (function, kind) {
            ("rate" | "increase", Type::Matrix) if self.dialect == Dialect::Shared => {
                self.counter_matrix()
            }
            // Of what is no number, or too large a one, 2.42 answers as its processor does.
            (
                "day_of_month" | "day_of_week" | "day_of_year" | "days_in_month" | "hour"
                | "minute" | "month" | "year",
                _,
            ) if self.dialect == Dialect::Shared => self.tame(),
            // Whether a value is above another decides; or a large one's last digits do.
            (
                "changes" | "resets" | "irate" | "ceil" | "floor" | "round" | "sgn" | "sin" | "cos"
                | "tan" | "acos" | "acosh" | "asin" | "atanh" | "exp",
                _,
            ) => self.same(kind, depth),
            // With `@` 2.42 moves the window along with the steps all the same.
            ("predict_linear", Type::Matrix) => {
                let tree = self.matrix(depth);
                if !tree.text().contains('@') || self.dialect == Dialect::Whole {
                    return tree;
                }
                let selector = self.plain_selector();
                let parts = ["", "[10m] offset 1m"];
                Tree::node(Type::Matrix, Exactness::Exact, &parts, vec![selector])
            }
            // Of a selector with `@` and an offset 2.42 forgets the offset.
            ("timestamp", Type::Vector) => {
                let tree = self.of(kind, depth);
                if !tree.text().contains('@') || self.dialect == Dialect::Whole {
                    return tree;
                }
                self.plain_selector()
            }
            // Of what overflows on the way 2.42 says NaN: what is as it was sampled does not.
            ("stddev_over_time" | "stdvar_over_time", Type::Matrix)
                if self.dialect == Dialect::Shared =>
            {
                self.matrix(0)
            }
            // Its factors are between 0 and 1.
            ("double_exponential_smoothing", Type::Scalar) => {
                Tree::leaf(kind, Exactness::Exact, *self.source.pick(&["0.25", "0.5", "0.75"]))
            }
            ("predict_linear", Type::Scalar) => {
                Tree::leaf(kind, Exactness::Exact, *self.source.pick(&["60", "3600", "-300"]))
            }
            ("quantile_over_time", Type::Scalar) => Tree::leaf(
                kind,
                Exactness::Exact,
                *self.source.pick(&["0.1", "0.5", "1", "-1", "3"]),
            ),
            _ => self.of(kind, depth),
        }
    }
}

fn added(exactness: Exactness) -> Exactness {
    if exactness == Exactness::Exact { Exactness::Exact } else { Exactness::Loose }
}

fn exactness_of(function: &str, of_args: Exactness) -> Exactness {
    match function {
        "abs" | "clamp" | "clamp_max" | "clamp_min" | "ceil" | "floor" | "sort" | "sort_desc"
        | "last_over_time" | "min_over_time" | "max_over_time" | "vector" => of_args,
        "sum_over_time" => added(of_args),
        "absent" | "changes" | "resets" | "count_over_time" | "present_over_time" | "sgn"
        | "day_of_month" | "day_of_week" | "day_of_year" | "days_in_month" | "hour" | "minute"
        | "month" | "year" | "pi" | "idelta" => of_args.min(Exactness::Exact).max(match function {
            "pi" | "idelta" => of_args,
            _ => Exactness::Exact,
        }),
        "timestamp" | "round" | "sqrt" => of_args.max(Exactness::Same),
        _ => Exactness::Loose,
    }
}
