//! A replicated service under load, with clients on all nodes: its leader goes from node to node, a replica
//! is killed, a node is killed, a node is cut off and comes back. Nobody may be told of it but those on the
//! machine it happens to; what they are told is shown.

use super::DC;
use super::tale::{heading, line, note};
use super::world::{self, Running, World};
use crate::fail::{Done, Fail};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The load on each node.
const LOAD: [&str; 6] = ["kv", "bench", "--clients", "4", "--bytes", "128"];

/// Tells it.
pub fn tell(world: &Arc<Mutex<World>>) -> Done<()> {
    heading("A key/value service with a replica on every node: acknowledged is on the disks of a majority");
    for node in 0..3 {
        serve(world, node)?;
    }
    let before = until_votes(world)?;
    line(&format!("colour is blue (version {before})"));

    heading("The leader goes from node to node, twice, while clients on all nodes write");
    let load = start(world, &[0, 1, 2], "9")?;
    for _ in 0..2 {
        world::pause(Duration::from_secs(2));
        moves(world)?;
    }
    report(load, None)?;

    heading("The replica on node 2 is killed (SIGKILL) while clients on all nodes write");
    let load = start(world, &[0, 1, 2], "5")?;
    world::pause(Duration::from_secs(2));
    world::lock(world).kill_last(1)?;
    report(load, None)?;
    serve(world, 1)?;
    until_votes(world)?;

    heading("Node 1, which founded the system, loses its power (SIGKILL to all of it)");
    let load = start(world, &[1, 2], "8")?;
    world::pause(Duration::from_secs(2));
    world::lock(world).kill_node(0)?;
    report(load, None)?;
    world::lock(world).run(1, &["nodes"])?;
    line("it is switched on again");
    world::lock(world).revive_node(0)?;
    serve(world, 0)?;
    until_votes(world)?;

    let networks = world::lock(world).has_networks();
    heading(match networks {
        true => "Node 3 is cut off from the network for three seconds, and comes back",
        false => "The daemon of node 3 stands still for three seconds, and goes on",
    });
    if !networks {
        note("as root the node would be cut off from its network");
    }
    let load = start(world, &[0, 1, 2], "9")?;
    world::pause(Duration::from_secs(2));
    world::lock(world).isolate(2, true)?;
    world::pause(Duration::from_secs(3));
    world::lock(world).isolate(2, false)?;
    report(load, Some(2))?;
    let after = get(world, "colour")?;
    line(&format!("colour is still {after}"));
    if after != "blue" {
        return Err(Fail::new(format!("what was acknowledged was lost: colour is {after}")));
    }
    world::lock(world).run(1, &["nodes"])
}

/// Starts the replica of a node, on what it has on its disk.
fn serve(world: &Arc<Mutex<World>>, node: usize) -> Done<()> {
    let mut w = world::lock(world);
    let data = w.folder(&format!("kv-{}", node + 1))?.display().to_string();
    w.serve(node, &["kv", "serve", "--dc", DC, "--data", &data])
}

/// Has the replica that leads end in order, so that another one leads, and starts it again.
fn moves(world: &Arc<Mutex<World>>) -> Done<()> {
    let Some(from) = leader(world)? else { return Err(Fail::new("no replica leads")) };
    world::lock(world).end_last(from)?;
    let mut to = None;
    for _ in 0..100 {
        to = leader(world)?.filter(|n| *n != from);
        if to.is_some() {
            break;
        }
        world::pause(Duration::from_millis(20));
    }
    let Some(to) = to else { return Err(Fail::new("no other replica leads")) };
    line(&format!("node {} led, node {} leads", from + 1, to + 1));
    serve(world, from)
}

/// The node whose replica leads by its own word.
fn leader(world: &Arc<Mutex<World>>) -> Done<Option<usize>> {
    let said = world::quiet_json(world, 1, &["kv", "status", "--dc", DC])?;
    let rows = said.get("replicas").and_then(Value::as_array).cloned().unwrap_or_default();
    let leads = rows.iter().find(|r| r.get("state").and_then(Value::as_str) == Some("leads"));
    Ok(leads.and_then(|r| r.get("node")).and_then(Value::as_u64).map(|n| n as usize))
}

/// Starts the load on some nodes.
fn start(world: &Arc<Mutex<World>>, nodes: &[usize], seconds: &str) -> Done<Vec<(usize, Running)>> {
    let arguments = [&["--output", "json"], &LOAD[..], &["--seconds", seconds, "--dc", DC]].concat();
    let mut running = Vec::new();
    for node in nodes {
        let shown = running.is_empty();
        running.push((*node, world::lock(world).start(*node, &arguments, shown)?));
    }
    Ok(running)
}

/// What the clients saw: none of them may have been told anything but the truth, which concerns only those of
/// the node that `alone` was in trouble.
fn report(load: Vec<(usize, Running)>, alone: Option<usize>) -> Done<()> {
    line("clients on   writes     failed     p50 ms     held at most ms");
    let mut failed = 0;
    for (node, running) in load {
        let text = running.output()?;
        let s: Value = serde_json::from_str(&text).map_err(|e| Fail::new(e).of("the load"))?;
        let of = |name: &str| s.get(name).and_then(Value::as_u64).unwrap_or(0);
        line(&format!(
            "  node {}    {:>6}     {:>6}     {:>6.1}     {:>15.0}",
            node + 1,
            of("puts"),
            of("failed"),
            of("p50_us") as f64 / 1000.0,
            of("held_us") as f64 / 1000.0
        ));
        for (text, times) in s.get("errors").and_then(Value::as_object).into_iter().flatten() {
            line(&format!("            told {times} times: {text}"));
        }
        if of("puts") == 0 {
            return Err(Fail::new(format!("the clients on node {} got no answer", node + 1)));
        }
        failed += if alone == Some(node) { 0 } else { of("failed") };
    }
    match failed {
        0 => Ok(()),
        n => Err(Fail::new(format!("{n} writes failed: a majority was there all the time"))),
    }
}

/// Waits until every replica has a vote, so that any one of them can be done without; the version of what is
/// put.
fn until_votes(world: &Arc<Mutex<World>>) -> Done<u64> {
    for _ in 0..500 {
        let said = world::quiet_json(world, 1, &["kv", "status", "--dc", DC])?;
        let rows = said.get("replicas").and_then(Value::as_array).cloned().unwrap_or_default();
        let state = |r: &Value| r.get("state").and_then(Value::as_str).map(str::to_owned);
        let voters = rows.iter().filter_map(state).filter(|s| s == "leads" || s == "follows").count();
        if voters == 3 {
            return put(world, "colour", "blue");
        }
        world::pause(Duration::from_millis(20));
    }
    Err(Fail::new("the replicas do not come together"))
}

fn put(world: &Arc<Mutex<World>>, key: &str, value: &str) -> Done<u64> {
    let said = world::run_json(world, 0, &["kv", "put", key, value, "--dc", DC])?;
    Ok(said.get("version").and_then(Value::as_u64).unwrap_or(0))
}

fn get(world: &Arc<Mutex<World>>, key: &str) -> Done<String> {
    let said = world::run_json(world, 1, &["kv", "get", key, "--dc", DC])?;
    Ok(said.get("value").and_then(Value::as_str).unwrap_or_default().to_owned())
}
