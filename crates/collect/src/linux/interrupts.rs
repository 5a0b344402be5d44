//! `interrupts`: how often each CPU was interrupted, by source. Source: `/proc/interrupts`
//! (kernel/irq/proc.c and arch/*/kernel/irq.c).
//!
//! Off unless asked for: it is a series per CPU and line, tens of thousands on a large machine. The
//! label sets of a line are therefore kept for as long as the line and the CPUs stay the same, and
//! a tick costs little more than reading the numbers.

use farol_model::{Labels, Lane, Metric, Sample, Text};

use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
};

const FILE: &str = "interrupts";
const TOTAL: &str = "node_interrupts_total";

pub(crate) const ENTRY: Entry = Entry {
    name: "interrupts",
    about: "how often each CPU was interrupted, by source",
    on: false,
    lane: Lane::Slow,
    scope: Scope::Kernel,
    reads: &["/proc/interrupts"],
    metrics: &[Metric::counter(TOTAL, "", "Interrupt details.")],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Interrupts { file: HotFile::new(Tree::Proc, FILE), known: Known::default() }))
}

struct Interrupts {
    file: HotFile,
    known: Known,
}

impl Collector for Interrupts {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        self.known.parse(self.file.read_str(host)?, out)
    }
}

/// What the lines' words became, by the lines' positions: the kernel keeps their order.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The titles of the columns as they last stood, and the CPUs they name.
    titles: String,
    cpus: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Debug, Default)]
struct Row {
    name: String,
    words: String,
    /// By column.
    labels: Vec<Labels>,
}

impl Known {
    pub(crate) fn parse(&mut self, text: &str, out: &mut Scrape) -> Result<(), CollectError> {
        let mut lines = text.lines();
        let titles = lines.next().unwrap_or_default();
        if self.cpus.is_empty() || self.titles != titles {
            // Offline CPUs have no column, so the number is in the title and not in the order.
            let cpus = titles.split_ascii_whitespace().map(|title| title.strip_prefix("CPU"));
            let cpus: Option<Vec<&str>> = cpus.collect();
            let cpus = cpus.filter(|cpus| !cpus.is_empty());
            let cpus = cpus.ok_or_else(|| CollectError::Failed(format!("{FILE}: no titles")))?;
            self.cpus = cpus.into_iter().map(str::to_owned).collect();
            titles.clone_into(&mut self.titles);
            self.rows.clear();
        }
        let mut index = 0;
        for line in lines {
            if let Some((name, rest)) = line.split_once(':') {
                self.parse_line(index, name.trim_ascii(), rest, out);
                index += 1;
            }
        }
        self.rows.truncate(index);
        Ok(())
    }

    /// ` 36:   0  72709  PCI-MSIX-0000:00:02.0   1-edge   virtio1-req.0`. A line that has not a
    /// number for each CPU and words behind them (`ERR`, `MIS`: sums of the machine) is left out, as
    /// in node_exporter.
    fn parse_line(&mut self, index: usize, name: &str, rest: &str, out: &mut Scrape) {
        let Some(words) = after_fields(rest, self.cpus.len()).filter(|words| !words.is_empty())
        else {
            return;
        };
        if self.rows.len() <= index {
            self.rows.resize_with(index + 1, Row::default);
        }
        let row = &mut self.rows[index];
        if row.name != name || row.words != words {
            *row = Row::new(name, words, &self.cpus);
        }
        let numbers = rest.split_ascii_whitespace().map(str::parse::<u64>);
        for (labels, number) in row.labels.iter().zip(numbers) {
            let Ok(number) = number else { return };
            let name = Text::from_static(TOTAL);
            out.push_sample(Sample { name, labels: labels.clone(), value: number as f64 });
        }
    }
}

impl Row {
    /// A numbered interrupt's first word is its controller, the others its devices; any other has
    /// a sentence.
    fn new(name: &str, words: &str, cpus: &[String]) -> Row {
        let mut joined = words.split_ascii_whitespace();
        let is_numbered = name.bytes().all(|byte| byte.is_ascii_digit());
        let first = if is_numbered { joined.next().unwrap_or_default() } else { "" };
        let rest = joined.collect::<Vec<_>>().join(" ");
        let (info, devices) = if is_numbered { (first, rest.as_str()) } else { (&*rest, "") };
        let labels = |cpu: &String| {
            let pairs =
                [("cpu", cpu.as_str()), ("devices", devices), ("info", info), ("type", name)];
            Labels::new(
                pairs.map(|(label, value)| (Text::from_static(label), Text::from(value))).into(),
            )
        };
        let labels = cpus.iter().map(labels).collect();
        Row { name: name.to_owned(), words: words.to_owned(), labels }
    }
}

/// What follows the first `count` fields, without blanks at its ends; `None` when there are fewer.
fn after_fields(text: &str, count: usize) -> Option<&str> {
    let mut rest = text.trim_ascii();
    for _ in 0..count {
        let end = rest.find(|char: char| char.is_ascii_whitespace()).unwrap_or(rest.len());
        if end == 0 {
            return None;
        }
        rest = rest.get(end..)?.trim_ascii_start();
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "           CPU0       CPU2\n  \
        36:          1      72709  PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0\n \
        NMI:          0          4   Non-maskable interrupts\n \
        ERR:          0\n\
        IPI0:     12         13       Rescheduling interrupts\n";

    fn parsed(known: &mut Known, text: &str) -> Vec<(Labels, f64)> {
        let mut out = Scrape::new();
        known.parse(text, &mut out).unwrap();
        out.samples().iter().map(|sample| (sample.labels.clone(), sample.value)).collect()
    }

    #[test]
    fn each_cpu_of_the_titles_has_its_number_of_each_line() {
        let samples = parsed(&mut Known::default(), TABLE);
        assert_eq!(samples.len(), 6);
        let (labels, value) = &samples[1];
        let of = |label| labels.get(label);
        assert_eq!((of("cpu"), of("type"), *value), (Some("2"), Some("36"), 72_709.0));
        assert_eq!(of("info"), Some("PCI-MSIX-0000:00:02.0"));
        assert_eq!(of("devices"), Some("1-edge virtio1-req.0"));
        let (labels, value) = &samples[3];
        assert_eq!((labels.get("type"), *value), (Some("NMI"), 4.0));
        assert_eq!(labels.get("info"), Some("Non-maskable interrupts"));
        assert_eq!(labels.get("devices"), None);
        assert_eq!(samples[5].0.get("type"), Some("IPI0"));
    }

    #[test]
    fn label_sets_are_kept_until_the_words_or_the_cpus_change() {
        let mut known = Known::default();
        let first = parsed(&mut known, TABLE);
        let second = parsed(&mut known, &TABLE.replace("72709", "72710"));
        assert!(first[1].0.same_place(&second[1].0));
        assert_eq!(second[1].1, 72_710.0);
        let renamed = parsed(&mut known, &TABLE.replace("virtio1-req.0", "virtio1-req.1"));
        assert_eq!(renamed[0].0.get("devices"), Some("1-edge virtio1-req.1"));
        let moved = parsed(&mut known, &TABLE.replace("CPU2", "CPU3"));
        assert_eq!(moved[1].0.get("cpu"), Some("3"));
    }

    #[test]
    fn a_file_without_titles_is_a_failure() {
        assert!(Known::default().parse("", &mut Scrape::new()).is_err());
        assert!(Known::default().parse("36: 1\n", &mut Scrape::new()).is_err());
    }
}
