//! Two nodes, one a side, and processes attached to each: messages and copies from machine to machine.
//!
//! ```text
//!   side A                                side B
//!   clients ── daemon "a" ═══ network ═══ daemon "b" ── server, who starts both daemons
//! ```

use std::fmt::Write as _;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use dvs::{DcPlan, Endpoint, Lend, Message, NodeId, Port, Process, Timeout};
use dvs_bench_common::{Ask, Child, Op, Side, net_address, ready};
use dvsd::client::AdminClient;

use crate::node::{DC, SERVER, attach, folder};

/// Longest time the nodes may take to find each other.
const JOIN_WAIT: Duration = Duration::from_secs(20);
/// Link and session are both up (flags of a node's information).
const JOINED: u32 = 12;
/// One copy of the bulk rows: long beside the time it takes to order one, short beside a time window.
const BULK_BYTES: usize = 16 << 20;
/// A stream is measured longer than a ping-pong, as the peers' streams are.
const STREAM_FACTOR: u32 = 4;

/// The two daemons; both end with this.
struct Nodes {
    folder: String,
    _daemons: [Child; 2],
}

impl Nodes {
    /// Starts both, joins them and makes the container on both.
    fn start(tls: bool) -> Result<Self> {
        let folder = folder();
        let names = ["a", "b"];
        let ip = [std::env::var("DVS_BENCH_ADDR_A").unwrap_or_else(|_| "127.0.0.1".into()), net_address()];
        let ports = free_ports()?;
        let security = if tls { "tls" } else { "plain" };
        std::fs::create_dir_all(&folder)?;
        let start = |side, id: usize, join: Option<String>| {
            let (name, address) = (names[id], format!("{}:{}", ip[id], ports[id]));
            let mut text = format!(
                "node = \"{name}\"\nsecurity = \"{security}\"\nruntime_dir = \"{folder}/{name}\"\n\
                 data_dir = \"{folder}/{name}.data\"\nlisten = \"{address}\"\n"
            );
            if let Some(token) = join {
                writeln!(text, "join = \"{token}\"")?;
            }
            let file = format!("{folder}/{name}.toml");
            std::fs::write(&file, text)?;
            let mut daemon = Child::again(side, &["daemon", "--of", &file].map(String::from))?;
            let line = daemon.line()?;
            ensure!(line.starts_with("READY"), "expected READY, got {line:?}");
            anyhow::Ok(daemon)
        };
        let first = start(Side::A, 0, None)?;
        let token = AdminClient::connect(&dvsd::paths::admin_socket(format!("{folder}/a").as_ref()))
            .and_then(|mut admin| admin.token(1))?;
        let _daemons = [first, start(Side::B, 1, Some(token))?];
        let nodes = Nodes { folder, _daemons };
        nodes.join()?;
        Ok(nodes)
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    fn join(&self) -> Result<()> {
        let (a, b) = (attach(&self.at("a"), "bench-setup")?, attach(&self.at("b"), "bench-setup")?);
        for (process, other) in [(&a, NodeId(1)), (&b, NodeId(0))] {
            until("the nodes find each other", || {
                process.system().node_info(Some(other)).is_ok_and(|i| i.flags & JOINED == JOINED)
            })?;
        }
        let plan = DcPlan { nodes: vec![NodeId(0), NodeId(1)], ..DcPlan::new(DC, "bench") };
        b.system().dc_init(&plan)?;
        until("both know the container", || a.system().dc_info(DC).is_ok_and(|i| i.flags == 0))
    }
}

/// Tries until it is so; a pause between two looks, since both daemons need the processors.
fn until(what: &str, mut so: impl FnMut() -> bool) -> Result<()> {
    let end = Instant::now() + JOIN_WAIT;
    while !so() {
        ensure!(Instant::now() < end, "waited in vain until {what}");
        // tidy: daemons that find each other give no sign to wait for, and both need the processors
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Two ports nobody uses on this machine now; a namespace made for the bench uses none.
fn free_ports() -> Result<[u16; 2]> {
    let sockets = [TcpListener::bind("0.0.0.0:0")?, TcpListener::bind("0.0.0.0:0")?];
    Ok([sockets[0].local_addr()?.port(), sockets[1].local_addr()?.port()])
}

/// Starts the nodes and serves on side B.
pub fn serve(_: &str) -> Result<()> {
    answer(false)
}

/// The same with TLS between the nodes.
pub fn serve_tls(_: &str) -> Result<()> {
    answer(true)
}

fn answer(tls: bool) -> Result<()> {
    let nodes = Nodes::start(tls)?;
    let port = bind(&attach(&nodes.at("b"), "bench-server")?)?;
    ready(&nodes.at("a"))?;
    let mut message = Message::default();
    loop {
        port.receive(Endpoint::ANY, &mut message, Timeout::Forever)?;
        // A client that was ended meanwhile is not the server's problem.
        let _ = port.reply(message.source(), &mut message, Timeout::Forever);
    }
}

/// Binds the server's endpoint once the node knows the container.
fn bind(process: &Process) -> Result<Port> {
    Ok(process.bind(DC, SERVER)?)
}

/// A client on side A.
pub fn connect(folder: &str) -> Result<Op> {
    let port = attach(folder, "bench-client")?.bind(DC, Endpoint::NONE)?;
    wait_for_server(&port)?;
    let mut message = Message::new(1);
    Ok(Box::new(move || Ok(port.sendrec(SERVER, &mut message, Timeout::Forever)?)))
}

/// What is bound on one node is known on the other a moment later.
fn wait_for_server(port: &Port) -> Result<()> {
    until("the server is known", || port.sendrec(SERVER, &mut Message::new(1), Timeout::Forever).is_ok())
}

/// GB/s (10^9 bytes) of long copies from side A to side B between two processes. `--of in` (the default):
/// the process on side B copies out of memory lent on side A; `--of out`: the process on side A copies into
/// memory lent on side B.
pub fn bulk(ask: &Ask) -> Result<f64> {
    let into = match ask.of.as_str() {
        "" | "in" => true,
        "out" => false,
        other => bail!("--of {other}: in or out"),
    };
    let nodes = Nodes::start(ask.tls)?;
    let (copier, lender) =
        if into { ((Side::B, "b"), (Side::A, "a")) } else { ((Side::A, "a"), (Side::B, "b")) };
    let ms = (ask.window * STREAM_FACTOR).as_millis().to_string();
    let role = if into { "bulk-in" } else { "bulk-out" };
    let start = |side, role: &str, folder: String| {
        Child::again(side, &[role, "--of", &folder, "--ms", &ms].map(String::from))
    };
    let mut server = start(copier.0, role, nodes.at(copier.1))?;
    ensure!(server.line()?.starts_with("READY"), "the copying process is not ready");
    let mut client = start(lender.0, if into { "bulk-lend" } else { "bulk-take" }, nodes.at(lender.1))?;
    let number = server.line()?;
    client.rest()?;
    number.parse().with_context(|| format!("{number:?} is not a number"))
}

/// Bytes that no compression makes smaller: what is measured is the copy.
fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..BULK_BYTES / 8).flat_map(|_| word()).collect()
}

/// The process that copies memory of the other side in.
pub fn bulk_in(ask: &Ask) -> Result<f64> {
    let buffer = vec![0; BULK_BYTES];
    copy(ask, |port, client, address, buffer| Ok(port.copy_in(client, address, buffer)?), buffer)
}

/// The process that copies its own memory out to the other side.
pub fn bulk_out(ask: &Ask) -> Result<f64> {
    copy(ask, |port, client, address, buffer| Ok(port.copy_out(client, address, buffer)?), noise())
}

fn copy(
    ask: &Ask,
    one: impl Fn(&Port, Endpoint, u64, &mut [u8]) -> Result<()>,
    mut buffer: Vec<u8>,
) -> Result<f64> {
    let port = bind(&attach(&ask.of, "bench-copier")?)?;
    ready("")?;
    let mut message = Message::default();
    let (client, address) = loop {
        port.receive(Endpoint::ANY, &mut message, Timeout::Forever)?;
        let client = message.source();
        match port.grants_of(client).first() {
            Some(grant) => break (client, grant.address),
            // The question whether we are there.
            None => port.reply(client, &mut message, Timeout::Forever)?,
        }
    };
    let mean = stream(&mut || one(&port, client, address, &mut buffer), ask.window)?;
    ensure!(buffer == noise(), "wrong bytes were copied");
    port.reply(client, &mut message, Timeout::Forever)?;
    Ok(BULK_BYTES as f64 / mean / 1e3)
}

/// As `time_batch`, whose strides are made for short operations: one copy takes milliseconds.
fn stream(op: &mut dyn FnMut() -> Result<()>, window: Duration) -> Result<f64> {
    let start = Instant::now();
    while start.elapsed() < window / 4 {
        op()?;
    }
    let (start, mut count) = (Instant::now(), 0_u32);
    while start.elapsed() < window {
        op()?;
        count += 1;
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(count))
}

/// Lends memory to be read for one call.
pub fn bulk_lend(ask: &Ask) -> Result<f64> {
    let port = attach(&ask.of, "bench-lender")?.bind(DC, Endpoint::NONE)?;
    wait_for_server(&port)?;
    let buffer = noise();
    port.sendrec_with(SERVER, &mut Message::new(1), &mut [Lend::Read(&buffer)], Timeout::Forever)?;
    Ok(0.0)
}

/// Lends memory to be written for one call, and looks at what was written.
pub fn bulk_take(ask: &Ask) -> Result<f64> {
    let port = attach(&ask.of, "bench-lender")?.bind(DC, Endpoint::NONE)?;
    wait_for_server(&port)?;
    let mut buffer = vec![0; BULK_BYTES];
    port.sendrec_with(SERVER, &mut Message::new(1), &mut [Lend::Write(&mut buffer)], Timeout::Forever)?;
    ensure!(buffer == noise(), "wrong bytes arrived");
    Ok(0.0)
}
