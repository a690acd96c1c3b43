//! `dvs kv status`.

use super::Way;
use crate::cmd::Context;
use crate::fail::{Done, Fail};
use crate::output::{self, Format, say};
use dvs::limits::REPLICA_SEATS_MAX;
use dvs_replica::wire::Report;
use serde::Serialize;

#[derive(clap::Args, Debug)]
pub struct Status {
    #[command(flatten)]
    way: Way,
}

/// A replica, by its own word.
#[derive(Serialize)]
struct Row {
    seat: usize,
    node: u16,
    state: &'static str,
    term: u64,
    log: u64,
    done: u64,
    waiting: u32,
}

fn state(report: &Report) -> &'static str {
    match report.members.iter().find(|(n, _)| *n == report.node) {
        None => "waits to be taken in",
        Some((_, false)) => "catches up",
        Some(_) if report.leader == Some(report.node) => "leads",
        Some(_) if report.leader.is_none() => "knows no leader",
        Some(_) => "follows",
    }
}

impl Status {
    pub fn run(&self, context: &Context) -> Done<()> {
        let client = self.way.client(context)?;
        let reports = (0..REPLICA_SEATS_MAX).map(|seat| (seat, client.replicas().report(seat).ok()));
        let reports: Vec<(usize, Report)> = reports.filter_map(|(seat, r)| Some((seat, r?))).collect();
        if reports.is_empty() {
            return Err(Fail::missing("no replica of the service runs").next("start one with: dvs kv serve"));
        }
        // Members that say nothing, by the word of the others.
        let mut silent: Vec<u16> = reports.iter().flat_map(|(_, r)| r.members.iter().map(|m| m.0)).collect();
        silent.sort_unstable();
        silent.dedup();
        silent.retain(|n| reports.iter().all(|(_, r)| r.node != *n));
        let row = |(seat, r): &(usize, Report)| Row {
            seat: *seat,
            node: r.node,
            state: state(r),
            term: r.term,
            log: r.last,
            done: r.applied,
            waiting: r.waiting,
        };
        let rows: Vec<Row> = reports.iter().map(row).collect();
        let store = client.info().ok();
        if context.output == Format::Json {
            let store = store
                .map(|s| serde_json::json!({ "keys": s.keys, "bytes": s.bytes, "revision": s.revision }));
            return output::json(&serde_json::json!({ "replicas": rows, "silent": silent, "store": store }));
        }
        match store {
            Some(s) => say(&format!("{} keys, {} bytes, revision {}", s.keys, s.bytes, s.revision)),
            None => say("the service does not answer: too few replicas, or no leader"),
        }
        let mut cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
        cells.extend(silent.iter().map(|n| vec![format!("n{n}"), "says nothing".to_string()]));
        output::table(&["node", "state", "term", "log", "done", "waiting"], cells);
        Ok(())
    }
}

fn cells(row: &Row) -> Vec<String> {
    let mut cells = vec![format!("n{}", row.node), row.state.to_string()];
    cells.extend([row.term, row.log, row.done, u64::from(row.waiting)].map(|n| n.to_string()));
    cells
}
