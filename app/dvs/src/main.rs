//! The command line: one program for everything a person does with the system.
//!
//! A sub-command is a module of [`cmd`]; its help, its arguments and what it prints stand there together.
//! What it asks, it asks of the daemon of one node over that node's administration socket; the daemon asks
//! the others.
#![forbid(unsafe_code)]

mod cli;
mod cmd;
mod fail;
mod node;
mod output;
mod settings;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cmd::run(cli) {
        Ok(code) => code,
        Err(f) => f.report(),
    }
}
