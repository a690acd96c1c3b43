//! Nodes as machines: each a daemon in a network namespace of its own, with TLS, and with a disk that can
//! fill.
//!
//! ```text
//!   ┌ node 0 ───┐ ┌ node 1 ───┐     ┌ node 4 ───┐
//!   │ 10.99.0.1 │ │ 10.99.0.2 │  …  │ 10.99.0.5 │     each: network, mounts (a small disk at its data)
//!   └─────┬─────┘ └─────┬─────┘     └─────┬─────┘
//!       port0         port1             port4
//!      ┌──┴─────────────┴─────────────────┴──┐
//!      │ cluster-switch, in one more         │  cuts one way and both, loses, delays
//!      └─────────────────────────────────────┘
//! ```
//! A namespace has no name: it lasts as long as a process that waits in it for the end of its input. So all
//! is gone when the test is, however it ended, and nothing of the machine's own network is touched.

use crate::node::Node;
use crate::{DC, WATCHDOG_NS};
use dvs::{DcPlan, NodeId};
use dvs_linux::clock;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Where every node listens.
const PORT: u16 = 7400;
/// What a node's disk holds unless it is to be full soon.
const DISK: &str = "256m";

/// The programs of the tests, whose places only a test knows.
#[derive(Clone, Copy)]
pub struct Programs {
    /// `cluster-daemon`.
    pub daemon: &'static str,
    /// `cluster-switch`.
    pub switch: &'static str,
}

/// A helper that is talked to line by line; killed when dropped.
struct Helper {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Helper {
    fn start(command: &mut Command) -> Result<Helper, String> {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
        let input = child.stdin.take().expect("it is a pipe");
        let output = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut helper = Helper { child, input, output };
        match helper.line() {
            line if line == "ready" => Ok(helper),
            other => Err(format!("{command:?} said {other:?}")),
        }
    }

    /// A namespace for a network and mounts.
    fn space() -> Result<Helper, String> {
        let mut unshare = Command::new("unshare");
        Helper::start(unshare.args(["--net", "--mount", "sh", "-c", "echo ready; exec cat"]))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        // It ended: an empty line says so.
        let _ = self.output.read_line(&mut line);
        line.trim_end().to_owned()
    }

    /// A command in its namespaces.
    fn enter(&self) -> Vec<String> {
        let pid = self.child.id().to_string();
        ["nsenter", "-t", &pid, "-n", "-m", "--"].map(String::from).to_vec()
    }

