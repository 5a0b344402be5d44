//! A volume that fills up and is freed again: nothing exits, `/metrics` is served throughout, the
//! gap is counted and recorded, and writing resumes.

use std::{fs, path::Path, process::Command};

use crate::world::{Farol, eventually, journal_lines, run, value_of};

#[test]
fn a_full_volume_interrupts_the_journal_and_nothing_else() {
    let volume = Volume::mount("2m");
    let flags = ["--interval", "100ms", "--journal.reserve", "64KiB", "--log.file=false"];
    let farol = Farol::start_in(volume.path(), "run", &flags);
    farol.wait_until_ready();

    let filler = volume.path().join("filler");
    fill(&filler);
    eventually("the writer says it is degraded", || {
        let answer = farol.get("/health");
        answer.status == 503 && answer.text().contains("no space")
    });
    assert_eq!(farol.health()["status"], "degraded");
    let unjournaled = || {
        let answer = farol.get("/metrics");
        assert_eq!(answer.status, 200);
        value_of(&answer.text(), "farol_journal_unjournaled_snapshots_total").unwrap_or(0.0)
    };
    let first = unjournaled();
    eventually("ticks go on and the gap is counted", || unjournaled() > first + 3.0);

    fs::remove_file(&filler).unwrap();
    eventually("writing resumes", || farol.get("/health").status == 200);
    let counted = unjournaled();
    let logs = farol.logs();
    assert_eq!(farol.stop(), Some(0));

    let events = journal_lines(&logs, "events", false);
    let gaps: Vec<&str> = events
        .iter()
        .filter(|line| line["event"] == "gap")
        .filter_map(|line| line["message"].as_str())
        .collect();
    assert!(!gaps.is_empty(), "the gap is in the journal: {events:?}");
    let recorded: f64 =
        gaps.iter().map(|gap| gap.split(' ').next().unwrap().parse::<f64>().unwrap()).sum();
    assert_eq!(recorded, counted, "{gaps:?}");
}

#[test]
fn a_volume_that_is_full_at_the_start_is_no_reason_not_to_watch() {
    let volume = Volume::mount("256k");
    let filler = volume.path().join("filler");
    fs::create_dir_all(volume.path().join("data")).unwrap();
    fill(&filler);
    let flags = ["--interval", "100ms", "--log.file=false"];
    let farol = Farol::start_in(volume.path(), "run", &flags);
    farol.wait_until_ready();
    assert!(farol.get("/metrics").text().contains("node_load1 "));
    eventually("degraded", || farol.health()["status"] == "degraded");
    fs::remove_file(&filler).unwrap();
    eventually("well again", || farol.health()["status"] == "ok");
}

/// A small tmpfs.
pub(crate) struct Volume(tempfile::TempDir);

impl Volume {
    pub(crate) fn mount(size: &str) -> Volume {
        let folder = tempfile::tempdir().unwrap();
        let (_, error, code) = run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path()));
        assert_eq!(code, Some(0), "a small tmpfs must be mounted, as root: {error}");
        Volume(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        run(Command::new("umount").arg("-l").arg(self.0.path()));
    }
}

/// Takes every byte that is left.
pub(crate) fn fill(path: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(path).unwrap();
    let chunk = [b'x'; 512];
    while file.write_all(&chunk).is_ok() {}
}
