//! The command line: `dvs COMMAND`. One module a command; `dvs help COMMAND` has examples.
//!
//! Exit codes: 0 done, 1 it failed (the message says what to do), 2 the command line is wrong, 3 no daemon
//! runs there, 4 part of the answer is missing (a node was silent). `dvs run` ends with the program's code.
#![forbid(unsafe_code)]

mod cli;
mod cmd;
mod connect;
mod show;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cmd::run(&cli) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("dvs: {e:#}");
            ExitCode::from(connect::exit_code(&e))
        }
    }
}
