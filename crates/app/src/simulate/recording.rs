//! Weeks out of an hour: a recording (the journal of a machine) is cut into pieces of some minutes, and
//! pieces that a seed chooses follow one another for as long as one likes. What counts only goes
//! up, by as much as it went up in the piece; what is a time moves with the time; all else is as it was
//! recorded. So each minute is one that a machine really had, and what does not happen in the recording
//! does not happen here.

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use farol_collect::describe;
use farol_disk::Disk;
use farol_journal::{Item, Reader, StartAt};
use farol_model::{Kind, Labels, Lane, Record, Sample, Snapshot, Stream, Text, Timestamp};

use super::next_random;

/// What a machine said of itself.
#[derive(Debug)]
pub struct Recording {
    pub host: Text,
    pub start: Timestamp,
    pub end: Timestamp,
    /// By lane.
    lanes: [Track; 2],
}

#[derive(Debug)]
struct Track {
    interval: Duration,
    /// In order of their times.
    snapshots: Vec<Arc<Snapshot>>,
    moves: HashMap<(Text, Labels), Move>,
}

/// How a series goes on beyond the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    /// By what it went up meanwhile.
    Count,
    /// As the time does.
    Time,
    /// It does not.
    Stay,
}

/// Shorter ones would be all seams.
const SHORTEST: Duration = Duration::from_secs(5 * 60);
const LONGEST: Duration = Duration::from_secs(30 * 60);
const LEAST: Duration = Duration::from_secs(60 * 60);

impl Recording {
    /// Reads the journal in a folder to its end.
    pub fn read(disk: &Arc<dyn Disk>, folder: &Path) -> anyhow::Result<Recording> {
        let mut reader = Reader::open(Arc::clone(disk), folder, Stream::Metrics, StartAt::Oldest)?;
        let mut snapshots: [Vec<Arc<Snapshot>>; 2] = Default::default();
        while let Some(item) = reader.next()? {
            match item {
                Item::Line(line) => {
                    if let Record::Snapshot(snapshot) = line.record {
                        snapshots[snapshot.lane.index()].push(snapshot);
                    }
                }
                damage => anyhow::bail!("{}: {damage:?}", folder.display()),
            }
        }
        let first = snapshots[0].first().context("there is no snapshot in the recording")?;
        let host = first.host.clone();
        let times = || snapshots.iter().flatten().map(|snapshot| snapshot.at);
        let (start, end) = (times().min(), times().max());
        let (start, end) = start.zip(end).context("there is no snapshot in the recording")?;
        if end.since(start) < LEAST {
            anyhow::bail!("{}: the recording is shorter than an hour", folder.display());
        }
        Ok(Recording { host, start, end, lanes: snapshots.map(Track::new) })
    }

    /// Between the lane's ticks.
    pub fn interval(&self, lane: Lane) -> Duration {
        self.lanes[lane.index()].interval
    }
}

impl Track {
    fn new(snapshots: Vec<Arc<Snapshot>>) -> Track {
        let interval = snapshots.first().map_or(Duration::ZERO, |snapshot| snapshot.interval);
        let mut seen: HashMap<(Text, Labels), Vec<(i64, f64)>> = HashMap::new();
        for snapshot in &snapshots {
            for sample in &snapshot.samples {
                let key = (sample.name.clone(), sample.labels.clone());
                seen.entry(key).or_default().push((snapshot.at.as_millis(), sample.value));
            }
        }
        let moves = seen.into_iter().map(|(key, points)| {
            let how = Move::of(&key.0, &points);
            (key, how)
        });
        Track { interval, moves: moves.collect(), snapshots }
    }

    /// The last one up to a time.
    fn at(&self, millis: i64) -> Option<&Arc<Snapshot>> {
        let next = self.snapshots.partition_point(|snapshot| snapshot.at.as_millis() <= millis);
        self.snapshots.get(next.checked_sub(1)?)
    }
}

impl Move {
    fn of(name: &str, points: &[(i64, f64)]) -> Move {
        let kind = describe(name).map_or(Kind::Untyped, |description| description.kind);
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return Move::Stay };
        let (passed, risen) = ((last.0 - first.0) as f64 / 1000.0, last.1 - first.1);
        let never_falls = points.is_sorted_by(|before, after| before.1 <= after.1);
        match kind {
            // Seconds of uptime, or since 1970.
            Kind::Gauge if passed > 0.0 && (risen / passed - 1.0).abs() < 0.01 => Move::Time,
            // Of bytes that all devices have received, which are vital signs.
            Kind::Gauge if name.starts_with("monitoring_bytes_") => Move::Count,
            Kind::Counter => Move::Count,
            Kind::Untyped if never_falls => Move::Count,
            Kind::Gauge | Kind::Untyped => Move::Stay,
        }
    }
}

/// Plays a recording on and on.
#[derive(Debug)]
pub struct Player {
    recording: Arc<Recording>,
    random: u64,
    /// From when to when, in the time that is played, and how far the recording lies behind it.
    piece: Option<Piece>,
    /// By how much the series that count are above what was recorded last.
    counts: [HashMap<(Text, Labels), f64>; 2],
    last: [Option<i64>; 2],
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    end: i64,
    behind: i64,
}

impl Player {
    pub fn new(recording: Arc<Recording>, seed: u64) -> Player {
        Player { recording, random: seed, piece: None, counts: Default::default(), last: [None; 2] }
    }

