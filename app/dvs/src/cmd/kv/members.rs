//! `dvs kv members …`: who has a replica.

use super::Way;
use crate::cmd::Context;
use crate::cmd::crew::Crew;
use crate::fail::{Done, Fail};
use crate::output::{self, Format, say};
use dvs::NodeId;
use serde::Serialize;
use std::time::Duration;

const LS: &str = "Example:\n  dvs kv members ls --dc shop";
const ADD: &str = "\
Examples:
  dvs kv members add n3                            then, on n3: dvs kv serve
  dvs kv members add n3 -- dvs kv serve --dc shop  started there by its daemon

The new replica gets all that the others have while they serve, then it counts: from then on it is one of \
those of which a majority has to be there. A service has at most five. One that was to go stays.

A program is started on the other node as dvs run does it: its configuration has to allow that with \
remote_programs = true.";
const RM: &str = "\
Examples:
  dvs kv members rm n0
  dvs kv members rm n0 --force    also if too few of the others answer

Another replica leads before it goes, and its callers go to the others. It ends when it is out, or is told \
when it comes back. Its log stays, put aside when a replica comes there again. Repeat it if it was broken \
off; undo it with dvs kv members add.";

/// Who has a replica
#[derive(clap::Subcommand, Debug)]
pub enum Members {
    /// List who has a replica
    #[command(after_help = LS)]
    Ls(Ls),
    /// A node is to have a replica, while the others serve
    #[command(after_help = ADD)]
    Add(Add),
    /// The replica of a node is to go, while the others serve
    #[command(after_help = RM)]
    Rm(Rm),
}

#[derive(clap::Args, Debug)]
pub struct Ls {
    #[command(flatten)]
    way: Way,
}

#[derive(clap::Args, Debug)]
pub struct Add {
    /// Name or number of the node
    node: String,
    /// Wait until it has everything and counts (always when a program is named)
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    way: Way,
    /// What to start on that node
    #[arg(last = true, value_name = "PROGRAM")]
    program: Vec<String>,
}

#[derive(clap::Args, Debug)]
pub struct Rm {
    /// Name or number of the node
    node: String,
    /// Also if too few of those that stay answer: nothing is decided until they do
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    way: Way,
}

/// One of the list.
#[derive(Serialize)]
struct Row {
    node: u16,
    seat: usize,
    state: &'static str,
    votes: bool,
}

impl Members {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done<()> {
        match self {
            Members::Ls(c) => c.run(context),
            Members::Add(c) => c.run(context),
            Members::Rm(c) => c.run(context),
        }
    }
}

impl Way {
    fn crew<'a>(&self, context: &'a Context) -> Done<Crew<'a>> {
        Crew::new(context, self.place.dc(context)?.dc, self.place.endpoint)
    }

    fn within(&self) -> Duration {
        Duration::from_millis(self.timeout)
    }
}

impl Ls {
    fn run(&self, context: &Context) -> Done<()> {
        let seen = self.way.crew(context)?.look()?;
        let row = |(seat, sitter): (usize, dvs_replica::list::Sitter)| {
            let votes = seen.votes(sitter.node);
            let state = match (sitter.leaves, seen.of(sitter.node), votes) {
                (true, _, _) => "goes",
                (false, None, _) => "says nothing",
                (false, Some(_), false) => "comes",
                (false, Some(r), true) if r.leader == Some(r.node) => "leads",
                (false, Some(_), true) => "follows",
            };
            Row { node: sitter.node.0, seat, state, votes }
        };
        let rows: Vec<Row> = seen.list.sitters().map(row).collect();
        let version = seen.list.version();
        if context.output == Format::Json {
            return output::json(&serde_json::json!({ "version": version, "members": rows }));
        }
        let vote = |votes: bool| if votes { "yes" } else { "no" }.to_owned();
        let cells = rows.iter().map(|r| vec![format!("n{}", r.node), r.state.to_owned(), vote(r.votes)]);
        output::table(&["node", "state", "votes"], cells.collect());
        Ok(())
    }
}

impl Add {
    fn run(&self, context: &Context) -> Done<()> {
        let node = context.node.node_id(&self.node)?;
        let crew = self.way.crew(context)?;
        let within = self.way.within();
        if !self.program.is_empty() {
            crew.bring(node, (self.program.clone(), None), within)?;
            return output::done(context.output, &format!("{} has a replica that counts", self.node));
        }
        let back = crew.look()?.list.sitter_of(NodeId(node)).is_some_and(|s| s.leaves);
        match crew.add(node, within) {
            // It was said before, and is waited for.
            Err(_) if self.wait && crew.look()?.list.of(NodeId(node)).is_some() => {}
            added => {
                added?;
            }
        }
        if self.wait {
            crew.await_added(node, within)?;
            return output::done(context.output, &format!("{} has a replica that counts", self.node));
        }
        let text = if back { "keeps its replica" } else { "is to have a replica" };
        output::done(context.output, &format!("{} {text}", self.node))?;
        if !back && context.output == Format::Table {
            let dc = self.way.place.dc(context)?.name;
            say(&format!("  start it there with: dvs kv serve --dc {dc}"));
        }
        Ok(())
    }
}

impl Rm {
    fn run(&self, context: &Context) -> Done<()> {
        // One that has left the system is named by its number.
        let known = context.node.node_id(&self.node);
        let node = match known {
            Ok(node) => node,
            Err(unknown) => self.node.trim_start_matches('n').parse().map_err(|_| unknown)?,
        };
        let crew = self.way.crew(context)?;
        let goes = crew.look()?.list.sitter_of(NodeId(node)).is_some_and(|s| s.leaves);
        if !goes {
            crew.remove(node, self.force, self.way.within())?;
        }
        let out = crew.await_removed(node, self.way.within());
        out.map_err(|e: Fail| e.of(&self.node))?;
        output::done(context.output, &format!("{} has no replica any more", self.node))
    }
}
