//! `docs/reference/commands.md` is made from the command line itself. `UPDATE=1` rewrites it.

#![expect(
    clippy::disallowed_methods,
    reason = "a test reads and rewrites a page of the repository"
)]

use std::path::Path;

use clap::{Arg, Command};

#[test]
fn the_page_of_the_commands_says_what_the_program_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/commands.md");
    let page = page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == page, "docs/reference/commands.md is out of date; run `make update`");
}

fn page() -> String {
    let mut root = farol::cli::command();
    root.build();
    let mut page = String::from(
        "# Commands\n\nGenerated from the command line; `make update` rewrites it. The flags that are settings \
         are those of\n[configuration.md](configuration.md), in every command that reads the configuration.\n",
    );
    let is_shown = |command: &&Command| command.get_name() != "help" && !command.is_hide_set();
    for command in root.get_subcommands().filter(is_shown) {
        describe(&mut page, "farol", command);
    }
    page
}

fn describe(page: &mut String, parent: &str, command: &Command) {
    let name = format!("{parent} {}", command.get_name());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    page.push_str(&format!("\n## `{name}`\n\n{about}.\n"));
    let own: Vec<&Arg> = command.get_arguments().filter(|arg| is_own(arg)).collect();
    if !own.is_empty() {
        page.push_str("\n| argument | meaning |\n|---|---|\n");
        for arg in own {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            page.push_str(&format!("| `{}` | {help} |\n", spelled(arg)));
        }
    }
    let children = command.get_subcommands().filter(|child| child.get_name() != "help");
    children.for_each(|child| describe(page, &name, child));
}

/// Settings have a page of their own.
fn is_own(arg: &Arg) -> bool {
    let is_setting = farol::config::flags().iter().any(|row| row.name == arg.get_id().as_str());
    !is_setting && arg.get_id() != "help"
}

fn spelled(arg: &Arg) -> String {
    let value = arg.get_action().takes_values().then(|| {
        let values: Vec<String> =
            arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        match values.is_empty() {
            true => arg.get_id().as_str().to_uppercase(),
            false => values.join("|").replace('|', "\\|"),
        }
    });
    match (arg.get_long(), value) {
        (Some(long), Some(value)) => format!("--{long} {value}"),
        (Some(long), None) => format!("--{long}"),
        (None, value) => value.unwrap_or_default(),
    }
}
