//! Durations, sizes and the other small notations of the configuration: text to value and back.
//!
//! What [`show_duration`] and [`show_size`] write, [`duration`] and [`size`] read as the same value.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use super::types::Target;

/// Why a text is not the value it should be. Reads on after the quoted text: `"5" has no unit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) why: String,
    pub(super) nearest: Option<String>,
}

impl Wrong {
    pub(super) fn new(why: impl Into<String>) -> Wrong {
        Wrong { why: why.into(), nearest: None }
    }

    fn or_rather(why: impl Into<String>, nearest: impl Into<String>) -> Wrong {
        Wrong { why: why.into(), nearest: Some(nearest.into()) }
    }
}

/// Largest first, as they must stand in a text.
const DURATION_UNITS: &[(&str, u64)] = &[
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// `500ms`, `1s`, `1m30s`, `7d`: whole numbers with units, each unit once, the largest first.
pub(super) fn duration(text: &str) -> Result<Duration, Wrong> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if is_number(text) {
        return Err(Wrong::or_rather("has no unit", format!("{text}s")));
    }
    if let Some(closed_up) = without_spaces(text).filter(|closed_up| duration(closed_up).is_ok()) {
        return Err(Wrong::or_rather("is not a duration", closed_up));
    }
    let wrong = || Wrong::new("is not a duration; write it like 500ms, 10s, 1m30s or 7d");
    let mut millis: u64 = 0;
    let mut units = DURATION_UNITS;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, unit, after) = next_part(rest).ok_or_else(wrong)?;
        let at = units.iter().position(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let part = number.checked_mul(units[at].1).ok_or_else(wrong)?;
        millis = millis.checked_add(part).ok_or_else(wrong)?;
        units = &units[at + 1..];
        rest = after;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_millis(millis)) }
}

pub(super) fn show_duration(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    // Weeks and years are read but not written: people count a retention in days.
    for (unit, length) in DURATION_UNITS.iter().skip_while(|(unit, _)| *unit != "d") {
        if millis >= *length {
            text.push_str(&format!("{}{unit}", millis / length));
            millis %= length;
        }
    }
    text
}

const SIZE_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("kB", 1_000),
    ("B", 1),
    ("", 1),
];

/// `512MiB` (powers of 1024), `64KB` (powers of 1000), or plain bytes.
pub(super) fn size(text: &str) -> Result<u64, Wrong> {
    if let Some(closed_up) = without_spaces(text).filter(|closed_up| size(closed_up).is_ok()) {
        return Err(Wrong::or_rather("is not a size", closed_up));
    }
    let wrong = || Wrong::new("is not a size; write it like 512MiB, 64KB or 1048576");
    let (number, unit, after) = next_part(text).ok_or_else(wrong)?;
    if !after.is_empty() {
        return Err(wrong());
    }
    if let Some((_, factor)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) {
        return number.checked_mul(*factor).ok_or_else(wrong);
    }
    // `512M` and `512mb` are common, and mean different things to different programs.
    let letter = unit.chars().next().filter(|letter| "kKmMgGtT".contains(*letter));
    match letter {
        Some(letter) if unit.len() <= 3 => Err(Wrong::or_rather(
            "is not a size",
            format!("{number}{}iB", letter.to_ascii_uppercase()),
        )),
        _ => Err(wrong()),
    }
}

/// Exact: the largest unit that divides the size.
pub(super) fn show_size(size: u64) -> String {
    let binary = SIZE_UNITS.iter().find(|(unit, factor)| {
        unit.ends_with("iB") && size >= *factor && size.is_multiple_of(*factor)
    });
    match binary {
        Some((unit, factor)) => format!("{}{unit}", size / factor),
        None => size.to_string(),
    }
}

/// A number, its unit, and what stands after both.
fn next_part(text: &str) -> Option<(u64, &str, &str)> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(unit_at)?;
    let after_at = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, after) = rest.split_at_checked(after_at)?;
    Some((number.parse().ok()?, unit, after))
}

/// `5 MiB` and `10 s` are how people write; `None` when there is no space to take away.
fn without_spaces(text: &str) -> Option<String> {
    text.contains(' ').then(|| text.replace(' ', ""))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) fn count(text: &str) -> Result<u64, Wrong> {
    if !is_number(text) {
        return Err(Wrong::new("is not a whole number"));
    }
    text.parse().map_err(|_| Wrong::new("is too large"))
}

pub(super) fn boolean(text: &str) -> Result<bool, Wrong> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Wrong::or_rather("is not true or false", "true"),
            "false" | "no" | "off" | "0" => Wrong::or_rather("is not true or false", "false"),
            _ => Wrong::new("is not true or false"),
        }),
    }
}

