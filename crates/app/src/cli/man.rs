//! `farol man`: the manual page, all subcommands in one.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::Out;

pub(super) fn configure(command: Command) -> Command {
    command
}

pub(super) fn run(_matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    out.bytes(&page()?);
    Ok(ExitCode::SUCCESS)
}

fn page() -> anyhow::Result<Vec<u8>> {
    let mut root = super::command();
    root.build();
    let mut page = Vec::new();
    clap_mangen::Man::new(root.clone()).render(&mut page)?;
    for command in root.get_subcommands().filter(|command| command.get_name() != "help") {
        let man = clap_mangen::Man::new(command.clone());
        page.extend_from_slice(format!(".SH {}\n", command.get_name().to_uppercase()).as_bytes());
        man.render_description_section(&mut page)?;
        man.render_synopsis_section(&mut page)?;
        man.render_options_section(&mut page)?;
    }
    Ok(page)
}
