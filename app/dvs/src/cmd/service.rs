//! `dvs service …`

use super::Context;
use super::nodes::order;
use crate::fail::{Done, Fail};
use crate::output::{self, Format};
use dvs_control::service::{Kind, PartitionRule, ServiceSpec};
use dvsd::admin::{AdminAnswer, AdminRequest, ServiceRow};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  dvs service declare shop 10 kv --kind active
  dvs service declare shop 11 clock --rule continue
  dvs service ls
  dvs service rm shop 10

Whoever binds the slot on a node the service may be on is an instance of it; the system decides \
where callers go.";

#[derive(clap::Subcommand, Debug)]
#[command(after_help = EXAMPLES)]
pub enum Service {
    /// Declare a service at a well-known endpoint of a container, or declare it anew
    Declare(Declare),
    /// List services: where callers go, who could take over
    Ls,
    /// A service is no more; its instances end
    Rm(Slot),
}

/// As `--kind` says it.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub enum KindWord {
    Single,
    Passive,
    Active,
}

/// As `--rule` says it.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub enum RuleWord {
    Stop,
    Reads,
    Continue,
}

impl RuleWord {
    /// What it means.
    pub fn rule(self) -> PartitionRule {
        match self {
            RuleWord::Stop => PartitionRule::Stop,
            RuleWord::Reads => PartitionRule::Reads,
            RuleWord::Continue => PartitionRule::Continue,
        }
    }
}

#[derive(clap::Args, Debug)]
pub struct Declare {
    #[command(flatten)]
    at: Slot,
    /// Its name, at most 15 bytes
    name: String,
    /// One instance at a time, one that others can follow and take over from, or several that all serve
    #[arg(long, value_enum, default_value_t = KindWord::Single, value_name = "KIND")]
    kind: KindWord,
    /// The nodes its instances may be on (default: all of the container)
    #[arg(long, value_delimiter = ',', value_name = "NODE,…")]
    nodes: Vec<String>,
    /// What an instance does that is cut off from the majority of the nodes
    #[arg(long, value_enum, default_value_t = RuleWord::Stop, value_name = "RULE")]
    rule: RuleWord,
}

#[derive(clap::Args, Debug)]
pub struct Slot {
    /// Name or number of the container
    dc: String,
    /// The endpoint: a slot of the system's, for example 10
    #[arg(allow_hyphen_values = true)]
    slot: i32,
}

impl Service {
    /// Does what was asked.
    pub fn run(&self, context: &Context) -> Done {
        match self {
            Service::Declare(d) => d.run(context)?,
            Service::Ls => list(context)?,
            Service::Rm(s) => {
                let dc = context.node.container(&s.dc)?.dc;
                order(context, &AdminRequest::Service { dc, slot: s.slot, spec: None })?;
                output::done(context.output, &format!("slot {} of {} is no service any more", s.slot, s.dc))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Declare {
    fn run(&self, context: &Context) -> Done<()> {
        let dc = context.node.container(&self.at.dc)?;
        let mut nodes = 0;
        for name in &self.nodes {
            nodes |= 1 << context.node.node_id(name)?;
        }
        let kind = match self.kind {
            KindWord::Single => Kind::Single,
            KindWord::Passive => Kind::Passive,
            KindWord::Active => Kind::Active,
        };
        let rule = self.rule.rule();
        let nodes = if self.nodes.is_empty() { dc.nodes } else { nodes };
        let spec = ServiceSpec { name: self.name.clone(), kind, nodes, rule };
        order(context, &AdminRequest::Service { dc: dc.dc, slot: self.at.slot, spec: Some(spec) })?;
        let text = format!("{} is a service at {} of {}", self.name, self.at.slot, self.at.dc);
        output::done(context.output, &text)
    }
}

/// The services as the node knows them.
pub(super) fn services(context: &Context) -> Done<Vec<ServiceRow>> {
    let parts = context.node.ask(&AdminRequest::Services)?;
    let rows = parts.into_iter().find_map(|p| match p {
        AdminAnswer::Services(rows) => Some(rows),
        _ => None,
    });
    rows.ok_or_else(|| Fail::new("the daemon named no services"))
}

fn list(context: &Context) -> Done<()> {
    let rows = services(context)?;
    if context.output == Format::Json {
        return output::json(&rows);
    }
    let node = |n: Option<u16>| n.map_or("-".to_string(), |n| format!("n{n}"));
    let rows = rows.into_iter().map(|r| {
        let to = r.to.map_or(String::new(), |n| format!(" to n{n}"));
        let instances: Vec<String> = r.instances.iter().map(|n| format!("n{n}")).collect();
        vec![
            format!("dc{}", r.dc),
            r.slot.to_string(),
            r.spec.name,
            format!("{:?}", r.spec.kind).to_lowercase(),
            format!("{:?}", r.spec.rule).to_lowercase(),
            node(r.at) + &to,
            instances.join(" "),
            r.here,
            format!("e{}", r.epoch),
        ]
    });
    let headings = ["dc", "slot", "name", "kind", "rule", "callers go to", "instances", "here", "epoch"];
    output::table(&headings, rows.collect());
    Ok(())
}
