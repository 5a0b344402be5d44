//! The command line's side of the table: one row per flag name, other programs' names included.

use std::sync::LazyLock;

use clap::{Arg, ArgAction, ArgMatches, Command};
use farol_collect::COLLECTORS;

use super::settings::{Kind, SETTINGS, Setting};

/// One flag name.
#[derive(Debug)]
pub struct FlagRow {
    /// Without dashes.
    pub name: String,
    pub sets: Sets,
    pub help: String,
    /// Whether `-h` leaves it out; `--help` shows all but the deprecated.
    pub minor: bool,
    pub deprecated: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Sets {
    Setting(&'static Setting),
    /// Turns one collector on or off.
    Collector(&'static str, bool),
    ConfigFile,
}

/// Every flag there is: main names, other programs' names, and two for each collector.
pub fn flags() -> &'static [FlagRow] {
    static FLAGS: LazyLock<Vec<FlagRow>> = LazyLock::new(|| {
        let settings = SETTINGS.iter().flat_map(of_setting);
        let collectors = COLLECTORS.iter().flat_map(|entry| of_collector(entry.name, entry.on));
        config_file().into_iter().chain(settings).chain(collectors).collect()
    });
    &FLAGS
}

/// Adds one argument for each row of [`flags`].
pub fn add_flags(command: Command) -> Command {
    command.args(flags().iter().map(argument))
}

/// What was given, in the order of the command line. A command without the flags yields none.
pub fn flags_from(matches: &ArgMatches) -> Vec<(String, String)> {
    let mut given = Vec::new();
    for row in flags() {
        let Ok(Some(values)) = matches.try_get_many::<String>(&row.name) else { continue };
        let places = matches.indices_of(&row.name).into_iter().flatten();
        given.extend(places.zip(values).map(|(place, value)| (place, &row.name, value)));
    }
    given.sort();
    given.into_iter().map(|(_, name, value)| (name.clone(), value.clone())).collect()
}

fn config_file() -> [FlagRow; 2] {
    let help = format!(
        "The configuration file [default: {}, if it is there] [env: FAROL_CONFIG]",
        super::gather::USUAL_FILE
    );
    let row = |name: &str, help: String, minor| FlagRow {
        name: name.to_owned(),
        sets: Sets::ConfigFile,
        help,
        minor,
        deprecated: false,
    };
    [row("config", help, false), row("config.file", "Same as --config".to_owned(), true)]
}

fn of_setting(setting: &'static Setting) -> Vec<FlagRow> {
    let main = setting.flag().map(|name| FlagRow {
        name,
        sets: Sets::Setting(setting),
        help: help(setting),
        minor: setting.key.contains('.'),
        deprecated: false,
    });
    let aliases = setting.aliases.iter().map(|alias| FlagRow {
        name: alias.flag.to_owned(),
        sets: Sets::Setting(setting),
        help: format!("Same as --{}", setting.flag().unwrap_or_default()),
        minor: true,
        deprecated: alias.deprecated,
    });
    main.into_iter().chain(aliases).collect()
}

fn of_collector(name: &'static str, on: bool) -> [FlagRow; 2] {
    let row = |flag: String, switch: bool| FlagRow {
        name: flag,
        sets: Sets::Collector(name, switch),
        help: match (switch, switch == on) {
            (true, true) => format!("Turn the {name} collector on (it is by default)"),
            (true, false) => format!("Turn the {name} collector on"),
            (false, true) => format!("Turn the {name} collector off (it is by default)"),
            (false, false) => format!("Turn the {name} collector off"),
        },
        minor: true,
        deprecated: false,
    };
    [row(format!("collector.{name}"), true), row(format!("no-collector.{name}"), false)]
}

fn help(setting: &Setting) -> String {
    let default = match setting.default {
        "" => setting.unset,
        default => default,
    };
    let sentence = setting.help.trim_end_matches('.');
    format!("{sentence} [default: {default}] [env: {}]", setting.variable()).replace('`', "")
}

fn argument(row: &'static FlagRow) -> Arg {
    let argument = Arg::new(row.name.as_str())
        .long(row.name.as_str())
        .help(row.help.as_str())
        .help_heading("Configuration")
        .hide_short_help(row.minor)
        .hide(row.deprecated);
    // All append: where one value is wanted, the last counts, as with every shell alias.
    match row.sets {
        Sets::Collector(..) => switch(argument),
        Sets::ConfigFile => argument.action(ArgAction::Append).value_name("FILE"),
        Sets::Setting(setting) if matches!(setting.kind, Kind::Bool) => switch(argument),
        Sets::Setting(setting) => {
            // A pattern or a path may begin with a dash, a number may be negative and be refused.
            argument
                .action(ArgAction::Append)
                .value_name(value_name(setting.kind))
                .allow_hyphen_values(true)
        }
    }
}

/// `--flag` alone is `--flag=true`.
fn switch(argument: Arg) -> Arg {
    argument
        .action(ArgAction::Append)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_name("BOOL")
}

fn value_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Text(_) => "TEXT",
        Kind::Path | Kind::Paths => "PATH",
        Kind::Duration { .. } => "DURATION",
        Kind::Size { .. } => "SIZE",
        Kind::Count { .. } => "NUMBER",
        Kind::Bool => "BOOL",
        Kind::Choice(_) => "WORD",
        Kind::Pattern => "PATTERN",
        Kind::Addresses => "ADDRESS",
        Kind::Hosts => "HOST",
        Kind::Labels => "LABEL",
        Kind::Collectors => "COLLECTOR",
        Kind::IcmpProbes => "HOST",
        Kind::TcpProbes => "HOST:PORT",
        Kind::ProcessGroups => "NAME",
        Kind::LabelNames => "LABEL",
        Kind::QuietHours => "WINDOW",
        Kind::Notifiers => "NOTIFIERS",
        Kind::Remedies => "REMEDIES",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(line: &str) -> Vec<(String, String)> {
        let command = add_flags(Command::new("farol"));
        let words = std::iter::once("farol").chain(line.split_whitespace());
        flags_from(&command.try_get_matches_from(words).unwrap())
    }

    #[test]
    fn every_row_is_a_valid_argument() {
        add_flags(Command::new("farol")).debug_assert();
    }

    #[test]
    fn flags_come_in_the_order_of_the_command_line() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            given(
                "--listen :1 --no-collector.cpu --web.listen-address=:2 --listen=:3 --log.file --log.file=false"
            ),
            [
                pair("listen", ":1"),
                pair("no-collector.cpu", "true"),
                pair("web.listen-address", ":2"),
                pair("listen", ":3"),
                pair("log.file", "true"),
                pair("log.file", "false"),
            ]
        );
    }

    #[test]
    fn a_command_without_the_flags_has_none() {
        assert!(flags_from(&Command::new("farol").get_matches_from(["farol"])).is_empty());
    }
}
