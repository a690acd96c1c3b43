//! Processes on one or more nodes: each node a daemon of its own in a temporary folder, joined over the
//! loopback through forwarders that can be cut. With one node the actors talk through lanes, with more
//! through proxies.

use super::coroutines::Nursery;
use super::forward::Forward;
use super::line::Line;
use super::threads::thread;
use crate::world::{Home, Need, Remote, Site, WATCHDOG};
use dvs_ipc::Process;
use dvs_linux::testing::own_address;
use std::fmt::Write;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// What an actor of a site is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A process in Rust.
    Rust,
    /// A process in C.
    C,
    /// A coroutine of the test's own process, which is a session of the site's node.
    Coroutine,
    /// A thread of the test's own process.
    Thread,
}

/// The programs the suite starts, as the build names them.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `conform-daemon`.
    pub daemon: PathBuf,
    /// `conform-actor`.
    pub actor: PathBuf,
    /// The C actor, where there is one.
    pub c_actor: Option<PathBuf>,
}

struct Node {
    dir: PathBuf,
    config: PathBuf,
    daemon: Option<Child>,
    /// Session of the test's own process.
    own: Option<Process>,
    nursery: Option<Nursery>,
    /// Processes, so that they die with their node.
    pids: Vec<u32>,
}

/// The home.
pub struct Nodes {
    name: &'static str,
    kinds: [Kind; 3],
    programs: Programs,
    nodes: Vec<Node>,
    /// `[from][to]`.
    forwards: Vec<Vec<Option<Forward>>>,
    actors: u32,
    base: tempfile::TempDir,
}

impl Nodes {
    /// `count` nodes; sites A, B, C are of these kinds, on nodes 0, 1, 2 as far as there are so many.
    ///
    /// # Panics
    /// When a daemon does not start.
    pub fn new(name: &'static str, count: u16, kinds: [Kind; 3], programs: &Programs) -> Self {
        // Sockets of forwarders, actors and daemons are this process's or its children's.
        dvsd::serve::raise_descriptors();
        let base = tempfile::tempdir().expect("a temporary folder");
        let listens: Vec<SocketAddr> = (0..count).map(|_| own_address()).collect();
        let forwards: Vec<Vec<Option<Forward>>> = (0..count as usize)
            .map(|i| (0..count as usize).map(|j| (i != j).then(|| Forward::to(listens[j]))).collect())
            .collect();
        let mut home =
            Nodes { name, kinds, programs: programs.clone(), nodes: Vec::new(), forwards, actors: 0, base };
        for n in 0..count as usize {
            let dir = home.base.path().join(format!("n{n}"));
            let config = home.base.path().join(format!("n{n}.toml"));
            std::fs::write(&config, home.config(n, &dir, &listens)).expect("a file in the temporary folder");
            home.nodes.push(Node { dir, config, daemon: None, own: None, nursery: None, pids: Vec::new() });
            // Its number is its place in the order of joining.
            home.start_node(n as u16);
        }
        home
    }

    /// Every node sees the others at its own forwarders, so that any pair can be cut.
    fn config(&self, me: usize, dir: &Path, listens: &[SocketAddr]) -> String {
        let data = self.base.path().join(format!("data{me}"));
        let mut text =
            format!("node = \"n{me}\"\nruntime_dir = {dir:?}\ndata_dir = {data:?}\nsecurity = \"plain\"\n");
        if me > 0 {
            let _ = writeln!(text, "join = \"{}\"", self.token());
        }
        if listens.len() > 1 {
            let _ = write!(text, "listen = \"{}\"\n[timeouts]\nlease_ms = 2500\n[reach]\n", listens[me]);
        }
        for (n, forward) in self.forwards[me].iter().enumerate() {
            if let Some(forward) = forward {
                let _ = writeln!(text, "n{n} = \"{}\"", forward.address);
            }
        }
        text
    }

    fn token(&self) -> String {
        let admin = dvsd::paths::admin_socket(&self.nodes[0].dir);
        let mut client = dvsd::client::AdminClient::connect(&admin).expect("the first daemon runs");
        client.token(1).expect("it is a majority by itself")
    }

    fn socket(&self, node: u16) -> PathBuf {
        dvsd::paths::session_socket(&self.nodes[node as usize].dir)
    }

    /// The session of the test's own process on a node.
    fn own(&mut self, node: u16) -> Process {
        let socket = self.socket(node);
        let own = &mut self.nodes[node as usize].own;
        own.get_or_insert_with(|| dvs::attach_to(&socket, "conform").expect("the daemon runs")).clone()
    }

    fn process(&mut self, node: u16, program: &Path) -> Box<dyn Remote> {
        self.actors += 1;
        let line = Line::start(program, &self.socket(node), &format!("actor{}", self.actors));
        self.nodes[node as usize].pids.push(line.pid());
        Box::new(line)
    }

    fn of_kind(&mut self, node: u16, kind: Kind) -> Box<dyn Remote> {
        match kind {
            Kind::Rust => {
                let program = self.programs.actor.clone();
                self.process(node, &program)
            }
            Kind::C => {
                let program = self.programs.c_actor.clone().expect("the C actor is built");
                self.process(node, &program)
            }
            Kind::Thread => thread(&self.own(node)),
            Kind::Coroutine => {
                let own = self.own(node);
                self.nodes[node as usize].nursery.get_or_insert_with(|| Nursery::new(own)).actor()
            }
        }
    }

    fn all_processes(&self) -> bool {
        self.kinds.iter().all(|k| matches!(k, Kind::Rust | Kind::C))
    }
}

/// Where a daemon's standard error goes.
fn said_by(base: &tempfile::TempDir, node: u16) -> PathBuf {
    base.path().join(format!("daemon{node}.log"))
}

