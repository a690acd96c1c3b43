//! What a cluster of real machines costs, and how long things take in it: `cluster-bench [--runs N]
//! [--cycles N] [--idle SECONDS] [--only WORD]`. Run by `./x bench cluster`.
//!
//! Each machine is a network namespace with a daemon ([`dvs_cluster::lab`]), default settings, TLS. The peer
//! is etcd with its defaults on three such machines, in turn with ours. `cluster-bench probe ADDRESS` is the
//! part of it that runs in a machine: from a line of its input on it tries to put until one is done, and
//! says when.
#![forbid(unsafe_code)]

use dvs_cluster::crew::Crew;
use dvs_cluster::lab::{Lab, Programs, until};
use dvs_cluster::measure;
use dvs_cluster::rng::Rng;
use dvs_linux::clock;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
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
    idle: u64,
    only: String,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [role, address] = &words[..]
        && role == "probe"
    {
        return probe(address);
    }
    let word = |name: &str| words.iter().position(|w| w == name).and_then(|n| words.get(n + 1));
    let number = |name: &str, usual: usize| word(name).and_then(|w| w.parse().ok()).unwrap_or(usual);
    let options = Options {
        runs: number("--runs", 20).max(1),
        cycles: number("--cycles", 100),
        idle: number("--idle", 30).max(1) as u64,
        only: word("--only").cloned().unwrap_or_default(),
    };
    let programs = Programs { daemon: sibling("cluster-daemon"), switch: sibling("cluster-switch") };
    println!("{:58} {:>9} {:>9} {:>9} {:>5}", "", "p50", "p99", "worst", "n");
    let rows: [(&str, Measure); 5] =
        [("killed", killed), ("known", known), ("idle", idle), ("join", joined), ("cycles", cycles)];
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

