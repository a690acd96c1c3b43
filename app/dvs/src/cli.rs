//! What can be typed.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Containers that span machines: start a node, make a container, run programs in it, see who waits for whom.
#[derive(Parser, Debug)]
#[command(name = "dvs", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// The node of this machine that is meant, by name.
    #[arg(long, global = true, env = "DVS_NODE", default_value = "node0", value_name = "NAME")]
    pub node: String,
    /// Folder of the node's sockets, when the configuration says another than the usual one.
    #[arg(long, global = true, value_name = "DIR")]
    pub runtime_dir: Option<PathBuf>,
    /// How to print.
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes:\n  0  done\n  1  it failed; the message says what to do\n  \
    2  the command line is wrong\n  3  no daemon runs there: `dvs up`\n  \
    4  a node was silent; what is shown is without it";

/// How to print.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// For people.
    Table,
    /// One JSON value.
    Json,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Starts the node of this machine.
    #[command(after_help = "Examples:\n  dvs up\n  dvs up --config /etc/dvs.toml --foreground")]
    Up(Up),
    /// Stops the node; its programs are told.
    #[command(after_help = "Examples:\n  dvs down\n  dvs --node alpha down")]
    Down,
    /// Shows how the node and its peers are.
    #[command(after_help = "Examples:\n  dvs status\n  dvs status --output json")]
    Status,
    /// Makes, shows and ends containers.
    #[command(subcommand, after_help = "Examples:\n  dvs dc create shop --nodes 0,1,2\n  dvs dc ls")]
    Dc(Dc),
    /// Runs a program in a container, here; its lines also go to the node's log.
    #[command(after_help = "Examples:\n  dvs run shop -- ./client\n  dvs run shop --endpoint 5 -- ./server")]
    Run(Run),
    /// Lists endpoints on all nodes: state, who waits for whom, counters.
    #[command(after_help = "Examples:\n  dvs ps\n  dvs ps shop --output json")]
    Ps {
        /// Only this container, by number or name.
        dc: Option<String>,
    },
    /// Draws who waits for whom, over all nodes.
    #[command(after_help = "Examples:\n  dvs waits\n  dvs waits shop")]
    Waits {
        /// Only this container, by number or name.
        dc: Option<String>,
    },
    /// Asks a node for a sign of life.
    #[command(after_help = "Examples:\n  dvs ping 2 --count 5")]
    Ping {
        /// The node, by number or name.
        target: String,
        /// How often.
        #[arg(long, short, default_value_t = 3)]
        count: u32,
    },
    /// Shows the busiest endpoints, again and again.
    #[command(after_help = "Examples:\n  dvs top\n  dvs top shop --every 2 --count 1")]
    Top {
        /// Only this container, by number or name.
        dc: Option<String>,
        /// Seconds between two looks.
        #[arg(long, default_value_t = 1)]
        every: u64,
        /// Ends after so many looks; 0 = goes on.
        #[arg(long, default_value_t = 0)]
        count: u64,
    },
    /// Asks the process of an endpoint to end.
    #[command(after_help = "Examples:\n  dvs kill shop 5\n  dvs kill shop 5 --force")]
    Kill {
        /// The container, by number or name.
        dc: String,
        /// The endpoint, as `dvs ps` prints it.
        endpoint: String,
        /// Makes it end (SIGKILL).
        #[arg(long)]
        force: bool,
    },
    /// Prints what happened, and what programs started by `dvs run` wrote.
    #[command(after_help = "Examples:\n  dvs logs\n  dvs logs --follow")]
    Logs {
        /// Goes on as things happen.
        #[arg(long, short)]
        follow: bool,
    },
    /// Prints completions for a shell.
    #[command(
        after_help = "Examples:\n  dvs completions bash > ~/.local/share/bash-completion/completions/dvs"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Writes the manual pages into a folder.
    #[command(after_help = "Examples:\n  dvs man target/man")]
    Man {
        /// The folder; made if it is not there.
        dir: PathBuf,
    },
}

/// `dvs up`.
#[derive(Args, Debug)]
pub struct Up {
    /// The configuration; without it this is a system of one node.
    #[arg(long, short, env = "DVS_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Stays in the foreground and logs to standard error.
    #[arg(long)]
    pub foreground: bool,
}

/// `dvs dc`.
#[derive(Subcommand, Debug)]
pub enum Dc {
    /// Makes a container.
    Create {
        /// Its name, at most 15 bytes.
        name: String,
        /// Its number; without it the first free one.
        #[arg(long)]
        id: Option<u16>,
        /// Nodes it may run on besides this one, by number.
        #[arg(long, value_delimiter = ',', value_name = "N,N")]
        nodes: Vec<u16>,
        /// Slots for servers and users.
        #[arg(long, default_value_t = dvs_abi::limits::PROCS_DEFAULT)]
        procs: i32,
        /// Slots for tasks and servers.
        #[arg(long, default_value_t = dvs_abi::limits::SYSPROCS_DEFAULT)]
        sysprocs: i32,
        /// Endpoint that is told when a process ends.
        #[arg(long, requires = "warn_type")]
        warn: Option<i32>,
        /// Type of that message.
        #[arg(long)]
        warn_type: Option<i32>,
    },
    /// Lists the containers.
    Ls,
    /// Shows one container.
    Show {
        /// By number or name.
        dc: String,
    },
    /// Ends a container: its processes are asked to end.
    Rm {
        /// By number or name.
        dc: String,
        /// Also when endpoints are bound in it.
        #[arg(long)]
        force: bool,
    },
    /// Lets a container run on a further node.
    AddNode {
        /// By number or name.
        dc: String,
        /// The node, by number or name.
        target: String,
    },
    /// Withdraws a container from a node; its endpoints there end.
    DelNode {
        /// By number or name.
        dc: String,
        /// The node, by number or name.
        target: String,
    },
}

/// `dvs run`.
#[derive(Args, Debug)]
pub struct Run {
    /// The container, by number or name.
    pub dc: String,
    /// Binds the program to this endpoint before it asks: it takes it with `wait4bind`.
    #[arg(long, value_name = "E")]
    pub endpoint: Option<String>,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    pub program: Vec<String>,
}
