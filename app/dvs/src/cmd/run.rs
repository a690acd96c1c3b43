//! `dvs run`

mod here;
mod there;

use super::Context;
use crate::fail::{Done, Fail};
use crate::node;
use dvs::Endpoint;
use dvsd::admin::RunOrder;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  dvs run shop -- ./client
  dvs run shop --endpoint 3 -- ./server --verbose
  dvs run shop --node n1 -- kv-server      on another machine
  dvs run shop --detach -- kv-server       see it with: dvs ps --programs

The program is told where it is by DVS_SOCKET, DVS_DC and DVS_ENDPOINT: dvs::port_of_run() binds it \
there. Its lines also go to the node's log (dvs logs NAME). The exit code is that of the program \
(128 + N when signal N ended it).

On another machine (and with --detach) the program is started by the node's daemon, as the user the \
daemon runs as, with nothing to read, PATH, HOME and little else of the daemon's environment (set more \
with: -- env NAME=VALUE PROGRAM), in the daemon's folder or that of --chdir. The other node must allow \
it: remote_programs = true in its configuration.

Ctrl-C interrupts the program; a second one leaves, and the program is ended. It is also ended when \
this node or the way to it fails. With --detach it goes on until it ends, or its daemon does.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Run {
    /// Name or number of the container
    dc: String,
    /// The endpoint the program is to be (default: any free user slot)
    #[arg(long, value_parser = node::endpoint, allow_hyphen_values = true, value_name = "E")]
    endpoint: Option<Endpoint>,
    /// The folder the program starts in, on its node
    #[arg(long, value_name = "FOLDER")]
    chdir: Option<PathBuf>,
    /// Do not wait for the program; its number is printed
    #[arg(long, short)]
    detach: bool,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    program: Vec<String>,
}

impl Run {
    /// Runs it.
    pub fn run(&self, context: &Context) -> Done {
        let target = context.target()?;
        let dc = target.door.container(&self.dc)?;
        if dc.nodes & 1 << target.id == 0 {
            return Err(Fail::new(format!("container {} does not run on node {}", dc.name, target.name))
                .next(format!("dvs dc add-node {} {}", dc.name, target.name)));
        }
        let endpoint = self.endpoint.unwrap_or(Endpoint::NONE);
        if target.here && !self.detach {
            let Some((program, arguments)) = self.program.split_first() else {
                return Err(Fail::usage("no program"));
            };
            let folder = self.chdir.as_deref();
            return here::run(&target.door, &here::Job { dc: dc.dc, endpoint, program, arguments, folder });
        }
        let order = RunOrder {
            dc: dc.dc,
            endpoint: endpoint.raw(),
            program: self.program.clone(),
            folder: self.chdir.as_deref().map(text).transpose()?,
            detach: self.detach,
        };
        there::run(context, &target, order)
    }
}

/// A path that is to be carried as text.
fn text(path: &Path) -> Done<String> {
    let text = path.to_str().ok_or_else(|| Fail::usage(format!("{} is not UTF-8", path.display())))?;
    Ok(text.to_string())
}
