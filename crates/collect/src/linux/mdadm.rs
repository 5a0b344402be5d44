//! `mdadm`: the state of each software RAID array, its disks, and how far it is synced. Source:
//! `/proc/mdstat` (drivers/md/md.c, `md_seq_show`), and `/sys/block/md*/md` for what an array is
//! built for (Documentation/admin-guide/md.rst).

use farol_model::{Lane, Metric};

use super::{lines::malformed, sysfs::Folder};
use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
};

const STATE: &str = "node_md_state";
const DISKS: &str = "node_md_disks";
const DISKS_REQUIRED: &str = "node_md_disks_required";
const BLOCKS: &str = "node_md_blocks";
const BLOCKS_SYNCED: &str = "node_md_blocks_synced";
const RAID_DISKS: &str = "node_md_raid_disks";
const DEGRADED: &str = "node_md_degraded";

pub(crate) const ENTRY: Entry = Entry {
    name: "mdadm",
    about: "state, disks and sync of each software RAID array",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Kernel,
    reads: &["/proc/mdstat", "/sys/block"],
    metrics: &[
        Metric::gauge(STATE, "", "Indicates the state of md-device."),
        Metric::gauge(DISKS, "", "Number of active/failed/spare disks of device."),
        Metric::gauge(DISKS_REQUIRED, "", "Total number of disks of device."),
        Metric::gauge(BLOCKS, "", "Total number of blocks on device."),
        Metric::gauge(BLOCKS_SYNCED, "", "Number of blocks synced on device."),
        Metric::gauge(RAID_DISKS, "", "Number of raid disks on device."),
        Metric::gauge(DEGRADED, "", "Number of degraded disks on device."),
    ],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Mdadm { file: HotFile::new(Tree::Proc, "mdstat") }))
}

struct Mdadm {
    file: HotFile,
}

impl Collector for Mdadm {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let text = self.file.read_str(host)?;
        for array in parse(text, out) {
            push_array(out, &array);
            push_design(out, host, array.device);
        }
        match out.samples() {
            [] => Err(CollectError::Absent("/proc/mdstat names no array".into())),
            _ => Ok(()),
        }
    }
}

/// The values that the label `state` takes.
const STATES: [&str; 5] = ["active", "inactive", "recovering", "resync", "check"];

#[derive(Debug, PartialEq, Eq)]
struct Array<'a> {
    device: &'a str,
    /// One of [`STATES`], or another that node_exporter has no word for (`reshape`).
    state: &'a str,
    failed: u64,
    spare: u64,
    /// How many disks the array is built for, and how many work; unknown for a container of
    /// arrays and for personalities that do not tell.
    required_and_active: Option<(u64, u64)>,
    blocks: u64,
    synced: u64,
}

fn push_array(out: &mut Scrape, array: &Array<'_>) {
    let device = ("device", array.device);
    for state in STATES {
        let is_so = f64::from(u8::from(array.state == state));
        out.push(STATE, &[device, ("state", state)], is_so);
    }
    let mut disks = |state, count: u64| out.push(DISKS, &[device, ("state", state)], count as f64);
    disks("failed", array.failed);
    disks("spare", array.spare);
    if let Some((required, active)) = array.required_and_active {
        disks("active", active);
        out.push(DISKS_REQUIRED, &[device], required as f64);
    }
    out.push(BLOCKS, &[device], array.blocks as f64);
    out.push(BLOCKS_SYNCED, &[device], array.synced as f64);
}

/// An array without redundancy has no `degraded`.
fn push_design(out: &mut Scrape, host: &Host, device: &str) {
    let Ok(folder) = Folder::open(&host.sys.join("block").join(device).join("md")) else { return };
    if let Some(disks) = folder.number("raid_disks") {
        out.push(RAID_DISKS, &[("device", device)], disks);
    }
    if let Some(degraded) = folder.number("degraded") {
        out.push(DEGRADED, &[("device", device)], degraded);
    }
}

