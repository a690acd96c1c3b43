//! Several daemons on the loopback, joined directly or through forwarders that cut.

use super::{WATCHDOG_NS, watchdog};
use dvs::{DcId, DcPlan, NodeId, Process};
use dvs_linux::clock;
use dvsd::client::AdminClient;
use dvsd::paths;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub const DC: DcId = DcId(1);

/// Nodes of one system, as processes, with a container over all of them.
pub struct Net {
    pub dirs: Vec<PathBuf>,
    pub daemons: Vec<Child>,
    files: Vec<PathBuf>,
    _base: tempfile::TempDir,
}

/// Tries until it is so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = watchdog();
    while !so() {
        assert!(!end.passed(clock::now()), "waited {} s in vain until {what}", WATCHDOG_NS / 1_000_000_000);
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

pub use dvs_linux::testing::own_address as free_address;

impl Net {
    /// `count` nodes without TLS.
    pub fn start(count: usize) -> Net {
        let at: Vec<SocketAddr> = (0..count).map(|_| free_address()).collect();
        Net::start_seen(&at, |_, other| at[other])
    }

    /// Nodes that listen at `at`; node `i` is told that it finds node `j` at `seen(i, j)`.
    pub fn start_seen(at: &[SocketAddr], seen: impl Fn(usize, usize) -> SocketAddr) -> Net {
        let base = tempfile::tempdir().unwrap();
        let mut net = Net { dirs: Vec::new(), daemons: Vec::new(), files: Vec::new(), _base: base };
        for (i, listen) in at.iter().enumerate() {
            let dir = net._base.path().join(format!("n{i}"));
            let data = net._base.path().join(format!("data{i}"));
            let mut text = format!(
                "node = \"n{i}\"\nruntime_dir = {dir:?}\ndata_dir = {data:?}\nsecurity = \"plain\"\n\
                 listen = \"{listen}\"\n"
            );
            if i > 0 {
                writeln!(text, "join = \"{}\"", net.token()).unwrap();
            }
            text += "[timeouts]\nlease_ms = 2000\n[reach]\n";
            for j in (0..at.len()).filter(|j| *j != i) {
                writeln!(text, "n{j} = \"{}\"", seen(i, j)).unwrap();
            }
            let file = net._base.path().join(format!("n{i}.toml"));
            std::fs::write(&file, text).unwrap();
            net.daemons.push(spawn(&file));
            net.dirs.push(dir);
            net.files.push(file);
            // Its number is its place in the order of joining.
            net.ready(i);
        }
        net.make_dc();
        net
    }

    fn token(&self) -> String {
        AdminClient::connect(&paths::admin_socket(&self.dirs[0])).unwrap().token(1).unwrap()
    }

    fn ready(&self, n: usize) {
        let admin = paths::admin_socket(&self.dirs[n]);
        until("the daemon listens", || AdminClient::connect(&admin).is_ok());
    }

    fn make_dc(&self) {
        let first = self.attach(0);
        let all: Vec<NodeId> = (0..self.dirs.len() as u16).map(NodeId).collect();
        for node in &all[1..] {
            until("the nodes are joined", || {
                first.system().node_info(Some(*node)).is_ok_and(|i| i.flags & 12 == 12)
            });
        }
        let plan = DcPlan { nodes: all, ..DcPlan::new(DC, "dc") };
        first.system().dc_init(&plan).unwrap();
        for n in 1..self.dirs.len() {
            let process = self.attach(n);
            until("the container is known", || process.system().dc_info(DC).is_ok_and(|i| i.flags == 0));
        }
    }

    /// A session with a node.
    pub fn attach(&self, n: usize) -> Process {
        dvs::attach_to(&paths::session_socket(&self.dirs[n]), "test").unwrap()
    }

    pub fn kill(&mut self, n: usize) {
        self.daemons[n].kill().unwrap();
        self.daemons[n].wait().unwrap();
    }

    pub fn restart(&mut self, n: usize) {
        self.daemons[n] = spawn(&self.files[n]);
        self.ready(n);
    }
}

fn spawn(file: &Path) -> Child {
    let err = if std::env::var_os("DVSD_LOUD").is_some() { Stdio::inherit() } else { Stdio::null() };
    Command::new(env!("CARGO_BIN_EXE_dvsd")).arg(file).stderr(err).spawn().unwrap()
}

impl Drop for Net {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}
