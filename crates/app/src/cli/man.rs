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
    // There is this one page; the list must not send the reader to others.
    let page = String::from_utf8(page)?.replace("farol\\-", "farol ").replace("(1)\n", "\n");
    let mut page = page.into_bytes();
    push_sections(&root, "", &mut page)?;
    Ok(page)
}

/// A section for each subcommand, and for theirs (`journal cat`).
fn push_sections(parent: &Command, before: &str, page: &mut Vec<u8>) -> anyhow::Result<()> {
    for command in parent.get_subcommands().filter(|command| is_shown(command)) {
        let name = format!("{before}{}", command.get_name());
        let man = clap_mangen::Man::new(command.clone());
        page.extend_from_slice(format!(".SH {}\n", name.to_uppercase()).as_bytes());
        man.render_description_section(page)?;
        man.render_synopsis_section(page)?;
        man.render_options_section(page)?;
        push_sections(command, &format!("{name} "), page)?;
    }
    Ok(())
}

fn is_shown(command: &Command) -> bool {
    command.get_name() != "help" && !command.is_hide_set()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_describes_each_command_and_names_no_other_page() {
        let page = String::from_utf8(page().unwrap()).unwrap();
        for heading in [".SH RUN", ".SH STATUS", ".SH JOURNAL", ".SH JOURNAL TAIL"] {
            assert!(page.contains(&format!("{heading}\n")), "{heading}");
        }
        assert!(page.contains("\nfarol journal\n"), "the list of subcommands");
        assert!(!page.contains("(1)"), "another page");
        assert!(!page.contains("simulate"), "a hidden command");
    }
}
