//! Aggregations: one value for each group of series, or a choice among them.

use std::{cmp::Ordering, collections::HashMap};

use farol_model::Text;

use crate::{
    Aggregate, Aggregation, Grouping, Metric, Series, Steps,
    eval::{Context, EvalError, Value},
    functions::remark,
    is_absent,
    labels::NAME,
    sum::{Kahan, Mean},
};

/// The series that are aggregated together.
struct Group {
    metric: Metric,
    members: Vec<Series>,
}

impl Context<'_> {
    pub(super) fn aggregate(
        &mut self,
        aggregate: &Aggregate,
        steps: Steps,
    ) -> Result<Value, EvalError> {
        let parameter = match &aggregate.parameter {
            Some(expr) => Some(self.eval(expr, steps)?),
            None => None,
        };
        let vector = self.vector(&aggregate.expr, steps)?;
        let mut groups = groups_of(vector, &aggregate.grouping);
        if aggregate.op.chooses() {
            // What was computed may come in an order that hangs on the steps; who is first among
            // equals must not.
            for group in &mut groups {
                group.members.sort_by(|a, b| a.metric.cmp(&b.metric));
            }
        }
        let scalar = match &parameter {
            Some(Value::Scalar(values)) => values,
            Some(Value::Text(label)) => {
                return self.count_values(groups, &aggregate.grouping, label, steps);
            }
            Some(Value::Vector(_)) | None => &Vec::new(),
        };
        let op = aggregate.op;
        let span = aggregate.parameter.as_ref().map_or(aggregate.expr.span, |expr| expr.span);
        match op {
            Aggregation::Topk | Aggregation::Bottomk | Aggregation::Limitk => {
                let limits = counts(scalar)?;
                self.choose(groups, steps, |_, step, members| choice(op, limits[step], members))
            }
            Aggregation::LimitRatio => {
                for ratio in scalar {
                    if ratio.is_nan() {
                        return Err(EvalError::Failed("Ratio value is NaN".to_owned()));
                    }
                    if ratio.abs() > 1.0 {
                        let at_most = if *ratio > 0.0 { "1" } else { "-1" };
                        let text = format!(
                            "ratio value should be between -1 and 1, got {}, capping to {at_most}",
                            remark::go_g(*ratio)
                        );
                        self.notes.warn(span, &text);
                    }
                }
                let shares = shares_of(&groups);
                self.choose(groups, steps, |group, step, members| {
                    by_ratio(scalar[step], &shares[group], members)
                })
            }
            Aggregation::Quantile => {
                for quantile in scalar {
                    if !(0.0..=1.0).contains(quantile) {
                        let text = remark::quantile_out_of_range(*quantile);
                        self.notes.warn(span, &text);
                    }
                }
                self.quantiles(groups, scalar, steps)
            }
            _ => self.reduce(op, groups, steps),
        }
        .map(Value::Vector)
    }

    fn reduce(
        &mut self,
        op: Aggregation,
        groups: Vec<Group>,
        steps: Steps,
    ) -> Result<Vec<Series>, EvalError> {
        let mut found = Vec::with_capacity(groups.len());
        for group in groups {
            self.work(group.members.len() * steps.count)?;
            self.hold(steps.count as u64)?;
            let members = &group.members;
            let values = match op {
                Aggregation::Sum => folded(members, steps, Kahan::of, Kahan::add, Kahan::value),
                Aggregation::Avg => folded(members, steps, Mean::of, Mean::add, Mean::value),
                Aggregation::Count => {
                    folded(members, steps, |_| 1.0, |count, _| *count += 1.0, |count| count)
                }
                Aggregation::Min => folded(members, steps, |v| v, smaller, |v| v),
                Aggregation::Max => folded(members, steps, |v| v, larger, |v| v),
                Aggregation::Stddev => {
                    folded(members, steps, Spread::of, Spread::add, |s| s.variance().sqrt())
                }
                Aggregation::Stdvar => {
                    folded(members, steps, Spread::of, Spread::add, Spread::variance)
                }
                _ => folded(members, steps, |_| 1.0, |_, _| {}, |one| one),
            };
            found.push(Series { metric: group.metric, values });
        }
        found.retain(Series::has_any);
        Ok(found)
    }

    fn quantiles(
        &mut self,
        groups: Vec<Group>,
        quantile: &[f64],
        steps: Steps,
    ) -> Result<Vec<Series>, EvalError> {
        let mut found = Vec::with_capacity(groups.len());
        let mut values = Vec::new();
        for group in groups {
            self.hold(steps.count as u64)?;
            let mut series = Series::absent(group.metric, steps.count);
            for (step, out) in series.values.iter_mut().enumerate() {
                self.work(group.members.len())?;
                values.clear();
                values.extend(group.members.iter().map(|member| member.values[step]));
                values.retain(|value| !is_absent(*value));
                if !values.is_empty() {
                    *out = crate::sum::quantile(quantile[step], &mut values);
                }
            }
            if series.has_any() {
                found.push(series);
            }
        }
        Ok(found)
    }

    /// At each step the members that `choose` names (of a group, at a step), in its order where there is one step only.
    fn choose(
        &mut self,
        groups: Vec<Group>,
        steps: Steps,
        choose: impl Fn(usize, usize, &[(usize, f64)]) -> Vec<usize>,
    ) -> Result<Vec<Series>, EvalError> {
        let mut found = Vec::new();
        let mut there = Vec::new();
        for (number, mut group) in groups.into_iter().enumerate() {
            let mut order: Vec<usize> = (0..group.members.len()).collect();
            for step in 0..steps.count {
                self.work(group.members.len())?;
                there.clear();
                for (place, member) in group.members.iter_mut().enumerate() {
                    if !is_absent(member.values[step]) {
                        there.push((place, member.values[step]));
                        member.values[step] = crate::ABSENT;
                    }
                }
                let chosen = choose(number, step, &there);
                for place in &chosen {
                    let held = there.binary_search_by_key(place, |(place, _)| *place);
                    let held = held.expect("only what is there is chosen");
                    group.members[*place].values[step] = there[held].1;
                }
                if steps.count == 1 {
                    order = chosen;
                }
            }
            let mut members: Vec<Option<Series>> = group.members.into_iter().map(Some).collect();
            let chosen = order.into_iter().filter_map(|place| members[place].take());
            found.extend(chosen.filter(Series::has_any));
        }
        Ok(found)
    }

    fn count_values(
        &mut self,
        groups: Vec<Group>,
        grouping: &Grouping,
        label: &Text,
        steps: Steps,
    ) -> Result<Value, EvalError> {
        if label.is_empty() {
            return Err(EvalError::Failed("invalid label name \"\" for count_values".to_owned()));
        }
        // What is to be left out is left out, even the label that was to be made.
        let is_left_out = match grouping {
            Grouping::By(_) => false,
            Grouping::Without(labels) => labels.contains(label) || *label == NAME,
        };
        let mut found: Vec<Series> = Vec::new();
        let mut places: HashMap<Metric, usize> = HashMap::new();
        for group in groups {
            // By the value's bits: one label for each.
            let mut of_value: HashMap<u64, usize> = HashMap::new();
            for member in &group.members {
                self.work(steps.count)?;
                for (step, value) in member.values.iter().enumerate() {
                    if is_absent(*value) {
                        continue;
                    }
                    let place = match of_value.get(&value.to_bits()) {
                        Some(place) => *place,
                        None => {
                            let metric = match is_left_out {
                                true => group.metric.clone(),
                                false => group.metric.with(label, &shown(*value)),
                            };
                            let place = match places.get(&metric) {
                                Some(place) => *place,
                                None => {
                                    self.hold(steps.count as u64)?;
                                    places.insert(metric.clone(), found.len());
                                    found.push(Series::absent(metric, steps.count));
                                    found.len() - 1
                                }
                            };
                            of_value.insert(value.to_bits(), place);
                            place
                        }
                    };
                    let count = &mut found[place].values[step];
                    *count = if is_absent(*count) { 1.0 } else { *count + 1.0 };
                }
            }
        }
        Ok(Value::Vector(found))
    }
}