/// `127.0.0.1:8000`, `[::1]:8000`, `localhost:8000`, or `:8000` for every address of the machine.
pub(super) fn address(text: &str) -> Result<SocketAddr, Wrong> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let wrong =
        || Wrong::new("is not an address; write it like 127.0.0.1:8000, [::1]:8000 or :8000");
    if is_number(text) {
        return Err(Wrong::or_rather("is not an address", format!("127.0.0.1:{text}")));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Err(Wrong::or_rather("has no port", SocketAddr::new(ip, 8000).to_string()));
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().ok().filter(|_| is_number(port)).ok_or_else(wrong)?;
    match host {
        // Both families: the socket is opened for IPv6 and takes IPv4 too.
        "" => Ok(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)),
        "localhost" => Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)),
        _ if is_host(host) => {
            Err(Wrong::new("names a host; write one of this machine's addresses, or :PORT for all"))
        }
        _ => Err(wrong()),
    }
}

/// `gateway`, a name or an address.
pub(super) fn icmp_target(text: &str) -> Result<Target, Wrong> {
    if text == "gateway" {
        return Ok(Target::Gateway);
    }
    if is_host(text) || text.parse::<IpAddr>().is_ok() {
        return Ok(Target::Host(text.to_owned()));
    }
    Err(Wrong::new("is not a target; write a host name, an address or the word gateway"))
}

/// `host:port` or `[address]:port`.
pub(super) fn tcp_target(text: &str) -> Result<Target, Wrong> {
    let wrong = || Wrong::new("is not a target; write it like example.org:443 or [::1]:22");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
    if is_host(host) {
        return Ok(Target::Port(host.to_owned(), port));
    }
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or_else(wrong)?;
    bare.parse::<Ipv6Addr>().map_err(|_| wrong())?;
    Ok(Target::Port(bare.to_owned(), port))
}

pub(super) fn show_target(target: &Target) -> String {
    match target {
        Target::Gateway => "gateway".to_owned(),
        Target::Host(host) => host.clone(),
        Target::Port(host, port) if host.contains(':') => format!("[{host}]:{port}"),
        Target::Port(host, port) => format!("{host}:{port}"),
    }
}

/// Whether a text can be a host name or an IPv4 address.
pub(super) fn is_host(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && text.len() <= 253 && text.chars().all(is_inner) && !text.starts_with('-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_prometheus_reads_them() {
        let read = |text| duration(text).map(|duration| duration.as_millis());
        assert_eq!(read("500ms"), Ok(500));
        assert_eq!(read("1m30s"), Ok(90_000));
        assert_eq!(read("1y2w"), Ok(379 * 86_400_000));
        assert_eq!(read("0"), Ok(0));
        for wrong in ["", "s", "1.5s", "-1s", "30s1m", "1s1s", "1 s", "1min", "99999999999y"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(read("5").unwrap_err().nearest.as_deref(), Some("5s"));
        assert_eq!(read("1 m 30 s").unwrap_err().nearest.as_deref(), Some("1m30s"));
        assert_eq!(read("1 x").unwrap_err().nearest, None);
    }

    #[test]
    fn sizes_have_two_families_of_units() {
        assert_eq!(size("512MiB"), Ok(512 << 20));
        assert_eq!(size("64KB"), Ok(64_000));
        assert_eq!(size("7"), Ok(7));
        for wrong in ["", "MiB", "1.5GiB", "1 GiB", "-1", "99999999999TiB", "5XB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(size("512M").unwrap_err().nearest.as_deref(), Some("512MiB"));
        assert_eq!(size("1gb").unwrap_err().nearest.as_deref(), Some("1GiB"));
        assert_eq!(size("5 MiB").unwrap_err().nearest.as_deref(), Some("5MiB"));
    }

    #[test]
    fn addresses_come_in_the_exporters_notations() {
        let read = |text| address(text).map(|address| address.to_string());
        assert_eq!(read(":9100").as_deref(), Ok("[::]:9100"));
        assert_eq!(read("localhost:0").as_deref(), Ok("127.0.0.1:0"));
        assert_eq!(read("[::1]:80").as_deref(), Ok("[::1]:80"));
        for wrong in
            ["", "8000", "127.0.0.1", "::1", "host:1", "127.0.0.1:", "127.0.0.1:99999", ":+1"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tcp_targets_keep_their_port_and_lose_their_brackets() {
        let read = |text| tcp_target(text).map(|target| show_target(&target));
        assert_eq!(read("example.org:443").as_deref(), Ok("example.org:443"));
        assert_eq!(read("[::1]:22").as_deref(), Ok("[::1]:22"));
        for wrong in ["", "example.org", "example.org:0", ":443", "::1:22", "[x]:1", "a b:1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(millis in 0..u64::MAX / 4, bytes: u64) {
            let given = Duration::from_millis(millis);
            prop_assert_eq!(duration(&show_duration(given)), Ok(given));
            prop_assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_is_too_odd(text in "\\PC{0,12}|[0-9.:\\[\\]smhdKMiB-]{0,12}") {
            drop((duration(&text), size(&text), count(&text), boolean(&text)));
            drop((address(&text), icmp_target(&text), tcp_target(&text)));
        }
    }
}
