//! One module a sub-command.

pub mod completions;
pub mod cp;
pub mod crew;
pub mod daemon;
pub mod dc;
pub mod demo;
pub mod disk;
pub mod down;
pub mod drain;
pub mod files;
pub mod fs;
pub mod join;
pub mod key;
pub mod kill;
pub mod kv;
pub mod leave;
pub mod logs;
pub mod man;
pub mod migrate;
pub mod mount;
pub mod nodes;
pub mod ping;
pub mod ps;
pub mod run;
pub mod service;
pub mod status;
pub mod token;
pub mod top;
pub mod up;
pub mod waits;

use crate::cli::{Cli, Command};
use crate::fail::{Done, Fail};
use crate::node::{Node, Target};
use crate::output::Format;

/// What every sub-command is given.
#[derive(Clone, Debug)]
pub struct Context {
    /// The node whose daemon is asked.
    pub node: Node,
    /// The node as it was named, if it was.
    pub named: Option<String>,
    /// The daemon's folder was named.
    pub by_folder: bool,
    /// What to print.
    pub output: Format,
}

impl Context {
    /// The node that was named, on this machine or another.
    pub fn target(&self) -> Done<Target> {
        Target::find(&self.node, self.named.as_deref(), self.by_folder)
    }

    /// The container of this name or number, or the only one.
    pub fn container(&self, name: Option<&str>) -> Done<dvs::DcInfo> {
        if let Some(name) = name {
            return self.node.container(name);
        }
        match self.node.containers()?.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(Fail::missing("there is no container").next("make one with: dvs dc create shop")),
            _ => {
                let several = Fail::usage("there are several containers");
                Err(several.next("say which is meant with: --dc NAME"))
            }
        }
    }
}

/// Runs the sub-command.
pub fn run(cli: Cli) -> Done {
    let by_folder = cli.runtime_dir.is_some();
    let node = Node::find(cli.node.as_deref(), cli.runtime_dir);
    let context = Context { node, named: cli.node, by_folder, output: cli.output };
    match cli.command {
        Command::Up(c) => c.run(&context),
        Command::Join(c) => c.run(&context),
        Command::Token(c) => c.run(&context),
        Command::Nodes(c) => c.run(&context),
        Command::Service(c) => c.run(&context),
        Command::Migrate(c) => c.run(&context),
        Command::Drain(c) => c.run(&context),
        Command::Leave(c) => c.run(&context),
        Command::Down(c) => c.run(&context),
        Command::Status(c) => c.run(&context),
        Command::Dc(c) => c.run(&context),
        Command::Run(c) => c.run(&context),
        Command::Ps(c) => c.run(&context),
        Command::Waits(c) => c.run(&context),
        Command::Ping(c) => c.run(&context),
        Command::Top(c) => c.run(&context),
        Command::Kill(c) => c.run(&context),
        Command::Logs(c) => c.run(&context),
        Command::Cp(c) => c.run(&context),
        Command::Files(c) => c.run(&context),
        Command::Kv(c) => c.run(&context),
        Command::Fs(c) => c.run(&context),
        Command::Disk(c) => c.run(&context),
        Command::Mount(c) => c.run(&context),
        Command::Demo(c) => c.run(),
        Command::Key(c) => c.run(&context),
        Command::Completions(c) => c.run(),
        Command::Man(c) => c.run(),
        Command::Daemon(c) => c.run(&context),
    }
}