impl Aggregation {
    /// Whether it keeps some of the series as they are.
    const fn chooses(self) -> bool {
        matches!(
            self,
            Aggregation::Topk
                | Aggregation::Bottomk
                | Aggregation::Limitk
                | Aggregation::LimitRatio
        )
    }
}

/// In the order in which their first members come.
fn groups_of(vector: Vec<Series>, grouping: &Grouping) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: HashMap<Metric, usize> = HashMap::new();
    for series in vector {
        let metric = grouped(&series.metric, grouping);
        let drops_name = metric.drops_name;
        let key = Metric { drops_name: false, ..metric.clone() };
        let place = *places.entry(key).or_insert_with(|| {
            groups.push(Group { metric, members: Vec::new() });
            groups.len() - 1
        });
        groups[place].metric.drops_name |= drops_name;
        groups[place].members.push(series);
    }
    groups
}

fn grouped(metric: &Metric, grouping: &Grouping) -> Metric {
    match grouping {
        Grouping::By(labels) => {
            let has_name = labels.iter().any(|label| *label == NAME);
            Metric {
                name: if has_name { metric.name.clone() } else { Text::EMPTY },
                labels: metric.only(|name| labels.iter().any(|label| *label == *name)),
                drops_name: metric.drops_name && has_name,
            }
        }
        Grouping::Without(labels) => Metric::new(
            Text::EMPTY,
            metric.only(|name| !labels.iter().any(|label| *label == *name)),
        ),
    }
}

