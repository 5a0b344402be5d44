//! Where a collector puts its samples: label sets are interned, so that a series which comes
//! back at every tick costs no allocation and compares by address.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
    io,
    path::Path,
};

use farol_model::{Labels, Sample, Text, Timestamp, TopProcess};

/// Why a collector yields nothing (or less than it could).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectError {
    /// The machine does not have it: normal. The sentence says what is not there.
    Absent(String),
    Failed(String),
}

impl CollectError {
    /// What an error of reading `path` means: a missing file is absence, all else a failure.
    pub fn reading(path: &Path, error: &io::Error) -> CollectError {
        match error.kind() {
            io::ErrorKind::NotFound => {
                CollectError::Absent(format!("{} does not exist", path.display()))
            }
            _ => CollectError::Failed(format!("{}: {error}", path.display())),
        }
    }
}

impl fmt::Display for CollectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CollectError::Absent(reason) | CollectError::Failed(reason) => f.write_str(reason),
        }
    }
}

/// One collector's output of one tick. It belongs to that collector for life, and so does what
/// it interned.
#[derive(Debug)]
pub struct Scrape {
    now: Timestamp,
    samples: Vec<Sample>,
    top: Vec<TopProcess>,
    problems: Vec<String>,
    label_sets: HashMap<u64, Labels, BuildHasherDefault<AlreadyHashed>>,
    names: HashMap<u64, Text, BuildHasherDefault<AlreadyHashed>>,
    ticks: u64,
}

/// How often label sets that no live snapshot holds any more are let go.
const TICKS_BETWEEN_SWEEPS: u64 = 256;

impl Scrape {
    pub fn new() -> Scrape {
        Scrape {
            now: Timestamp::default(),
            samples: Vec::new(),
            top: Vec::new(),
            problems: Vec::new(),
            label_sets: HashMap::default(),
            names: HashMap::default(),
            ticks: 0,
        }
    }

    /// Makes ready for a tick at `now`.
    pub fn begin(&mut self, now: Timestamp) {
        self.now = now;
        self.discard();
        self.problems.clear();
        self.ticks += 1;
        if self.ticks.is_multiple_of(TICKS_BETWEEN_SWEEPS) {
            self.label_sets.retain(|_, labels| labels.holders() > 1);
            // Names have no count of holders; the kernel coins few, so this rarely drops any.
            if self.names.len() > 4096 {
                self.names.clear();
            }
        }
    }

    /// The tick's time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// A sample whose name is part of the program. Label pairs in any order; an empty value is
    /// no label.
    pub fn push(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        let labels = self.labels(labels);
        self.samples.push(Sample { name: Text::from_static(name), labels, value });
    }

