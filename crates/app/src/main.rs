//! `farol`: one binary that watches a machine.

use std::process::ExitCode;

fn main() -> ExitCode {
    farol::cli::main()
}
