//! What a cluster of real machines costs, and how long things take in it: `cluster-bench [--runs N]
//! [--cycles N [--from N]] [--idle SECONDS] [--seconds N] [--only WORD]`. Run by `./x bench cluster`.
//!
//! | row | machines | subject |
//! |---|---|---|
//! | `killed` | 3 | the control plane's leader is killed, until the next decision; etcd's, until the next put |
//! | `failover` | 3 | the node of a key/value service's leading replica is killed, until a waiting put is done |
//! | `puts` | 3 | replicated puts of 64 clients and of 3; etcd's, at the same |
//! | `large` | 3 | replicated puts while snapshots of a large state are written |
//! | `moves` | 3 | a single key/value server moves under load: how long callers are held |
//! | `switch` | 5 | callers of a passive service are pointed elsewhere, until those of all nodes are served there |
//! | `known` | 5 | a decision, until it is done by all |
//! | `idle` | 5 | the processor, when there is nothing to do |
//! | `join` | 5 | a token asked for, until the new node lets programs in |
//! | `cycles` | 5 | kills, cuts and moves under load: lost, doubled, hung |
//!
//! Each machine is a network namespace with a daemon ([`dvs_cluster::lab`]), default settings, TLS; those of
//! `puts` and `large` share the loopback, without, as etcd's do. The peer is etcd with its defaults on three
//! such machines, in turn with ours; its disk is where ours is. `cluster-bench probe ADDRESS` is the part of
//! it that runs in a machine: from a line of its input on it tries to put until one is done, and says when.
#![forbid(unsafe_code)]

mod cycles;
mod etcd;
mod kv;
mod large;
mod moves;
mod switch;

use dvs_cluster::lab::{Lab, Programs};
use dvs_cluster::measure;
use dvs_linux::clock;
use etcd::Etcd;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Between two attempts of somebody who wants something decided; none waits for the one before.
const ATTEMPTS: Duration = Duration::from_millis(50);
/// No decision takes so long.
const WATCHDOG: Duration = Duration::from_secs(60);
const VOTERS: usize = 3;
const NODES: usize = 5;
type Measure = fn(&Options, Programs);

struct Options {
    runs: usize,
    cycles: usize,
    from: usize,
    idle: u64,
    seconds: u64,
    only: String,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [role, address] = &words[..]
        && role == "probe"
    {
        return etcd::probe(address);
    }
    let word = |name: &str| words.iter().position(|w| w == name).and_then(|n| words.get(n + 1));
    let number = |name: &str, usual: usize| word(name).and_then(|w| w.parse().ok()).unwrap_or(usual);
    let options = Options {
        runs: number("--runs", 20).max(1),
        cycles: number("--cycles", 100),
        from: number("--from", 0),
        idle: number("--idle", 30).max(1) as u64,
        seconds: number("--seconds", 5).max(1) as u64,
        only: word("--only").cloned().unwrap_or_default(),
    };
    let programs = Programs { daemon: sibling("cluster-daemon"), switch: sibling("cluster-switch") };
    println!("{:58} {:>9} {:>9} {:>9} {:>5}", "", "p50", "p99", "worst", "n");
    let rows: [(&str, Measure); 10] = [
        ("killed", killed),
        ("failover", kv::failover),
        ("puts", kv::puts),
        ("large", large::large),
        ("moves", moves::moves),
        ("switch", switch::switches),
        ("known", known),
        ("idle", idle),
        ("join", joined),
        ("cycles", cycles::cycles),
    ];
    for (name, row) in rows.iter().filter(|(name, _)| name.contains(&options.only)) {
        eprintln!("{name} …");
        row(&options, programs);
    }
}

fn sibling(name: &str) -> &'static str {
    let here = std::env::current_exe().expect("this program has a place");
    here.with_file_name(name).display().to_string().leak()
}

/// A row of times, ns.
fn row(what: &str, times: &mut [u64]) {
    if times.is_empty() {
        return println!("{what:58} could not run");
    }
    times.sort_unstable();
    let at = |part: usize| times[(times.len() * part).div_ceil(100).clamp(1, times.len()) - 1] as f64 / 1e6;
    let (p50, p99, worst) = (at(50), at(99), at(100));
    println!("{what:58} {p50:6.1} ms {p99:6.1} ms {worst:6.1} ms {:5}", times.len());
}