/// An array is a line that begins at the margin, and the indented ones that follow. One that cannot
/// be read is named as a problem, and the others are served.
fn parse<'a>(text: &'a str, out: &mut Scrape) -> Vec<Array<'a>> {
    let mut arrays = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let is_array = !line.starts_with([' ', '\t'])
            && !line.starts_with("Personalities")
            && !line.starts_with("unused")
            && !line.trim().is_empty();
        if !is_array {
            continue;
        }
        let mut details = Vec::new();
        while let Some(detail) = lines.next_if(|next| next.starts_with([' ', '\t'])) {
            details.push(detail.trim());
        }
        match Array::parse(line, &details) {
            Some(array) => arrays.push(array),
            None => out.problem(malformed("/proc/mdstat", line)),
        }
    }
    arrays
}

impl Array<'_> {
    /// `md3 : active raid6 sda1[8] sdh1[7](F)` and `5853468288 blocks super 1.2 … [8/7] [UUUU_UUU]`,
    /// perhaps followed by `[=>…] recovery = 8.5% (16775552/195310144) finish=17.0min …`.
    fn parse<'a>(line: &'a str, details: &[&'a str]) -> Option<Array<'a>> {
        let (device, rest) = line.split_once(" : ")?;
        let mut words = rest.split_ascii_whitespace();
        let state = words.next()?;
        let level = words.find(|word| !word.starts_with('(')).unwrap_or_default();
        let status = *details.first()?;
        let blocks = status.split_once(" blocks")?.0.parse().ok()?;
        let marked = |mark| rest.matches(mark).count() as u64;
        let required_and_active = match level {
            _ if state == "inactive" => Some((0, 0)),
            // They work with all their disks or not at all.
            "raid0" | "linear" => {
                let disks = marked("[");
                Some((disks, disks))
            }
            _ => status.split_ascii_whitespace().find_map(fraction_in_brackets),
        };
        let mut array = Array {
            device: device.trim(),
            state,
            failed: marked("(F)"),
            spare: marked("(S)"),
            required_and_active,
            blocks,
            synced: blocks,
        };
        if let Some((action, line)) = details.iter().find_map(|detail| action(detail)) {
            array.state = action;
            array.synced = synced(line)?;
        }
        Some(array)
    }
}

/// `[8/7]` → (8, 7).
fn fraction_in_brackets(word: &str) -> Option<(u64, u64)> {
    let (required, active) = word.strip_prefix('[')?.strip_suffix(']')?.split_once('/')?;
    Some((required.parse().ok()?, active.parse().ok()?))
}

/// What an array is doing, in the label's words, and the line that says how far it is.
fn action(detail: &str) -> Option<(&'static str, &str)> {
    const ACTIONS: [(&str, &str); 4] = [
        ("recovery", "recovering"),
        ("reshape", "reshape"),
        ("resync", "resync"),
        ("check", "check"),
    ];
    let (before, _) = detail.split_once('=').filter(|_| !detail.starts_with("bitmap"))?;
    // The bar stands before the word, and has signs of equality too: `[==>…] check = 1.0% (…)`.
    let word = match detail.split_once(']') {
        Some((_, after)) => after.trim_start().split([' ', '=']).next()?,
        None => before.trim(),
    };
    let (_, state) = ACTIONS.into_iter().find(|(name, _)| *name == word)?;
    Some((state, detail))
}

/// `… (16775552/195310144) …` → 16775552; nothing yet where the work waits for its turn
/// (`resync=DELAYED`, `resync=PENDING`, `resync=REMOTE`).
fn synced(line: &str) -> Option<u64> {
    if ["DELAYED", "PENDING", "REMOTE"].iter().any(|word| line.contains(word)) {
        return Some(0);
    }
    let (done, _) = line.split_once('(')?.1.split_once('/')?;
    done.parse().ok()
}

