//! `dvs down`

use super::Context;
use crate::fail::Done;
use crate::output;
use dvsd::admin::AdminRequest;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Example:
  dvs down --node n1

Programs attached to the node are told; their calls end with DVSINIT.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Down {}

impl Down {
    /// Stops the daemon in order.
    pub fn run(&self, context: &Context) -> Done {
        let status = context.node.status()?;
        context.node.ask(&AdminRequest::Shutdown)?;
        if let Ok(pid) = dvs_linux::pidfd::PidFd::open(status.pid) {
            let until = dvs::Deadline::from_ns(dvs_linux::clock::now() + 10_000_000_000);
            // It ends in any case; waiting only makes the message true.
            let _ = pid.wait(until);
        }
        output::done(context.output, &format!("node {} is down", status.name))?;
        Ok(ExitCode::SUCCESS)
    }
}
