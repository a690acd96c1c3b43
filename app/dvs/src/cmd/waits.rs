//! `dvs waits`

use super::Context;
use crate::fail::Done;
use crate::output::{self, Format, endpoint, say, span};
use dvsd::admin::{AdminAnswer, AdminRequest, WaitRow};
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Example:
  dvs waits shop

An arrow points from who waits to whom it waits for; circles are marked.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Waits {
    /// Only this container
    dc: Option<String>,
}

impl Waits {
    /// Draws the graph.
    pub fn run(&self, context: &Context) -> Done {
        let dc = self.dc.as_deref().map(|d| context.node.container(d)).transpose()?.map(|d| d.dc);
        let mut rows: Vec<WaitRow> = Vec::new();
        for part in context.node.ask(&AdminRequest::Waits { dc })? {
            match part {
                AdminAnswer::Waits(w) => rows.extend(w),
                AdminAnswer::Silent(nodes) => {
                    for n in nodes {
                        eprintln!("dvs: node n{n} did not answer; its waits are missing here");
                    }
                }
                _ => {}
            }
        }
        // Who accepts anything waits for nobody in particular.
        rows.retain(|r| r.peer != dvs::Endpoint::ANY.raw());
        if context.output == Format::Json {
            output::json(&rows)?;
            return Ok(ExitCode::SUCCESS);
        }
        for line in draw(&rows) {
            say(&line);
        }
        if rows.is_empty() {
            say("nobody waits for anybody");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// One line a chain: it starts at an endpoint nobody waits for, or anywhere in a circle.
fn draw(rows: &[WaitRow]) -> Vec<String> {
    let next: BTreeMap<(u16, i32), &WaitRow> = rows.iter().map(|r| ((r.dc, r.endpoint), r)).collect();
    let awaited: BTreeSet<(u16, i32)> = rows.iter().map(|r| (r.dc, r.peer)).collect();
    let mut seen = BTreeSet::new();
    let starts = next.keys().filter(|k| !awaited.contains(*k)).chain(next.keys());
    let mut lines = Vec::new();
    for start in starts.copied().collect::<Vec<_>>() {
        if seen.contains(&start) {
            continue;
        }
        lines.push(chain(start, &next, &mut seen));
    }
    lines
}

fn chain(
    start: (u16, i32),
    next: &BTreeMap<(u16, i32), &WaitRow>,
    seen: &mut BTreeSet<(u16, i32)>,
) -> String {
    let mut line = format!("dc{} ", start.0);
    let mut at = start;
    let mut path = BTreeSet::new();
    loop {
        let Some(row) = next.get(&at) else {
            line.push_str(&endpoint(at.1));
            return line;
        };
        if !path.insert(at) {
            line.push_str(&format!("{} (a circle)", endpoint(at.1)));
            return line;
        }
        seen.insert(at);
        let name = if row.name.is_empty() { String::new() } else { format!(" {}", row.name) };
        line.push_str(&format!("{}{name} --{} {}--> ", endpoint(at.1), row.state, span(row.waiting_ns)));
        at = (at.0, row.peer);
    }
}

#[cfg(test)]
mod tests {
    use super::draw;
    use dvsd::admin::WaitRow;

    fn row(endpoint: i32, peer: i32) -> WaitRow {
        WaitRow {
            node: 0,
            dc: 1,
            endpoint,
            name: String::new(),
            state: "awaiting".into(),
            peer,
            waiting_ns: 2_000_000_000,
            call: 1,
        }
    }

    #[test]
    fn chains_and_circles() {
        let lines = draw(&[row(40, 3), row(3, 4), row(7, 8), row(8, 7)]);
        assert_eq!(
            lines,
            [
                "dc1 40 --awaiting 2s--> 3 --awaiting 2s--> 4",
                "dc1 7 --awaiting 2s--> 8 --awaiting 2s--> 7 (a circle)",
            ]
        );
    }
}
