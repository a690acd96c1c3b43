//! `dvs ps`

use super::Context;
use crate::fail::Done;
use crate::output::{self, Format, endpoint, span};
use dvsd::admin::{AdminAnswer, AdminRequest, ProcRow};
use serde::Serialize;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  dvs ps shop
  dvs ps --programs        what dvs run has started elsewhere or detached
  dvs ps --output json | jq '.[] | select(.state == \"awaiting\")'";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Ps {
    /// Only this container
    dc: Option<String>,
    /// Also what each node has registered of the others
    #[arg(long)]
    all: bool,
    /// Instead of endpoints: the programs that daemons have started for dvs run
    #[arg(long, conflicts_with = "all")]
    programs: bool,
}

/// One program as it is shown.
#[derive(Serialize, Debug)]
struct ProgramLine {
    program: String,
    dc: u16,
    name: String,
    pid: u32,
    from: u16,
    detached: bool,
    running_ms: u64,
}

/// One endpoint as it is shown.
#[derive(Serialize, Debug)]
pub struct Row {
    pub dc: u16,
    pub endpoint: String,
    pub raw: i32,
    pub name: String,
    pub node: i32,
    pub pid: i32,
    pub kind: String,
    pub state: &'static str,
    pub peer: String,
    pub waiting_ns: u64,
    pub sent_local: u64,
    pub sent_remote: u64,
    pub copies_local: u64,
    pub copies_remote: u64,
}

const REMOTE: u32 = 1 << 12;

impl Row {
    fn new(row: &ProcRow) -> Row {
        let i = &row.info;
        let none = dvs::Endpoint::NONE.raw();
        let (state, peer) = match (i.rts_flags >> 2 & 1 == 1, i.rts_flags >> 3 & 1 == 1) {
            (true, true) => ("calling", i.sendto),
            (true, false) => ("sending", i.sendto),
            (false, true) if i.getfrom == dvs::Endpoint::ANY.raw() => ("receiving", i.getfrom),
            (false, true) => ("awaiting", i.getfrom),
            _ if i.rts_flags & REMOTE != 0 => ("remote", none),
            _ if i.rts_flags & 1 << 11 != 0 => ("moving", none),
            _ => ("running", none),
        };
        Row {
            dc: i.dc,
            endpoint: endpoint(i.endpoint),
            raw: i.endpoint,
            name: i.name.clone(),
            node: i.node,
            pid: i.pid,
            kind: format!("{:?}", row.kind).to_lowercase(),
            state,
            peer: endpoint(peer),
            waiting_ns: i.waiting_ns,
            sent_local: i.sent_local,
            sent_remote: i.sent_remote,
            copies_local: i.copies_local,
            copies_remote: i.copies_remote,
        }
    }
}

/// Every endpoint, from all nodes that answer; those that did not are named on standard error.
pub fn rows(context: &Context, dc: Option<&str>, all: bool) -> Done<Vec<Row>> {
    let dc = dc.map(|d| context.node.container(d)).transpose()?.map(|d| d.dc);
    let mut rows = Vec::new();
    for part in context.node.ask(&AdminRequest::Ps { dc })? {
        match part {
            AdminAnswer::Procs(p) => rows.extend(p),
            AdminAnswer::Silent(nodes) => {
                for n in nodes {
                    eprintln!("dvs: node n{n} did not answer; its endpoints are missing here");
                }
            }
            _ => {}
        }
    }
    rows.retain(|r| all || i32::from(r.reporter) == r.info.node);
    rows.sort_by_key(|r| (r.info.dc, r.info.slot, r.reporter));
    Ok(rows.iter().map(Row::new).collect())
}

impl Ps {
    /// Shows them.
    pub fn run(&self, context: &Context) -> Done {
        if self.programs {
            return self.show_programs(context);
        }
        let rows = rows(context, self.dc.as_deref(), self.all)?;
        if context.output == Format::Json {
            output::json(&rows)?;
            return Ok(ExitCode::SUCCESS);
        }
        let lines = rows.iter().map(|r| {
            vec![
                format!("dc{}", r.dc),
                r.endpoint.clone(),
                r.name.clone(),
                format!("n{}", r.node),
                if r.pid < 0 { "-".into() } else { r.pid.to_string() },
                r.state.to_string(),
                r.peer.clone(),
                span(r.waiting_ns),
                r.sent_local.to_string(),
                r.sent_remote.to_string(),
                (r.copies_local + r.copies_remote).to_string(),
            ]
        });
        let headings =
            ["dc", "endpoint", "name", "node", "pid", "state", "peer", "for", "sent", "remote", "copies"];
        output::table(&headings, lines.collect());
        Ok(ExitCode::SUCCESS)
    }

    fn show_programs(&self, context: &Context) -> Done {
        let dc = self.dc.as_deref().map(|d| context.node.container(d)).transpose()?.map(|d| d.dc);
        let mut lines = Vec::new();
        for part in context.node.ask(&AdminRequest::Programs)? {
            match part {
                AdminAnswer::Programs(rows) => {
                    lines.extend(rows.into_iter().filter(|r| dc.is_none_or(|d| d == r.dc)).map(|r| {
                        ProgramLine {
                            program: format!("n{}.{}", r.node, r.program),
                            dc: r.dc,
                            name: r.name,
                            pid: r.pid,
                            from: r.from,
                            detached: r.detached,
                            running_ms: r.running_ms,
                        }
                    }));
                }
                AdminAnswer::Silent(nodes) => {
                    for n in nodes {
                        eprintln!("dvs: node n{n} did not answer; its programs are missing here");
                    }
                }
                _ => {}
            }
        }
        if context.output == Format::Json {
            output::json(&lines)?;
            return Ok(ExitCode::SUCCESS);
        }
        let rows = lines.iter().map(|l| {
            vec![
                l.program.clone(),
                format!("dc{}", l.dc),
                l.name.clone(),
                l.pid.to_string(),
                format!("n{}", l.from),
                if l.detached { "nobody" } else { "a terminal" }.to_string(),
                span(l.running_ms * 1_000_000),
            ]
        });
        output::table(&["program", "dc", "name", "pid", "asked at", "awaited by", "for"], rows.collect());
        Ok(ExitCode::SUCCESS)
    }
}
