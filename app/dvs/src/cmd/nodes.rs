//! `dvs nodes`

use super::Context;
use crate::fail::{Done, Fail};
use crate::output::{self, Format};
use dvsd::admin::{AdminAnswer, AdminRequest};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Example:
  dvs nodes

A leader and voters decide, by majority; learners follow. Reached: messages get through from the \
node that was asked.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Nodes {}

impl Nodes {
    /// Shows the nodes of the system.
    pub fn run(&self, context: &Context) -> Done {
        let parts = context.node.ask(&AdminRequest::Nodes)?;
        let nodes = parts.into_iter().find_map(|p| match p {
            AdminAnswer::Nodes(rows) => Some(rows),
            _ => None,
        });
        let nodes = nodes.ok_or_else(|| Fail::new("the daemon named no nodes"))?;
        if context.output == Format::Json {
            output::json(&nodes)?;
            return Ok(ExitCode::SUCCESS);
        }
        let yes = |b: bool| if b { "yes" } else { "no" }.to_string();
        let rows = nodes.into_iter().map(|n| {
            let mut notes = Vec::new();
            notes.extend(n.draining.then_some("draining"));
            notes.extend(n.witness.then_some("witness"));
            vec![
                format!("n{}", n.node),
                n.name,
                n.address,
                n.standing,
                n.role,
                yes(n.reached),
                notes.join(", "),
            ]
        });
        output::table(&["node", "name", "address", "state", "role", "reached", "notes"], rows.collect());
        Ok(ExitCode::SUCCESS)
    }
}

/// Has something decided.
pub(super) fn order(context: &Context, request: &AdminRequest) -> Done<()> {
    for part in context.node.ask(request)? {
        if let AdminAnswer::Refused { code, why } = part {
            return Err(Fail::refused(code, why));
        }
    }
    Ok(())
}
