//! What the demo needs around it, and how it is removed.
//!
//! ```text
//!   as root, with `ip`                                otherwise
//!   ┌ dvsdemoN-1 ┐ ┌ dvsdemoN-2 ┐ ┌ dvsdemoN-3 ┐      one network, the nodes at
//!   │ 10.99.0.1  │ │ 10.99.0.2  │ │ 10.99.0.3  │      127.0.0.2, 127.0.0.3, 127.0.0.4
//!   └─────┬──────┘ └─────┬──────┘ └─────┬──────┘
//!      ┌──┴──────────────┴──────────────┴──┐
//!      │ bridge, in namespace dvsdemoN-0   │           N: number of this process
//!      └───────────────────────────────────┘
//! ```
//! The bridge is in a namespace too, so nothing of the machine's own network is touched.

use super::DC;
use super::tale::{command, line};
use crate::fail::{Done, Fail};
use crate::node::Node;
use dvs_linux::paths::{base_dir, runtime_dir};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long nodes may take to answer and to find each other.
const PATIENCE: Duration = Duration::from_secs(20);

/// All that was made.
pub struct World {
    number: u32,
    program: PathBuf,
    folder: PathBuf,
    names: [String; 3],
    /// Namespaces of the bridge and the nodes; empty without.
    namespaces: Vec<String>,
    daemons: Vec<Child>,
    children: Vec<Child>,
    /// The node each of them is on.
    serving: Vec<String>,
    /// Process groups of commands whose output is still wanted.
    groups: Vec<Pid>,
}

/// A command whose output is read at its end.
pub struct Running {
    child: Child,
}

/// The lock of the world; also after a panic, since it has to be removed.
pub fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the clients run for a while: the story takes time, nothing is waited for.
pub fn pause(time: Duration) {
    // tidy: time is what is shown here
    std::thread::sleep(time);
}

/// Milliseconds since 1970.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// A program beside this one.
pub fn sibling(name: &str) -> Done<String> {
    let path = std::env::current_exe().map_err(Fail::new)?.with_file_name(name);
    match path.exists() {
        true => Ok(path.display().to_string()),
        false => Err(Fail::new(format!("{} is missing", path.display()))
            .next("build it: cargo build --release -p dvs-kv-example")),
    }
}

/// The libraries of the Rust toolchain: some hundred megabytes on every machine that could build this.
pub fn toolchain() -> Done<PathBuf> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string()).unwrap_or_default();
    let folder = Path::new(&text).join("lib");
    match !text.is_empty() && folder.is_dir() {
        true => Ok(folder),
        false => Err(Fail::new("there is no rustc whose files could be copied")
            .next("name a tree: dvs demo --tree FOLDER")),
    }
}

impl World {
    /// Nothing yet but a folder.
    pub fn new() -> Done<World> {
        let number = std::process::id();
        let folder = std::env::temp_dir().join(format!("dvs-demo-{number}"));
        std::fs::create_dir(&folder).map_err(|e| Fail::new(e).of(folder.display()))?;
        let free = (1..=3).all(|i| !base_dir().join(format!("demo{i}")).exists());
        let name = |i: u32| if free { format!("demo{i}") } else { format!("d{number}-{i}") };
        Ok(World {
            number,
            program: std::env::current_exe().map_err(Fail::new)?,
            folder,
            names: [name(1), name(2), name(3)],
            namespaces: Vec::new(),
            daemons: Vec::new(),
            children: Vec::new(),
            serving: Vec::new(),
            groups: Vec::new(),
        })
    }

    /// The nodes.
    pub fn names(&self) -> [String; 3] {
        self.names.clone()
    }

