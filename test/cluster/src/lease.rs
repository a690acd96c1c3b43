//! Instances of a service that answer where they are, and callers that note who answered when.

use crate::DC;
use crate::actor::Actor;
use crate::node::Node;
use crate::roles::{attach, bind, say, told_to_end};
use dvs::{Code, Endpoint, Message, Rule, ServiceKind, ServicePlan, Timeout};
use dvs_linux::clock;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Where the service is.
pub const SERVICE: Endpoint = Endpoint::new(0, 20);
/// A call that takes longer is given up: the caller is to be answered by somebody else.
const PATIENCE: Timeout = Timeout::After(Duration::from_millis(100));
/// Between two calls, so that notes stay few.
const PAUSE: Duration = Duration::from_millis(1);

/// `instance SOCKET KIND`: declares the service if nobody has, answers as one of its instances.
///
/// # Panics
/// When it cannot.
pub fn serve(socket: &Path, kind: &str) {
    told_to_end(true);
    let process = attach(socket, "instance");
    let kind = if kind == "single" { ServiceKind::Single } else { ServiceKind::Passive };
    let plan = ServicePlan { name: "place".into(), kind, rule: Rule::Stop, nodes: Vec::new() };
    process.system().declare(DC, SERVICE.slot(), &plan).expect("a service can be declared");
    let port = bind(&process, SERVICE);
    say("ready");
    let mut m = Message::default();
    while port.receive(Endpoint::ANY, &mut m, Timeout::Forever).is_ok() {
        m.set_word(0, u64::from(process.node().0));
        // The caller may have given up.
        let _ = port.reply(m.source(), &mut m, Timeout::Forever);
    }
}

/// `asker SOCKET [changes]`: calls all the time, says who answered when. With `changes` only when it is
/// another one than before, and without a pause between calls.
///
/// # Panics
/// When it is told what must not be.
pub fn ask(socket: &Path, changes: bool) {
    let mut last = None;
    let end = told_to_end(false);
    let process = attach(socket, "asker");
    let port = bind(&process, Endpoint::NONE);
    while !end.load(Ordering::Acquire) {
        let mut m = Message::new(1);
        match port.sendrec(SERVICE, &mut m, PATIENCE) {
            Ok(()) if changes && last.replace(m.word(0)) == Some(m.word(0)) => continue,
            Ok(()) => say(&format!("{} {}", m.word(0), clock::now())),
            Err(e) if matches!(e.code, Code::DVSINIT | Code::SHUTDOWN) => return,
            Err(_) => {}
        }
        if !changes {
            std::thread::sleep(PAUSE);
        }
    }
}

/// One answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answered {
    /// Of the instance on this node,
    pub by: u64,
    /// at this time of the clock of all.
    pub at: u64,
}

/// A caller and what it saw.
pub struct Asker {
    seen: Arc<Mutex<Vec<Answered>>>,
    /// Ends it when dropped.
    pub pid: u32,
    actor: Option<std::thread::JoinHandle<Actor>>,
}

impl Asker {
    /// Starts one at a node.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start(program: &str, node: &Node) -> Asker {
        Asker::start_with(program, node, &[])
    }

    /// One that says only when another instance answers than before, and makes no pauses.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn of_changes(program: &str, node: &Node) -> Asker {
        Asker::start_with(program, node, &["changes".to_owned()])
    }

    fn start_with(program: &str, node: &Node, arguments: &[String]) -> Asker {
        let mut actor = Actor::start(program, "asker", &node.socket(), arguments);
        let (seen, pid) = (Arc::<Mutex<Vec<Answered>>>::default(), actor.pid());
        let notes = seen.clone();
        let read = move || {
            while let Some(line) = actor.line() {
                let mut words = line.split(' ').filter_map(|w| w.parse().ok());
                if let (Some(by), Some(at)) = (words.next(), words.next()) {
                    notes.lock().unwrap_or_else(PoisonError::into_inner).push(Answered { by, at });
                }
            }
            actor
        };
        Asker { seen, pid, actor: Some(std::thread::spawn(read)) }
    }

    /// What it has seen.
    pub fn seen(&self) -> Vec<Answered> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it is answered by a node, later than `after`; when that was.
    ///
    /// # Panics
    /// When it is not.
    pub fn wait_answered(&self, by: u64, after: u64) -> u64 {
        let end = clock::now() + crate::WATCHDOG_NS;
        loop {
            let seen = self.seen();
            if let Some(found) = seen.iter().find(|a| a.by == by && a.at > after) {
                return found.at;
            }
            assert!(clock::now() < end, "no answer of node {by}; the last: {:?}", seen.last());
            // The processors are for those it waits for.
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.pid as i32) {
            // It is a child that was not waited for yet.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        // Its end is the end of its lines.
        let _ = self.actor.take().map(std::thread::JoinHandle::join);
    }
}
