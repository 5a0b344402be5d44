//! kill -9 at random moments: what a follower has seen is there afterwards, and nothing but a cut
//! last line is damaged.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::mpsc,
};

use crate::world::{DEADLINE, FAROL, Farol, farol, rounds};

#[test]
fn every_line_that_a_follower_saw_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    let mut chance = Chance(0x2545_f491_4f6c_dd1d);
    let rounds = rounds(20, 300);
    let mut seen: Vec<String> = Vec::new();
    for round in 0..rounds {
        // Full speed; each start closes a segment, so compression and retention are always at work.
        let flags = [
            "--interval",
            "100ms",
            "--slow-interval",
            "100ms",
            "--journal.segment-size",
            "1MiB",
            "--journal.retention.size",
            "100MiB",
            "--journal.reserve",
            "0",
        ];
        let writer = Farol::start_in(folder.path(), "collect", &flags);
        seen.extend(follow_then_kill(writer, chance.below(40)));
        let (report, _, _) = farol(&["journal", "verify", "--logs", logs.to_str().unwrap()]);
        for line in report.lines().filter(|line| line.starts_with("    ")) {
            assert!(
                line.contains("torn") || line.contains("no whole line"),
                "round {round}: more than a cut last line:\n{report}"
            );
        }
    }
    let (kept, _, _) = farol(&["journal", "cat", "--logs", logs.to_str().unwrap()]);
    let kept: HashSet<&str> = kept.lines().collect();
    let lost = seen.iter().filter(|line| !kept.contains(line.as_str())).count();
    assert_eq!(lost, 0, "of {} lines that were seen", seen.len());
    assert!(seen.len() > rounds, "the followers saw {} lines in {rounds} rounds", seen.len());
}

/// Follows the journal until so many lines were seen, kills the writer in the midst of its work,
/// and returns what was seen.
fn follow_then_kill(mut writer: Farol, lines: usize) -> Vec<String> {
    let logs = writer.logs();
    let mut follower = Command::new(FAROL)
        .args(["journal", "tail", "-f", "-n", "100000", "--logs", logs.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(follower.stdout.take().unwrap());
    let (send, receive) = mpsc::sync_channel(100_000);
    std::thread::spawn(move || {
        let mut line = String::new();
        // What is killed with the follower half written was not seen.
        while output.read_line(&mut line).is_ok() && line.ends_with('\n') {
            line.pop();
            if send.send(std::mem::take(&mut line)).is_err() {
                return;
            }
        }
    });
    let mut seen = Vec::new();
    while seen.len() <= lines {
        seen.push(receive.recv_timeout(DEADLINE).unwrap());
    }
    writer.child.kill().unwrap();
    writer.child.wait().unwrap();
    follower.kill().unwrap();
    follower.wait().unwrap();
    seen.extend(receive.try_iter());
    seen
}

/// xorshift: the same moments in each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound).unwrap()
    }
}