    /// A folder below that of the demo.
    pub fn folder(&self, name: &str) -> Done<PathBuf> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).map_err(|e| Fail::new(e).of(folder.display()))?;
        Ok(folder)
    }

    /// Networks for the nodes; what was made.
    pub fn make_networks(&mut self, loopback: bool) -> Done<String> {
        let loopback_text = "the nodes listen at 127.0.0.2, 127.0.0.3 and 127.0.0.4";
        if loopback || dvs_linux::paths::uid() != 0 {
            return Ok(format!("{loopback_text}; as root each would get a network of its own"));
        }
        let n = self.number;
        let mut script = Vec::new();
        self.namespaces = (0..4).map(|i| format!("dvsdemo{n}-{i}")).collect();
        let hub = self.namespaces[0].clone();
        script.push(format!("netns add {hub}"));
        script.push(format!("-n {hub} link add br0 type bridge"));
        script.push(format!("-n {hub} link set br0 up"));
        for (i, ns) in self.namespaces.iter().enumerate().skip(1) {
            script.push(format!("netns add {ns}"));
            script.push(format!("-n {hub} link add port{i} type veth peer name eth0 netns {ns}"));
            script.push(format!("-n {hub} link set port{i} master br0 up"));
            script.push(format!("-n {ns} addr add 10.99.0.{i}/24 dev eth0"));
            script.push(format!("-n {ns} link set eth0 up"));
            script.push(format!("-n {ns} link set lo up"));
        }
        for line in &script {
            if let Err(why) = ip(line) {
                self.remove_networks();
                return Ok(format!("{loopback_text}; namespaces cannot be made here: {why}"));
            }
        }
        Ok(format!(
            "three network namespaces, 10.99.0.1 to 10.99.0.3, joined by a bridge in a fourth ({hub})"
        ))
    }

    /// Where a node keeps what is its own.
    fn data(&self, node: usize) -> PathBuf {
        self.folder.join(format!("data-{}", node + 1))
    }

    /// Where it listens.
    fn address(&self, node: usize) -> String {
        match self.namespaces.is_empty() {
            true => format!("127.0.0.{}:{}", node + 2, 20_000 + self.number % 20_000),
            false => format!("10.99.0.{}:7400", node + 1),
        }
    }

    /// A command on a node: in its network, if it has one.
    fn on(&self, node: usize) -> Command {
        let mut c = match self.namespaces.get(node + 1) {
            None => Command::new(&self.program),
            Some(ns) => {
                let mut c = Command::new("ip");
                c.args(["netns", "exec", ns]).arg(&self.program);
                c
            }
        };
        // Its own group: Ctrl-C is for the demo alone, which then ends the whole group.
        dvs_linux::signal::unblocked(&mut c).process_group(0);
        c
    }

    fn typed(&self, node: usize, arguments: &[&str]) {
        let short = |a: &&str| {
            let path = Path::new(*a);
            let ours = path.starts_with(self.program.parent().unwrap_or(path));
            let name = path.file_name().filter(|_| ours && path.is_absolute());
            name.map_or_else(|| (*a).to_string(), |n| n.to_string_lossy().into_owned())
        };
        let words: Vec<String> = arguments.iter().map(short).collect();
        command(&format!("dvs --node {} {}", self.names[node], words.join(" ")));
    }

    /// Starts the first daemon, has the others join, and waits until each knows the others.
    pub fn start_nodes(&mut self) -> Done<()> {
        self.start_node(0, None)?;
        for node in 1..3 {
            self.typed(0, &["token"]);
            let made = self.on(0).args(["--node", &self.names[0], "token"]).output().map_err(Fail::new)?;
            if !made.status.success() {
                return Err(Fail::new(String::from_utf8_lossy(&made.stderr)).of("dvs token"));
            }
            let token = String::from_utf8_lossy(&made.stdout).trim().to_string();
            line(&format!("{}…", token.chars().take(24).collect::<String>()));
            self.start_node(node, Some(token))?;
        }
        for name in &self.names {
            let node = Node::find(Some(name), None);
            let connected = || {
                let s = node.status().ok()?;
                // Flags: bits 2 and 3, both directions of the connection.
                let up = s.nodes.iter().filter(|n| n.node == s.node || n.flags & 0xc == 0xc).count();
                (up == 3).then_some(s)
            };
            let s =
                until(connected).ok_or_else(|| Fail::new(format!("node {name} does not find the others")))?;
            line(&format!(
                "{name} runs, pid {}, {} KiB, connected to {} others",
                s.pid,
                s.resident_kib,
                s.nodes.len() - 1
            ));
        }
        Ok(())
    }

    fn start_node(&mut self, node: usize, token: Option<String>) -> Done<()> {
        let file = self.folder.join(format!("{}.toml", self.names[node]));
        let (name, data, address) = (&self.names[node], self.data(node), self.address(node));
        let mut text = format!("node = \"{name}\"\ndata_dir = {data:?}\nlisten = \"{address}\"\n");
        match token {
            None => command(&format!("dvs --node {name} up --listen {address}")),
            Some(token) => {
                command(&format!("dvs --node {name} join dvs1-… --listen {address}"));
                text += &format!("join = \"{token}\"\n");
            }
        }
        std::fs::write(&file, text).map_err(|e| Fail::new(e).of(file.display()))?;
        let daemon = self.spawn_daemon(node)?;
        self.daemons.push(daemon);
        self.wait_begun(node)
    }

    fn spawn_daemon(&self, node: usize) -> Done<Child> {
        let name = &self.names[node];
        let file = self.folder.join(format!("{name}.toml"));
        let log = self.folder.join(format!("{name}.log"));
        let log = std::fs::File::options().create(true).append(true).open(log);
        let log = log.map_err(|e| Fail::new(e).of("the daemon's log"))?;
        let errors = log.try_clone().map_err(Fail::new)?;
        let mut c = self.on(node);
        c.arg("daemon").arg("--config").arg(&file).stdin(Stdio::null()).stdout(log).stderr(errors);
        c.spawn().map_err(|e| Fail::new(e).of("cannot start the daemon"))
    }

    fn wait_begun(&self, node: usize) -> Done<()> {
        let door = Node::find(Some(&self.names[node]), None);
        let begun = || door.status().ok().filter(|s| s.cluster.begun);
        until(begun).map(drop).ok_or_else(|| Fail::new(format!("node {} does not start", self.names[node])))
    }

    /// Types and runs a command, and shows what it says.
    pub fn run(&self, node: usize, arguments: &[&str]) -> Done<()> {
        self.typed(node, arguments);
        let output = self.on(node).args(["--node", &self.names[node]]).args(arguments).output();
        let output = output.map_err(Fail::new)?;
        for text in String::from_utf8_lossy(&output.stdout).lines() {
            line(text);
        }
        match output.status.success() {
            true => Ok(()),
            false => Err(Fail::new(String::from_utf8_lossy(&output.stderr).trim())
                .of(format!("dvs {}", arguments.join(" ")))),
        }
    }

    /// Starts a command whose output is wanted later.
    pub fn start(&mut self, node: usize, arguments: &[&str], shown: bool) -> Done<Running> {
        if shown {
            self.typed(node, arguments);
        }
        let mut c = self.on(node);
        c.args(["--node", &self.names[node]]).args(arguments);
        let child = c.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(Fail::new)?;
        self.groups.push(Pid::from_child(&child));
        Ok(Running { child })
    }

    /// Starts a command that goes on, and waits until it says that it serves.
    pub fn serve(&mut self, node: usize, arguments: &[&str]) -> Done<()> {
        let Running { mut child } = self.start(node, arguments, true)?;
        let mut first = String::new();
        if let Some(out) = child.stdout.take() {
            // Whoever cannot serve ends, which ends the line too.
            let _ = BufReader::new(out).read_line(&mut first);
        }
        self.groups.pop();
        self.children.push(child);
        self.serving.push(self.names[node].clone());
        if first.is_empty() {
            return Err(Fail::new(format!("dvs {} ended at once", arguments.join(" "))));
        }
        line(first.trim());
        Ok(())
    }

    /// Kills the command that serves on a node and was started last there, as by a crash.
    pub fn kill_last(&mut self, node: usize) -> Done<()> {
        self.signal_last(node, Signal::KILL)
    }

    /// Asks it to end in order.
    pub fn end_last(&mut self, node: usize) -> Done<()> {
        command(&format!("kill (what was started last on {})", self.names[node]));
        self.signal_last(node, Signal::TERM)
    }

    fn signal_last(&mut self, node: usize, signal: Signal) -> Done<()> {
        let mark = self.names[node].clone();
        let last = self.serving.iter().rposition(|n| *n == mark).filter(|i| *i < self.children.len());
        let at = last.ok_or_else(|| Fail::new(format!("nothing serves on {mark}")))?;
        self.serving.remove(at);
        let mut child = self.children.remove(at);
        let _ = kill_process_group(Pid::from_child(&child), signal);
        child.wait().map(drop).map_err(Fail::new)
    }

    /// Kills all that runs on a node, its daemon first.
    pub fn kill_node(&mut self, node: usize) -> Done<()> {
        command(&format!("kill -9 (the daemon of {} and all its programs)", self.names[node]));
        self.daemons[node].kill().map_err(Fail::new)?;
        self.daemons[node].wait().map_err(Fail::new)?;
        while self.kill_last(node).is_ok() {}
        Ok(())
    }

    /// Starts the daemon of a node that was killed.
    pub fn revive_node(&mut self, node: usize) -> Done<()> {
        let daemon = self.spawn_daemon(node)?;
        self.daemons[node] = daemon;
        self.wait_begun(node)
    }

    /// Whether each node has a network of its own.
    pub fn has_networks(&self) -> bool {
        !self.namespaces.is_empty()
    }

    /// Cuts a node off, or not any more; without networks its daemon stands still meanwhile.
    pub fn isolate(&self, node: usize, on: bool) -> Done<()> {
        if !self.has_networks() {
            let (name, signal) = if on { ("STOP", Signal::STOP) } else { ("CONT", Signal::CONT) };
            command(&format!("kill -{name} (the daemon of {})", self.names[node]));
            return kill_process(Pid::from_child(&self.daemons[node]), signal).map_err(Fail::new);
        }
        let way = if on { "down" } else { "up" };
        let what = format!("-n {} link set port{} {way}", self.namespaces[0], node + 1);
        command(&format!("ip {what}"));
        ip(&what).map_err(Fail::new)
    }

    /// All commands that were started for their output have ended.
    pub fn all_read(&mut self) {
        self.groups.clear();
    }

    /// The ends of the daemons' logs, when the story broke.
    pub fn show_logs(&self) {
        for name in &self.names {
            let text = std::fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default();
            for said in text.lines().rev().take(5).collect::<Vec<_>>().into_iter().rev() {
                eprintln!("{name}: {said}");
            }
        }
    }

    /// Removes all that was made; what could not be.
    pub fn remove(&mut self) -> Vec<String> {
        for daemon in &self.daemons {
            // One may stand still at this point of the story.
            let _ = kill_process(Pid::from_child(daemon), Signal::CONT);
        }
        if !self.daemons.is_empty() {
            // Asks every program in it to end. When a node is dead already, the next step ends them.
            let _ = self.run(0, &["dc", "rm", DC, "--yes"]);
        }
        for (i, daemon) in self.daemons.iter_mut().enumerate() {
            command(&format!("dvs --node {} down", self.names[i]));
            let down = Command::new(&self.program).args(["--node", &self.names[i], "down"]).output();
            if !down.is_ok_and(|o| o.status.success()) {
                let _ = daemon.kill();
            }
            let _ = daemon.wait();
        }
        // Programs whose daemon ended end too, with an error that is of no interest here.
        for child in &mut self.children {
            let ended = until_for(Duration::from_secs(2), || child.try_wait().ok().flatten());
            if ended.is_none() {
                let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
                let _ = child.wait();
            }
        }
        for group in self.groups.drain(..) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        self.daemons.clear();
        self.children.clear();
        self.serving.clear();
        self.remove_networks();
        let mut left = Vec::new();
        for name in &self.names {
            let _ = std::fs::remove_dir_all(runtime_dir(name));
            left.extend(Some(runtime_dir(name)).filter(|d| d.exists()).map(|d| d.display().to_string()));
        }
        if let Err(e) = std::fs::remove_dir_all(&self.folder) {
            left.extend(
                (e.kind() != std::io::ErrorKind::NotFound).then(|| format!("{}: {e}", self.folder.display())),
            );
        }
        left.extend(self.left_in_system());
        left
    }

    fn remove_networks(&mut self) {
        for ns in self.namespaces.drain(..) {
            // It may not have been made.
            let _ = ip(&format!("netns del {ns}"));
        }
    }

    /// Processes, sockets and namespaces that bear our names.
    fn left_in_system(&self) -> Vec<String> {
        let mut left = Vec::new();
        let marks: Vec<String> = self
            .names
            .iter()
            .map(|n| format!("--node\0{n}\0"))
            .chain([self.folder.display().to_string()])
            .collect();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            if marks.iter().any(|m| line.contains(m)) {
                left.push(format!("process {} ({})", entry.file_name().display(), line.replace('\0', " ")));
            }
        }
        let sockets = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
        for name in &self.names {
            let path = format!("{}/", runtime_dir(name).display());
            left.extend(sockets.lines().filter(|l| l.contains(&path)).map(|l| format!("socket {l}")));
        }
        let prefix = format!("dvsdemo{}-", self.number);
        let spaces = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
        left.extend(
            spaces
                .map(|e| e.file_name().display().to_string())
                .filter(|n| n.starts_with(&prefix))
                .map(|n| format!("namespace {n}")),
        );
        left
    }
}

