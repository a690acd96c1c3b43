//! `dvs drain`

use super::Context;
use super::crew::Crew;
use super::migrate::carry::carry;
use super::migrate::switch::switch;
use super::nodes::order;
use super::service::services;
use crate::fail::{Done, Fail};
use crate::output::{self, Format, say};
use dvs::{Endpoint, NodeId};
use dvs_control::service::Kind;
use dvsd::admin::{AdminAnswer, AdminRequest, MoveOrder, NodeRow, ServiceRow};
use serde::Serialize;
use std::process::ExitCode;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  dvs drain beta             nothing new comes there; what can move, moves
  dvs drain beta --stay      nothing new is placed there, and nothing moves
  dvs drain beta --off       something may be placed there again

Single services go to the allowed node with the fewest of them, where somebody stands by or is \
started as on this one. A replica of a replicated service goes to an allowed node that has none, and is \
started there as on this one; if there is no such node it stays, and another one leads. Callers of a \
passive service go to its instance on another node, if one is in step there. What cannot move is named \
with the reason (exit code 5), and stays; so do programs that are no service.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Drain {
    /// Name or number of the node
    target: String,
    /// It may be used again
    #[arg(long)]
    off: bool,
    /// Leave there what is there
    #[arg(long, conflicts_with = "off")]
    stay: bool,
    /// How long each move may take until callers are held, s
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=86_400))]
    deadline: u32,
}

/// What became of a service.
#[derive(Serialize, Debug)]
struct Left {
    dc: u16,
    slot: i32,
    name: String,
    to: Option<u16>,
    moved: bool,
    why: String,
    held_ms: Option<f64>,
}

impl Drain {
    /// Says whether a node is to be used, and moves what is on it.
    pub fn run(&self, context: &Context) -> Done {
        let node = context.node.node_id(&self.target)?;
        order(context, &AdminRequest::Drain { node, on: !self.off })?;
        if self.off || self.stay {
            let text = if self.off { "may be used again" } else { "gets nothing new" };
            output::done(context.output, &format!("{} {text}", self.target))?;
            return Ok(ExitCode::SUCCESS);
        }
        let shown = context.output == Format::Table;
        if shown {
            say(&format!("{} gets nothing new", self.target));
        }
        let mut all = Vec::new();
        let there = |row: &ServiceRow| match row.spec.kind {
            Kind::Single | Kind::Passive => row.at == Some(node),
            Kind::Active => row.instances.contains(&node),
        };
        for row in services(context)?.into_iter().filter(there) {
            let left = match row.spec.kind {
                Kind::Active => self.replica(context, node, &row)?,
                Kind::Passive => self.follower(context, node, &row)?,
                Kind::Single => self.empty(context, node, &row)?,
            };
            if shown {
                show(&left);
            }
            all.push(left);
        }
        if !shown {
            output::json(&all)?;
        }
        Ok(if all.iter().all(|l| l.moved) { ExitCode::SUCCESS } else { ExitCode::from(5) })
    }

    /// Moves the replica of a replicated service to the best node that has none; else another one leads.
    fn replica(&self, context: &Context, node: u16, row: &ServiceRow) -> Done<Left> {
        let (dc, slot, name) = (row.dc, row.slot, row.spec.name.clone());
        let stays = |why: String| {
            Ok(Left { dc, slot, name: name.clone(), to: None, moved: false, why, held_ms: None })
        };
        let crew = Crew::new(context, dc, Endpoint::new(0, slot))?;
        // A service of another make than dvs-replica has no list of replicas.
        let list = match crew.look() {
            Ok(seen) => seen.list,
            Err(e) => return stays(e.what().to_owned()),
        };
        let mut reasons = Vec::new();
        let free = |to: &u16| list.sitter_of(NodeId(*to)).is_none_or(|s| s.leaves);
        for to in candidates(context, node, row)?.into_iter().filter(free) {
            let within = Duration::from_secs(u64::from(self.deadline));
            let done = crew.command_of(node).and_then(|start| crew.carry(node, to, start, within, false));
            match done {
                Ok(()) => {
                    let (to, why) = (Some(to), String::new());
                    return Ok(Left { dc, slot, name, to, moved: true, why, held_ms: None });
                }
                Err(e) => reasons.push(format!("n{to}: {}", e.what())),
            }
        }
        if reasons.is_empty() {
            reasons.push("no other node that is up, may have it and has no replica of it yet".to_owned());
        }
        if let Err(e) = crew.resign(node) {
            reasons.push(format!("it leads: {}", e.what()));
        }
        stays(reasons.join("; "))
    }