/// One value a step out of those of all members.
fn folded<T: Copy>(
    members: &[Series],
    steps: Steps,
    begin: impl Fn(f64) -> T,
    add: impl Fn(&mut T, f64),
    end: impl Fn(T) -> f64,
) -> Vec<f64> {
    let mut folded: Vec<Option<T>> = vec![None; steps.count];
    for member in members {
        for (folded, value) in folded.iter_mut().zip(&member.values) {
            if is_absent(*value) {
                continue;
            }
            match folded {
                Some(folded) => add(folded, *value),
                None => *folded = Some(begin(*value)),
            }
        }
    }
    folded.into_iter().map(|folded| folded.map_or(crate::ABSENT, &end)).collect()
}

fn smaller(held: &mut f64, value: f64) {
    if value < *held || held.is_nan() {
        *held = value;
    }
}

fn larger(held: &mut f64, value: f64) {
    if value > *held || held.is_nan() {
        *held = value;
    }
}

/// The variance as values come (Welford).
#[derive(Clone, Copy, Debug)]
struct Spread {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Spread {
    fn of(value: f64) -> Spread {
        let squares = if value.is_finite() { 0.0 } else { f64::NAN };
        Spread { count: 1.0, mean: value, squares }
    }

    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    fn variance(self) -> f64 {
        self.squares / self.count
    }
}

/// How many to choose at each step. Where it is none anywhere, nothing else about it matters.
fn counts(scalar: &[f64]) -> Result<Vec<usize>, EvalError> {
    if scalar.iter().all(|value| *value < 1.0) {
        return Ok(vec![0; scalar.len()]);
    }
    let count = |value: &f64| {
        let wrong = match *value {
            value if value.is_nan() => "Parameter value is NaN".to_owned(),
            value if value <= i64::MIN as f64 => {
                format!("Scalar value {} underflows int64", remark::go_g(value))
            }
            value if value >= i64::MAX as f64 => {
                format!("Scalar value {} overflows int64", remark::go_g(value))
            }
            value => return Ok(usize::try_from(value as i64).unwrap_or(0)),
        };
        Err(EvalError::Failed(wrong))
    };
    scalar.iter().map(count).collect()
}

/// The places of those to keep, the first first.
fn choice(op: Aggregation, count: usize, members: &[(usize, f64)]) -> Vec<usize> {
    if op == Aggregation::Limitk {
        return members.iter().take(count).map(|(place, _)| *place).collect();
    }
    let mut ranked: Vec<(usize, f64)> = members.to_vec();
    // What is not a number comes last, whichever end is asked for.
    ranked.sort_by(|(_, a), (_, b)| match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) if op == Aggregation::Topk => b.partial_cmp(a).unwrap_or(Ordering::Equal),
        (false, false) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
    });
    ranked.truncate(count);
    ranked.into_iter().map(|(place, _)| place).collect()
}

/// Where each member stands between 0 and 1, by its labels alone.
fn shares_of(groups: &[Group]) -> Vec<Vec<f64>> {
    let share = |series: &Series| share_of(&series.metric);
    groups.iter().map(|group| group.members.iter().map(share).collect()).collect()
}

fn by_ratio(ratio: f64, shares: &[f64], members: &[(usize, f64)]) -> Vec<usize> {
    let ratio = ratio.clamp(-1.0, 1.0);
    let is_chosen = |place: usize| match ratio >= 0.0 {
        true => shares[place] < ratio,
        // The complement of the ratio that is missing to 1.
        false => shares[place] >= 1.0 + ratio,
    };
    members.iter().map(|(place, _)| *place).filter(|place| is_chosen(*place)).collect()
}

/// FNV-1a of the labels, stirred: the same on every machine and in every version.
fn share_of(metric: &Metric) -> f64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut eat = |text: &str| {
        for byte in text.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    eat(&metric.name);
    for (name, value) in metric.labels.iter() {
        eat(name);
        eat(value);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    ((hash ^ (hash >> 33)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// A number as a label's value, never with an exponent.
fn shown(value: f64) -> String {
    match value.is_infinite() {
        true if value > 0.0 => "+Inf".to_owned(),
        true => "-Inf".to_owned(),
        false => value.to_string(),
    }
}