impl Running {
    /// What it printed, once it ended well.
    pub fn output(mut self) -> Done<String> {
        let mut text = String::new();
        if let Some(mut out) = self.child.stdout.take() {
            out.read_to_string(&mut text).map_err(Fail::new)?;
        }
        let ended = self.child.wait().map_err(Fail::new)?;
        if ended.success() { Ok(text) } else { Err(Fail::new(format!("a client ended with {ended}"))) }
    }
}

/// Types and runs a command and reads its result as JSON; the world stays free meanwhile.
pub fn run_json(world: &Mutex<World>, node: usize, arguments: &[&str]) -> Done<Value> {
    lock(world).typed(node, arguments);
    quiet_json(world, node, arguments)
}

/// The same without saying so: the story asks for itself. What others have started goes on.
pub fn quiet_json(world: &Mutex<World>, node: usize, arguments: &[&str]) -> Done<Value> {
    let (running, group) = {
        let mut w = lock(world);
        let running = w.start(node, &[&["--output", "json"], arguments].concat(), false)?;
        (running, w.groups.last().copied())
    };
    let text = running.output();
    lock(world).groups.retain(|g| Some(*g) != group);
    serde_json::from_str(&text?).map_err(Fail::new)
}

fn ip(arguments: &str) -> Result<(), String> {
    let made = Command::new("ip").args(arguments.split(' ')).output().map_err(|e| e.to_string())?;
    match made.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&made.stderr).trim().to_string()),
    }
}

fn until<T>(found: impl FnMut() -> Option<T>) -> Option<T> {
    until_for(PATIENCE, found)
}

fn until_for<T>(time: Duration, mut found: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    loop {
        match found() {
            Some(t) => return Some(t),
            None if begin.elapsed() > time => return None,
            // tidy: other programs change at unknown moments
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
