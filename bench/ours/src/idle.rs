//! What a node costs while nothing happens: processor time and memory.

use std::io::Read;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use dvs::{Co, Endpoint, Message, Scheduler, Timeout};
use dvs_bench_common::{Ask, Child, Side, cpu_ns_of, ready};

use crate::node::{DC, SERVER, attach, folder, start};

/// What starting up has left to do is not idleness: each waiter is looked at for a circle of waits after 0.2
/// s and
/// 1.8 s, and then no more before 15 s.
const SETTLE: Duration = Duration::from_secs(3);
/// Idle time is watched longer than a batch lasts: little is looked for.
const WATCH: Duration = Duration::from_secs(3);

/// CPU microseconds a second of a server whose endpoints all wait, and of its daemon.
pub fn cpu(ask: &Ask) -> Result<f64> {
    let folder = folder();
    let mut daemon = start(&folder)?;
    let mut waiter = child("waiter", &folder, ask.endpoints)?;
    sleep(SETTLE);
    let pids = [daemon.pid(), waiter.pid()];
    let used = || pids.iter().map(|&pid| cpu_ns_of(pid)).sum::<Result<u64>>();
    let before = used()?;
    sleep(WATCH);
    ensure!(daemon.lives()? && waiter.lives()?, "a process of the run ended early");
    Ok((used()? - before) as f64 / 1e3 / WATCH.as_secs_f64())
}

/// Resident memory: of the daemon (MiB), of an endpoint in its process and in the daemon (KiB), or how many
/// endpoints could be bound.
pub fn memory(ask: &Ask) -> Result<f64> {
    let folder = folder();
    let daemon = start(&folder)?;
    match ask.of.as_str() {
        "daemon" => {
            sleep(ask.window);
            Ok(resident_kib(daemon.pid())? / 1024.0)
        }
        "endpoint" => {
            let few = child("holder", &folder, 1)?;
            let before = resident_kib(daemon.pid())? + resident_kib(few.pid())?;
            drop(few);
            let many = child("holder", &folder, ask.endpoints)?;
            let after = resident_kib(daemon.pid())? + resident_kib(many.pid())?;
            Ok((after - before) / (ask.endpoints.max(2) - 1) as f64)
        }
        "count" => {
            let _many = child("holder", &folder, ask.endpoints)?;
            Ok(ask.endpoints as f64)
        }
        other => bail!("--of {other}: daemon, endpoint or count"),
    }
}

/// A process that has bound `--endpoints` and does nothing.
pub fn holder(ask: &Ask) -> Result<f64> {
    let process = attach(&ask.of, "bench-holder")?;
    let mut ports = Vec::with_capacity(ask.endpoints);
    for number in 0..ask.endpoints {
        ports.push(process.bind(DC, Endpoint::NONE).with_context(|| format!("endpoint {number}"))?);
    }
    ready("")?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(ports.len() as f64)
}

/// A process whose `--endpoints` all wait: a server for requests, and the others, its clients, for answers
/// that do not come. Each is a coroutine.
pub fn waiter(ask: &Ask) -> Result<f64> {
    let process = attach(&ask.of, "bench-waiter")?;
    let scheduler = Scheduler::new(&process);
    let clients = ask.endpoints.saturating_sub(1);
    scheduler.spawn(move |co| told(|| wait_for_requests(co, clients)))?;
    scheduler.run();
    bail!("every endpoint ended")
}

/// The server of [`waiter`]: starts the clients and says that it is ready once every one waits.
fn wait_for_requests(co: &Co<'_>, clients: usize) -> Result<()> {
    let port = co.bind(DC, SERVER)?;
    for _ in 0..clients {
        co.spawn(|co| {
            told(|| {
                let port = co.bind(DC, Endpoint::NONE)?;
                Ok(port.sendrec(SERVER, &mut Message::new(1), Timeout::Forever)?)
            });
        })?;
    }
    let mut message = Message::default();
    for _ in 0..clients {
        port.receive(Endpoint::ANY, &mut message, Timeout::Forever)?;
    }
    ready("")?;
    Ok(port.receive(Endpoint::ANY, &mut message, Timeout::Forever)?)
}

/// A wait that ends is an error of the run; the last one is its reason.
fn told(wait: impl FnOnce() -> Result<()>) {
    match wait() {
        Ok(()) => eprintln!("a waiting endpoint got a message"),
        Err(error) => eprintln!("a waiting endpoint ended: {error:#}"),
    }
}

/// Starts a process of the node and waits until its endpoints are bound.
fn child(role: &str, folder: &str, endpoints: usize) -> Result<Child> {
    let words = [role, "--of", folder, "--endpoints", &endpoints.to_string()].map(String::from);
    let mut child = Child::again(Side::Here, &words)?;
    let line = child.line()?;
    ensure!(line.starts_with("READY"), "expected READY, got {line:?}");
    Ok(child)
}

fn resident_kib(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("no VmRSS in its status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
