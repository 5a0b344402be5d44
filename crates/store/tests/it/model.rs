//! The store as it would be if memory were endless and nobody were in a hurry: a list of the
//! snapshots that count, read from the beginning for every answer. Plain, to be obviously right.

use std::collections::{BTreeMap, BTreeSet};

use farol_model::{Batch, Labels, Lane, Record, Snapshot, Text};
use farol_store::{STALE, SeriesKey};

const WINDOW: i64 = 900_000;
const HEADS: usize = 4;
const PASSED_BY: u32 = 100;
/// So many intervals without a sample, and a series has ended.
const PATIENCE: i64 = 3;

/// For each series its points: the time, and the value's bits (of one NaN, and of the stale marker).
pub(crate) type Answers = BTreeMap<SeriesKey, BTreeMap<i64, u64>>;

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    heads: Vec<Head>,
    closed: BTreeSet<i64>,
    /// By lane, then by time: the snapshots that count.
    lanes: [BTreeMap<i64, Moment>; 2],
    imported: Answers,
    received: Answers,
    held: u64,
}

/// A window that still takes snapshots.
#[derive(Clone, Debug)]
struct Head {
    window: i64,
    last: [Option<i64>; 2],
    /// Records that went elsewhere since one came here.
    passed_by: u32,
}

#[derive(Clone, Debug)]
struct Moment {
    interval: i64,
    complete: bool,
    samples: BTreeMap<SeriesKey, f64>,
}

impl Model {
    pub(crate) fn apply(&mut self, record: &Record, complete: bool) {
        let snapshot = match record {
            Record::Snapshot(snapshot) => snapshot,
            Record::Received(batch) | Record::Recorded(batch) => return self.receive(batch),
            _ => return,
        };
        let at = snapshot.at.as_millis();
        if !self.takes(window(at), snapshot.lane, at) {
            self.held += 1;
            return;
        }
        let moment = Moment {
            interval: i64::try_from(snapshot.interval.as_millis()).unwrap(),
            complete,
            samples: stored(snapshot),
        };
        self.lanes[snapshot.lane.index()].insert(at, moment);
    }

    pub(crate) fn import(&mut self, key: SeriesKey, at: i64, value: f64) {
        self.imported.entry(key).or_default().insert(at, plain_bits(value));
    }

    /// Of two samples of a series at one time it is of no matter which came first.
    fn receive(&mut self, batch: &Batch) {
        for series in &batch.series {
            let key = SeriesKey { name: series.name.clone(), labels: series.labels.clone() };
            for (at, value) in &series.points {
                let held = self.received.entry(key.clone()).or_default();
                let held = held.entry(at.as_millis()).or_insert(plain_bits(*value));
                let both = [f64::from_bits(*held), *value];
                // A number rather than none, a NaN rather than a marker, of numbers the larger.
                let is_none = |value: &f64| (farol_store::is_stale(*value), value.is_nan());
                let kept = both
                    .into_iter()
                    .min_by(|a, b| is_none(a).cmp(&is_none(b)).then_with(|| b.total_cmp(a)));
                *held = plain_bits(kept.unwrap());
            }
        }
    }

    /// How many samples were received, those at one time once.
    pub(crate) fn received(&self) -> u64 {
        self.received.values().map(|points| points.len() as u64).sum()
    }

    /// Snapshots that did not count, because their time was already held.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// The newest snapshot of a lane: its time and interval.
    pub(crate) fn newest(&self, lane: Lane) -> Option<(i64, i64)> {
        let (at, moment) = self.lanes[lane.index()].last_key_value()?;
        Some((*at, moment.interval))
    }

    /// How many samples there are, without those imported.
    pub(crate) fn samples(&self) -> u64 {
        let moments = self.lanes.iter().flat_map(|lane| lane.values());
        moments.map(|moment| moment.samples.len() as u64).sum()
    }

    /// The times of all snapshots, and of what was imported and received.
    pub(crate) fn times(&self) -> Vec<i64> {
        let lanes = self.lanes.iter().flat_map(|lane| lane.keys());
        let others = [&self.imported, &self.received];
        let imported =
            others.into_iter().flat_map(|all| all.values().flat_map(|points| points.keys()));
        let times: BTreeSet<i64> = lanes.chain(imported).copied().collect();
        times.into_iter().collect()
    }

    /// The windows that hold snapshots.
    pub(crate) fn windows(&self) -> BTreeSet<i64> {
        self.lanes.iter().flat_map(|lane| lane.keys()).map(|at| window(*at)).collect()
    }

    /// As if only these windows had ever been.
    pub(crate) fn only(&self, windows: &BTreeSet<i64>) -> Model {
        let mut model = self.clone();
        for lane in &mut model.lanes {
            lane.retain(|at, _| windows.contains(&window(*at)));
        }
        model
    }

