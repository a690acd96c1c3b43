//! A daemon as a process in a folder of its own.

use crate::measure::{self, Held};
use crate::{DC, WATCHDOG_NS};
use dvs_linux::clock;
use dvsd::admin::{AdminAnswer, AdminRequest, NodeRow, Status};
use dvsd::client::AdminClient;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Lines of its log that a test that fails shows.
const SHOWN: usize = 150;

/// One node without others.
pub struct Node {
    program: PathBuf,
    base: tempfile::TempDir,
    child: Option<Child>,
    /// Most descriptors it may have; zero for as many as the system says.
    descriptors: u32,
    /// What its program is started by, if not by us: a command that enters other namespaces.
    enter: Vec<String>,
}

impl Node {
    /// Starts a daemon and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    pub fn start(program: &str) -> Node {
        Node::start_with(program, 0)
    }

    /// The same with so many descriptors at most.
    ///
    /// # Panics
    /// When it does not.
    pub fn start_with(program: &str, descriptors: u32) -> Node {
        Node::start_as(program, descriptors, "runtime_dir = DIR\ndata_dir = DATA\n")
    }

    /// The same with this configuration, in which `DIR` and `DATA` stand for its folders.
    ///
    /// # Panics
    /// When it does not.
    pub fn start_as(program: &str, descriptors: u32, config: &str) -> Node {
        let mut node = Node::prepare(program, config);
        node.descriptors = descriptors;
        node.revive();
        node
    }

    /// Folders and a file for a node that is not started yet.
    ///
    /// # Panics
    /// When they cannot be made.
    pub fn prepare(program: &str, config: &str) -> Node {
        let base = tempfile::tempdir().expect("a temporary folder");
        let node = Node { program: program.into(), base, child: None, descriptors: 0, enter: Vec::new() };
        let data = node.data();
        std::fs::create_dir(&data).expect("a folder in the temporary folder");
        let text = config.replace("DIR", &format!("{:?}", node.dir())).replace("DATA", &format!("{data:?}"));
        std::fs::write(node.file(), text).expect("a file in the temporary folder");
        node
    }

    /// Has its program started by this command from now on.
    pub fn enter_by(&mut self, command: Vec<String>) {
        self.enter = command;
    }

    /// Where it keeps its part of the replicated state.
    pub fn data(&self) -> PathBuf {
        self.base.path().join("data")
    }

    /// Starts it again after [`Node::kill`].
    ///
    /// # Panics
    /// When it does not start.
    pub fn revive(&mut self) {
        self.spawn();
        let end = clock::now() + WATCHDOG_NS;
        while !self.serves() {
            assert!(clock::now() < end && self.runs(), "the daemon does not start");
            std::thread::yield_now();
        }
    }

    /// Whether somebody who asks it is answered.
    pub fn serves(&self) -> bool {
        AdminClient::connect(&self.admin_socket()).is_ok()
    }

    /// Starts its program, and does not wait.
    ///
    /// # Panics
    /// When there is none.
    pub fn spawn(&mut self) {
        let mut command = match (self.descriptors, self.enter.split_first()) {
            (0, None) => Command::new(&self.program),
            (0, Some((first, more))) => {
                let mut command = Command::new(first);
                command.args(more).arg(&self.program);
                command
            }
            (most, _) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", &format!("ulimit -n {most}; exec \"$0\" \"$1\"")]).arg(&self.program);
                shell
            }
        };
        // Its input is ours until we end or drop it: it ends with that.
        command.arg(self.file()).stdin(Stdio::piped()).stderr(self.ear());
        self.child = Some(command.spawn().expect("the daemon's program"));
    }

    /// Kills it with -9.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("a child can be killed");
        child.wait().expect("a child can be waited for");
    }

    /// Waits for one that has ended by itself; closes its input, with which one that runs ends too.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn reap(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.wait().expect("a child can be waited for");
        }
    }

    /// Its folder.
    pub fn dir(&self) -> PathBuf {
        self.base.path().join("n")
    }

    /// A folder for what the tests write.
    pub fn scratch(&self) -> &Path {
        self.base.path()
    }

    /// Where all lives of its daemon log to; shown when the test fails.
    fn said(&self) -> PathBuf {
        self.base.path().join("said")
    }

    fn ear(&self) -> Stdio {
        let file = std::fs::File::options().create(true).append(true).open(self.said());
        file.map_or_else(|_| Stdio::inherit(), Stdio::from)
    }

    fn file(&self) -> PathBuf {
        self.base.path().join("dvs.toml")
    }

    /// Where programs connect.
    pub fn socket(&self) -> PathBuf {
        dvsd::paths::session_socket(&self.dir())
    }

    /// Where the command line connects.
    pub fn admin_socket(&self) -> PathBuf {
        dvsd::paths::admin_socket(&self.dir())
    }

    /// Its process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|c| matches!(c.try_wait(), Ok(None)))
    }

    /// What it holds.
    pub fn held(&self) -> Held {
        measure::held(self.pid())
    }

    /// How many descriptors it holds when nobody asks it anything: the fewest of many looks, since the
    /// connection of the last who asked may be there still.
    pub fn settled_fds(&self) -> usize {
        let look = |_| {
            std::thread::yield_now();
            self.held().fds
        };
        (0..500).map(look).min().unwrap_or(0)
    }

    /// What it says of itself.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn status(&self) -> Status {
        let mut admin = AdminClient::connect(&self.admin_socket()).expect("the daemon serves");
        let parts = admin.all(&AdminRequest::Status).expect("the daemon answers");
        match parts.into_iter().next() {
            Some(AdminAnswer::Status(s)) => s,
            other => panic!("{other:?}"),
        }
    }

    /// What it says of all nodes, unless it does not answer.
    pub fn rows(&self) -> Vec<NodeRow> {
        let asked = AdminClient::connect(&self.admin_socket()).and_then(|mut a| a.all(&AdminRequest::Nodes));
        let rows = |part| match part {
            AdminAnswer::Nodes(rows) => rows,
            _ => Vec::new(),
        };
        asked.unwrap_or_default().into_iter().flat_map(rows).collect()
    }

    /// Has the system decide something of no consequence; see [`decide_at`].
    ///
    /// # Errors
    /// As there.
    pub fn decide(&self, node: u16) -> Result<(), String> {
        decide_at(&self.admin_socket(), node)
    }

    /// A token for one more node.
    ///
    /// # Panics
    /// When it makes none.
    pub fn token(&self) -> String {
        let mut admin = AdminClient::connect(&self.admin_socket()).expect("the daemon serves");
        admin.token(1).expect("a majority is there")
    }

    /// Waits until it says `wanted` of itself.
    ///
    /// # Panics
    /// When it does not in the watchdog's time.
    pub fn wait_status(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let end = clock::now() + WATCHDOG_NS;
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(clock::now() < end, "{what}: {status:?}");
            std::thread::yield_now();
        }
    }

    /// Waits until nobody is connected and nothing is bound.
    ///
    /// # Panics
    /// When something stays.
    pub fn wait_empty(&self) -> Status {
        self.wait_status("something was left behind", |s| {
            (s.sessions, s.endpoints, s.links, s.lanes) == (0, 0, 0, 0)
        })
    }

    /// Attaches this process.
    ///
    /// # Panics
    /// When the daemon does not accept it.
    pub fn attach(&self) -> dvs::Process {
        dvs::attach_to(&self.socket(), "test").expect("the daemon accepts the test")
    }

    /// Makes the container of the tests.
    ///
    /// # Panics
    /// When the daemon refuses.
    pub fn make_dc(&self) {
        self.attach().system().dc_init(&dvs::DcPlan::new(DC, "storm")).expect("a new container");
    }
}

/// Has the system of the daemon at `admin_socket` decide something of no consequence: that a node is not to
/// be emptied.
///
/// # Errors
/// The reason: no majority has answered in time; the daemon does not run.
pub fn decide_at(admin_socket: &Path, node: u16) -> Result<(), String> {
    let order = AdminRequest::Drain { node, on: false };
    let asked = AdminClient::connect(admin_socket).and_then(|mut a| a.all(&order));
    match asked.map_err(|e| e.to_string())?.into_iter().next() {
        Some(AdminAnswer::Refused { why, .. }) => Err(why),
        _ => Ok(()),
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let text = std::fs::read_to_string(self.said()).unwrap_or_default();
            let from = text.lines().count().saturating_sub(SHOWN);
            eprintln!("{} said last:", self.base.path().display());
            text.lines().skip(from).for_each(|line| eprintln!("  {line}"));
        }
    }
}
