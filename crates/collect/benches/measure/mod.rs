//! What the benchmarks of this crate share: processes to look at, CPU time, and how it is told.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use rustix::time::{ClockId, clock_gettime};

/// Processes that wait for a pipe. They end when this program does, however it does, because the
/// pipe then has no writer.
pub(crate) struct Sleepers {
    /// Its standard input is what they wait for.
    shell: Child,
    /// What each printed.
    pub(crate) lines: Vec<String>,
}

impl Sleepers {
    /// Each is a fork of a shell that runs `command`, which prints one line and then waits for the
    /// descriptor 3.
    #[expect(clippy::disallowed_methods, reason = "the processes to look at are started here")]
    pub(crate) fn start(count: usize, command: &str) -> Sleepers {
        let script = format!(
            "exec 3<&0; i=0; while [ $i -lt {count} ]; do {command} & i=$((i+1)); done; wait"
        );
        let mut shell = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        // A shell that may start no more ends, and then nobody holds its output.
        let output = shell.stdout.take().expect("it was piped");
        let lines = BufReader::new(output).lines();
        let lines: Vec<_> = lines.take(count).map(|line| line.expect("they print text")).collect();
        assert_eq!(lines.len(), count, "so many processes could not be started");
        Sleepers { shell, lines }
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        // Closes the pipe first.
        self.shell.wait().ok();
    }
}

/// Of the whole process: the collectors' worker thread included.
pub(crate) fn cpu_micros() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// Median, and the least and most but for the odd one.
pub(crate) fn span(values: &[f64]) -> String {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize];
    format!("{:.2} ({:.2}..{:.2})", at(0.5), at(0.05), at(0.95))
}
