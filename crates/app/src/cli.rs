//! The command line: one row and one file per subcommand.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

mod check;
mod collectors;
mod completions;
mod config;
mod doctor;
mod export;
mod foreign;
mod health;
mod import;
mod journal;
mod man;
mod moment;
mod notify;
pub mod out;
mod query;
mod reload;
mod remedy;
mod report;
mod rules;
mod run;
mod running;
mod selector;
mod silence;
mod simulate;
mod status;
mod store;

pub use out::{Out, complain};

/// One subcommand.
struct Subcommand {
    name: &'static str,
    about: &'static str,
    configure: fn(Command) -> Command,
    run: fn(&ArgMatches, &mut Out) -> anyhow::Result<ExitCode>,
}

const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand {
        name: "run",
        about: "Collect, keep and serve, in one process",
        configure: run::configure,
        run: run::run,
    },
    Subcommand {
        name: "collect",
        about: "Collect and keep, without a port (the monitoring-app process)",
        configure: run::configure,
        run: run::collect,
    },
    Subcommand {
        name: "serve",
        about: "Serve what another process journals (the monitoring-metrics process)",
        configure: run::configure,
        run: run::serve,
    },
    Subcommand {
        name: "status",
        about: "Show the vital signs of the running Farol",
        configure: status::configure,
        run: status::run,
    },
    Subcommand {
        name: "health",
        about: "Ask the running Farol whether it is well; for health checks",
        configure: health::configure,
        run: health::run,
    },
    Subcommand {
        name: "reload",
        about: "Let the running Farol read its configuration again",
        configure: reload::configure,
        run: reload::run,
    },
    Subcommand {
        name: "check",
        about: "Check the configuration and stop",
        configure: check::configure,
        run: check::run,
    },
    Subcommand {
        name: "doctor",
        about: "Say what can be seen of the host, what not, and what mends it",
        configure: doctor::configure,
        run: doctor::run,
    },
    Subcommand {
        name: "config",
        about: "Show each effective value and where it came from",
        configure: config::configure,
        run: config::run,
    },
    Subcommand {
        name: "collectors",
        about: "List the collectors and what they yield",
        configure: collectors::configure,
        run: collectors::run,
    },
    Subcommand {
        name: "journal",
        about: "Read, follow and verify the journal",
        configure: journal::configure,
        run: journal::run,
    },
    Subcommand {
        name: "query",
        about: "Answer a question in PromQL from the store",
        configure: query::configure,
        run: query::run,
    },
    Subcommand {
        name: "notify",
        about: "Send a test message to a notifier, or show what a rule's message would be",
        configure: notify::configure,
        run: notify::run,
    },
    Subcommand {
        name: "remedy",
        about: "List and run what may be run against alerts, and say what has been",
        configure: remedy::configure,
        run: remedy::run,
    },
    Subcommand {
        name: "silence",
        about: "Keep alerts from being told for a while",
        configure: silence::configure,
        run: silence::run,
    },
    Subcommand {
        name: "import",
        about: "Take in samples from elsewhere: text with time stamps",
        configure: import::configure,
        run: import::run,
    },
    Subcommand {
        name: "export",
        about: "Write the samples of chosen series, up to now",
        configure: export::configure,
        run: export::run,
    },
    Subcommand {
        name: "store",
        about: "Say what the store holds, verify it, derive it anew",
        configure: store::configure,
        run: store::run,
    },
    Subcommand {
        name: "rules",
        about: "Check, test and replay alert rules",
        configure: rules::configure,
        run: rules::run,
    },
    Subcommand {
        name: "report",
        about: "Tell what some hours were like: averages, alerts, treatments, messages",
        configure: report::configure,
        run: report::run,
    },
    Subcommand {
        name: "completions",
        about: "Write the completions for a shell",
        configure: completions::configure,
        run: completions::run,
    },
    Subcommand {
        name: "man",
        about: "Write the manual page",
        configure: man::configure,
        run: man::run,
    },
    Subcommand {
        name: "simulate",
        about: "Write the history of recorded machines by a clock of its own; for tests and measurements",
        configure: simulate::configure,
        run: simulate::run,
    },
];

/// The whole command line, for parsing, completions, the manual page and the reference.
pub fn command() -> Command {
    let root = Command::new("farol")
        .version(VERSION)
        .about("Watches a machine: metrics, journal, health")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(100);
    SUBCOMMANDS.iter().fold(root, |root, row| {
        root.subcommand((row.configure)(Command::new(row.name).about(row.about)))
    })
}

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub fn main() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => foreign::explain(error).exit(),
    };
    let Some((name, matches)) = matches.subcommand() else { return ExitCode::from(2) };
    let Some(row) = SUBCOMMANDS.iter().find(|row| row.name == name) else {
        return ExitCode::from(2);
    };
    let mut out = Out::new();
    let result = (row.run)(matches, &mut out);
    drop(out);
    result.unwrap_or_else(|error| {
        complain(format!("farol: {error:#}"));
        exit_code_of(&error)
    })
}

/// A question about the state that nobody answers is "unknown" (3), as in monitoring plug-ins.
fn exit_code_of(error: &anyhow::Error) -> ExitCode {
    let not_running = error.downcast_ref::<running::NotRunning>().is_some();
    ExitCode::from(if not_running { 3 } else { 1 })
}