/// For the fuzzer.
pub(super) fn parse_everything(text: &str, out: &mut Scrape) {
    for array in parse(text, out) {
        push_array(out, &array);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Array<'_> {
        let mut out = Scrape::new();
        let mut arrays = parse(text, &mut out);
        assert_eq!(out.take_problems(), [""; 0]);
        assert_eq!(arrays.len(), 1, "{arrays:?}");
        arrays.remove(0)
    }

    #[test]
    fn a_healthy_array_is_active_and_synced() {
        let text = "Personalities : [raid1] [raid6]\n\
            md3 : active raid6 sda1[8] sdh1[7] sdb1[9](S) sdc1[1](F)\n\
            \x20     5853468288 blocks super 1.2 level 6, 64k chunk, algorithm 2 [8/8] [UUUUUUUU]\n\
            \x20     bitmap: 1/1 pages [4KB], 65536KB chunk\n\
            \n\
            unused devices: <none>\n";
        let expected = Array {
            device: "md3",
            state: "active",
            failed: 1,
            spare: 1,
            required_and_active: Some((8, 8)),
            blocks: 5_853_468_288,
            synced: 5_853_468_288,
        };
        assert_eq!(one(text), expected);
    }

    #[test]
    fn an_array_at_work_says_what_it_does_and_how_far_it_is() {
        let work = |line: &str| {
            let text = format!(
                "md6 : active raid1 sdb2[2] sda2[0]\n      195310144 blocks [2/1] [U_]\n{line}\n"
            );
            let array = one(&text);
            (array.state.to_owned(), array.synced, array.required_and_active)
        };
        let half = Some((2, 1));
        assert_eq!(
            work("      [=>....]  recovery =  8.5% (16775552/195310144) finish=17.0min"),
            ("recovering".into(), 16_775_552, half)
        );
        assert_eq!(
            work("      [==>...]  resync = 44.6% (87/195) finish=1.0min speed=2K/sec"),
            ("resync".into(), 87, half)
        );
        assert_eq!(
            work("      [>.....]  check =  5.7% (10/195) finish=1.0min"),
            ("check".into(), 10, half)
        );
        assert_eq!(
            work("      [>.....]  reshape =  5.7% (10/195) finish=1.0min"),
            ("reshape".into(), 10, half)
        );
        assert_eq!(work("      \tresync=DELAYED"), ("resync".into(), 0, half));
        assert_eq!(work("      \tresync=PENDING"), ("resync".into(), 0, half));
        assert_eq!(
            work("      bitmap: 0/2 pages [0KB], resync=1"),
            ("active".into(), 195_310_144, half)
        );
    }

    #[test]
    fn arrays_without_redundancy_count_their_members() {
        let array = one(
            "md4 : active (auto-read-only) raid0 sdc1[1] sdd1[0]\n      244 blocks super 1.2 512k chunks\n",
        );
        assert_eq!(array.required_and_active, Some((2, 2)));
        let array = one("md5 : active faulty sdc1[0]\n      244 blocks nfaults=0\n");
        assert_eq!(array.required_and_active, None, "it does not tell");
    }

    #[test]
    fn an_inactive_array_has_no_active_disk() {
        let array = one("md219 : inactive sdb[2](S) sdc[1](S)\n      7932 blocks super 1.2\n");
        assert_eq!(array.required_and_active, Some((0, 0)));
        assert_eq!((array.state, array.spare), ("inactive", 2));
    }

    #[test]
    fn an_array_that_cannot_be_read_costs_the_others_nothing() {
        let text = "md0 : active raid1 sda1[0]\n      many blocks [2/1] [U_]\n\
                    md1 : active raid1 sda2[0]\n      5 blocks [1/1] [U]\n";
        let mut out = Scrape::new();
        let arrays = parse(text, &mut out);
        assert_eq!(arrays.iter().map(|array| array.device).collect::<Vec<_>>(), ["md1"]);
        assert_eq!(out.take_problems().len(), 1);
    }
}