/// From when something was asked for until all five have done it.
fn known(options: &Options, programs: Programs) {
    let Some(lab) = Lab::start(programs, NODES) else { return };
    let (mut decided, mut spread) = (Vec::new(), Vec::new());
    for n in 0..options.runs * 10 {
        let node = &lab.nodes[n % NODES];
        let begun = clock::now();
        node.decide((n % NODES) as u16).expect("all is well");
        decided.push(clock::now() - begun);
        // Whoever is answered has done it, and what came before.
        let place = node.status().cluster.applied;
        until("all have done it", || lab.nodes.iter().all(|n| n.status().cluster.applied >= place));
        spread.push(clock::now() - begun);
    }
    row("decision asked for -> done, 5 nodes", &mut decided);
    row("decision asked for -> done by all 5 (looked at every 5 ms)", &mut spread);
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

/// Kills and cuts under load, counted as the tests do; anything lost or doubled or hung ends it with a panic.
fn cycles(options: &Options, programs: Programs) {
    let Some(mut lab) = Lab::start(programs, NODES) else { return };
    let mut crew = Crew::start(sibling("cluster-actor"), &lab, &[1, 3]);
    let mut rng = Rng::new(1);
    let (mut whole, begun) = (Vec::new(), clock::now());
    for _ in 0..options.cycles {
        let (victim, what) = (rng.below(NODES as u64) as usize, rng.below(5));
        let asked = (victim + 1) % NODES;
        match what {
            0 | 1 => lab.nodes[victim].kill(),
            2 => {
                lab.cut(victim, true, true);
                lab.nodes[victim].kill();
                crew.power_off(victim);
            }
            3 => lab.cut(victim, true, true),
            _ => lab.cut(victim, rng.below(2) == 0, true),
        }
        lab.wait_standing(asked, victim, "down");
        let healed = clock::now();
        lab.heal();
        if what < 3 {
            lab.nodes[victim].revive();
        }
        lab.wait_whole();
        whole.push(clock::now() - healed);
        crew.look_after(&lab);
    }
    let seconds = (clock::now() - begun) / 1_000_000_000;
    crew.wait_served(&lab, &(0..NODES).collect::<Vec<_>>());
    row("healed or started again -> all is well, 5 nodes", &mut whole);
    let verdict = crew.calm("cycles");
    println!(
        "{:58} 0 lost, 0 doubled, 0 hung: {} cycles in {seconds} s, {} calls",
        "killed, power lost, cut, one way", options.cycles, verdict.calls
    );
}

/// Three etcd on machines like ours.
struct Etcd {
    lab: Lab,
    folder: tempfile::TempDir,
    members: Vec<Child>,
}

impl Etcd {
    fn start(programs: Programs) -> Option<Etcd> {
        let folder = tempfile::tempdir().ok()?;
        let mut etcd = Etcd { lab: Lab::bare(programs, VOTERS)?, folder, members: Vec::new() };
        for n in 0..VOTERS {
            match etcd.command(n).spawn() {
                Ok(member) => etcd.members.push(member),
                Err(e) => {
                    println!("etcd could not run: {e}");
                    return None;
                }
            }
        }
        until("etcd has a leader", || etcd.leader().is_some());
        Some(etcd)
    }

    fn command(&self, n: usize) -> Command {
        let at = |n: usize, port: u16| format!("http://10.99.0.{}:{port}", n + 1);
        let all: Vec<String> = (0..VOTERS).map(|m| format!("e{m}={}", at(m, 2380))).collect();
        let mut c = self.lab.command(n, "etcd");
        c.args(["--name", &format!("e{n}"), "--initial-cluster", &all.join(",")]);
        c.args(["--listen-peer-urls", &at(n, 2380), "--initial-advertise-peer-urls", &at(n, 2380)]);
        c.args(["--listen-client-urls", &at(n, 2379), "--advertise-client-urls", &at(n, 2379)]);
        c.arg("--data-dir").arg(self.folder.path().join(format!("e{n}")));
        c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        c
    }

    /// Who leads, by its own word.
    fn leader(&self) -> Option<usize> {
        (0..VOTERS).find(|n| {
            let mut c = self.lab.command(*n, "etcdctl");
            c.env("ETCDCTL_API", "3").args(["--endpoints", &format!("10.99.0.{}:2379", n + 1)]);
            let said = c.args(["endpoint", "status"]).stderr(Stdio::null()).output();
            // Address, number, version, size, whether it leads, …
            said.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).split(", ").nth(4) == Some("true"))
        })
    }

    /// Kills its leader; how long until a put is done on another machine.
    fn killed(&mut self) -> Option<u64> {
        until("etcd has a leader", || self.leader().is_some());
        let leader = self.leader()?;
        let asked = (leader + 1) % VOTERS;
        let me = std::env::current_exe().ok()?;
        let mut c = self.lab.command(asked, &me.display().to_string());
        c.args(["probe", &format!("10.99.0.{}:2379", asked + 1)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut probe = c.spawn().ok()?;
        let mut output = BufReader::new(probe.stdout.take()?);
        let mut line = String::new();
        output.read_line(&mut line).ok()?;
        let begun = clock::now();
        self.members[leader].kill().ok()?;
        writeln!(probe.stdin.take()?, "go").ok()?;
        line.clear();
        output.read_line(&mut line).ok()?;
        let done: u64 = line.trim().parse().ok()?;
        let _ = (probe.wait(), self.members[leader].wait());
        self.members[leader] = self.command(leader).spawn().ok()?;
        let all = |e: &Etcd| (0..VOTERS).all(|n| put(&format!("10.99.0.{}:2379", n + 1), e, n));
        until("etcd is whole", || all(self));
        Some(done.saturating_sub(begun))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

/// Whether a put at this machine is done.
fn put(address: &str, etcd: &Etcd, n: usize) -> bool {
    let mut c = etcd.lab.command(n, "etcdctl");
    c.env("ETCDCTL_API", "3").args(["--endpoints", address, "--command-timeout", "1s", "put", "a", "b"]);
    c.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

fn probe(address: &str) {
    println!("ready");
    let mut line = String::new();
    // An end of the input: nobody wants to know.
    if !std::io::stdin().read_line(&mut line).is_ok_and(|n| n > 0) {
        return;
    }
    let address = address.to_owned();
    println!("{}", first_done(move || post(&address).unwrap_or(false)));
}

/// One put over etcd's own HTTP gateway.
fn post(address: &str) -> std::io::Result<bool> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    let body = r#"{"key":"YQ==","value":"Yg=="}"#;
    let length = body.len();
    write!(
        socket,
        "POST /v3/kv/put HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nConnection: \
         close\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}
