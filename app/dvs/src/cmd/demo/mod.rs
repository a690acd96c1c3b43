//! `dvs demo`: the whole system in a minute, on three nodes of this machine.
//!
//! The story is told by the real commands: each is printed as it would be typed, and then run. What the story
//! needs around them (three networks, keys, folders) is made by [`world`] and removed again, whatever
//! happens.

mod replicated;
mod tale;
mod world;

use crate::fail::{Done, Fail};
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::Value;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tale::{heading, line, note};
use world::World;

#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  dvs demo --loopback\n\nTakes about a minute and leaves nothing behind.")]
pub struct Demo {
    /// Use 127.0.0.2 to 127.0.0.4 even when network namespaces could be made
    #[arg(long)]
    loopback: bool,
    /// The tree to copy (default: the Rust toolchain's own)
    #[arg(long, value_name = "FOLDER")]
    tree: Option<PathBuf>,
}

/// The container of the story.
const DC: &str = "demo";
/// Where the key/value server serves.
const SERVER: &str = "20";

impl Demo {
    /// Tells it.
    pub fn run(&self) -> Done {
        let signals = dvs_linux::signal::termination().map_err(Fail::new)?;
        let begin = Instant::now();
        let world = Arc::new(Mutex::new(World::new()?));
        let seen = world.clone();
        // Ends with the program; until then it waits for Ctrl-C, removes all and ends the program.
        std::thread::spawn(move || {
            let mut fds = [PollFd::new(&signals, PollFlags::IN)];
            while poll(&mut fds, None).is_err() {}
            eprintln!("\ninterrupted: removing what was made");
            // Held to the end, so that the story cannot go on behind our back.
            let mut world = world::lock(&seen);
            let left = world.remove();
            left.iter().for_each(|l| eprintln!("left behind: {l}"));
            std::process::exit(130);
        });
        let told = self.tell(&world);
        if told.is_err() {
            world::lock(&world).show_logs();
        }
        heading("Stopping, and looking for anything left");
        let left = world::lock(&world).remove();
        if left.is_empty() {
            line("nothing is left: no process, no network namespace, no socket, no shared memory, no file");
        }
        told?;
        if !left.is_empty() {
            return Err(Fail::new(format!("left behind: {}", left.join(", "))));
        }
        line(&format!("done in {:.0} s", begin.elapsed().as_secs_f64()));
        Ok(ExitCode::SUCCESS)
    }

    fn tell(&self, world: &Arc<Mutex<World>>) -> Done<()> {
        heading("Three nodes");
        // The lock is taken for each step alone, so that Ctrl-C can remove all between two of them.
        let say = world::lock(world).make_networks(self.loopback)?;
        note(&say);
        world::lock(world).start_nodes()?;
        heading("One container over all of them");
        let names = world::lock(world).names().join(",");
        world::lock(world).run(0, &["dc", "create", DC, "--nodes", &names])?;
        self.files(world)?;
        requests(world)?;
        death(world)?;
        replicated::tell(world)
    }

    fn files(&self, world: &Arc<Mutex<World>>) -> Done<()> {
        let tree = match &self.tree {
            Some(folder) => folder.clone(),
            None => world::toolchain()?,
        };
        heading("A tree of files from node 1 to node 3, by messages and copies alone");
        note(&format!("the tree is {}", tree.display()));
        let target = world::lock(world).folder("copy")?;
        let (tree, target) = (tree.display().to_string(), target.display().to_string());
        let mut w = world::lock(world);
        w.serve(0, &["files", DC, "--root", &tree, "--read-only", "--endpoint", "14,28"])?;
        w.serve(2, &["files", DC, "--root", &target, "--endpoint", "13,27"])?;
        let (from, to) = (format!("{}:", w.names()[0]), format!("{}:tree", w.names()[2]));
        drop(w);
        let report = world::run_json(world, 0, &["cp", &from, &to, "--check", "--quiet"])?;
        let of = |name: &str| report.get(name).and_then(Value::as_u64).unwrap_or(0);
        let seconds = report.get("seconds").and_then(Value::as_f64).unwrap_or(0.0);
        line(&format!(
            "copied {} files, {} MB, {} folders, {} links; \
             read again on both nodes and compared: {} digests are equal; in all {seconds:.1} s",
            of("files"),
            of("bytes") / 1_000_000,
            of("folders"),
            of("links"),
            of("checked"),
        ));
        if of("failed") > 0 || of("checked") != of("files") {
            return Err(Fail::new("the copy is not complete"));
        }
        Ok(())
    }
}