/// Tries again and again, without waiting for the last attempt; when the first is done.
fn first_done(attempt: impl Fn() -> bool + Clone + Send + 'static) -> u64 {
    let end = clock::now() + WATCHDOG.as_nanos() as u64;
    let (to, done) = channel();
    loop {
        let (to, attempt) = (to.clone(), attempt.clone());
        std::thread::spawn(move || {
            if attempt() {
                // Somebody else was first, if nobody listens.
                let _ = to.send(clock::now());
            }
        });
        if let Ok(at) = done.recv_timeout(ATTEMPTS) {
            return at;
        }
        assert!(clock::now() < end, "nothing is decided");
    }
}

/// The leader is killed: when is the next decision made, asked for on another machine?
fn killed(options: &Options, programs: Programs) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let Some(mut lab) = Lab::start(programs, VOTERS) else { return };
    let mut peer = Etcd::start(programs);
    for _ in 0..options.runs {
        let leader = lab.wait_leader(&[0, 1, 2]);
        let asked = (leader + 1) % VOTERS;
        let socket = lab.nodes[asked].admin_socket();
        let begun = clock::now();
        lab.nodes[leader].kill();
        let decide = move || dvs_cluster::node::decide_at(&socket, asked as u16).is_ok();
        ours.push(first_done(decide).saturating_sub(begun));
        lab.nodes[leader].revive();
        lab.wait_whole();
        theirs.extend(peer.as_mut().and_then(Etcd::killed));
    }
    row("leader killed -> next decision, dvs, 3 nodes", &mut ours);
    row("leader killed -> next put, etcd, 3 nodes", &mut theirs);
}

/// From when something was asked for until it is done, and from then until all five have done it.
fn known(options: &Options, programs: Programs) {
    let Some(lab) = Lab::start(programs, NODES) else { return };
    let (mut decided, mut spread) = (Vec::new(), Vec::new());
    for n in 0..options.runs * 10 {
        let node = &lab.nodes[n % NODES];
        let begun = clock::now();
        node.decide((n % NODES) as u16).expect("all is well");
        let done = clock::now();
        decided.push(done - begun);
        // Whoever is answered has done it, and what came before.
        let place = node.status().cluster.applied;
        let last = std::thread::scope(|s| {
            let knows = |node: &'_ dvs_cluster::node::Node| {
                node.wait_status("it is done everywhere", |s| s.cluster.applied >= place);
                clock::now()
            };
            let looks: Vec<_> = lab.nodes.iter().map(|n| s.spawn(move || knows(n))).collect();
            looks.into_iter().filter_map(|l| l.join().ok()).max().unwrap_or(done)
        });
        spread.push(last - done);
    }
    row("decision asked for -> done, 5 nodes", &mut decided);
    row("decision done by who was asked -> by all 5", &mut spread);
}

/// What five machines use that have nothing to do.
fn idle(options: &Options, programs: Programs) {
    let Some(lab) = Lab::start(programs, NODES) else { return };
    let ticks = || lab.nodes.iter().map(|n| measure::cpu_ticks(n.pid())).collect::<Vec<u64>>();
    let before = ticks();
    std::thread::sleep(Duration::from_secs(options.idle));
    let part = |(b, a): (&u64, u64)| (a - b) as f64 / options.idle as f64;
    let mut used: Vec<f64> = before.iter().zip(ticks()).map(part).collect();
    used.sort_by(f64::total_cmp);
    let all: Vec<String> = used.iter().map(|u| format!("{u:.2} %")).collect();
    println!("{:58} {}", "idle, of one core, each of 5 nodes", all.join(" "));
}

/// From the start of a daemon that has a token until programs are let in.
fn joined(options: &Options, programs: Programs) {
    let mut times = Vec::new();
    while times.len() < options.runs {
        let Some(mut lab) = Lab::bare(programs, NODES) else { return };
        lab.join(0, "64m");
        for n in 1..NODES {
            let begun = clock::now();
            lab.join(n, "64m");
            times.push(clock::now() - begun);
        }
    }
    row("token asked for -> joined and begun", &mut times);
}
