//! Spans of time as Go prints them: `1h0m0.5s`.

const SECOND: u64 = 1_000_000_000;

pub(super) fn print(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let size = nanos.unsigned_abs();
    let part = |unit: u64, name: &str| format!("{sign}{}{name}", decimal(size, unit));
    match size {
        0 => "0s".to_owned(),
        1..1_000 => part(1, "ns"),
        1_000..1_000_000 => part(1_000, "µs"),
        1_000_000..SECOND => part(1_000_000, "ms"),
        _ => {
            let (minutes, rest) = (size / (60 * SECOND), size % (60 * SECOND));
            let seconds = decimal(rest, SECOND);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// So many units, with what is left over behind the point.
fn decimal(size: u64, unit: u64) -> String {
    let (whole, rest) = (size / unit, size % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let digits = unit.ilog10() as usize;
    let rest = format!("{rest:0digits$}");
    format!("{whole}.{}", rest.trim_end_matches('0'))
}
