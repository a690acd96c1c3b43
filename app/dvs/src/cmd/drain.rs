//! `dvs drain`

use super::Context;
use super::nodes::order;
use crate::fail::Done;
use crate::output;
use dvsd::admin::AdminRequest;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  dvs drain beta             nothing new is placed on beta
  dvs drain beta --off       something may be again";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Drain {
    /// Name or number of the node
    target: String,
    /// It may be used again
    #[arg(long)]
    off: bool,
}

impl Drain {
    /// Says whether a node is to be used.
    pub fn run(&self, context: &Context) -> Done {
        let node = context.node.node_id(&self.target)?;
        order(context, &AdminRequest::Drain { node, on: !self.off })?;
        let text = if self.off { "may be used again" } else { "gets nothing new" };
        output::done(context.output, &format!("{} {text}", self.target))?;
        Ok(ExitCode::SUCCESS)
    }
}
