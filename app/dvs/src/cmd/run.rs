//! `dvs run`

use super::Context;
use crate::fail::{Done, Fail};
use crate::node;
use dvs::Endpoint;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};

const EXAMPLES: &str = "\
Examples:
  dvs run shop -- ./client
  dvs run shop --endpoint 3 -- ./server --verbose
  dvs run shop --node n1 -- ./client

The program is told where it is by DVS_SOCKET, DVS_DC and DVS_ENDPOINT: dvs::port_of_run() binds it there.
Its exit code is that of the program (128 + N when signal N ended it).";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Run {
    /// Name or number of the container
    dc: String,
    /// The endpoint the program is to be (default: any free user slot)
    #[arg(long, value_parser = node::endpoint, allow_hyphen_values = true, value_name = "E")]
    endpoint: Option<Endpoint>,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    program: Vec<String>,
}

impl Run {
    /// Runs it in the foreground.
    pub fn run(&self, context: &Context) -> Done {
        let dc = context.node.container(&self.dc)?;
        let status = context.node.status()?;
        if dc.nodes & 1 << status.node == 0 {
            return Err(Fail::new(format!("container {} does not run on node {}", dc.name, status.name))
                .next(format!("dvs dc add-node {} {}", dc.name, status.name)));
        }
        let Some((program, arguments)) = self.program.split_first() else {
            return Err(Fail::usage("no program"));
        };
        let endpoint = self.endpoint.unwrap_or(Endpoint::NONE);
        let ended = Command::new(program)
            .args(arguments)
            .env("DVS_SOCKET", context.node.session_socket())
            .env("DVS_NODE", context.node.name())
            .env("DVS_DC", dc.dc.to_string())
            .env("DVS_ENDPOINT", endpoint.raw().to_string())
            .status()
            .map_err(|e| Fail::new(e).of(format!("cannot run {program}")))?;
        let code = ended.code().unwrap_or_else(|| 128 + ended.signal().unwrap_or(0));
        Ok(ExitCode::from(code as u8))
    }
}
