//! `dvs kill`

use super::Context;
use crate::fail::Done;
use crate::node;
use crate::output::say;
use dvs::Endpoint;
use dvsd::admin::AdminRequest;
use std::process::ExitCode;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  dvs kill shop 3\n  dvs kill shop 29.g14 --force")]
pub struct Kill {
    /// Name or number of the container
    dc: String,
    /// The endpoint, on any node
    #[arg(value_parser = node::endpoint, allow_hyphen_values = true)]
    endpoint: Endpoint,
    /// SIGKILL instead of SIGTERM
    #[arg(long, short)]
    force: bool,
}

impl Kill {
    /// Signals the process; everybody that waits for the endpoint learns its end at once.
    pub fn run(&self, context: &Context) -> Done {
        let dc = context.node.container(&self.dc)?;
        let request = AdminRequest::Kill { dc: dc.dc, endpoint: self.endpoint.raw(), force: self.force };
        context.node.ask(&request)?;
        say(&format!("signalled endpoint {} of {}", self.endpoint, dc.name));
        Ok(ExitCode::SUCCESS)
    }
}
