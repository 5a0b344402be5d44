//! Operators between two values. Which series of two vectors belong together is found once, for all
//! steps.

use std::collections::HashMap;

use farol_model::{Labels, Text};

use crate::{
    Binary, BinaryOp, Bool, Card, Grouping, Matching, Metric, Series, Steps,
    eval::{Context, EvalError, Value},
    is_absent,
    labels::NAME,
};

impl Context<'_> {
    pub(super) fn binary(&mut self, binary: &Binary, steps: Steps) -> Result<Value, EvalError> {
        let left = self.eval(&binary.left, steps)?;
        let right = self.eval(&binary.right, steps)?;
        let works_on = Operator { op: binary.op, bool: binary.bool };
        match (left, right) {
            (Value::Scalar(left), Value::Scalar(right)) => {
                let both = left.iter().zip(&right);
                Ok(Value::Scalar(both.map(|(a, b)| works_on.of_scalars(*a, *b)).collect()))
            }
            (Value::Vector(vector), Value::Scalar(scalar)) => {
                Ok(Value::Vector(works_on.with_scalar(vector, &scalar, Side::Right)))
            }
            (Value::Scalar(scalar), Value::Vector(vector)) => {
                Ok(Value::Vector(works_on.with_scalar(vector, &scalar, Side::Left)))
            }
            (Value::Vector(left), Value::Vector(right)) => {
                let default = Matching::default_of(binary.op);
                let matching = binary.matching.as_ref().unwrap_or(&default);
                match binary.op {
                    BinaryOp::And => self.and(left, &right, matching, true),
                    BinaryOp::Unless => self.and(left, &right, matching, false),
                    BinaryOp::Or => self.or(left, right, matching),
                    _ => self.matched(works_on, left, right, matching),
                }
                .map(Value::Vector)
            }
            (Value::Text(_), _) | (_, Value::Text(_)) => {
                unreachable!("the parser lets no text be an operand")
            }
        }
    }

    /// `and`, and with `wanted` false `unless`.
    fn and(
        &mut self,
        left: Vec<Series>,
        right: &[Series],
        matching: &Matching,
        wanted: bool,
    ) -> Result<Vec<Series>, EvalError> {
        let there = presence(right, matching);
        let mut kept = Vec::new();
        for mut series in left {
            self.work(series.values.len())?;
            match there.get(&signature(&series.metric, &matching.grouping)) {
                Some(there) => {
                    for (value, there) in series.values.iter_mut().zip(there) {
                        if *there != wanted {
                            *value = crate::ABSENT;
                        }
                    }
                    if series.has_any() {
                        kept.push(series);
                    }
                }
                None if wanted => {}
                None => kept.push(series),
            }
        }
        Ok(kept)
    }

    fn or(
        &mut self,
        left: Vec<Series>,
        right: Vec<Series>,
        matching: &Matching,
    ) -> Result<Vec<Series>, EvalError> {
        let there = presence(&left, matching);
        let mut joined = Joined::default();
        for series in left {
            joined.put(series)?;
        }
        for mut series in right {
            self.work(series.values.len())?;
            if let Some(there) = there.get(&signature(&series.metric, &matching.grouping)) {
                for (value, there) in series.values.iter_mut().zip(there) {
                    if *there {
                        *value = crate::ABSENT;
                    }
                }
            }
            if series.has_any() {
                joined.put(series)?;
            }
        }
        Ok(joined.series)
    }

    /// Arithmetic and comparisons between series that belong together.
    fn matched(
        &mut self,
        works_on: Operator,
        left: Vec<Series>,
        right: Vec<Series>,
        matching: &Matching,
    ) -> Result<Vec<Series>, EvalError> {
        let (many, one, one_is) = match matching.card {
            Card::OneToMany => (right, left, Side::Left),
            Card::OneToOne | Card::ManyToOne | Card::ManyToMany => (left, right, Side::Right),
        };
        let groups = Groups::new(&many, &one, matching);
        groups.check_one_side(&many, &one, one_is)?;
        let mut joined = Joined::default();
        for group in &groups.groups {
            let mut once = OnceAStep::new(matching.card, group.many.len());
            for one_place in &group.one {
                for many_place in &group.many {
                    let (of_many, of_one) = (&many[*many_place], &one[*one_place]);
                    self.work(of_many.values.len())?;
                    self.hold(of_many.values.len() as u64)?;
                    let metric = works_on.metric(&of_many.metric, &of_one.metric, matching);
                    let both = of_many.values.iter().zip(&of_one.values);
                    let values: Vec<f64> = both
                        .map(|(many, one)| match one_is {
                            Side::Right => works_on.of_values(*many, *one),
                            Side::Left => works_on.of_values(*one, *many),
                        })
                        .collect();
                    once.check(&values)?;
                    let series = Series { metric, values };
                    if series.has_any() {
                        joined.put(series).map_err(|_| too_many_matches(matching.card))?;
                    }
                }
            }
        }
        Ok(joined.series)
    }
}