    /// A sample whose name the kernel coins (`node_memory_<key>_bytes`).
    pub fn push_coined(&mut self, name: &str, labels: &[(&'static str, &str)], value: f64) {
        let labels = self.labels(labels);
        let name = self.name(name);
        self.samples.push(Sample { name, labels, value });
    }

    /// A row of the snapshot that is no series.
    pub fn push_top(&mut self, process: TopProcess) {
        self.top.push(process);
    }

    /// A sample whose label set the collector keeps from tick to tick itself, because the names of
    /// its labels are not part of the program.
    pub fn push_labelled(&mut self, name: &'static str, labels: &Labels, value: f64) {
        let (name, labels) = (Text::from_static(name), labels.clone());
        self.samples.push(Sample { name, labels, value });
    }

    /// A sample whose name and labels are kept by who collects it.
    pub(crate) fn push_sample(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// Something that could not be read, while the rest could: the outcome becomes *partial*.
    pub fn problem(&mut self, reason: impl Into<String>) {
        self.problems.push(reason.into());
    }

    /// [`Scrape::problem`] for an error of a part.
    pub fn problem_of(&mut self, error: &CollectError) {
        self.problem(error.to_string());
    }

    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    pub(crate) fn take_top(&mut self, into: &mut Vec<TopProcess>) {
        into.append(&mut self.top);
    }

    pub(crate) fn take_samples(&mut self, into: &mut Vec<Sample>) {
        into.append(&mut self.samples);
    }

    /// Samples and rows.
    pub(crate) fn discard(&mut self) {
        self.samples.clear();
        self.top.clear();
    }

    pub(crate) fn take_problems(&mut self) -> Vec<String> {
        std::mem::take(&mut self.problems)
    }

    fn labels(&mut self, pairs: &[(&'static str, &str)]) -> Labels {
        if pairs.is_empty() {
            return Labels::empty();
        }
        let key = hash_pairs(pairs);
        if let Some(labels) = self.label_sets.get(&key)
            && holds(labels, pairs)
        {
            return labels.clone();
        }
        let labels = Labels::new(
            pairs
                .iter()
                .map(|(name, value)| (Text::from_static(name), Text::from(*value)))
                .collect(),
        );
        self.label_sets.insert(key, labels.clone());
        labels
    }

    fn name(&mut self, name: &str) -> Text {
        let key = hash_bytes(FNV_OFFSET, name.as_bytes());
        match self.names.get(&key) {
            Some(text) if *text == name => text.clone(),
            _ => {
                let text = Text::from(name);
                self.names.insert(key, text.clone());
                text
            }
        }
    }
}

impl Default for Scrape {
    fn default() -> Scrape {
        Scrape::new()
    }
}

/// The address of the key's text is not enough to tell two sets apart, so a hit is compared.
fn holds(labels: &Labels, pairs: &[(&'static str, &str)]) -> bool {
    let given = pairs.iter().filter(|(_, value)| !value.is_empty());
    labels.len() == given.clone().count()
        && given.into_iter().all(|(name, value)| labels.get(name) == Some(value))
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

fn hash_pairs(pairs: &[(&'static str, &str)]) -> u64 {
    pairs.iter().fold(FNV_OFFSET, |hash, (name, value)| {
        let hash = hash_bytes(hash, name.as_bytes());
        hash_bytes(hash.wrapping_mul(FNV_PRIME) ^ 0xff, value.as_bytes()).wrapping_mul(FNV_PRIME)
    })
}

fn hash_bytes(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// The maps' keys are hashes already.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash_bytes(self.0, bytes);
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_that_comes_back_shares_its_labels() {
        let mut scrape = Scrape::new();
        scrape.begin(Timestamp::from_millis(0));
        scrape.push("m", &[("cpu", "0"), ("mode", "idle")], 1.0);
        let first = scrape.samples()[0].clone();
        scrape.begin(Timestamp::from_millis(1000));
        scrape.push("m", &[("cpu", "0"), ("mode", "idle")], 2.0);
        assert!(scrape.samples()[0].labels.same_place(&first.labels));
    }

    #[test]
    fn a_coined_name_is_shared_from_tick_to_tick() {
        let mut scrape = Scrape::new();
        scrape.begin(Timestamp::from_millis(0));
        scrape.push_coined("node_memory_MemFree_bytes", &[], 1.0);
        let first = scrape.samples()[0].clone();
        scrape.begin(Timestamp::from_millis(1000));
        scrape.push_coined("node_memory_MemFree_bytes", &[], 2.0);
        assert!(scrape.samples()[0].name.same_place(&first.name));
    }

    #[test]
    fn a_missing_file_is_absence_and_any_other_error_a_failure() {
        let path = Path::new("/sys/class/hwmon");
        let missing = CollectError::reading(path, &io::ErrorKind::NotFound.into());
        assert_eq!(missing, CollectError::Absent("/sys/class/hwmon does not exist".into()));
        let denied = CollectError::reading(path, &io::ErrorKind::PermissionDenied.into());
        assert!(matches!(denied, CollectError::Failed(_)));
    }
}
