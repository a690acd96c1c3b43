//! `dvs migrate`

pub mod carry;
mod replicas;
pub mod switch;

use super::Context;
use super::service::services;
use crate::fail::{Done, Fail};
use crate::output::{self, Format, say};
use carry::{Outcome, carry};
use dvs_control::service::Kind;
use dvsd::admin::{AdminAnswer, AdminRequest, MoveCheck, MoveOrder, ServiceRow};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  dvs migrate kv --to n2                to somebody who stands by there, or is
                                        started as it was started here
  dvs migrate shop/10 --to n2 --check   what would be in the way
  dvs migrate kv --to n2 -- ./kv-2.1    to another version of the program; the
                                        same way back
  dvs migrate kv --from n0 --to n3      of a replicated service, that replica
  dvs migrate ledger --to n2            of a passive service, callers go to its
                                        instance there

Callers are served while the state is copied, then held for some milliseconds; nothing that they \
asked is lost or done twice. Until the service has arrived the move can be given up, with Ctrl-C: \
then all is as before. If a program, a node or this command dies on the way, the system decides on \
which side the service goes on; dvs service ls shows it.

Of a replicated service one of its replicas moves: another one is started on the new node, gets all that \
the others have while they serve, and then the old one goes. What is broken off there goes on when the \
command is repeated; dvs kv members shows it, and undoes it.

Of a passive service callers are pointed to its instance on the other node, at once, if that one is in step; \
nothing is started and nothing handed over. What the old one had taken up is sent again and answered once.

A program is started on the other node as dvs run does it: its configuration has to allow that with \
remote_programs = true. A single service moves if its program runs in a dvs_migrate::Host.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Migrate {
    /// Its name, or CONTAINER/SLOT
    service: String,
    /// Name or number of the node it is to go to
    #[arg(long, value_name = "NODE")]
    to: String,
    /// Of a replicated service: the node whose replica moves, if there are several
    #[arg(long, value_name = "NODE")]
    from: Option<String>,
    /// Only say what would be in the way
    #[arg(long)]
    check: bool,
    /// How long it may take until callers are held, s
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=86_400))]
    deadline: u32,
    /// How long callers may be held, ms; after that it is undone
    #[arg(long, default_value_t = 2000, value_name = "MS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=60_000))]
    hold: u32,
    /// What to start on the other node, when nobody stands by there
    #[arg(last = true, value_name = "PROGRAM")]
    program: Vec<String>,
}

impl Migrate {
    /// Moves it, or looks what would hinder that.
    pub fn run(&self, context: &Context) -> Done {
        let service = find(context, &self.service)?;
        let to = context.node.node_id(&self.to)?;
        if service.spec.kind == Kind::Active {
            return self.replica(context, &service, to);
        }
        if let Some(from) = &self.from
            && service.at != Some(context.node.node_id(from)?)
        {
            return Err(Fail::usage(format!("{} is not on {from}", service.spec.name))
                .next("see where it is with: dvs service ls"));
        }
        if service.spec.kind == Kind::Passive {
            return self.passive(context, &service, to);
        }
        let order = MoveOrder {
            dc: service.dc,
            slot: service.slot,
            to,
            check: self.check,
            prepare_ms: u64::from(self.deadline) * 1000,
            hold_ms: u64::from(self.hold),
            program: self.program.clone(),
            folder: folder(&self.program),
        };
        if self.check {
            return check(context, &service, &self.to, order);
        }
        let shown = context.output == Format::Table;
        let outcome = carry(context, order, true, &|line: &str| {
            if shown {
                say(line);
            }
        })?;
        self.show(context, &service, &outcome)
    }

    fn show(&self, context: &Context, service: &ServiceRow, outcome: &Outcome) -> Done {
        if context.output == Format::Json {
            output::json(outcome)?;
        } else if outcome.moved {
            let held =
                outcome.held_ms.map_or(String::new(), |ms| format!("; callers were held for {ms:.1} ms"));
            say(&format!("{} is on {} now{held}", service.spec.name, self.to));
        }
        match (outcome.moved, context.output) {
            (true, _) => Ok(ExitCode::SUCCESS),
            (false, Format::Json) => Ok(ExitCode::FAILURE),
            (false, Format::Table) => Err(Fail::new(&outcome.why).of(&service.spec.name)),
        }
    }
}

/// Where a program that is named is looked for, if it is named by a path of this folder.
fn folder(program: &[String]) -> Option<String> {
    let here = std::env::current_dir().ok()?;
    program.first().filter(|p| p.contains('/')).and_then(|_| here.to_str().map(str::to_owned))
}

/// The service that is meant.
pub fn find(context: &Context, wanted: &str) -> Done<ServiceRow> {
    let all = services(context)?;
    let containers = context.node.containers()?;
    let is = |row: &ServiceRow, dc: &str| {
        let name = containers.iter().find(|c| c.dc == row.dc).map(|c| c.name.as_str());
        name == Some(dc) || dc.strip_prefix("dc").unwrap_or(dc).parse() == Ok(row.dc)
    };
    let fits = |row: &&ServiceRow| match wanted.split_once('/') {
        Some((dc, rest)) => is(row, dc) && (row.spec.name == rest || rest.parse() == Ok(row.slot)),
        None => row.spec.name == wanted,
    };
    let mut found: Vec<ServiceRow> = all.iter().filter(fits).cloned().collect();
    match (found.pop(), found.len()) {
        (Some(one), 0) => Ok(one),
        (Some(one), _) => Err(Fail::usage(format!("{wanted} is a service of several containers"))
            .next(format!("say which is meant, for example: dc{}/{}", one.dc, one.slot))),
        (None, _) => Err(Fail::missing(format!("no service {wanted:?}"))
            .next("see them with: dvs service ls; declare one with: dvs service declare")),
    }
}

fn check(context: &Context, service: &ServiceRow, to: &str, order: MoveOrder) -> Done {
    let mut found = None;
    for part in context.node.ask(&AdminRequest::Migrate(order))? {
        match part {
            AdminAnswer::Checked(check) => found = Some(check),
            AdminAnswer::Refused { why, .. } => {
                found = Some(MoveCheck { hindrances: vec![why], ..MoveCheck::default() });
            }
            AdminAnswer::Silent(nodes) => {
                let nodes: Vec<String> = nodes.iter().map(|n| format!("n{n}")).collect();
                return Err(Fail::gone(format!("{} does not answer", nodes.join(", "))));
            }
            _ => {}
        }
    }
    let check = found.ok_or_else(|| Fail::new("the daemon did not say what it found"))?;
    let free = check.hindrances.is_empty();
    if context.output == Format::Json {
        output::json(&check)?;
    } else if free {
        let name = &service.spec.name;
        let takes = match check.takes {
            Some((from, to)) => format!("somebody stands by who takes versions {from} to {to}"),
            None => "its program would be started there".to_owned(),
        };
        say(&format!("nothing hinders {name} from moving to {to}"));
        let (bytes, memory) = (check.bytes, check.memory >> 20);
        say(&format!("  its state has {bytes} bytes, version {}; {takes}", check.version));
        say(&format!("  {memory} MiB of memory are free there"));
    } else {
        check.hindrances.iter().for_each(|h| say(h));
    }
    Ok(if free { ExitCode::SUCCESS } else { ExitCode::from(5) })
}