impl Matching {
    fn default_of(op: BinaryOp) -> Matching {
        let card = if op.is_set() { Card::ManyToMany } else { Card::OneToOne };
        let grouping = Grouping::Without(Vec::new());
        Matching { card, grouping, is_written: false, include: Vec::new() }
    }
}

/// Which side of an operator something stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

#[derive(Clone, Copy, Debug)]
struct Operator {
    op: BinaryOp,
    bool: Bool,
}

impl Operator {
    fn of_scalars(self, left: f64, right: f64) -> f64 {
        match self.op.compare(left, right) {
            Some(holds) => f64::from(u8::from(holds)),
            None => self.op.compute(left, right),
        }
    }

    /// ABSENT where either side is, or where a comparison filters out.
    #[inline]
    fn of_values(self, left: f64, right: f64) -> f64 {
        if is_absent(left) || is_absent(right) {
            return crate::ABSENT;
        }
        match (self.op.compare(left, right), self.bool) {
            (None, _) => self.op.compute(left, right),
            (Some(holds), Bool::Yes) => f64::from(u8::from(holds)),
            (Some(true), Bool::No) => left,
            (Some(false), Bool::No) => crate::ABSENT,
        }
    }

    /// `scalar_is` says on which side the scalar stands; a comparison keeps the vector's value.
    fn with_scalar(self, mut vector: Vec<Series>, scalar: &[f64], scalar_is: Side) -> Vec<Series> {
        let filters = self.op.is_comparison() && self.bool == Bool::No;
        for series in &mut vector {
            series.metric.drops_name |= !filters;
            for (value, scalar) in series.values.iter_mut().zip(scalar) {
                let result = match scalar_is {
                    Side::Right => self.of_values(*value, *scalar),
                    Side::Left => self.of_values(*scalar, *value),
                };
                if !filters || is_absent(result) {
                    *value = result;
                }
            }
        }
        vector.retain(Series::has_any);
        vector
    }

    fn metric(self, many: &Metric, one: &Metric, matching: &Matching) -> Metric {
        let mut metric = match (matching.card, &matching.grouping) {
            (Card::OneToOne, Grouping::By(labels)) => {
                Metric { drops_name: many.drops_name, ..kept(many, labels) }
            }
            (Card::OneToOne, Grouping::Without(labels)) if !labels.is_empty() => Metric {
                labels: many.only(|name| !labels.iter().any(|label| *label == *name)),
                ..many.clone()
            },
            _ => many.clone(),
        };
        // At once, and not at the end as elsewhere: `group_left(__name__)` may give another.
        if !self.op.is_comparison() {
            metric = Metric::new(Text::EMPTY, metric.labels);
        }
        for label in &matching.include {
            metric = metric.with(label, one.get(label));
        }
        metric.drops_name |= self.bool == Bool::Yes;
        metric
    }
}

impl BinaryOp {
    #[inline]
    fn compare(self, left: f64, right: f64) -> Option<bool> {
        match self {
            BinaryOp::Equal => Some(left == right),
            BinaryOp::NotEqual => Some(left != right),
            BinaryOp::Greater => Some(left > right),
            BinaryOp::Less => Some(left < right),
            BinaryOp::GreaterOrEqual => Some(left >= right),
            BinaryOp::LessOrEqual => Some(left <= right),
            _ => None,
        }
    }

    #[inline]
    fn compute(self, left: f64, right: f64) -> f64 {
        let computed = match self {
            BinaryOp::Add => left + right,
            BinaryOp::Subtract => left - right,
            BinaryOp::Multiply => left * right,
            BinaryOp::Divide => left / right,
            BinaryOp::Modulo => left % right,
            BinaryOp::Power => left.powf(right),
            BinaryOp::Atan2 => left.atan2(right),
            _ => unreachable!("the others compare, or work on sets"),
        };
        debug_assert!(!is_absent(computed));
        computed
    }
}

/// The labels by which series of both sides belong together.
fn signature(metric: &Metric, grouping: &Grouping) -> Metric {
    match grouping {
        Grouping::By(labels) => kept(metric, labels),
        Grouping::Without(labels) => Metric::new(
            Text::EMPTY,
            match labels.is_empty() {
                true => metric.labels.clone(),
                false => metric.only(|name| !labels.iter().any(|label| *label == *name)),
            },
        ),
    }
}

/// Of a metric these labels only, which may name the name.
fn kept(metric: &Metric, labels: &[Text]) -> Metric {
    let has_name = labels.iter().any(|label| *label == NAME);
    Metric {
        name: if has_name { metric.name.clone() } else { Text::EMPTY },
        labels: metric.only(|name| labels.iter().any(|label| *label == *name)),
        drops_name: false,
    }
}

