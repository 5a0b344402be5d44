//! `farol status`: the vital signs as a person reads them. The exit code is the state: 0 stable,
//! 1 warning, 2 critical, 3 unknown.

use std::{process::ExitCode, time::Duration};

use clap::{Arg, ArgAction, ArgMatches, Command};
use farol_collect::signs::{self, By};
use farol_model::{Text, TopProcess};
use serde_json::Value;

use super::{Out, running};

pub(super) fn configure(command: Command) -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    running::configure(command)
        .arg(flag("long", "Also more of the largest processes, and collectors that are absent or failed, with their reasons"))
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
    screen.push_str(&render_alerts(health, if long { usize::MAX } else { 5 }));
    let figure = |name: &str| health["metrics"][name].as_f64();
    for sign in signs::signs(&figure) {
        let line = format!("  {:<14}{:<14}{}", sign.title, sign.value, sign.detail);
        screen.push_str(line.trim_end());
        screen.push('\n');
    }
    screen.push_str(&render_store(health));
    screen.push_str(&render_processes(health, if long { 10 } else { 3 }));
    if long {
        screen.push_str(&render_collectors(health));
    }
    screen
}

/// What fires, and what is silenced for how long.
fn render_alerts(health: &Value, most: usize) -> String {
    let rows = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut text = String::new();
    let alerts = &health["alerts"];
    let firing = rows(&alerts["list"]);
    for alert in firing.iter().take(most) {
        text.push_str(&render_alert(alert));
    }
    let all = alerts["firing"].as_u64().and_then(|all| usize::try_from(all).ok());
    let more = all.unwrap_or_default().saturating_sub(firing.len().min(most));
    if more > 0 {
        text.push_str(&format!("  {:<14}{more} more\n", "Firing"));
    }
    if let Some(pending) = alerts["pending"].as_u64().filter(|pending| *pending > 0) {
        text.push_str(&format!("  {:<14}{pending}\n", "Pending"));
    }
    for silence in rows(&health["silences"]).iter().take(most) {
        let field = |name: &str| silence[name].as_str().unwrap_or_default();
        let (matchers, until, by) = (field("matchers"), field("endsAt"), field("createdBy"));
        text.push_str(&format!("  {:<14}{matchers} until {until} by {by}\n", "Silenced"));
    }
    text
}

/// `Firing  critical HostCpuBusy since …, value 97: CPU 97 % busy; [silenced until 09:30 UTC]`
fn render_alert(alert: &Value) -> String {
    let field = |name: &str| alert[name].as_str().unwrap_or_default();
    let words = |name: &str| -> Vec<String> {
        let words = alert[name].as_array().into_iter().flatten().filter_map(Value::as_str);
        words.map(str::to_owned).collect()
    };
    let mut line = format!("{} {}", field("severity"), field("name")).trim_start().to_owned();
    line.push_str(&format!(" since {}, value {}", field("since"), field("value")));
    if !field("what").is_empty() {
        line.push_str(&format!(": {}", field("what")));
    }
    let notes = [words("muted"), words("notes")].concat();
    if !notes.is_empty() {
        line.push_str(&format!(" [{}]", notes.join("; ")));
    }
    format!("  {:<14}{line}\n", "Firing")
}

/// What is kept of the past, as a further sign.
fn render_store(health: &Value) -> String {
    let store = &health["store"];
    let (Some(bytes), Some(most)) = (store["bytes"].as_f64(), store["max_bytes"].as_f64()) else {
        return String::new();
    };
    let (bytes, most) = (signs::bytes(bytes), signs::bytes(most));
    let series = store["series"].as_u64().unwrap_or_default();
    let since = store["oldest"].as_str().map(|at| format!(" since {at}")).unwrap_or_default();
    format!("  {:<14}{bytes:<14}of {most} at most; {series} series{since}\n", "History")
}

/// The largest of each kind, as further signs.
fn render_processes(health: &Value, most: usize) -> String {
    let rows = health["top"].as_array().into_iter().flatten();
    let top: Vec<TopProcess> = rows.filter_map(process).collect();
    let mut text = String::new();
    for by in By::ALL {
        let mut title = match by {
            By::Cpu => "Most CPU",
            By::Memory => "Most memory",
            By::Disk => "Most disk",
        };
        for process in signs::largest(&top, by, most) {
            let value = by.value(process).unwrap_or_default();
            let words = signs::process_in_words(process);
            text.push_str(&format!("  {title:<14}{value:<14}{words}\n"));
            title = "";
        }
    }
    text
}