    /// Every point of every series.
    pub(crate) fn all(&self, now: Option<i64>) -> Answers {
        self.answers(i64::MIN, i64::MAX, now)
    }

    /// The points from `start` to `end`, both included; series without any are left out.
    pub(crate) fn answers(&self, start: i64, end: i64, now: Option<i64>) -> Answers {
        let mut answers = Answers::new();
        for lane in &self.lanes {
            read_lane(lane, now, &mut answers);
        }
        for (key, points) in self.imported.iter().chain(&self.received) {
            answers.entry(key.clone()).or_default().extend(points);
        }
        for points in answers.values_mut() {
            points.retain(|at, _| (start..=end).contains(at));
        }
        answers.retain(|_, points| !points.is_empty());
        answers
    }

    /// Whether a window takes a snapshot of that time; what this does to the windows is done.
    fn takes(&mut self, window: i64, lane: Lane, at: i64) -> bool {
        if self.closed.contains(&window) {
            return false;
        }
        let place = self.heads.iter().position(|head| head.window == window);
        if let Some(place) = place
            && self.heads[place].last[lane.index()] >= Some(at)
        {
            return false;
        }
        // The heads stand in the order in which they were last touched.
        let mut head = place.map_or_else(
            || Head { window, last: [None; 2], passed_by: 0 },
            |place| self.heads.remove(place),
        );
        head.last[lane.index()] = Some(at);
        head.passed_by = 0;
        for other in &mut self.heads {
            other.passed_by += 1;
        }
        self.heads.push(head);
        let too_many = self.heads.len().saturating_sub(HEADS);
        let beyond: Vec<_> = self.heads.drain(..too_many).collect();
        let passed = self.heads.extract_if(.., |head| head.passed_by >= PASSED_BY);
        self.closed.extend(beyond.into_iter().chain(passed).map(|head| head.window));
        true
    }
}

pub(crate) fn window(at: i64) -> i64 {
    at.div_euclid(WINDOW)
}

pub(crate) fn plain_bits(value: f64) -> u64 {
    let is_other_nan = value.is_nan() && !farol_store::is_stale(value);
    if is_other_nan { f64::NAN.to_bits() } else { value.to_bits() }
}

/// The snapshots of one lane in order of time, and where each series ends.
fn read_lane(lane: &BTreeMap<i64, Moment>, now: Option<i64>, answers: &mut Answers) {
    let mut alive: BTreeSet<&SeriesKey> = BTreeSet::new();
    let mut patience: Option<i64> = None;
    let end = |key: &SeriesKey, at: i64, answers: &mut Answers| {
        answers.entry(key.clone()).or_default().insert(at, STALE.to_bits());
    };
    for (&at, moment) in lane {
        if let Some(patience) = patience
            && at > patience
        {
            for key in std::mem::take(&mut alive) {
                end(key, patience, answers);
            }
        }
        for (key, value) in &moment.samples {
            answers.entry(key.clone()).or_default().insert(at, plain_bits(*value));
        }
        if moment.complete {
            for key in std::mem::take(&mut alive) {
                if !moment.samples.contains_key(key) {
                    end(key, at, answers);
                }
            }
        }
        alive.extend(moment.samples.keys());
        patience = Some(at + PATIENCE * moment.interval);
    }
    if let (Some(now), Some(patience)) = (now, patience)
        && now > patience
    {
        for key in alive {
            end(key, patience, answers);
        }
    }
}

/// What a snapshot is stored as.
fn stored(snapshot: &Snapshot) -> BTreeMap<SeriesKey, f64> {
    let of_host = |name: &Text, labels: &Labels| SeriesKey {
        name: name.clone(),
        labels: with_target(labels, &snapshot.host),
    };
    let samples = snapshot.samples.iter();
    let mut stored: BTreeMap<_, _> =
        samples.map(|sample| (of_host(&sample.name, &sample.labels), sample.value)).collect();
    if snapshot.lane == Lane::Fast {
        stored.insert(of_host(&Text::from_static("up"), &Labels::empty()), 1.0);
    }
    stored
}

fn with_target(labels: &Labels, host: &Text) -> Labels {
    let renamed = labels.iter().map(|(name, value)| match name.as_str() {
        "job" => (Text::from_static("exported_job"), value.clone()),
        "instance" => (Text::from_static("exported_instance"), value.clone()),
        _ => (name.clone(), value.clone()),
    });
    let target = [("job", Text::from_static("node")), ("instance", host.clone())];
    let target = target.into_iter().map(|(name, value)| (Text::from_static(name), value));
    Labels::new(renamed.chain(target).collect())
}
