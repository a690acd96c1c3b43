//! `dvs ps` and `dvs top`: endpoints over all nodes.

use super::silent;
use crate::cli::{Cli, Output};
use crate::{connect, show};
use anyhow::Result;
use dvs_abi::Endpoint;
use dvsd::admin::{AdminAnswer, AdminRequest, ProcRow};
use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

const HEAD: [&str; 11] =
    ["dc", "endpoint", "node", "pid", "name", "kind", "state", "peer", "waits", "sent", "copies"];

/// Lists them.
pub fn run(cli: &Cli, dc: Option<&String>) -> Result<ExitCode> {
    let (rows, quiet) = collect(cli, connect::number(cli, dc)?)?;
    show::print(cli.output, &HEAD, rows.iter().map(cells).collect(), &rows);
    Ok(silent(&quiet))
}

/// Lists the busiest, again and again.
pub fn top(cli: &Cli, dc: Option<&String>, every: u64, count: u64) -> Result<ExitCode> {
    let dc = connect::number(cli, dc)?;
    let sent = |r: &ProcRow| r.info.sent_local + r.info.sent_remote;
    let mut before: HashMap<(u16, i32, u16), u64> = HashMap::new();
    let mut looks = 0;
    loop {
        let (mut rows, quiet) = collect(cli, dc)?;
        let key = |r: &ProcRow| (r.info.dc, r.info.endpoint, r.reporter);
        let rate = |r: &ProcRow| sent(r).saturating_sub(*before.get(&key(r)).unwrap_or(&sent(r)));
        rows.sort_by_key(|r| std::cmp::Reverse(rate(r)));
        let line = |r: &ProcRow| {
            let mut cells = cells(r);
            cells.push((rate(r) / every.max(1)).to_string());
            cells
        };
        let head: Vec<&str> = HEAD.into_iter().chain(["sent/s"]).collect();
        if show::decorated() && cli.output == Output::Table {
            show::line("\x1b[2J\x1b[H");
        }
        show::print(cli.output, &head, rows.iter().take(40).map(line).collect(), &rows);
        before = rows.iter().map(|r| (key(r), sent(r))).collect();
        looks += 1;
        if count != 0 && looks >= count {
            return Ok(silent(&quiet));
        }
        std::thread::park_timeout(Duration::from_secs(every.max(1)));
    }
}

fn collect(cli: &Cli, dc: Option<u16>) -> Result<(Vec<ProcRow>, Vec<u16>)> {
    let (mut rows, mut quiet) = (Vec::new(), Vec::new());
    for part in connect::ask(cli, &AdminRequest::Ps { dc })? {
        match part {
            AdminAnswer::Procs(more) => rows.extend(more),
            AdminAnswer::Silent(nodes) => quiet.extend(nodes),
            _ => {}
        }
    }
    rows.sort_by_key(|r| (r.info.dc, r.info.slot, r.reporter));
    Ok((rows, quiet))
}

fn cells(r: &ProcRow) -> Vec<String> {
    let (i, name) = (&r.info, |e: i32| Endpoint::from_raw(e).to_string());
    let none = Endpoint::NONE.raw();
    let peer = if i.sendto != none { i.sendto } else { i.getfrom };
    vec![
        i.dc.to_string(),
        name(i.endpoint),
        r.reporter.to_string(),
        i.pid.to_string(),
        i.name.clone(),
        format!("{:?}", r.kind).to_lowercase(),
        state(i.rts_flags).into(),
        if peer == none { String::new() } else { name(peer) },
        show::duration(i.waiting_ns),
        format!("{}+{}", i.sent_local, i.sent_remote),
        format!("{}+{}", i.copies_local, i.copies_remote),
    ]
}

/// The state for people; bits of the facts §1.6.
fn state(rts: u32) -> &'static str {
    match (rts & 0xc, rts & 1 << 11 != 0) {
        (_, true) => "moving",
        (0xc, _) => "calling",
        (4, _) => "sending",
        (8, _) => "receiving",
        _ => "running",
    }
}
