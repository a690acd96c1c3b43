//! A replica of a replicated service moves: one more on the new node, then one less on the old.

use super::{Migrate, folder};
use crate::cmd::Context;
use crate::cmd::crew::{Crew, Start};
use crate::cmd::migrate::carry::Outcome;
use crate::fail::{Done, Fail};
use crate::output::{self, Format, say};
use dvs::{Endpoint, NodeId};
use dvs_replica::list::{Change, Refusal};
use dvsd::admin::ServiceRow;
use std::process::ExitCode;
use std::time::{Duration, Instant};

impl Migrate {
    /// Moves the replica of a node, or looks what would hinder that.
    pub(super) fn replica(&self, context: &Context, service: &ServiceRow, to: u16) -> Done {
        let crew = Crew::new(context, service.dc, Endpoint::new(0, service.slot))?;
        let from = self.whose(context, &crew, to)?;
        if self.check {
            return self.look(context, &crew, service, (from, to));
        }
        let began = Instant::now();
        let shown = context.output == Format::Table;
        let start = self.start(&crew, from)?;
        let within = Duration::from_secs(u64::from(self.deadline));
        let done = crew.carry(from, to, start, within, shown);
        if shown {
            done?;
            say(&format!("{} has a replica on {} now, and none on n{from}", service.spec.name, self.to));
            return Ok(ExitCode::SUCCESS);
        }
        let (moved, why) = done.map_or_else(|e| (false, e.what().to_owned()), |()| (true, String::new()));
        let took_ms = began.elapsed().as_secs_f64() * 1e3;
        output::json(&Outcome { moved, why, rounds: None, bytes: None, held_ms: None, took_ms })?;
        Ok(if moved { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The node whose replica moves.
    fn whose(&self, context: &Context, crew: &Crew<'_>, to: u16) -> Done<u16> {
        let list = crew.look()?.list;
        if let Some(from) = &self.from {
            let node = context.node.node_id(from)?;
            return match list.of(NodeId(node)) {
                Some(_) => Ok(node),
                None => Err(Fail::missing(format!("{from} has no replica of it"))
                    .next("see the replicas with: dvs kv members ls")),
            };
        }
        let others: Vec<u16> = list.sitters().map(|(_, s)| s.node.0).filter(|n| *n != to).collect();
        match others[..] {
            [only] => Ok(only),
            [] => Err(Fail::usage(format!("its only replica is on {} already", self.to))),
            _ => {
                let nodes: Vec<String> = others.iter().map(|n| format!("n{n}")).collect();
                Err(Fail::usage(format!("it has replicas on {}", nodes.join(", ")))
                    .next(format!("say which one is to move: --from {}", nodes[0])))
            }
        }
    }

    fn start(&self, crew: &Crew<'_>, from: u16) -> Done<Start> {
        if self.program.is_empty() {
            let known = crew.command_of(from);
            return known.map_err(|e| {
                e.next(
                    "name what to start behind --, or do both halves yourself: dvs kv \
                members add, and rm",
                )
            });
        }
        Ok((self.program.clone(), folder(&self.program)))
    }

    fn look(&self, context: &Context, crew: &Crew<'_>, service: &ServiceRow, (from, to): (u16, u16)) -> Done {
        let seen = crew.look()?;
        let mut hindrances: Vec<String> = crew.hindrance(to)?.into_iter().collect();
        match seen.list.with(Change::Add(NodeId(to))) {
            // What was broken off would go on.
            Ok(_) | Err(Refusal::There(_)) => {}
            Err(why) => hindrances.push(why.to_string()),
        }
        let all: Vec<NodeId> = seen.list.staying().filter(|n| ![from, to].contains(&n.0)).collect();
        let here = all.iter().filter(|n| seen.in_step(**n)).count();
        // With the new one.
        if (here + 1) * 2 <= all.len() + 1 {
            hindrances.push(format!("only {here} of the {} replicas that stay are there", all.len()));
        }
        hindrances.extend(self.start(crew, from).err().map(|e| e.what().to_owned()));
        hindrances.extend(crew.may_start(to)?);
        let free = hindrances.is_empty();
        if context.output == Format::Json {
            output::json(&serde_json::json!({ "from": from, "to": to, "hindrances": hindrances }))?;
        } else if free {
            let name = &service.spec.name;
            say(&format!("nothing hinders the replica of {name} on n{from} from moving to {}", self.to));
        } else {
            hindrances.iter().for_each(|h| say(h));
        }
        Ok(if free { ExitCode::SUCCESS } else { ExitCode::from(5) })
    }
}