/// For each signature, at which steps any of its series has a value.
fn presence(vector: &[Series], matching: &Matching) -> HashMap<Metric, Vec<bool>> {
    let mut found: HashMap<Metric, Vec<bool>> = HashMap::new();
    for series in vector {
        let there = found
            .entry(signature(&series.metric, &matching.grouping))
            .or_insert_with(|| vec![false; series.values.len()]);
        for (there, value) in there.iter_mut().zip(&series.values) {
            *there |= !is_absent(*value);
        }
    }
    found
}

/// Series of both sides with the same signature, by their places.
struct Groups {
    groups: Vec<Group>,
}

struct Group {
    signature: Metric,
    many: Vec<usize>,
    one: Vec<usize>,
}

impl Groups {
    fn new(many: &[Series], one: &[Series], matching: &Matching) -> Groups {
        let mut groups: Vec<Group> = Vec::new();
        let mut places: HashMap<Metric, usize> = HashMap::new();
        let mut place_of = |series: &Series, groups: &mut Vec<Group>| {
            let signature = signature(&series.metric, &matching.grouping);
            *places.entry(signature).or_insert_with_key(|signature| {
                let signature = signature.clone();
                groups.push(Group { signature, many: Vec::new(), one: Vec::new() });
                groups.len() - 1
            })
        };
        for (place, series) in many.iter().enumerate() {
            let group = place_of(series, &mut groups);
            groups[group].many.push(place);
        }
        for (place, series) in one.iter().enumerate() {
            let group = place_of(series, &mut groups);
            groups[group].one.push(place);
        }
        Groups { groups }
    }

    /// On the side of "one", no two series of a group may have a value at one step (where there is
    /// anything on the other side at all).
    fn check_one_side(
        &self,
        many: &[Series],
        one: &[Series],
        one_is: Side,
    ) -> Result<(), EvalError> {
        let doubtful: Vec<&Group> =
            self.groups.iter().filter(|group| group.one.len() > 1).collect();
        let (Some(_), Some(first)) = (doubtful.first(), many.first()) else { return Ok(()) };
        let mut any = vec![false; first.values.len()];
        for series in many {
            for (any, value) in any.iter_mut().zip(&series.values) {
                *any |= !is_absent(*value);
            }
        }
        for group in doubtful {
            for (step, any) in any.iter().enumerate() {
                let mut there =
                    group.one.iter().filter(|place| !is_absent(one[**place].values[step]));
                if let (true, Some(first), Some(second)) = (*any, there.next(), there.next()) {
                    let side = if one_is == Side::Right { "right" } else { "left" };
                    return Err(EvalError::Failed(format!(
                        "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
                        shown(&group.signature),
                        shown(&one[*second].metric),
                        shown(&one[*first].metric),
                    )));
                }
            }
        }
        Ok(())
    }
}

/// Where one series belongs to one, a second result at a step is one too many, whatever its name.
struct OnceAStep {
    /// Nothing where it cannot happen.
    taken: Option<Vec<bool>>,
}

impl OnceAStep {
    fn new(card: Card, many: usize) -> OnceAStep {
        OnceAStep { taken: (card == Card::OneToOne && many > 1).then(Vec::new) }
    }

    fn check(&mut self, values: &[f64]) -> Result<(), EvalError> {
        let Some(taken) = &mut self.taken else { return Ok(()) };
        taken.resize(values.len(), false);
        for (taken, value) in taken.iter_mut().zip(values) {
            if !is_absent(*value) && std::mem::replace(taken, true) {
                return Err(too_many_matches(Card::OneToOne));
            }
        }
        Ok(())
    }
}

fn too_many_matches(card: Card) -> EvalError {
    EvalError::Failed(
        match card {
            Card::OneToOne => {
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
            }
            _ => "multiple matches for labels: grouping labels must ensure unique matches",
        }
        .to_owned(),
    )
}

/// Results by their metric: parts of one series that exclude each other at each step become one.
#[derive(Default)]
struct Joined {
    series: Vec<Series>,
    places: HashMap<Metric, usize>,
}

impl Joined {
    fn put(&mut self, series: Series) -> Result<(), EvalError> {
        let Some(place) = self.places.get(&series.metric) else {
            self.places.insert(series.metric.clone(), self.series.len());
            self.series.push(series);
            return Ok(());
        };
        let held = &mut self.series[*place].values;
        for (held, value) in held.iter_mut().zip(series.values) {
            match (is_absent(*held), is_absent(value)) {
                (true, _) => *held = value,
                (false, true) => {}
                (false, false) => {
                    return Err(EvalError::Failed(super::finish::SAME_LABELS.to_owned()));
                }
            }
        }
        Ok(())
    }
}

/// As error messages show a series.
pub(super) fn shown(metric: &Metric) -> String {
    let Metric { name, labels, .. } = metric;
    let pairs: Vec<String> =
        Labels::iter(labels).map(|(name, value)| format!("{name}={value:?}")).collect();
    match (name.is_empty(), pairs.is_empty()) {
        (false, true) => name.to_string(),
        _ => format!("{name}{{{}}}", pairs.join(", ")),
    }
}
