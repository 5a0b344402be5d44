//! The rows of the largest processes as series for a store: which names they have there, and which
//! labels. On `/metrics` and in the journal they stay rows.

use std::collections::BTreeMap;

use farol_model::{Labels, Metric, Sample, Snapshot, Text, TopProcess};

const CPU: &str = "farol_top_cpu_ratio";
const RESIDENT: &str = "farol_top_resident_bytes";
const READ: &str = "farol_top_read_bytes_per_second";
const WRITTEN: &str = "farol_top_written_bytes_per_second";

pub const METRICS: &[Metric] = &[
    Metric::gauge(CPU, "ratio", "CPU time of the processes since the tick before, of one core."),
    Metric::gauge(READ, "", "Bytes that the processes read from disks, a second."),
    Metric::gauge(RESIDENT, "bytes", "Memory of the processes that is in RAM."),
    Metric::gauge(WRITTEN, "", "Bytes that the processes wrote to disks, a second."),
];

/// The largest processes of a snapshot, sorted by name and labels. Without the pid, which would make
/// series without end: processes that agree in name, user, unit and container are added up, and what
/// is not known of any of them is absent.
pub fn samples(snapshot: &Snapshot) -> Vec<Sample> {
    let mut sums: BTreeMap<(&'static str, Labels), f64> = BTreeMap::new();
    for process in &snapshot.top {
        let labels = labels(process);
        for (name, value) in figures(process) {
            if let Some(value) = value {
                *sums.entry((name, labels.clone())).or_default() += value;
            }
        }
    }
    let sample = |((name, labels), value)| Sample { name: Text::from_static(name), labels, value };
    sums.into_iter().map(sample).collect()
}

/// What a store adds up that has no room for more of these series.
pub fn folded() -> Labels {
    Labels::from([("name", "other")])
}

fn labels(process: &TopProcess) -> Labels {
    let known = |name: &'static str, value: &Option<Text>| {
        value.clone().map(|value| (Text::from_static(name), value))
    };
    let name = Some((Text::from_static("name"), process.name.clone()));
    let others = [
        known("user", &process.user),
        known("unit", &process.unit),
        known("container", &process.container),
    ];
    Labels::new(name.into_iter().chain(others.into_iter().flatten()).collect())
}

fn figures(process: &TopProcess) -> [(&'static str, Option<f64>); 4] {
    [
        (CPU, process.cpu_ratio),
        (RESIDENT, Some(process.resident_bytes as f64)),
        (READ, process.read_bytes_per_second.map(|bytes| bytes as f64)),
        (WRITTEN, process.written_bytes_per_second.map(|bytes| bytes as f64)),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use farol_model::{Lane, State, Timestamp};

    use super::*;

    fn row(pid: u32, name: &str, user: Option<&str>, cpu_ratio: Option<f64>) -> TopProcess {
        let (name, user) = (Text::from(name), user.map(Text::from));
        TopProcess { pid, name, user, cpu_ratio, resident_bytes: 4096, ..TopProcess::default() }
    }

    fn told(top: Vec<TopProcess>) -> Vec<String> {
        let snapshot = Snapshot {
            at: Timestamp::from_millis(0),
            interval: Duration::from_secs(10),
            lane: Lane::Slow,
            host: Text::from_static("pi"),
            state: State::Unknown,
            summary: Vec::new(),
            samples: Vec::new(),
            top,
            outcomes: Vec::new(),
        };
        let tell = |sample: &Sample| format!("{}{:?} {}", sample.name, sample.labels, sample.value);
        samples(&snapshot).iter().map(tell).collect()
    }

    #[test]
    fn processes_of_the_same_labels_are_one_series_without_a_pid() {
        let workers = vec![
            row(7, "worker", Some("www"), Some(0.25)),
            row(8, "worker", Some("www"), Some(0.5)),
            row(9, "worker", Some("ana"), Some(1.0)),
        ];
        assert_eq!(
            told(workers),
            [
                r#"farol_top_cpu_ratio{"name": "worker", "user": "ana"} 1"#,
                r#"farol_top_cpu_ratio{"name": "worker", "user": "www"} 0.75"#,
                r#"farol_top_resident_bytes{"name": "worker", "user": "ana"} 4096"#,
                r#"farol_top_resident_bytes{"name": "worker", "user": "www"} 8192"#,
            ]
        );
    }

    #[test]
    fn what_is_not_known_is_absent_and_what_is_known_of_one_is_told() {
        let top = vec![row(1, "init", None, None), row(2, "init", None, Some(0.5))];
        assert_eq!(
            told(top),
            [
                r#"farol_top_cpu_ratio{"name": "init"} 0.5"#,
                r#"farol_top_resident_bytes{"name": "init"} 8192"#,
            ]
        );
        let traffic = TopProcess {
            read_bytes_per_second: Some(0),
            written_bytes_per_second: Some(10),
            ..row(3, "dd", None, None)
        };
        assert_eq!(
            told(vec![traffic]),
            [
                r#"farol_top_read_bytes_per_second{"name": "dd"} 0"#,
                r#"farol_top_resident_bytes{"name": "dd"} 4096"#,
                r#"farol_top_written_bytes_per_second{"name": "dd"} 10"#,
            ]
        );
    }
}