/// As far as it is shown. A row without its number is none.
fn process(row: &Value) -> Option<TopProcess> {
    let text = |key: &str| row[key].as_str().map(Text::from);
    Some(TopProcess {
        pid: u32::try_from(row["pid"].as_u64()?).ok()?,
        name: text("name")?,
        user: text("user"),
        unit: text("unit"),
        container: text("container"),
        command: None,
        cpu_ratio: row["cpu_ratio"].as_f64(),
        resident_bytes: row["resident_bytes"].as_u64()?,
        read_bytes_per_second: row["read_bytes_per_second"].as_u64(),
        written_bytes_per_second: row["written_bytes_per_second"].as_u64(),
    })
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_largest_processes_follow_the_signs() {
        let top = json!([
            { "pid": 7, "name": "burn", "user": "ana", "unit": "burn.service", "cpu_ratio": 0.987,
                "resident_bytes": 1024, "read_bytes_per_second": 0, "written_bytes_per_second": 0 },
            { "pid": 8, "name": "cache", "resident_bytes": 1_073_741_824_u64 },
            { "name": "of a later version" },
        ]);
        let health = json!({ "host": "vm", "state": "UNKNOWN", "status": "ok", "top": top });
        assert_eq!(
            render(&health, false),
            "vm  UNKNOWN\n\
             \x20 Most CPU      98.7 %        burn (7), ana, burn.service\n\
             \x20 Most memory   1.0 GiB       cache (8)\n\
             \x20               1.0 KiB       burn (7), ana, burn.service\n"
        );
    }

    #[test]
    fn what_fires_is_told_first_with_why_nobody_was_told_and_what_is_silenced() {
        let alerts = json!({ "firing": 7, "pending": 2, "list": [
            { "name": "HostCpuBusy", "severity": "critical", "since": "2026-11-25T07:58:15Z",
              "value": "97.2", "what": "CPU 97 % busy on vm", "muted": [], "notes": [] },
            { "name": "Odd", "severity": "", "since": "2026-11-25T07:58:15Z", "value": "1",
              "what": "", "muted": ["silenced until 09:30 UTC"], "notes": ["no data"] },
        ] });
        let silences = json!([{ "matchers": "alertname=\"Odd\"", "endsAt": "2026-11-25T09:30:00Z",
            "createdBy": "ana" }]);
        let health = json!({ "host": "vm", "state": "CRITICAL", "status": "ok",
            "alerts": alerts, "silences": silences });
        assert_eq!(
            render(&health, false),
            "vm  CRITICAL\n\
             \x20 Firing        critical HostCpuBusy since 2026-11-25T07:58:15Z, value 97.2: CPU 97 % busy on vm\n\
             \x20 Firing        Odd since 2026-11-25T07:58:15Z, value 1 [silenced until 09:30 UTC; no data]\n\
             \x20 Firing        5 more\n\
             \x20 Pending       2\n\
             \x20 Silenced      alertname=\"Odd\" until 2026-11-25T09:30:00Z by ana\n"
        );
    }

    #[test]
    fn the_store_has_a_line_where_there_is_one() {
        let store = json!({ "series": 517, "blocks": 3, "bytes": 12_582_912,
            "max_bytes": 1_073_741_824, "oldest": "2026-11-10T10:00:00.000Z" });
        let health = json!({ "host": "vm", "state": "UNKNOWN", "status": "ok", "store": store });
        assert_eq!(
            render(&health, false),
            "vm  UNKNOWN\n\
             \x20 History       12.0 MiB      of 1.0 GiB at most; 517 series since 2026-11-10T10:00:00.000Z\n"
        );
    }

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
             \x20 CPU           12.3 %\n\
             \x20 Memory        50.0 %        1.2 GiB of 2.4 GiB\n\
             \x20 hwmon         absent: /sys/class/hwmon does not exist\n"
        );
    }
}
