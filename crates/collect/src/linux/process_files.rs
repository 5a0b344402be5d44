//! What one process says of itself: the files of `/proc/<pid>` (fs/proc/array.c, fs/proc/base.c),
//! and who its user is (`/etc/passwd`, passwd(5)).

use std::collections::HashMap;

use farol_model::Text;

use super::cgroup_path::{Place, place};
use crate::TopCommand;

/// `/proc/<pid>/stat`, or a thread's. Times are in clock ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stat<'a> {
    /// Any bytes, as the program has set them.
    pub(super) name: &'a [u8],
    /// The kernel's letter.
    pub(super) state: u8,
    pub(super) minor_faults: u64,
    pub(super) major_faults: u64,
    pub(super) user_ticks: u64,
    pub(super) system_ticks: u64,
    pub(super) threads: u64,
    /// Since boot.
    pub(super) start_ticks: u64,
    pub(super) virtual_bytes: u64,
    pub(super) resident_pages: u64,
}

/// `1234 (a) name) S 1 …`: a name may hold brackets and blanks, so it ends at the last bracket.
pub(super) fn stat(text: &[u8]) -> Option<Stat<'_>> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let name = text.get(open + 1..close)?;
    let mut fields = text.get(close + 1..)?.split(|byte| *byte == b' ').skip(1);
    let state = *fields.next()?.first()?;
    // After the state; proc(5) counts from 1 and calls the state the third.
    let mut next = |to_skip: usize| number(fields.nth(to_skip)?);
    Some(Stat {
        name,
        state,
        minor_faults: next(6)?,
        major_faults: next(1)?,
        user_ticks: next(1)?,
        system_ticks: next(0)?,
        threads: next(4)?,
        start_ticks: next(1)?,
        virtual_bytes: next(0)?,
        resident_pages: next(0)?,
    })
}

/// The state alone: of a thread nothing else is asked.
pub(super) fn state(text: &[u8]) -> Option<u8> {
    let close = text.iter().rposition(|byte| *byte == b')')?;
    text.get(close + 2).copied()
}

/// What a process has made its disks read and write, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Io {
    pub(super) read: u64,
    pub(super) written: u64,
}

/// `/proc/<pid>/io`. `rchar` and `wchar` count what was asked for, disk or not; these two do not.
pub(super) fn io(text: &[u8]) -> Option<Io> {
    let (mut read, mut written) = (None, None);
    for line in text.split(|byte| *byte == b'\n') {
        if let Some(rest) = line.strip_prefix(b"read_bytes: ") {
            read = number(rest);
        } else if let Some(rest) = line.strip_prefix(b"write_bytes: ") {
            written = number(rest);
        }
    }
    Some(Io { read: read?, written: written? })
}

/// The effective user's number in `/proc/<pid>/status`.
pub(super) fn effective_user(status: &str) -> Option<u32> {
    let numbers = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    numbers.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Where `/proc/<pid>/cgroup` puts a process. A machine may have several hierarchies: the unified
/// one and systemd's own name the unit, and some engines' containers stand in any of the others.
pub(super) fn place_of(cgroup: &str) -> Place<'_> {
    let places = || {
        let rank = |hierarchy: &str| match hierarchy {
            "" => 0,
            "name=systemd" => 1,
            _ => 2,
        };
        (0..=2).flat_map(move |wanted| {
            cgroup.lines().filter_map(move |line| {
                let (_, rest) = line.split_once(':')?;
                let (hierarchy, path) = rest.split_once(':')?;
                (rank(hierarchy) == wanted).then(|| place(path))
            })
        })
    };
    let container = places().find(|place| place.container.is_some());
    container.or_else(|| places().find(|place| place.unit.is_some())).unwrap_or_default()
}

/// The command as far as it is asked for, from `/proc/<pid>/cmdline`, where each argument ends in a
/// NUL. Kernel threads and zombies have none.
pub(super) fn command(cmdline: &[u8], wanted: TopCommand) -> Option<String> {
    const MOST: usize = 200;
    let end = cmdline.iter().rposition(|byte| *byte != 0)?;
    let given = cmdline.get(..=end)?;
    let mut arguments = given.split(|byte| *byte == 0);
    let bytes = match wanted {
        TopCommand::None => return None,
        TopCommand::Full => given,
        TopCommand::Program => {
            let program = arguments.next()?;
            // A program that writes its own title joins what were arguments with blanks.
            match arguments.next() {
                Some(_) => program,
                None => program.split(|byte| *byte == b' ').next()?,
            }
        }
    };
    let letters = String::from_utf8_lossy(bytes);
    let shown = letters.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    Some(shown.take(MOST).collect()).filter(|text: &String| !text.trim().is_empty())
}

/// Users' names by number; the first of a number counts.
pub(super) fn user_names(passwd: &str) -> HashMap<u32, Text> {
    let mut names = HashMap::new();
    for line in passwd.lines() {
        let mut fields = line.split(':');
        if let Some(name) = fields.next()
            && let Some(Ok(number)) = fields.nth(1).map(str::parse)
            && !name.is_empty()
        {
            names.entry(number).or_insert_with(|| Text::from(name));
        }
    }
    names
}