/// Starts a client of the key/value server on every node; their results, node by node.
fn clients(world: &Arc<Mutex<World>>, seconds: &str) -> Done<Vec<world::Running>> {
    let program = world::sibling("kv-client")?;
    let arguments = ["run", DC, "--", &program, "--server", SERVER, "--seconds", seconds, "--json"];
    (0..3).map(|node| world::lock(world).start(node, &arguments, node == 0)).collect()
}

/// The last line of a client: its summary.
fn summary(client: world::Running) -> Done<Value> {
    let text = client.output()?;
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).map_err(|e| Fail::new(e).of(format!("a client said {last:?}")))
}

fn start_server(world: &Arc<Mutex<World>>) -> Done<()> {
    let program = world::sibling("kv-server")?;
    world::lock(world).serve(1, &["run", DC, "--endpoint", SERVER, "--", &program])
}

fn requests(world: &Arc<Mutex<World>>) -> Done<()> {
    heading("A key/value server on node 2, a client on each node, one request after another");
    start_server(world)?;
    let running = clients(world, "4")?;
    world::pause(Duration::from_secs(1));
    world::lock(world).run(0, &["ps", DC])?;
    world::lock(world).run(0, &["waits"])?;
    line("round trips:      node     requests/s      p50      p90      p99    p99.9   (microseconds)");
    for (node, client) in running.into_iter().enumerate() {
        let s = summary(client)?;
        let us = |name: &str| s.get(name).and_then(Value::as_u64).unwrap_or(0) as f64 / 1000.0;
        let rate = s.get("per_second").and_then(Value::as_f64).unwrap_or(0.0);
        let place = if node == 1 { "local " } else { "remote" };
        line(&format!(
            "  {place}          {}     {rate:>10.0} {:>8.1} {:>8.1} {:>8.1} {:>8.1}",
            node + 1,
            us("p50_ns"),
            us("p90_ns"),
            us("p99_ns"),
            us("p999_ns")
        ));
        if s.get("count").and_then(Value::as_u64).unwrap_or(0) == 0 {
            return Err(Fail::new(format!("the client on node {} got no answer", node + 1)));
        }
    }
    world::lock(world).all_read();
    Ok(())
}

fn death(world: &Arc<Mutex<World>>) -> Done<()> {
    heading("The server is killed in the middle (SIGKILL), and started again");
    let running = clients(world, "6")?;
    world::pause(Duration::from_secs(2));
    let killed = world::unix_ms();
    world::lock(world).run(0, &["kill", DC, SERVER, "--force"])?;
    world::pause(Duration::from_secs(1));
    start_server(world)?;
    for (node, client) in running.into_iter().enumerate() {
        let s = summary(client)?;
        let errors = s.get("errors").and_then(Value::as_array).cloned().unwrap_or_default();
        for e in &errors {
            let text = e.get("text").and_then(Value::as_str).unwrap_or_default();
            let first = e.get("first_unix_ms").and_then(Value::as_u64).unwrap_or(0);
            line(&format!("client {}: after {} ms: {text}", node + 1, first.saturating_sub(killed)));
        }
        let after = s.get("since_error").and_then(Value::as_u64).unwrap_or(0);
        line(&format!("          then went on with {after} requests to the new server"));
        if errors.is_empty() || after == 0 {
            return Err(Fail::new(format!(
                "the client on node {} did not learn of it or did not go on",
                node + 1
            )));
        }
        if s.get("wrong").and_then(Value::as_u64) != Some(0) {
            return Err(Fail::new(format!("the client on node {} read a wrong value", node + 1)));
        }
    }
    world::lock(world).all_read();
    world::lock(world).run(0, &["ps", DC])
}
