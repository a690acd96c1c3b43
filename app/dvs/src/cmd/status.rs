//! `dvs status`

use super::Context;
use crate::fail::Done;
use crate::output::{self, Format, say, span};
use dvsd::admin::ClusterStatus;
use std::process::ExitCode;

#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  dvs status --output json")]
pub struct Status {}

impl Status {
    /// Shows the node and the others it knows.
    pub fn run(&self, context: &Context) -> Done {
        let s = context.node.status()?;
        if context.output == Format::Json {
            output::json(&s)?;
            return Ok(ExitCode::SUCCESS);
        }
        let up = span(s.uptime_ms * 1_000_000);
        say(&format!("node {} (n{}), pid {}, version {}, up {up}", s.name, s.node, s.pid, s.version));
        let print = if s.fingerprint.is_empty() { "" } else { ", fingerprint " };
        say(&format!("  connections {}{print}{}", s.security, s.fingerprint));
        say(&format!(
            "  {} sessions, {} endpoints, {} lanes in {} links, {} containers, {} KiB resident",
            s.sessions, s.endpoints, s.lanes, s.links, s.containers, s.resident_kib
        ));
        system(&s.cluster);
        let rows = s.nodes.iter().map(|n| {
            let state = match n.flags {
                0 => "free",
                f if n.node == s.node && f & 4 != 0 => "this node",
                f if f & 0xc == 0xc => "connected",
                f if f & 0xc != 0 => "half connected",
                _ => "not connected",
            };
            vec![
                format!("n{}", n.node),
                n.name.clone(),
                n.address.clone(),
                state.to_string(),
                n.sent.to_string(),
                n.received.to_string(),
            ]
        });
        output::table(&["node", "name", "address", "state", "sent", "received"], rows.collect());
        Ok(ExitCode::SUCCESS)
    }
}

/// Who decides, and whether this node may serve.
fn system(c: &ClusterStatus) {
    let leader = c.leader.map_or("nobody leads".to_string(), |n| format!("n{n} leads"));
    let votes: Vec<String> = c.voters.iter().map(|n| format!("n{n}")).collect();
    let spare = match c.spare {
        0 => "none of them can be missed".to_string(),
        1 => "one of them can be missed".to_string(),
        n => format!("{n} of them can be missed"),
    };
    say(&format!("  {leader} (term {}), votes: {}; {spare}", c.term, votes.join(" ")));
    let lease = match (c.begun, c.lease) {
        (false, _) => "has not begun: it waits for a majority",
        (true, true) => "serves",
        (true, false) => "is cut off from the majority: services here go by their partition rule",
    };
    say(&format!("  this node {lease} (e{}, log {}, lease {} ms)", c.incarnation, c.applied, c.lease_ms));
    if !c.suspected.is_empty() {
        let silent: Vec<String> = c.suspected.iter().map(|n| format!("n{n}")).collect();
        say(&format!("  silent: {}", silent.join(" ")));
    }
}
