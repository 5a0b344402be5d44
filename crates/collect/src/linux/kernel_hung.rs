//! `kernel_hung`: tasks that the kernel found hanging. Source:
//! `/proc/sys/kernel/hung_task_detect_count` (kernel/hung_task.c, since Linux 6.13).

use farol_model::{Lane, Metric};

use super::lines::malformed;
use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
};

const FILE: &str = "sys/kernel/hung_task_detect_count";
const TOTAL: &str = "node_kernel_hung_tasks_total";
/// The same under the name that the board "Node Exporter Full" asks for.
const AS_ASKED: &str = "node_kernel_hung_tasks";

pub(crate) const ENTRY: Entry = Entry {
    name: "kernel_hung",
    about: "tasks that the kernel found hanging",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Kernel,
    reads: &["/proc/sys/kernel/hung_task_detect_count"],
    metrics: &[
        Metric::counter(
            TOTAL,
            "",
            "Total number of tasks that have been detected as hung since the system booted.",
        ),
        Metric::untyped(
            AS_ASKED,
            "",
            "The same as node_kernel_hung_tasks_total, for boards that ask for this name.",
        ),
    ],
    build,
};

fn build(options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    let as_asked = options.compatibility.adds_names();
    Ok(Box::new(KernelHung { file: HotFile::new(Tree::Proc, FILE), as_asked }))
}

struct KernelHung {
    file: HotFile,
    as_asked: bool,
}

impl Collector for KernelHung {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let count = parse(self.file.read_str(host)?)?;
        out.push(TOTAL, &[], count);
        if self.as_asked {
            out.push(AS_ASKED, &[], count);
        }
        Ok(())
    }
}

pub(crate) fn parse(text: &str) -> Result<f64, CollectError> {
    let count = text.trim_ascii().parse::<u64>();
    count.map(|count| count as f64).map_err(|_| CollectError::Failed(malformed(FILE, text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_one_number() {
        assert_eq!(parse("3\n"), Ok(3.0));
        assert!(parse("").is_err());
    }
}
