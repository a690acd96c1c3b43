//! A replicated service: how long a caller is held when the node of its leading replica is killed, and what
//! puts cost.

use crate::etcd::Neighbours;
use crate::{Options, VOTERS, row, sibling};
use dvs::{DcPlan, NodeId};
use dvs_cluster::DC;
use dvs_cluster::kv::{Replicas, client, leader_of, wait_votes};
use dvs_cluster::lab::{Lab, Programs, until};
use dvs_cluster::node::Node;
use dvs_linux::clock;
use dvs_linux::testing::own_address;
use std::process::{Command, Stdio};

/// Bytes of a value.
const BYTES: usize = 256;
/// Ours and theirs take turns so often.
const TURNS: usize = 3;

/// The node whose replica leads is killed, daemon and all: how long is a put held that begins then?
pub(crate) fn failover(options: &Options, programs: Programs) {
    let Some(mut lab) = Lab::start(programs, VOTERS) else { return };
    let mut replicas = Replicas::start(sibling("cluster-actor"), &lab.nodes);
    let mut times = Vec::new();
    for _ in 0..options.runs {
        (0..VOTERS).for_each(|n| wait_votes(&lab.nodes, n, VOTERS));
        let mut leads = None;
        until("a replica leads", || {
            leads = leader_of(&lab.nodes[0], 0);
            leads.is_some()
        });
        let Some(leader) = leads else { return };
        let asked = client(&lab.nodes[(leader + 1) % VOTERS].attach());
        asked.put(b"before", b"", None).expect("all is well");
        let begun = clock::now();
        lab.nodes[leader].kill();
        replicas.kill(leader);
        asked.put(b"after", b"", None).expect("a majority is there");
        times.push(clock::now() - begun);
        drop(asked);
        lab.nodes[leader].revive();
        lab.wait_whole();
        replicas.revive(&lab.nodes, leader);
    }
    row("node of the leading replica killed -> put done, 3 nodes", &mut times);
}

/// What a load of puts was answered.
struct Load {
    rate: f64,
    p50_us: f64,
    p99_us: f64,
}

/// Puts of a value by so many clients in a closed loop, each synced to the disks of a majority.
pub(crate) fn puts(options: &Options, programs: Programs) {
    let nodes = neighbours(programs);
    let _replicas = Replicas::start(sibling("cluster-actor"), &nodes);
    (0..VOTERS).for_each(|n| wait_votes(&nodes, n, VOTERS));
    let peer = Neighbours::start();
    for clients in [64, 3] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            ours.push(load(&nodes, clients, options.seconds));
            theirs.extend(peer.as_ref().and_then(|p| p.load(clients, options.seconds)));
        }
        show(&format!("put of {BYTES} bytes, {clients} clients, dvs kv, 3 nodes"), ours);
        show(&format!("put of {BYTES} bytes, {clients} clients, etcd, 3 nodes"), theirs);
    }
}

/// The medians of the turns.
fn show(what: &str, mut turns: Vec<Load>) {
    let mut median = |f: fn(&Load) -> f64| {
        turns.sort_by(|a, b| f(a).total_cmp(&f(b)));
        turns.get(turns.len() / 2).map(f)
    };
    let figures = (median(|l| l.rate), median(|l| l.p50_us), median(|l| l.p99_us));
    let (Some(rate), Some(p50), Some(p99)) = figures else { return println!("{what:58} could not run") };
    let (p50, p99) = (p50 / 1e3, p99 / 1e3);
    println!("{what:58} {p50:6.1} ms {p99:6.1} ms {rate:>9.0} a second");
}

/// Nodes that share the loopback, without TLS, as the peer's do.
pub(crate) fn neighbours(programs: Programs) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for n in 0..VOTERS {
        let join = nodes.first().map(|first| format!("join = \"{}\"\n", first.token()));
        let config = format!(
            "node = \"b{n}\"\nsecurity = \"plain\"\nlisten = \"{}\"\nruntime_dir = DIR\ndata_dir = DATA\n{}",
            own_address(),
            join.unwrap_or_default()
        );
        let node = Node::start_as(programs.daemon, 0, &config);
        node.wait_status("it begins", |s| s.cluster.begun);
        nodes.push(node);
    }
    let whole = |n: &Node| {
        let rows = n.rows();
        let votes = rows.iter().filter(|r| r.role == "voter" || r.role == "leader").count();
        votes == VOTERS && rows.iter().all(|r| r.standing == "up" && r.reached)
    };
    until("three have votes", || nodes.iter().all(whole));
    let plan = DcPlan { nodes: (0..VOTERS as u16).map(NodeId).collect(), ..DcPlan::new(DC, "bench") };
    nodes[0].attach().system().dc_init(&plan).expect("a new container");
    for node in &nodes {
        let process = node.attach();
        until("the container is known", || process.system().dc_info(DC).is_ok_and(|i| i.flags == 0));
    }
    nodes
}

/// Ours: clients on all nodes, each a thread.
fn load(nodes: &[Node], clients: usize, seconds: u64) -> Load {
    let processes: Vec<_> = nodes.iter().map(Node::attach).collect();
    let clients: Vec<_> = (0..clients).map(|n| client(&processes[n % nodes.len()])).collect();
    let (begun, value) = (clock::now(), vec![b'x'; BYTES]);
    let end = begun + seconds * 1_000_000_000;
    let one = |(me, client): (usize, dvs_kv::Client<dvs::ThreadWait>)| {
        let mut times = Vec::new();
        for n in 0_u64.. {
            let start = clock::now();
            if start >= end {
                break;
            }
            client.put(format!("bench/{me}/{}", n % 1000).as_bytes(), &value, None).expect("all is well");
            times.push(clock::now() - start);
        }
        times
    };
    let mut times: Vec<u64> = std::thread::scope(|s| {
        let threads: Vec<_> = clients.into_iter().enumerate().map(|c| s.spawn(move || one(c))).collect();
        threads.into_iter().flat_map(|t| t.join().unwrap_or_default()).collect()
    });
    let took = (clock::now() - begun) as f64 / 1e9;
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).map_or(0.0, |t| *t as f64 / 1e3);
    Load { rate: times.len() as f64 / took, p50_us: at(50), p99_us: at(99) }
}

impl Neighbours {
    /// Theirs, by the program `bench/run` has built and names; nothing without it.
    fn load(&self, clients: usize, seconds: u64) -> Option<Load> {
        let Some(program) = std::env::var_os("DVS_BENCH_ETCD") else {
            eprintln!("the load of etcd is missing; it is built by ./x bench cluster");
            return None;
        };
        let words = [self.list(), clients.to_string(), BYTES.to_string(), seconds.to_string()];
        let said = Command::new(program).args(words).stdin(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let of = |name: &str| -> Option<f64> {
            let rest = text.split(&format!("\"{name}\": ")).nth(1)?;
            rest.split([',', '}']).next()?.trim().parse().ok()
        };
        Some(Load { rate: of("puts_per_second")?, p50_us: of("p50_us")?, p99_us: of("p99_us")? })
    }
}
