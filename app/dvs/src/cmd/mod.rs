//! The commands, a module each.

mod dc;
mod docs;
mod kill;
mod logs;
mod node;
mod ping;
mod ps;
mod run;
mod waits;

use crate::cli::{Cli, Command};
use anyhow::Result;
use std::process::ExitCode;

/// A node was silent.
const PARTIAL: u8 = 4;

/// Does what was typed.
pub fn run(cli: &Cli) -> Result<ExitCode> {
    match &cli.command {
        Command::Up(up) => node::up(cli, up),
        Command::Down => node::down(cli),
        Command::Status => node::status(cli),
        Command::Dc(command) => dc::run(cli, command),
        Command::Run(run) => run::run(cli, run),
        Command::Ps { dc } => ps::run(cli, dc.as_ref()),
        Command::Waits { dc } => waits::run(cli, dc.as_ref()),
        Command::Ping { target, count } => ping::run(cli, target, *count),
        Command::Top { dc, every, count } => ps::top(cli, dc.as_ref(), *every, *count),
        Command::Kill { dc, endpoint, force } => kill::run(cli, dc, endpoint, *force),
        Command::Logs { follow } => logs::run(cli, *follow),
        Command::Completions { shell } => docs::completions(*shell),
        Command::Man { dir } => docs::man(dir),
    }
}

/// Says which nodes did not answer; the exit code that goes with it.
fn silent(nodes: &[u16]) -> ExitCode {
    if nodes.is_empty() {
        return ExitCode::SUCCESS;
    }
    let names: Vec<String> = nodes.iter().map(u16::to_string).collect();
    eprintln!("dvs: no answer from node {}; what is shown is without it", names.join(", "));
    ExitCode::from(PARTIAL)
}