    /// What the machine says at a time, which is to rise from call to call.
    pub fn tick(&mut self, lane: Lane, at: Timestamp, interval: Duration) -> Snapshot {
        let millis = at.as_millis();
        let piece = self.piece(millis);
        let recording = Arc::clone(&self.recording);
        let track = &recording.lanes[lane.index()];
        let recorded = millis - piece.behind;
        let step = self.last[lane.index()].map_or(0, |last| millis - last).min(self.longest_step());
        self.last[lane.index()] = Some(millis);
        let Some(now) = track.at(recorded).or(track.snapshots.first()) else {
            return empty(&recording.host, lane, at, interval);
        };
        let before = track.at(recorded - step).or(track.snapshots.first()).unwrap_or(now);
        let before: HashMap<(&Text, &Labels), f64> = (before.samples.iter())
            .map(|sample| ((&sample.name, &sample.labels), sample.value))
            .collect();
        let counts = &mut self.counts[lane.index()];
        let samples = now.samples.iter().map(|sample| {
            let key = (sample.name.clone(), sample.labels.clone());
            let how = track.moves.get(&key).copied().unwrap_or(Move::Stay);
            let value = match how {
                Move::Stay => sample.value,
                Move::Time => sample.value + piece.behind as f64 / 1000.0,
                Move::Count => {
                    let before = before.get(&(&sample.name, &sample.labels));
                    let more = before.map_or(0.0, |before| (sample.value - before).max(0.0));
                    let count = counts.entry(key).or_insert(sample.value);
                    *count += more;
                    *count
                }
            };
            Sample { name: sample.name.clone(), labels: sample.labels.clone(), value }
        });
        let samples: Vec<Sample> = samples.collect();
        Snapshot {
            at,
            interval,
            summary: summary(&samples),
            samples,
            top: now.top.clone(),
            outcomes: now.outcomes.clone(),
            ..empty(&recording.host, lane, at, interval)
        }
    }

    /// The piece that a time belongs to; a new one is drawn when the last is over.
    fn piece(&mut self, millis: i64) -> Piece {
        if let Some(piece) = self.piece.filter(|piece| millis < piece.end) {
            return piece;
        }
        let grid = self.longest_step().max(1);
        let (shortest, longest) = (SHORTEST.as_millis() as i64, LONGEST.as_millis() as i64);
        let length = draw(&mut self.random, shortest / grid, longest / grid) * grid;
        let (start, end) = (self.recording.start.as_millis(), self.recording.end.as_millis());
        // One step is left before it, for what counts to have risen from.
        let begin = start + draw(&mut self.random, 1, (end - start - length) / grid) * grid;
        let piece = Piece { end: millis + length, behind: millis - begin };
        self.piece = Some(piece);
        piece
    }

    /// Of the slow lane: the grid on which the recording is cut.
    fn longest_step(&self) -> i64 {
        let longest = Lane::ALL.map(|lane| self.recording.interval(lane)).into_iter().max();
        longest.map_or(0, |interval| i64::try_from(interval.as_millis()).unwrap_or(0))
    }
}

fn empty(host: &Text, lane: Lane, at: Timestamp, interval: Duration) -> Snapshot {
    Snapshot {
        at,
        interval,
        lane,
        host: host.clone(),
        state: farol_model::State::Unknown,
        summary: Vec::new(),
        samples: Vec::new(),
        top: Vec::new(),
        outcomes: Vec::new(),
    }
}

/// The vital signs among them, by their short names.
fn summary(samples: &[Sample]) -> Vec<(Text, f64)> {
    let short = |sample: &Sample| {
        let name = sample.name.strip_prefix("monitoring_")?;
        Some((name.into(), sample.value))
    };
    samples.iter().filter_map(short).collect()
}

/// A whole number from the least to the most, both included.
fn draw(random: &mut u64, least: i64, most: i64) -> i64 {
    let span = u64::try_from(most - least).unwrap_or(0) + 1;
    let drawn = next_random(random) % span;
    least + i64::try_from(drawn).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use farol_disk::RealDisk;

    use super::*;

    fn quiet() -> Arc<Recording> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/recordings/quiet");
        Arc::new(Recording::read(&disk, &folder).unwrap())
    }

    /// A series over six hours from the recording's start.
    fn played(seed: u64, lane: Lane, name: &str, labels: &Labels) -> Vec<f64> {
        let recording = quiet();
        let interval = recording.interval(lane);
        let mut player = Player::new(Arc::clone(&recording), seed);
        let ticks =
            (0..6 * 60).map(|minute| recording.start.plus(Duration::from_secs(minute * 60)));
        let values = ticks.map(|at| {
            let snapshot = player.tick(lane, at, interval);
            let find = |sample: &&Sample| sample.name == name && sample.labels == *labels;
            snapshot.samples.iter().find(find).map(|sample| sample.value)
        });
        values.collect::<Option<Vec<f64>>>().unwrap()
    }

    #[test]
    fn what_counts_goes_on_rising_at_the_pace_of_the_recording() {
        let idle = Labels::from([("cpu", "0"), ("mode", "idle")]);
        let values = played(1, Lane::Fast, "node_cpu_seconds_total", &idle);
        assert!(values.is_sorted());
        let passed = values.last().unwrap() - values.first().unwrap();
        // Six hours less a minute, of which the machine slept nearly all.
        assert!((21_300.0..21_600.0).contains(&passed), "{passed}");
    }

    #[test]
    fn what_is_a_time_moves_with_the_time() {
        let values = played(1, Lane::Fast, "monitoring_uptime_seconds", &Labels::default());
        assert!(values.windows(2).all(|pair| (pair[1] - pair[0] - 60.0).abs() < 1.0));
    }

    #[test]
    fn the_seed_decides_which_minutes_come() {
        let memory =
            |seed| played(seed, Lane::Fast, "node_memory_MemAvailable_bytes", &Labels::default());
        assert_eq!(memory(1), memory(1));
        assert_ne!(memory(1), memory(2));
    }
}