    /// Points the callers of a passive service to the best instance in step.
    fn follower(&self, context: &Context, node: u16, row: &ServiceRow) -> Done<Left> {
        let (dc, slot, name) = (row.dc, row.slot, row.spec.name.clone());
        let left = |to: Option<u16>, why| {
            let moved = to.is_some();
            Ok(Left { dc, slot, name: name.clone(), to, moved, why, held_ms: None })
        };
        let mut reasons = Vec::new();
        let able = candidates(context, node, row)?.into_iter().filter(|to| row.instances.contains(to));
        for to in able {
            match switch(context, (dc, slot), to) {
                Ok(()) => return left(Some(to), String::new()),
                Err(e) => reasons.push(format!("n{to}: {}", e.what())),
            }
        }
        if reasons.is_empty() {
            reasons.push(
                "no other node that is up and may have it has an instance in step: start one, or wait \
                 until one has caught up (dvs service ls), and drain again"
                    .to_owned(),
            );
        }
        left(None, reasons.join("; "))
    }

    /// Moves one service to the best node that takes it.
    fn empty(&self, context: &Context, node: u16, row: &ServiceRow) -> Done<Left> {
        let (dc, slot, name) = (row.dc, row.slot, row.spec.name.clone());
        let mut reasons = Vec::new();
        for to in candidates(context, node, row)? {
            let prepare_ms = u64::from(self.deadline) * 1000;
            let (check, hold_ms, program, folder) = (false, 2000, Vec::new(), None);
            let order = MoveOrder { dc, slot, to, check, prepare_ms, hold_ms, program, folder };
            match carry(context, order, false, &|_| {}) {
                Ok(o) if o.moved => {
                    let (to, why, held_ms) = (Some(to), String::new(), o.held_ms);
                    return Ok(Left { dc, slot, name, to, moved: true, why, held_ms });
                }
                Ok(o) => reasons.push(format!("n{to}: {}", o.why)),
                Err(e) => reasons.push(format!("n{to}: {}", e.what())),
            }
        }
        let why = match reasons.is_empty() {
            true => "no other node that is up may have it".to_owned(),
            false => reasons.join("; "),
        };
        Ok(Left { dc, slot, name, to: None, moved: false, why, held_ms: None })
    }
}

fn show(left: &Left) {
    let held = left.held_ms.map_or(String::new(), |ms| format!("; callers were held for {ms:.1} ms"));
    match left.to {
        Some(to) => say(&format!("{} is on n{to} now{held}", left.name)),
        None => say(&format!("{} stays: {}", left.name, left.why)),
    }
}

/// The nodes that a service may go to, those with the fewest services first.
fn candidates(context: &Context, from: u16, row: &ServiceRow) -> Done<Vec<u16>> {
    let parts = context.node.ask(&AdminRequest::Nodes)?;
    let nodes: Vec<NodeRow> = parts
        .into_iter()
        .find_map(|p| match p {
            AdminAnswer::Nodes(rows) => Some(rows),
            _ => None,
        })
        .ok_or_else(|| Fail::new("the daemon named no nodes"))?;
    let all = services(context)?;
    let load = |node: u16| all.iter().filter(|s| s.at == Some(node)).count();
    let may = |n: &&NodeRow| {
        let allowed = u32::from(n.node) < u32::BITS && row.spec.nodes & 1 << n.node != 0;
        allowed && n.node != from && n.standing == "up" && !n.draining && !n.witness
    };
    let mut found: Vec<u16> = nodes.iter().filter(may).map(|n| n.node).collect();
    found.sort_by_key(|n| (load(*n), *n));
    Ok(found)
}