/// Seconds since the epoch at which the machine booted: `btime` of `/proc/stat`.
pub(super) fn boot_time(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn number(digits: &[u8]) -> Option<u64> {
    let digits = digits.trim_ascii_end();
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

/// For the fuzzer.
pub(super) fn parse_everything(text: &str) {
    stat(text.as_bytes());
    state(text.as_bytes());
    io(text.as_bytes());
    effective_user(text);
    place_of(text);
    for wanted in [TopCommand::Full, TopCommand::Program, TopCommand::None] {
        command(text.as_bytes(), wanted);
    }
    user_names(text);
    boot_time(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &[u8] = b"812 (my) (sql) S 1 812 812 0 -1 4194560 101 0 7 0 250 50 0 0 20 0 38 0 \
        4711 1234567168 2048 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n";

    #[test]
    fn a_stat_line_is_read_by_place_whatever_the_name_holds() {
        let expected = Stat {
            name: b"my) (sql",
            state: b'S',
            minor_faults: 101,
            major_faults: 7,
            user_ticks: 250,
            system_ticks: 50,
            threads: 38,
            start_ticks: 4711,
            virtual_bytes: 1_234_567_168,
            resident_pages: 2048,
        };
        assert_eq!(stat(STAT), Some(expected));
        assert_eq!(state(STAT), Some(b'S'));
        assert_eq!(stat(b"812 (cut) S 1 812"), None);
        assert_eq!(stat(b")("), None);
        assert_eq!(stat(b""), None);
    }

    #[test]
    fn what_reached_the_disks_counts_and_what_was_cancelled_is_another_line() {
        let text = b"rchar: 9\nwchar: 8\nsyscr: 1\nsyscw: 1\nread_bytes: 4096\nwrite_bytes: 8192\n\
            cancelled_write_bytes: 7\n";
        assert_eq!(io(text), Some(Io { read: 4096, written: 8192 }));
        assert_eq!(io(b"read_bytes: 1\n"), None);
        assert_eq!(io(b"read_bytes: -1\nwrite_bytes: 1\n"), None);
    }

    #[test]
    fn the_effective_user_is_the_second_number() {
        assert_eq!(effective_user("Name:\tx\nUid:\t1000\t33\t33\t33\nGid:\t1\n"), Some(33));
        assert_eq!(effective_user("Name:\tx\n"), None);
    }

    #[test]
    fn each_hierarchy_may_say_where_a_process_is() {
        const ID: &str = "4c0f0b7d4f9a1e2d3c4b5a69788796a5b4c3d2e1f00112233445566778899aab";
        let unit = |text: &'static str| place_of(text).unit;
        assert_eq!(unit("0::/system.slice/nginx.service\n"), Some("nginx.service"));
        assert_eq!(
            unit("9:name=systemd:/system.slice/cron.service\n4:memory:/x.scope\n0::/\n"),
            Some("cron.service")
        );
        assert_eq!(unit("4:memory:/a.service\n"), Some("a.service"));
        assert_eq!(unit("0::/\n"), None);
        let nested = format!("4:memory:/docker/{ID}\n0::/system.slice/containerd.service\n");
        assert_eq!(place_of(&nested).container, Some(ID));
        assert_eq!(place_of(&nested).unit, None, "the engine's unit is not the container's");
        assert_eq!(place_of("nonsense\n0:\n"), Place::default());
    }

    #[test]
    fn a_command_shows_its_arguments_only_when_asked() {
        let cmdline = b"/usr/bin/My App\0--password=hunter2\0x\0";
        assert_eq!(command(cmdline, TopCommand::Program).as_deref(), Some("/usr/bin/My App"));
        let full = "/usr/bin/My App --password=hunter2 x";
        assert_eq!(command(cmdline, TopCommand::Full).as_deref(), Some(full));
        assert_eq!(command(cmdline, TopCommand::None), None);
        let title = b"/opt/chrome --type=renderer --token=hunter2\0\0\0";
        assert_eq!(command(title, TopCommand::Program).as_deref(), Some("/opt/chrome"));
        assert_eq!(command(b"", TopCommand::Full), None);
        assert_eq!(command(b"\0\0", TopCommand::Full), None);
        let long = "ä".repeat(300);
        let cut = command(long.as_bytes(), TopCommand::Full).unwrap();
        assert_eq!(cut.chars().count(), 200);
        assert_eq!(command(b"a\n\x1b[31mb\0", TopCommand::Full).as_deref(), Some("a  [31mb"));
    }

    #[test]
    fn the_first_name_of_a_number_counts() {
        let names = user_names("root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\n:x:1:\nodd\n");
        assert_eq!(names.len(), 1);
        assert_eq!(names.get(&0).map(Text::as_str), Some("root"));
    }

    #[test]
    fn numbers_have_digits_only() {
        assert_eq!(number(b"42\n"), Some(42));
        for wrong in [&b""[..], b"\n", b"-1", b"1a", b"18446744073709551616"] {
            assert_eq!(number(wrong), None);
        }
    }
}
