//! The arguments. Completions and manual pages are made of the same definition.

use crate::cmd;
use crate::output::Format;
use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  dvs up                                   start this machine's node
  dvs token                                what another machine needs to join
  dvs join dvs1-…                          on that machine
  dvs dc create shop                       make a container
  dvs run shop --endpoint 3 -- ./server    run a program in it
  dvs ps                                   who is there, who waits for whom
  dvs cp n0:/data n2:/copy                 copy a tree between nodes

Exit codes: 0 done, 1 failed, 2 wrong arguments or configuration, 3 no daemon, 4 not found, \
5 refused, 6 time ran out. That of dvs run is the program's.";

/// Containers that span machines: nodes, containers, the programs in them
#[derive(Parser, Debug)]
#[command(name = "dvs", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    /// The node that is meant (default: the only one that runs on this machine, else node0)
    #[arg(long, global = true, env = "DVS_NODE", value_name = "NAME")]
    pub node: Option<String>,
    /// The folder of the node's sockets, when it is not the usual one
    #[arg(long, global = true, value_name = "DIR")]
    pub runtime_dir: Option<std::path::PathBuf>,
    /// What to print: a table for people, or one JSON document
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Start this machine's node
    Up(cmd::up::Up),
    /// Make this machine a node of a system
    Join(cmd::join::Join),
    /// Make a token, with which machines join
    Token(cmd::token::Token),
    /// The nodes of the system: who leads, who has a vote, who is down
    Nodes(cmd::nodes::Nodes),
    /// Empty a node: place nothing new on it, and move away what can move
    Drain(cmd::drain::Drain),
    /// Take a node out of the system
    Leave(cmd::leave::Leave),
    /// Stop a node in order
    Down(cmd::down::Down),
    /// How a node is, and which others it knows
    Status(cmd::status::Status),
    /// Make, list, show and remove containers
    #[command(subcommand)]
    Dc(cmd::dc::Dc),
    /// Declare, list and remove services: endpoints that follow their instances
    #[command(subcommand)]
    Service(cmd::service::Service),
    /// Move a service to another node, its state and callers with it
    Migrate(cmd::migrate::Migrate),
    /// Run a program in a container
    Run(cmd::run::Run),
    /// Endpoints over all nodes: state, who waits for whom, counters
    Ps(cmd::ps::Ps),
    /// Who waits for whom, as a graph
    Waits(cmd::waits::Waits),
    /// Time round trips to a node or an endpoint
    Ping(cmd::ping::Ping),
    /// Watch endpoints and their rates
    Top(cmd::top::Top),
    /// End the process behind an endpoint
    Kill(cmd::kill::Kill),
    /// What happened on a node
    Logs(cmd::logs::Logs),
    /// Copy files and trees between nodes
    Cp(cmd::cp::Cp),
    /// Serve a folder of this node to `dvs cp`
    Files(cmd::files::Files),
    /// The replicated key/value service: serve it, use it
    #[command(subcommand)]
    Kv(cmd::kv::Kv),
    /// The files of a container: serve them, use them
    #[command(subcommand)]
    Fs(cmd::fs::Fs),
    /// The files of a container as a directory of this machine
    Mount(cmd::mount::Mount),
    /// Disks: make them, check them
    #[command(subcommand)]
    Disk(cmd::disk::Disk),
    /// Show what the system does, on three nodes made for the purpose
    Demo(cmd::demo::Demo),
    /// This node's key: make it, show its fingerprint
    Key(cmd::key::Key),
    /// Shell completions
    Completions(cmd::completions::Completions),
    /// Manual pages
    Man(cmd::man::Man),
    /// The daemon itself, in the foreground
    #[command(hide = true)]
    Daemon(cmd::daemon::Daemon),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    /// Examples are lines of their own, which fit; prose is cut by the terminal, so a paragraph is one line.
    #[test]
    fn help_fits_terminals_of_any_width() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map_or(String::new(), ToString::to_string);
            for paragraph in help.split("\n\n") {
                let prose = paragraph.lines().filter(|l| !l.starts_with(' ')).count();
                assert!(prose <= 1, "{}: {paragraph}", command.get_name());
                for line in paragraph.lines().filter(|l| l.starts_with(' ')) {
                    assert!(line.chars().count() < 80, "{}: {line}", command.get_name());
                }
            }
            command.get_subcommands().for_each(check);
        }
        check(&super::Cli::command());
    }

    #[test]
    fn the_definition_holds_together() {
        super::Cli::command().debug_assert();
    }
}
