//! `dvs waits`: who waits for whom, as chains.

use super::silent;
use crate::cli::{Cli, Output};
use crate::{connect, show};
use anyhow::Result;
use dvs_abi::Endpoint;
use dvsd::admin::{AdminAnswer, AdminRequest, WaitRow};
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

/// Draws them.
pub fn run(cli: &Cli, dc: Option<&String>) -> Result<ExitCode> {
    let dc = connect::number(cli, dc)?;
    let (mut rows, mut quiet) = (Vec::new(), Vec::new());
    for part in connect::ask(cli, &AdminRequest::Waits { dc })? {
        match part {
            AdminAnswer::Waits(more) => rows.extend(more),
            AdminAnswer::Silent(nodes) => quiet.extend(nodes),
            _ => {}
        }
    }
    if cli.output == Output::Json {
        show::print(cli.output, &[], Vec::new(), &rows);
    } else {
        for line in draw(&rows) {
            show::line(&line);
        }
    }
    Ok(silent(&quiet))
}

/// One line a chain, from whom nobody waits for to the end; a circle is closed by naming its start again.
fn draw(rows: &[WaitRow]) -> Vec<String> {
    let edges: BTreeMap<(u16, i32), &WaitRow> = rows.iter().map(|r| ((r.dc, r.endpoint), r)).collect();
    let targets: BTreeSet<(u16, i32)> = rows.iter().map(|r| (r.dc, r.peer)).collect();
    let (mut lines, mut drawn) = (Vec::new(), BTreeSet::new());
    let heads = edges.keys().filter(|k| !targets.contains(k)).chain(edges.keys());
    for head in heads {
        if drawn.contains(head) {
            continue;
        }
        let (mut line, mut at, mut seen) = (format!("dc{}: ", head.0), *head, BTreeSet::new());
        while let Some(row) = edges.get(&at) {
            line += &format!("{}", Endpoint::from_raw(at.1));
            if !seen.insert(at) {
                line += "  (a circle)";
                break;
            }
            drawn.insert(at);
            line += &format!(
                " ({}, node {}) --{} {}--> ",
                row.name,
                row.node,
                row.state,
                show::duration(row.waiting_ns)
            );
            at = (at.0, row.peer);
            if !edges.contains_key(&at) {
                line += &format!("{}", Endpoint::from_raw(at.1));
            }
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::draw;
    use dvs_abi::Endpoint;
    use dvsd::admin::WaitRow;

    fn wait(endpoint: i32, peer: i32) -> WaitRow {
        let (name, state) = ("p".into(), "calling".into());
        WaitRow { node: 0, dc: 1, endpoint, name, state, peer, waiting_ns: 5_000_000, call: 1 }
    }

    #[test]
    fn chains_and_circles() {
        let any = Endpoint::ANY.raw();
        assert_eq!(
            draw(&[wait(1, 2), wait(2, any)]),
            ["dc1: 1 (p, node 0) --calling 5 ms--> 2 (p, node 0) --calling 5 ms--> ANY"]
        );
        let circle = draw(&[wait(1, 2), wait(2, 1)]);
        assert_eq!(circle.len(), 1);
        assert!(circle[0].ends_with("1  (a circle)"), "{circle:?}");
    }
}
