//! `dvs leave`

use super::Context;
use super::nodes::order;
use crate::fail::Done;
use crate::output;
use dvsd::admin::AdminRequest;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  dvs leave                  this machine is no node any more; its daemon ends
  dvs leave beta             nor is beta, which is down and does not come back

What ran on the node ends. See dvs drain for what can be moved away before.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Leave {
    /// A node that is down (default: this one)
    target: Option<String>,
}

impl Leave {
    /// Takes a node out of the system.
    pub fn run(&self, context: &Context) -> Done {
        let status = context.node.status()?;
        let node = match &self.target {
            Some(name) => context.node.node_id(name)?,
            None => status.node,
        };
        order(context, &AdminRequest::Leave { node })?;
        let name = self.target.clone().unwrap_or(status.name);
        output::done(context.output, &format!("{name} is no node of the system any more"))?;
        Ok(ExitCode::SUCCESS)
    }
}
