//! `farol status`: the vital signs as a person reads them. The exit code is the state: 0 stable,
//! 1 warning, 2 critical, 3 unknown.

use std::{process::ExitCode, time::Duration};

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::Value;

use super::{Out, running};

pub(super) fn configure(command: Command) -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    running::configure(command)
        .arg(flag("long", "Also collectors that are absent or failed, with their reasons"))
        .arg(flag("json", "The same as JSON, as /health gives it"))
        .arg(flag("watch", "Show it anew every two seconds"))
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let place = running::place(matches)?;
    loop {
        let health = running::health(&place)?;
        let text = if matches.get_flag("json") {
            format!("{}\n", serde_json::to_string_pretty(&health)?)
        } else {
            render(&health, matches.get_flag("long"))
        };
        if matches.get_flag("watch") && out.is_terminal() {
            out.text("\x1b[H\x1b[2J");
        }
        out.text(text);
        out.flush();
        if !matches.get_flag("watch") || !out.is_open() {
            return Ok(exit_code(&health));
        }
        std::thread::park_timeout(Duration::from_secs(2));
    }
}

fn exit_code(health: &Value) -> ExitCode {
    ExitCode::from(match health["state"].as_str() {
        Some("STABLE") => 0,
        Some("WARNING") => 1,
        Some("CRITICAL") => 2,
        _ => 3,
    })
}

/// One screen: verdict, then the vital signs in the order people ask for them.
fn render(health: &Value, long: bool) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let mut screen = format!("{}  {}", text(&health["host"]), text(&health["state"]));
    let reasons: Vec<&str> =
        health["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !reasons.is_empty() {
        screen.push_str(&format!(" ({})", reasons.join("; ")));
    }
    if let Some(age) = health["age_seconds"].as_f64() {
        screen.push_str(&format!("  data {age:.1} s old"));
    }
    if health["status"] != "ok" {
        screen.push_str(&format!("  [{}]", text(&health["status"])));
    }
    screen.push('\n');
    let signs = |name: &str| health["metrics"][name].as_f64();
    for (title, line) in VITAL_SIGNS {
        if let Some(line) = line(&signs) {
            screen.push_str(&format!("  {title:<13}{line}\n"));
        }
    }
    if long {
        screen.push_str(&render_collectors(health));
    }
    screen
}

type Signs<'a> = &'a dyn Fn(&str) -> Option<f64>;

/// Title and text of each line; a line whose figures are absent is left out.
const VITAL_SIGNS: &[(&str, fn(Signs<'_>) -> Option<String>)] = &[
    ("cpu", |sign| {
        let frequency = sign("cpu_freq_ghz").map(|ghz| format!(" at {ghz:.2} GHz"));
        Some(format!("{:.1} %{}", sign("cpu_percent")?, frequency.unwrap_or_default()))
    }),
    ("load", |sign| {
        Some(format!("{:.2} {:.2} {:.2}", sign("load_1")?, sign("load_5")?, sign("load_15")?))
    }),
    ("memory", |sign| {
        Some(share(sign("memory_percent")?, sign("memory_used_bytes"), sign("memory_total_bytes")))
    }),
    ("swap", |sign| Some(format!("{:.1} %", sign("swap_percent")?))),
    ("disk /", |sign| {
        Some(share(sign("disk_percent")?, sign("disk_used_bytes"), sign("disk_total_bytes")))
    }),
    ("network", |sign| {
        Some(format!(
            "{} in, {} out",
            megabits(sign("net_in_mbps")?),
            megabits(sign("net_out_mbps")?)
        ))
    }),
    ("ping", |sign| {
        let lost = sign("network_loss_percent").map(|lost| format!(", {lost:.0} % lost"));
        Some(format!("{:.2} ms{}", sign("ping_ms")?, lost.unwrap_or_default()))
    }),
    ("latency", |sign| Some(format!("{:.2} ms", sign("latency_ms")?))),
    ("temperature", |sign| Some(format!("{:.0} °C", sign("temperature_celsius")?))),
    ("uptime", |sign| Some(span(sign("uptime_seconds")?))),
];

fn share(percent: f64, used: Option<f64>, total: Option<f64>) -> String {
    match (used, total) {
        (Some(used), Some(total)) => {
            format!("{percent:.1} %  ({} of {})", bytes(used), bytes(total))
        }
        _ => format!("{percent:.1} %"),
    }
}

fn render_collectors(health: &Value) -> String {
    let mut text = String::new();
    for collector in health["collectors"].as_array().into_iter().flatten() {
        let result = collector["result"].as_str().unwrap_or("?");
        if result == "complete" {
            continue;
        }
        let reasons: Vec<&str> = collector["reasons"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let name = collector["name"].as_str().unwrap_or("?");
        text.push_str(&format!("  {name:<13} {result}: {}\n", reasons.join("; ")));
    }
    text
}

/// `1.2 GiB`, `964 KiB`
fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if unit == 0 || value >= 100.0 { 0 } else { 1 };
    format!("{value:.digits$} {}", UNITS[unit])
}

fn megabits(megabits: f64) -> String {
    if megabits >= 1000.0 {
        return format!("{:.2} Gbit/s", megabits / 1000.0);
    }
    if megabits >= 1.0 {
        format!("{megabits:.1} Mbit/s")
    } else {
        format!("{:.0} kbit/s", megabits * 1000.0)
    }
}

/// `3 d 4 h`, `12 min`
fn span(seconds: f64) -> String {
    let minutes = (seconds / 60.0).max(0.0) as u64;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn absent_vital_signs_leave_no_line_and_no_zero() {
        let health = json!({
            "host": "vm", "state": "UNKNOWN", "reasons": ["no rules loaded"], "status": "ok",
            "age_seconds": 0.41,
            "metrics": { "cpu_percent": 12.34, "memory_percent": 50.0,
                "memory_used_bytes": 1_288_490_189.0, "memory_total_bytes": 2_576_980_378.0 },
            "collectors": [
                { "name": "hwmon", "result": "absent", "reasons": ["/sys/class/hwmon does not exist"] },
                { "name": "cpu", "result": "complete", "reasons": [] }
            ],
        });
        assert_eq!(
            render(&health, true),
            "vm  UNKNOWN (no rules loaded)  data 0.4 s old\n\
             \x20 cpu          12.3 %\n\
             \x20 memory       50.0 %  (1.2 GiB of 2.4 GiB)\n\
             \x20 hwmon         absent: /sys/class/hwmon does not exist\n"
        );
    }

    #[test]
    fn quantities_are_written_as_people_say_them() {
        assert_eq!(bytes(512.0), "512 B");
        assert_eq!(bytes(150.0 * 1024.0), "150 KiB");
        assert_eq!(megabits(0.02), "20 kbit/s");
        assert_eq!(megabits(1500.0), "1.50 Gbit/s");
        assert_eq!(span(3.0 * 86400.0 + 4.0 * 3600.0), "3 d 4 h");
        assert_eq!(span(59.0), "0 min");
    }
}
