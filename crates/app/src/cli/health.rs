//! `farol health`: one line and an exit code, for a container's or a service's health check.

use std::process::ExitCode;

use clap::{ArgMatches, Command};
use serde_json::Value;

use super::{Out, running};

pub(super) fn configure(command: Command) -> Command {
    running::configure(command)
}

/// 0 when well; 1 when data is stale, the writer is degraded, or nothing is known yet; 3 when no
/// Farol answers.
pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let health = running::health(&running::place(matches)?)?;
    out.line(sentence(&health));
    Ok(if health["status"] == "ok" { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What `docker inspect` and the like keep of a health check.
fn sentence(health: &Value) -> String {
    let word = |key: &str| health[key].as_str().unwrap_or("?").to_owned();
    let mut line = format!("{} {}", word("status"), word("state"));
    let told = ["problems", "warnings"].into_iter().filter_map(|key| health[key].as_array());
    let problems: Vec<&str> = told.flatten().filter_map(Value::as_str).collect();
    if !problems.is_empty() {
        line.push_str(&format!(": {}", problems.join("; ")));
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wrong_is_told_beside_the_word() {
        let good = json!({ "status": "ok", "state": "STABLE", "problems": [] });
        assert_eq!(sentence(&good), "ok STABLE");
        let warned = json!({ "status": "ok", "state": "STABLE", "warnings": ["a file is bad"] });
        assert_eq!(sentence(&warned), "ok STABLE: a file is bad");
        let stale = json!({ "status": "stale", "state": "UNKNOWN", "problems": ["data is old"] });
        assert_eq!(sentence(&stale), "stale UNKNOWN: data is old");
    }
}
