//! `top`: the largest processes by CPU, by resident memory and by disk traffic, as rows of the
//! snapshot. They are no series: see [`TopProcess`].

use std::sync::Arc;

use farol_model::{Lane, TopProcess};

use super::process_table::{Process, ProcessTable, Table};
use crate::{
    CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape, TopCommand,
};

/// Of each kind.
const ROWS: usize = 10;

pub(crate) const ENTRY: Entry = Entry {
    name: "top",
    about: "the largest processes by CPU, memory and disk traffic, in the journal and on screens",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Processes,
    reads: &[
        "/proc/<pid>/stat",
        "/proc/<pid>/io",
        "/proc/<pid>/status",
        "/proc/<pid>/cgroup",
        "/proc/<pid>/cmdline",
        "/etc/passwd",
    ],
    metrics: &[],
    build,
};

fn build(options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Top {
        table: Arc::clone(&options.processes),
        command: options.top_command,
        ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
        chosen: Vec::new(),
    }))
}

struct Top {
    table: Arc<ProcessTable>,
    command: TopCommand,
    ticks_per_second: f64,
    /// Scratch: indices into the table.
    chosen: Vec<usize>,
}

impl Collector for Top {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let shared = Arc::clone(&self.table);
        let table = &mut *shared.at(host, out.now())?;
        table.read_all_io();
        self.choose(table);
        for index in &self.chosen {
            table.find_about(*index);
            out.push_top(self.row(table, *index));
        }
        if let Some(shortcoming) = table.shortcoming() {
            out.problem(shortcoming);
        }
        if table.processes().iter().any(|process| process.io.is_denied()) {
            out.problem(IO_DENIED);
        }
        Ok(())
    }
}

/// One reason for all of them.
pub(super) const IO_DENIED: &str =
    "/proc/<pid>/io of some processes may not be read; other users' take root or CAP_SYS_PTRACE";

impl Top {
    /// The largest of each kind, each once, those that use most CPU first.
    fn choose(&mut self, table: &Table) {
        let processes = table.processes();
        self.chosen.clear();
        let cpu = |process: &Process| {
            table.cpu_ratio(process, self.ticks_per_second).map(|_| process.fresh_cpu_ticks())
        };
        let disk =
            |process: &Process| process.io.rate.map(|rate| rate.read.saturating_add(rate.written));
        let memory = |process: &Process| Some(process.resident_bytes);
        add_largest(processes, cpu, &mut self.chosen);
        add_largest(processes, memory, &mut self.chosen);
        add_largest(processes, disk, &mut self.chosen);
        self.chosen.sort_unstable();
        self.chosen.dedup();
        self.chosen.sort_by_key(|index| {
            let process = &processes[*index];
            std::cmp::Reverse((cpu(process), process.resident_bytes))
        });
    }

    fn row(&self, table: &mut Table, index: usize) -> TopProcess {
        let pid = table.processes()[index].pid;
        let command = table.command(pid, self.command);
        let process = &table.processes()[index];
        let about = process.about.clone().unwrap_or_default();
        let ratio = table.cpu_ratio(process, self.ticks_per_second);
        TopProcess {
            pid,
            name: process.name.clone(),
            user: about.user,
            unit: about.unit,
            container: about.container,
            command,
            // Finer digits than a clock tick gives are noise.
            cpu_ratio: ratio.map(|ratio| (ratio * 1e4).round() / 1e4),
            resident_bytes: process.resident_bytes,
            read_bytes_per_second: process.io.rate.map(|rate| rate.read),
            written_bytes_per_second: process.io.rate.map(|rate| rate.written),
        }
    }
}

