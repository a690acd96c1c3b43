//! Servers and clients on the nodes of a lab, and what the clients saw.
//!
//! Clients of all nodes call all servers, with every kind of call, and note how each call ended; servers note
//! what they consumed ([`crate::roles`]). Whoever ends because its daemon did is started again; who lives on
//! where a node was taken for lost binds again. At the end the two are compared ([`crate::judge`]).

use crate::WATCHDOG_NS;
use crate::actor::Actor;
use crate::journal::{self, Entry, What};
use crate::judge::{Life, Verdict, judge};
use crate::lab::Lab;
use crate::roles;
use dvs_linux::clock;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

struct Member {
    server: Option<u32>,
    node: usize,
    actor: Actor,
    journal: PathBuf,
}

/// The helpers of a test.
pub struct Crew {
    program: &'static str,
    folder: tempfile::TempDir,
    members: Vec<Member>,
    lives: Vec<Life>,
    /// Which node each server runs on.
    servers: Vec<usize>,
    number: u32,
}

impl Crew {
    /// A server on each of these nodes, and a client on every node.
    ///
    /// # Panics
    /// When they do not start.
    pub fn start(program: &'static str, lab: &Lab, servers: &[usize]) -> Crew {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let servers = servers.to_vec();
        let mut crew = Crew { program, folder, members: Vec::new(), lives: Vec::new(), servers, number: 0 };
        for n in 0..crew.servers.len() {
            crew.add(lab, Some(n as u32), crew.servers[n]);
        }
        crew.members.iter_mut().for_each(|m| m.actor.expect("ready"));
        (0..lab.nodes.len()).for_each(|node| crew.add(lab, None, node));
        crew
    }

    fn add(&mut self, lab: &Lab, server: Option<u32>, node: usize) {
        self.number += 1;
        let journal = self.folder.path().join(format!("j{}", self.number));
        let (count, path) = (self.servers.len().to_string(), journal.display().to_string());
        let socket = lab.nodes[node].socket();
        let actor = match server {
            Some(n) => Actor::start(self.program, "server", &socket, &[n.to_string(), count, path]),
            None => {
                let words = [self.number.to_string(), (10 + node).to_string(), count, path];
                Actor::start(self.program, "client", &socket, &words)
            }
        };
        self.members.push(Member { server, node, actor, journal });
    }

    /// How many were started so far, those among them that were started again.
    pub fn started(&self) -> u32 {
        self.number
    }

    fn over(&mut self, at: usize) -> (Option<u32>, usize) {
        let Member { server, node, actor, journal } = self.members.remove(at);
        self.lives.push(Life { server, journal, from: actor.started, to: clock::now() });
        (server, node)
    }

    /// All on a node are killed with -9, as by a loss of power.
    pub fn power_off(&mut self, node: usize) {
        self.members.iter_mut().filter(|m| m.node == node).for_each(|m| _ = m.actor.kill());
    }

    /// Starts those again that have ended, on nodes that serve.
    ///
    /// # Panics
    /// When one has ended otherwise than it may.
    pub fn look_after(&mut self, lab: &Lab) {
        let mut missing = Vec::new();
        let mut at = 0;
        while at < self.members.len() {
            match self.members[at].actor.ended() {
                Some(status) if lab.nodes[self.members[at].node].serves() => {
                    assert!(may(status), "a helper of node {} ended with {status}", self.members[at].node);
                    missing.push(self.over(at));
                }
                _ => at += 1,
            }
        }
        for (server, node) in missing {
            self.add(lab, server, node);
        }
    }

    /// Waits until every client of these nodes has been answered by every server since now, starting again
    /// whoever has ended.
    ///
    /// # Panics
    /// When one is not in the watchdog's time.
    pub fn wait_served(&mut self, lab: &Lab, nodes: &[usize]) {
        let servers: Vec<u32> = (0..self.servers.len() as u32).collect();
        self.wait_answered(lab, nodes, &servers);
    }

    /// The same for some of the servers.
    ///
    /// # Panics
    /// When one is not in the watchdog's time.
    pub fn wait_answered(&mut self, lab: &Lab, nodes: &[usize], servers: &[u32]) {
        let (since, end) = (clock::now(), clock::now() + WATCHDOG_NS);
        loop {
            self.look_after(lab);
            let waiting = self.unanswered(nodes, servers, since);
            if waiting.is_empty() {
                return;
            }
            assert!(clock::now() < end, "clients get no answers: {waiting:#?}");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Clients without an answer from a server since then, and what they did last.
    fn unanswered(&self, nodes: &[usize], servers: &[u32], since: u64) -> Vec<String> {
        let mut out = Vec::new();
        for m in self.members.iter().filter(|m| m.server.is_none() && nodes.contains(&m.node)) {
            let (now, calls) = journal::read(&m.journal);
            let good = |e: &Entry| e.what == What::Good && e.call == roles::CALL && e.begun >= since;
            for server in servers {
                if !calls.iter().rev().any(|e| good(e) && e.server == *server) {
                    let last = calls.iter().rev().find(|e| e.server == *server);
                    out.push(format!("node {} of server {server}: last {last:?}, now {now:?}", m.node));
                }
            }
        }
        out
    }

    /// Ends all, and what the clients saw.
    ///
    /// # Panics
    /// When somebody hangs, or something was lost or doubled.
    pub fn calm(mut self, what: &str) -> Verdict {
        self.members.sort_by_key(|m| m.server.is_some());
        while !self.members.is_empty() {
            let member = &mut self.members[0];
            let (status, _) = member.actor.finish();
            assert!(status.success() || may(status), "a helper of node {} ended with {status}", member.node);
            self.over(0);
        }
        let verdict = judge(&self.lives, self.servers.len());
        let Verdict { calls, consumed, open, unnoted, late_ns, longest_ns, errors, wrong } = &verdict;
        let (late, longest) = (late_ns / 1_000_000, longest_ns / 1_000_000);
        eprintln!("{what}: {calls} calls, {consumed} consumed, open {open}, not noted {unnoted}");
        eprintln!(
            "  longest {longest} ms, latest {late} ms after its deadline; errors (code, effect): {errors:?}"
        );
        assert!(wrong.is_empty(), "{:#?}", &wrong[..wrong.len().min(10)]);
        verdict
    }
}

/// Whether a helper may end so: for want of its daemon, or killed with its node.
fn may(status: ExitStatus) -> bool {
    status.code() == Some(roles::NO_DAEMON) || status.signal() == Some(9)
}
