//! A replicated service under load: a replica is killed, a node is killed, a node is cut off and comes back.

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
        let mut w = world::lock(world);
        let data = w.folder(&format!("kv-{}", node + 1))?.display().to_string();
        w.serve(node, &["kv", "serve", "--dc", DC, "--data", &data])?;
    }
    until_votes(world)?;
    let before = put(world, "colour", "blue")?;
    line(&format!("colour is blue (version {before})"));

    heading("The replica on node 2 is killed (SIGKILL) while clients on all nodes write");
    let load = start(world, &[0, 1, 2], "5")?;
    world::pause(Duration::from_secs(2));
    world::lock(world).kill_last(1)?;
    report(load)?;
    let data = world::lock(world).folder("kv-2")?.display().to_string();
    world::lock(world).serve(1, &["kv", "serve", "--dc", DC, "--data", &data])?;

    heading("Node 1, which founded the system, loses its power (SIGKILL to all of it)");
    let load = start(world, &[1, 2], "8")?;
    world::pause(Duration::from_secs(2));
    world::lock(world).kill_node(0)?;
    report(load)?;
    world::lock(world).run(1, &["nodes"])?;
    line("it is switched on again");
    world::lock(world).revive_node(0)?;
    let data = world::lock(world).folder("kv-1")?.display().to_string();
    world::lock(world).serve(0, &["kv", "serve", "--dc", DC, "--data", &data])?;

    if world::lock(world).has_networks() {
        heading("Node 3 is cut off from the network for three seconds, and comes back");
        let load = start(world, &[0, 1], "8")?;
        world::pause(Duration::from_secs(2));
        world::lock(world).cut(2, true)?;
        world::pause(Duration::from_secs(3));
        world::lock(world).cut(2, false)?;
        report(load)?;
    } else {
        note("as root node 3 would now be cut off from its network, and come back");
    }
    let after = get(world, "colour")?;
    line(&format!("colour is still {after}"));
    if after != "blue" {
        return Err(Fail::new(format!("what was acknowledged was lost: colour is {after}")));
    }
    world::lock(world).run(1, &["nodes"])
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

/// What the clients saw: none of them may have been told anything but the truth.
fn report(load: Vec<(usize, Running)>) -> Done<()> {
    line("clients on   writes     failed     p50 ms     longest wait ms");
    let mut failed = 0;
    for (node, running) in load {
        let text = running.output()?;
        let s: Value = serde_json::from_str(&text).map_err(|e| Fail::new(e).of("the load"))?;
        let of = |name: &str| s.get(name).and_then(Value::as_u64).unwrap_or(0);
        failed += of("failed");
        line(&format!(
            "  node {}    {:>6}     {:>6}     {:>6.1}     {:>15.0}",
            node + 1,
            of("puts"),
            of("failed"),
            of("p50_us") as f64 / 1000.0,
            of("max_us") as f64 / 1000.0
        ));
        if of("puts") == 0 {
            return Err(Fail::new(format!("the clients on node {} got no answer", node + 1)));
        }
    }
    match failed {
        0 => Ok(()),
        n => Err(Fail::new(format!("{n} writes failed: a majority was there all the time"))),
    }
}

/// Waits until a write is answered: every replica was found.
fn until_votes(world: &Arc<Mutex<World>>) -> Done<()> {
    put(world, "ready", "yes").map(drop)
}

fn put(world: &Arc<Mutex<World>>, key: &str, value: &str) -> Done<u64> {
    let said = world::run_json(world, 0, &["kv", "put", key, value, "--dc", DC])?;
    Ok(said.get("version").and_then(Value::as_u64).unwrap_or(0))
}

fn get(world: &Arc<Mutex<World>>, key: &str) -> Done<String> {
    let said = world::run_json(world, 1, &["kv", "get", key, "--dc", DC])?;
    Ok(said.get("value").and_then(Value::as_str).unwrap_or_default().to_owned())
}
