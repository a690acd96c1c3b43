//! `dvs kill`

use super::Context;
use crate::fail::{Done, Fail};
use crate::node;
use crate::output;
use dvs::Endpoint;
use dvsd::admin::{AdminAnswer, AdminRequest, ProgramSignal};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  dvs kill shop 3
  dvs kill shop 29.g14 --force
  dvs kill --program n1.4    of dvs run, as dvs ps --programs numbers it";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Kill {
    /// Name or number of the container
    #[arg(required_unless_present = "program", conflicts_with = "program")]
    dc: Option<String>,
    /// The endpoint, on any node
    #[arg(value_parser = node::endpoint, allow_hyphen_values = true, required_unless_present = "program")]
    endpoint: Option<Endpoint>,
    /// A program that a daemon has started, and all it has started itself
    #[arg(long, value_name = "NODE.N")]
    program: Option<String>,
    /// SIGKILL instead of SIGTERM
    #[arg(long, short)]
    force: bool,
}

impl Kill {
    /// Signals the process; everybody that waits for the endpoint learns its end at once.
    pub fn run(&self, context: &Context) -> Done {
        let (request, what) = match (&self.program, &self.dc, self.endpoint) {
            (Some(program), ..) => (self.program(context, program)?, format!("program {program}")),
            (None, Some(dc), Some(endpoint)) => {
                let dc = context.node.container(dc)?;
                let request = AdminRequest::Kill { dc: dc.dc, endpoint: endpoint.raw(), force: self.force };
                (request, format!("endpoint {endpoint} of {}", dc.name))
            }
            _ => return Err(Fail::usage("neither an endpoint nor a program was named")),
        };
        for part in context.node.ask(&request)? {
            match part {
                AdminAnswer::Refused { code, why } => {
                    return Err(Fail::refused(code, why).next("see them with: dvs ps --programs"));
                }
                AdminAnswer::Silent(nodes) => {
                    let nodes: Vec<String> = nodes.iter().map(|n| format!("n{n}")).collect();
                    return Err(Fail::gone(format!("node {} does not answer", nodes.join(", "))));
                }
                _ => {}
            }
        }
        output::done(context.output, &format!("signalled {what}"))?;
        Ok(ExitCode::SUCCESS)
    }

    fn program(&self, context: &Context, text: &str) -> Done<AdminRequest> {
        let parts = text.rsplit_once('.').and_then(|(n, p)| Some((n, p.parse::<u32>().ok()?)));
        let (node, program) = parts.ok_or_else(|| {
            Fail::usage(format!("{text:?} is no program; write its node and number, like n1.4"))
                .next("see them with: dvs ps --programs")
        })?;
        let signal = if self.force { ProgramSignal::Kill } else { ProgramSignal::Terminate };
        Ok(AdminRequest::Signal { node: context.node.node_id(node)?, program, signal })
    }
}