    fn run(&self, line: &str) -> Result<(), String> {
        let mut words = self.enter();
        words.extend(line.split(' ').map(String::from));
        let made = Command::new(&words[0]).args(&words[1..]).output().map_err(|e| e.to_string())?;
        match made.status.success() {
            true => Ok(()),
            false => Err(format!("{line}: {}", String::from_utf8_lossy(&made.stderr).trim())),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Machines on a switch.
pub struct Lab {
    /// The daemons; dropped, that is ended, before their machines.
    pub nodes: Vec<Node>,
    machines: Vec<Helper>,
    switch: Helper,
    _hub: Helper,
    programs: Programs,
}

impl Lab {
    /// So many machines without daemons; `None`, and the reason is printed, where they cannot be made.
    pub fn bare(programs: Programs, count: usize) -> Option<Lab> {
        if dvs_linux::paths::uid() != 0 {
            println!("skipped: only root can make network namespaces");
            return None;
        }
        match Lab::make(programs, count) {
            Ok(lab) => Some(lab),
            Err(why) => {
                println!("skipped: no network namespaces here: {why}");
                None
            }
        }
    }

    fn make(programs: Programs, count: usize) -> Result<Lab, String> {
        let (hub, mut machines) = (Helper::space()?, Vec::new());
        for n in 0..count {
            let machine = Helper::space()?;
            let pid = machine.child.id();
            hub.run(&format!("ip link add port{n} type veth peer name eth0 netns {pid}"))?;
            hub.run(&format!("ip link set port{n} up"))?;
            for line in [
                // The last two digits are the number of its port at the switch.
                format!("ip link set eth0 address 02:00:00:00:00:{n:02x}"),
                format!("ip addr add 10.99.0.{}/24 dev eth0", n + 1),
                "ip link set eth0 up".to_owned(),
                "ip link set lo up".to_owned(),
            ] {
                machine.run(&line)?;
            }
            machines.push(machine);
        }
        let mut switch = hub.enter();
        switch.extend([programs.switch.to_owned(), count.to_string()]);
        let switch = Helper::start(Command::new(&switch[0]).args(&switch[1..]))?;
        Ok(Lab { nodes: Vec::new(), machines, switch, _hub: hub, programs })
    }

    /// The same with a daemon on each, all of one system, with a majority of votes and the container of the
    /// tests on all of them.
    ///
    /// # Panics
    /// When they do not come together.
    pub fn start(programs: Programs, count: usize) -> Option<Lab> {
        let mut lab = Lab::bare(programs, count)?;
        (0..count).for_each(|n| lab.join(n, DISK));
        lab.wait_whole();
        let nodes = (0..count as u16).map(NodeId).collect();
        let plan = DcPlan { nodes, ..DcPlan::new(DC, "storm") };
        lab.nodes[0].attach().system().dc_init(&plan).expect("a new container");
        for node in &lab.nodes {
            let process = node.attach();
            until("the container is known", || process.system().dc_info(DC).is_ok_and(|i| i.flags == 0));
        }
        Some(lab)
    }

    /// The configuration of a machine's daemon.
    pub fn config(&self, n: usize, more: &str) -> String {
        let listen = format!("10.99.0.{}:{PORT}", n + 1);
        format!("node = \"n{n}\"\nlisten = \"{listen}\"\nruntime_dir = DIR\ndata_dir = DATA\n{more}")
    }

    /// Starts the next machine's daemon, and has it found the system or join it.
    ///
    /// # Panics
    /// When it does not begin.
    pub fn join(&mut self, n: usize, disk: &str) {
        assert_eq!(n, self.nodes.len(), "one after the other");
        let token = self.nodes.first().map(|first| format!("join = \"{}\"\n", first.token()));
        let config = self.config(n, &token.unwrap_or_default());
        self.prepare(n, &config, disk);
        let node = self.nodes.last_mut().expect("it was just added");
        node.revive();
        node.wait_status("it begins", |s| s.cluster.begun);
    }

    /// Adds a machine's daemon, and does not start it.
    ///
    /// # Panics
    /// When its disk cannot be mounted.
    pub fn prepare(&mut self, n: usize, config: &str, disk: &str) {
        let machine = &self.machines[n];
        let mut node = Node::prepare(self.programs.daemon, config);
        let data = node.data();
        machine
            .run(&format!("mount -t tmpfs -o mode=700,size={disk} none {}", data.display()))
            .expect("a disk");
        // It ends with us also when we are killed.
        node.enter_by(
            [machine.enter(), ["setpriv", "--pdeathsig", "KILL"].map(String::from).to_vec()].concat(),
        );
        self.nodes.push(node);
    }

    /// A command on a machine; it ends with us also when we are killed.
    pub fn command(&self, n: usize, program: &str) -> Command {
        let words = self.machines[n].enter();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["setpriv", "--pdeathsig", "KILL", program]);
        command
    }

    /// Where a machine's own disk is, seen from here.
    pub fn disk(&self, n: usize) -> PathBuf {
        let inside = self.nodes[n].data();
        let root = PathBuf::from(format!("/proc/{}/root", self.machines[n].child.id()));
        root.join(inside.strip_prefix("/").unwrap_or(&inside))
    }

    /// Fills a machine's disk to the last byte; removing the file that is returned makes room again.
    ///
    /// # Panics
    /// When it does not fill.
    pub fn fill(&self, n: usize) -> PathBuf {
        let path = self.disk(n).join("filler");
        let file = std::fs::File::create(&path).expect("a file on the machine's disk");
        let mut at = 0;
        for size in [64 << 10, 1] {
            while file.write_all_at(&vec![1; size], at).is_ok() {
                at += size as u64;
            }
        }
        path
    }

    /// What frames from one machine to another suffer: thousandths lost, µs of delay.
    ///
    /// # Panics
    /// When the switch has ended.
    pub fn way(&mut self, from: usize, to: usize, lost: u32, delay_us: u32) {
        writeln!(self.switch.input, "{from} {to} {lost} {delay_us}").expect("the switch listens");
        assert_eq!(self.switch.line(), "done");
    }

    /// The same for all from and to all others.
    pub fn weather(&mut self, lost: u32, delay_us: u32) {
        for from in 0..self.machines.len() {
            (0..self.machines.len())
                .filter(|to| *to != from)
                .for_each(|to| self.way(from, to, lost, delay_us));
        }
    }

    /// Cuts a machine off: nothing leaves it (`out`), nothing reaches it (`in_`).
    pub fn cut(&mut self, n: usize, out: bool, in_: bool) {
        for other in (0..self.machines.len()).filter(|o| *o != n) {
            self.way(n, other, if out { 1000 } else { 0 }, 0);
            self.way(other, n, if in_ { 1000 } else { 0 }, 0);
        }
    }

    /// As if nothing had been.
    pub fn heal(&mut self) {
        self.weather(0, 0);
    }

    /// Who leads by what the given node knows.
    pub fn leader(&self, asked: usize) -> Option<usize> {
        self.nodes[asked].status().cluster.leader.map(usize::from)
    }

    /// A leader that all of these agree on.
    ///
    /// # Panics
    /// When there is none in the watchdog's time.
    pub fn wait_leader(&self, asked: &[usize]) -> usize {
        let end = clock::now() + WATCHDOG_NS;
        loop {
            let said: Vec<_> = asked.iter().map(|n| self.leader(*n)).collect();
            if let Some(Some(leader)) = said.first()
                && asked.contains(leader)
                && said.iter().all(|s| s == &Some(*leader))
            {
                return *leader;
            }
            assert!(clock::now() < end, "no leader: {asked:?} say {said:?}");
            std::thread::yield_now();
        }
    }

    /// A majority decides something, asked at this node.
    ///
    /// # Panics
    /// When it has not in the watchdog's time.
    pub fn wait_decision(&self, asked: usize) {
        until(&format!("something is decided at node {asked}"), || {
            self.nodes[asked].decide(asked as u16).is_ok()
        });
    }

    /// Waits until a node says that another one is up, or not.
    ///
    /// # Panics
    /// When it does not in the watchdog's time.
    pub fn wait_standing(&self, asked: usize, of: usize, wanted: &str) {
        until(&format!("node {asked} says that {of} is {wanted}"), || {
            let rows = self.nodes[asked].rows();
            rows.iter().any(|r| usize::from(r.node) == of && r.standing == wanted)
        });
    }

    /// Waits until all are up, reached by all and may serve, and votes are given.
    ///
    /// # Panics
    /// When that does not come in the watchdog's time.
    pub fn wait_whole(&self) {
        let count = self.nodes.len();
        let votes = if count.is_multiple_of(2) { count - 1 } else { count }.clamp(1, 5);
        for (n, node) in self.nodes.iter().enumerate() {
            let good = |r: &dvsd::admin::NodeRow| r.standing == "up" && r.reached && r.role != "-";
            until(&format!("all is well at node {n}"), || {
                let rows = node.rows();
                let voters = rows.iter().filter(|r| r.role == "voter" || r.role == "leader").count();
                let whole = rows.len() == count && rows.iter().all(good) && voters == votes;
                whole && node.status().cluster.lease
            });
        }
        self.wait_leader(&(0..count).collect::<Vec<_>>());
    }
}

/// Tries until it is so.
///
/// # Panics
/// When it is not in the watchdog's time.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = clock::now() + WATCHDOG_NS;
    while !so() {
        assert!(clock::now() < end, "waited in vain until {what}");
        // Gives the processors to the five daemons it waits for.
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
}