fn index(site: Site) -> usize {
    match site {
        Site::A => 0,
        Site::B => 1,
        Site::C => 2,
    }
}

impl Home for Nodes {
    fn name(&self) -> &'static str {
        self.name
    }

    fn exact(&self) -> bool {
        self.nodes.len() == 1
    }

    fn can(&self, need: Need) -> bool {
        let nodes = self.nodes.len();
        match need {
            Need::Processes => self.all_processes(),
            Need::Cancel | Need::Copy | Need::Daemon => true,
            Need::OneNode => nodes == 1,
            Need::TwoNodes | Need::Cut => nodes > 1,
            Need::KillNode => nodes > 1 && self.all_processes(),
            Need::ThreeNodes => nodes > 2,
        }
    }

    fn nodes(&self) -> u16 {
        self.nodes.len() as u16
    }

    fn node(&self, site: Site) -> u16 {
        (index(site) % self.nodes.len()) as u16
    }

    fn spawn(&mut self, site: Site) -> Box<dyn Remote> {
        self.of_kind(self.node(site), self.kinds[index(site)])
    }

    /// In C where the clients are: what needs no endpoint is then tested in C, too.
    fn spawn_on(&mut self, node: u16) -> Box<dyn Remote> {
        let kind = if self.kinds[0] == Kind::C { Kind::C } else { Kind::Rust };
        self.of_kind(node, kind)
    }

    fn cut(&mut self, a: u16, b: u16) {
        for (i, j) in [(a, b), (b, a)] {
            if let Some(f) = &self.forwards[i as usize][j as usize] {
                f.cut();
            }
        }
    }

    fn heal(&mut self, a: u16, b: u16) {
        for (i, j) in [(a, b), (b, a)] {
            if let Some(f) = &self.forwards[i as usize][j as usize] {
                f.heal();
            }
        }
    }

    fn kill_node(&mut self, node: u16) {
        let n = &mut self.nodes[node as usize];
        if let Some(mut daemon) = n.daemon.take() {
            // Errors say that it is gone.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        for pid in n.pids.drain(..) {
            if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
                // Its own handle waits for it; gone already is as good.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }

    fn start_node(&mut self, node: u16) {
        let daemon = self.programs.daemon.clone();
        let n = &mut self.nodes[node as usize];
        // It ends with its input: with this process at the latest.
        let said = File::options().create(true).append(true).open(said_by(&self.base, node));
        let said = said.expect("a file for what the daemon says");
        let child = Command::new(daemon).arg(&n.config).stdin(Stdio::piped()).stderr(said).spawn();
        n.daemon = Some(child.expect("the suite is built"));
        // The last one it makes.
        let socket = dvsd::paths::admin_socket(&n.dir);
        let end = Instant::now() + WATCHDOG;
        while dvs_linux::socket::Socket::connect(&socket).is_err() {
            assert!(Instant::now() < end, "the daemon of node {node} does not start");
            std::thread::park_timeout(std::time::Duration::from_millis(2));
        }
    }

    fn stop_node(&mut self, node: u16) {
        let Some(mut daemon) = self.nodes[node as usize].daemon.take() else { return };
        let admin = dvsd::paths::admin_socket(&self.nodes[node as usize].dir);
        let mut client = dvsd::client::AdminClient::connect(&admin).expect("the daemon runs");
        // The answer may be cut short by the end of the daemon.
        let _ = client.ask(&dvsd::admin::AdminRequest::Shutdown, |_| true);
        daemon.wait().expect("a child of ours");
    }

    fn start_again(&mut self, node: u16) -> Result<(), String> {
        refused(&self.programs.daemon, &self.nodes[node as usize].config)
    }

    fn start_as(&mut self, number: i64) -> Result<(), String> {
        let dir = self.base.path().join("wrong");
        let file = self.base.path().join("wrong.toml");
        // A node has its number from the system it joined: this one says that it has such a number.
        let text = format!("node = \"x\"\nruntime_dir = {dir:?}\ndata_dir = {:?}\n", self.base.path());
        std::fs::write(&file, text).map_err(|e| e.to_string())?;
        let (zeros, system) = ("0".repeat(64), "0".repeat(32));
        let text = format!(
            "version = 1\nsystem = \"{system}\"\nnode = {number}\nname = \"x\"\nsecurity = \"plain\"\n\
             key = \"{zeros}\"\n"
        );
        std::fs::write(self.base.path().join("system.toml"), text).map_err(|e| e.to_string())?;
        refused(&self.programs.daemon, &file)
    }
}

/// Starts a daemon that must end by itself; what it said.
fn refused(daemon: &Path, config: &Path) -> Result<(), String> {
    let child = Command::new(daemon).arg(config).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|e| e.to_string())?;
    let end = Instant::now() + WATCHDOG;
    while Instant::now() < end {
        match child.try_wait() {
            Ok(None) => std::thread::park_timeout(std::time::Duration::from_millis(2)),
            _ => {
                let out = child.wait_with_output().map_err(|e| e.to_string())?;
                let said = String::from_utf8_lossy(&out.stderr).into_owned();
                return if out.status.success() { Ok(()) } else { Err(said) };
            }
        }
    }
    let _ = (child.kill(), child.wait());
    Ok(())
}

impl Drop for Nodes {
    fn drop(&mut self) {
        (0..self.nodes.len() as u16).for_each(|n| self.kill_node(n));
        if std::thread::panicking() {
            for n in 0..self.nodes.len() as u16 {
                let said = std::fs::read_to_string(said_by(&self.base, n)).unwrap_or_default();
                eprintln!("the daemon of node {n} said:\n{said}");
            }
        }
    }
}