/// Adds the indices of the processes with the largest sizes; one without a size, or of size 0, is
/// none of them. Of equals the lower pid counts as the larger.
fn add_largest(
    processes: &[Process],
    size: impl Fn(&Process) -> Option<u64>,
    into: &mut Vec<usize>,
) {
    let mut largest = [(0, 0); ROWS];
    let mut found = 0;
    for (index, process) in processes.iter().enumerate() {
        let Some(size) = size(process).filter(|size| *size > 0) else { continue };
        if found == ROWS && size <= largest[ROWS - 1].0 {
            continue;
        }
        let place = largest[..found].partition_point(|(held, _)| *held >= size);
        found = ROWS.min(found + 1);
        largest[place..found].rotate_right(1);
        largest[place] = (size, index);
    }
    into.extend(largest[..found].iter().map(|(_, index)| index));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use farol_model::{Collected, Text, Timestamp};

    use super::*;
    use crate::Runner;
    use crate::laid_out::write;

    const START: Timestamp = Timestamp::from_millis(1_795_400_000_000);

    /// A machine of a few processes whose files a test writes and removes.
    struct Machine {
        folder: tempfile::TempDir,
        runner: Runner,
    }

    impl Machine {
        fn new(options: &Options) -> Machine {
            let folder = tempfile::tempdir().unwrap();
            let host = Host::recorded(folder.path());
            std::fs::create_dir_all(host.proc.join("self")).unwrap();
            write(&host.proc.join("self/smaps"), "KernelPageSize: 4 kB\n");
            let patience = Duration::from_secs(20);
            let runner = Runner::new(Lane::Slow, host, &[&ENTRY], options, patience).unwrap();
            Machine { folder, runner }
        }

        fn write(&self, path: &str, text: &str) {
            write(&self.folder.path().join(path), text);
        }

        /// Ticks of CPU, pages of memory; `start` tells it from another of the same pid.
        fn process(&self, pid: u32, start: u64, ticks: u64, pages: u64) {
            let stat = format!(
                "{pid} (p{pid}) S 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 {start} 8192 {pages} 0\n"
            );
            self.write(&format!("proc/{pid}/stat"), &stat);
        }

        fn io(&self, pid: u32, read: u64, written: u64) {
            let text = format!("rchar: 7\nread_bytes: {read}\nwrite_bytes: {written}\n");
            self.write(&format!("proc/{pid}/io"), &text);
        }

        fn tick(&mut self, seconds: u64) -> Vec<TopProcess> {
            let tick = self.runner.tick(START.plus(Duration::from_secs(seconds)));
            assert_eq!(tick.outcomes[0].result, Collected::Complete);
            tick.top
        }
    }

    fn pids(rows: &[TopProcess]) -> Vec<u32> {
        rows.iter().map(|row| row.pid).collect()
    }

    #[test]
    fn rates_are_there_from_a_process_s_second_tick_on() {
        let mut machine = Machine::new(&Options::default());
        machine.process(7, 100, 1000, 3);
        machine.io(7, 4096, 0);
        let first = &machine.tick(0)[0];
        let page = rustix::param::page_size() as u64;
        assert_eq!(
            (first.cpu_ratio, first.read_bytes_per_second, first.resident_bytes),
            (None, None, 3 * page)
        );
        machine.process(7, 100, 1250, 3);
        machine.io(7, 4096, 81_920);
        let second = &machine.tick(10)[0];
        let hertz = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(second.cpu_ratio, Some(250.0 / hertz / 10.0));
        assert_eq!(second.read_bytes_per_second, Some(0));
        assert_eq!(second.written_bytes_per_second, Some(8192));
    }

    #[test]
    fn a_pid_that_comes_back_is_another_process() {
        let mut machine = Machine::new(&Options::default());
        machine.process(7, 100, 1000, 3);
        machine.process(8, 100, 1000, 3);
        machine.tick(0);
        machine.process(7, 200, 2000, 3);
        machine.process(8, 100, 1001, 3);
        let rows = machine.tick(10);
        assert_eq!(pids(&rows), [8, 7]);
        assert!(rows[0].cpu_ratio.is_some());
        assert_eq!(rows[1].cpu_ratio, None, "2000 ticks are its whole life, not ten seconds");
    }

    #[test]
    fn ten_of_each_kind_are_chosen_and_each_stands_once() {
        let mut machine = Machine::new(&Options::default());
        for pid in 1..=60 {
            machine.process(pid, 1, 0, u64::from(pid));
            machine.io(pid, 0, 0);
        }
        assert_eq!(pids(&machine.tick(0)), (51..=60).rev().collect::<Vec<_>>());
        for pid in 1..=15 {
            machine.process(pid, 1, 100 - u64::from(pid), u64::from(pid));
        }
        for pid in 16..=30 {
            machine.io(pid, 1000 * u64::from(pid), 0);
        }
        machine.process(60, 1, 1000, 60);
        let mut rows = pids(&machine.tick(10));
        assert_eq!(rows[..3], [60, 1, 2], "the busiest first");
        rows.sort_unstable();
        let expected: Vec<u32> = (1..=9).chain(21..=30).chain(51..=60).collect();
        assert_eq!(rows, expected);
    }

    #[test]
    fn on_a_crowded_machine_the_traffic_of_the_idle_is_not_read() {
        let mut machine = Machine::new(&Options::default());
        for pid in 1..=5001 {
            machine.process(pid, 1, 0, 1);
        }
        for (pid, pages) in [(7, 90), (8, 80)] {
            machine.process(pid, 1, 5, pages);
            machine.io(pid, 0, 0);
        }
        machine.tick(0);
        for (ticks, written) in [(6, 0), (7, 81_920)] {
            machine.process(7, 1, ticks, 90);
            machine.io(7, 0, written);
            machine.io(8, 0, written);
            let rows = machine.tick(10 * ticks);
            let rate = |pid| {
                let row = rows.iter().find(|row| row.pid == pid).unwrap();
                row.written_bytes_per_second
            };
            assert_eq!(rate(8), None);
            assert_eq!(rate(7), (ticks == 7).then_some(8192), "its first reading is the base");
        }
    }

    #[test]
    fn a_row_says_whose_the_process_is() {
        let options = Options { top_command: TopCommand::Full, ..Options::default() };
        let mut machine = Machine::new(&options);
        machine.process(7, 100, 0, 3);
        machine.write("proc/7/status", "Uid:\t0\t33\t33\t33\n");
        machine.write("proc/7/cgroup", "0::/system.slice/nginx.service\n");
        machine.write("proc/7/cmdline", "nginx:\0worker\0");
        machine.write("root/etc/passwd", "www-data:x:33:33::/:\n");
        machine.process(8, 100, 0, 2);
        machine.write("proc/8/status", "Uid:\t0\t4711\t33\t33\n");
        let rows = machine.tick(0);
        let text = |text| Some(Text::from_static(text));
        assert_eq!((&rows[0].user, &rows[0].unit), (&text("www-data"), &text("nginx.service")));
        assert_eq!(rows[0].command, text("nginx: worker"));
        assert_eq!((&rows[1].user, &rows[1].unit), (&text("4711"), &None));
        assert_eq!((&rows[1].container, &rows[1].command), (&None, &None));
    }

    #[test]
    fn a_process_that_runs_another_program_is_described_anew() {
        let mut machine = Machine::new(&Options::default());
        machine.process(7, 100, 0, 3);
        machine.write("proc/7/status", "Uid:\t0\t0\t0\t0\n");
        machine.tick(0);
        machine.write("proc/7/status", "Uid:\t9\t9\t9\t9\n");
        let stat = "7 (exim) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100 8192 3 0\n";
        machine.write("proc/7/stat", stat);
        let rows = machine.tick(10);
        assert_eq!((rows[0].name.as_str(), rows[0].user.as_deref()), ("exim", Some("9")));
    }

    #[test]
    fn a_machine_that_shows_no_process_has_no_rows_and_says_so() {
        let mut machine = Machine::new(&Options::default());
        let tick = machine.runner.tick(START);
        assert!(
            matches!(&tick.outcomes[0].result, Collected::Absent(reason) if reason.contains("no process")),
            "{:?}",
            tick.outcomes
        );
        machine.process(7, 100, 0, 3);
        assert_eq!(pids(&machine.tick(10)), [7]);
    }
}
