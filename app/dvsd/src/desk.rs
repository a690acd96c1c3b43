//! Serving the command line: answers from this node's tables, merged with those of the other nodes.
//!
//! A question about the whole system goes to every node that is up; their parts are passed on as they come.
//! When all have answered, or after [`PEERS_NS`], the answer ends, naming those who stayed silent.

use crate::admin::{AdminAnswer, AdminRequest, ProcRow, Status, WaitRow};
use crate::config::Security;
use crate::daemon::Daemon;
use dvs_abi::limits::{ADMIN_QUEUE_MAX, ADMINS_MAX};
use dvs_abi::{Code, Endpoint, Error};
use dvs_ipc::control::{self, Answer, Request, WireError, board};
use dvs_kern::node::event::{Event, SessionId};
use dvs_kern::node::record::Record;
use dvs_linux::clock;
use dvs_linux::epoll::{Event as Ready, Interest};
use dvs_linux::socket::Socket;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::ErrorKind;

/// How long other nodes have to answer.
const PEERS_NS: u64 = 2_000_000_000;
/// Rows of one answer: well below what fits a record.
const ROWS: usize = 128;
/// Kind of an administrator's descriptor in the poller.
const TOKEN: u64 = 6 << 32;
/// Questions to other nodes at a time; administrators are few.
const QUESTIONS_MAX: usize = 1024;

/// What daemons say to each other.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub(crate) enum NodeRecord {
    Rules(Record),
    Ask { id: u64, query: Query },
    Told { id: u64, answer: AdminAnswer },
}

/// A question to another node.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(crate) enum Query {
    Ps { dc: Option<u16> },
    Waits { dc: Option<u16> },
    Kill { dc: u16, endpoint: i32, force: bool },
    Ping,
}

struct Admin {
    socket: Socket,
    queue: VecDeque<Vec<u8>>,
    follows: Option<u64>,
    /// The state machine knows it as a session.
    known: bool,
    calls: u64,
}

struct Question {
    admin: SessionId,
    nodes: BTreeSet<u16>,
    deadline: u64,
}

/// All administrators and their open questions.
#[derive(Default)]
pub(crate) struct Desk {
    admins: HashMap<SessionId, Admin>,
    questions: HashMap<u64, Question>,
    next_question: u64,
}

impl Desk {
    pub(crate) fn has(&self, s: SessionId) -> bool {
        self.admins.contains_key(&s)
    }

    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.questions.values().map(|q| q.deadline).min()
    }
}

impl Daemon {
    pub(crate) fn accept_admin(&mut self) {
        let Some(socket) = self.next_admin() else { return };
        if self.desk.admins.len() >= ADMINS_MAX {
            return;
        }
        let number = self.session_number();
        if self.poller.add(&socket, TOKEN | number as u64, Interest::Read).is_ok() {
            let admin = Admin { socket, queue: VecDeque::new(), follows: None, known: false, calls: 0 };
            self.desk.admins.insert(number, admin);
        }
    }

    pub(crate) fn admin_ready(&mut self, s: SessionId, ready: Ready) {
        if ready.writable {
            self.desk_flush(s);
        }
        if !ready.readable {
            return;
        }
        let Some(admin) = self.desk.admins.get(&s) else { return };
        if !admin.queue.is_empty() {
            return; // first what was asked before
        }
        match admin.socket.try_receive() {
            Ok(Some(record)) => match control::decode(&record.bytes) {
                Ok(request) => self.on_admin(s, request),
                Err(e) => self.part(s, AdminAnswer::Error(e.into())),
            },
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Ok(None) | Err(_) => self.drop_admin(s),
        }
    }

    fn drop_admin(&mut self, s: SessionId) {
        let Some(admin) = self.desk.admins.remove(&s) else { return };
        let _ = self.poller.remove(&admin.socket);
        self.hear_again();
        self.desk.questions.retain(|_, q| q.admin != s);
        if admin.known {
            self.feed(Event::Died { session: s, code: None });
        }
    }

    fn on_admin(&mut self, s: SessionId, request: AdminRequest) {
        match request {
            AdminRequest::Status => {
                let status = self.status();
                self.part(s, AdminAnswer::Status(status));
                self.part(s, AdminAnswer::End);
            }
            AdminRequest::Containers => {
                let all = self.node.containers().filter_map(|(n, _)| self.node.dc_info(n).ok()).collect();
                self.part(s, AdminAnswer::Containers(all));
                self.part(s, AdminAnswer::End);
            }
            AdminRequest::Call(request) => self.admin_call(s, request),
            AdminRequest::Ps { dc } => self.ask_all(s, Query::Ps { dc }, None),
            AdminRequest::Waits { dc } => self.ask_all(s, Query::Waits { dc }, None),
            AdminRequest::Kill { dc, endpoint, force } => self.admin_kill(s, dc, endpoint, force),
            AdminRequest::Logs { since, follow } => {
                self.send_logs(s, since);
                match self.desk.admins.get_mut(&s).filter(|_| follow) {
                    Some(admin) => admin.follows = Some(since),
                    None => self.part(s, AdminAnswer::End),
                }
            }
            AdminRequest::Log { subject, lines } => {
                for line in lines {
                    self.log.add(&subject, line);
                }
                self.part(s, AdminAnswer::End);
            }
            AdminRequest::Ping { node } if self.config.nodes.iter().all(|n| n.id != node) => {
                self.part(s, AdminAnswer::Error(Error::early(Code::BADNODEID).into()));
            }
            AdminRequest::Ping { node } => self.ask_all(s, Query::Ping, Some(node)),
            AdminRequest::Shutdown => {
                self.part(s, AdminAnswer::End);
                self.stopper().stop();
            }
        }
    }

    /// Passes a request to the state machine under the administrator's own number.
    fn admin_call(&mut self, s: SessionId, request: Request) {
        let Some(admin) = self.desk.admins.get_mut(&s) else { return };
        let first = !std::mem::replace(&mut admin.known, true);
        admin.calls += 1;
        let id = admin.calls;
        if first {
            self.feed(Event::Connected { session: s, id: 0, pid: 0, operator: true, name: "admin".into() });
        }
        self.refresh_boards();
        self.feed(Event::Request { session: s, id, request });
    }

    pub(crate) fn desk_answer(&mut self, s: SessionId, id: u64, result: Result<Answer, WireError>) {
        match result {
            _ if id == 0 => {}
            Ok(answer) => {
                self.part(s, AdminAnswer::Call(answer));
                self.part(s, AdminAnswer::End);
            }
            Err(e) => self.part(s, AdminAnswer::Error(e)),
        }
    }

    /// Asks one node or all, this one included.
    fn ask_all(&mut self, s: SessionId, query: Query, only: Option<u16>) {
        let me = self.node.me().0;
        let wanted = |n: u16| only.is_none_or(|o| o == n);
        let others = self.config.nodes.iter().map(|n| n.id).filter(|n| *n != me && wanted(*n));
        let (up, down): (Vec<u16>, Vec<u16>) = others.partition(|n| self.node.peer(*n).is_some_and(|p| p.up));
        if wanted(me) {
            for answer in self.answers(&query) {
                self.part(s, answer);
            }
        }
        if !down.is_empty() {
            self.part(s, AdminAnswer::Silent(down));
        }
        if up.is_empty() || self.desk.questions.len() >= QUESTIONS_MAX {
            return self.part(s, AdminAnswer::End);
        }
        self.desk.next_question += 1;
        let id = self.desk.next_question;
        let deadline = clock::now() + PEERS_NS;
        for node in &up {
            self.send_node(*node, &NodeRecord::Ask { id, query: query.clone() });
        }
        let nodes = up.into_iter().collect();
        self.desk.questions.insert(id, Question { admin: s, nodes, deadline });
    }

    pub(crate) fn on_node_record(&mut self, node: u16, record: NodeRecord) {
        match record {
            NodeRecord::Rules(record) => {
                if matches!(record, Record::Probe { .. } | Record::Victim { .. }) {
                    self.refresh_boards();
                }
                self.feed(Event::Record { node, record });
            }
            NodeRecord::Ask { id, query } => {
                for answer in self.answers(&query) {
                    self.send_node(node, &NodeRecord::Told { id, answer });
                }
                self.send_node(node, &NodeRecord::Told { id, answer: AdminAnswer::End });
            }
            NodeRecord::Told { id, answer } => {
                let Some(question) = self.desk.questions.get_mut(&id) else { return };
                let admin = question.admin;
                if !question.nodes.contains(&node) {
                    return;
                }
                match answer {
                    AdminAnswer::End => {
                        question.nodes.remove(&node);
                        if question.nodes.is_empty() {
                            self.desk.questions.remove(&id);
                            self.part(admin, AdminAnswer::End);
                        }
                    }
                    answer => self.part(admin, answer),
                }
            }
        }
    }

    /// Ends questions whose time is over.
    pub(crate) fn desk_expire(&mut self) {
        let now = clock::now();
        let over: Vec<u64> =
            self.desk.questions.iter().filter(|(_, q)| q.deadline <= now).map(|(n, _)| *n).collect();
        for id in over {
            if let Some(q) = self.desk.questions.remove(&id) {
                self.part(q.admin, AdminAnswer::Silent(q.nodes.into_iter().collect()));
                self.part(q.admin, AdminAnswer::End);
            }
        }
    }

    pub(crate) fn desk_node_down(&mut self, node: u16) {
        for q in self.desk.questions.values_mut().filter(|q| q.nodes.contains(&node)) {
            q.deadline = 0;
        }
        self.desk_expire();
    }

    /// This node's answer to a question.
    fn answers(&mut self, query: &Query) -> Vec<AdminAnswer> {
        match query {
            Query::Ps { dc } => {
                self.refresh_boards();
                let rows = self.proc_rows(*dc);
                rows.chunks(ROWS).map(|c| AdminAnswer::Procs(c.to_vec())).collect()
            }
            Query::Waits { dc } => {
                self.refresh_boards();
                let rows = self.wait_rows(*dc);
                rows.chunks(ROWS).map(|c| AdminAnswer::Waits(c.to_vec())).collect()
            }
            Query::Kill { dc, endpoint, force } => match self.kill_here(*dc, *endpoint, *force) {
                Ok(()) => Vec::new(),
                Err(code) => vec![AdminAnswer::Error(Error::early(code).into())],
            },
            Query::Ping => vec![AdminAnswer::Pong { node: self.node.me().0 }],
        }
    }

    fn proc_rows(&self, dc: Option<u16>) -> Vec<ProcRow> {
        let reporter = self.node.me().0;
        let mut rows = Vec::new();
        for (n, c) in self.node.containers().filter(|(n, _)| dc.is_none_or(|d| d == *n)) {
            for d in c.descriptors().filter(|d| d.pid != 0) {
                if let Ok(mut info) = self.node.proc_info(n, d.endpoint.slot()) {
                    self.add_counters(&mut info);
                    rows.push(ProcRow { reporter, kind: d.kind, info });
                }
            }
        }
        rows
    }

    fn wait_rows(&self, dc: Option<u16>) -> Vec<WaitRow> {
        let now = clock::now();
        let mut rows = Vec::new();
        for (n, c) in self.node.containers().filter(|(n, _)| dc.is_none_or(|d| d == *n)) {
            for d in c.descriptors() {
                let Some(w) = self.waiting(n, d) else { continue };
                let state = match w.state {
                    board::SENDING => "sending",
                    board::CALLING => "calling",
                    board::AWAITING => "awaiting answer",
                    _ => "receiving",
                };
                rows.push(WaitRow {
                    node: self.node.me().0,
                    dc: n,
                    endpoint: w.endpoint,
                    name: d.name.clone(),
                    state: state.into(),
                    peer: w.peer,
                    waiting_ns: now.saturating_sub(w.since),
                    call: w.call,
                });
            }
        }
        rows
    }

    fn admin_kill(&mut self, s: SessionId, dc: u16, endpoint: i32, force: bool) {
        let found = self.node.containers().find(|(n, _)| *n == dc);
        let found = found.ok_or(Code::DCNOTRUN).and_then(|(_, c)| c.find(Endpoint::from_raw(endpoint)));
        match found.map(|d| d.node.0) {
            Ok(node) => self.ask_all(s, Query::Kill { dc, endpoint, force }, Some(node)),
            Err(code) => self.part(s, AdminAnswer::Error(Error::early(code).into())),
        }
    }

    fn kill_here(&mut self, dc: u16, endpoint: i32, force: bool) -> Result<(), Code> {
        let (_, c) = self.node.containers().find(|(n, _)| *n == dc).ok_or(Code::DCNOTRUN)?;
        let pid = c.find(Endpoint::from_raw(endpoint))?.pid;
        let signal = if force { Signal::KILL } else { Signal::TERM };
        if self.signal(pid, signal) { Ok(()) } else { Err(Code::SRCH) }
    }

    fn status(&self) -> Status {
        let nodes = self.config.nodes.iter().filter_map(|n| self.node.node_info(n.id as i32).ok()).collect();
        let (links, lanes) = self.node.lane_counts();
        let here = self.node.containers().flat_map(|(_, c)| c.descriptors()).filter(|d| d.pid != 0);
        Status {
            node: self.node.me().0,
            name: self.config.node.clone(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_ms: clock::now().saturating_sub(self.started) / 1_000_000,
            fingerprint: self.fingerprint.clone(),
            security: if self.config.security == Security::Tls { "tls" } else { "plain" }.into(),
            sessions: self.conns.len() as u32,
            endpoints: here.count() as u32,
            links: links as u32,
            lanes: lanes as u32,
            containers: self.node.containers().count() as u32,
            resident_kib: resident_kib(),
            nodes,
        }
    }

    fn send_logs(&mut self, s: SessionId, since: u64) {
        let events: Vec<_> = self.log.since(since).cloned().collect();
        for chunk in events.chunks(ROWS) {
            self.part(s, AdminAnswer::Events(chunk.to_vec()));
        }
    }

    /// Writes a part of an answer.
    fn part(&mut self, s: SessionId, answer: AdminAnswer) {
        let Some(admin) = self.desk.admins.get_mut(&s) else { return };
        let bytes = control::encode(&answer)
            .or_else(|e| control::encode(&AdminAnswer::Error(e.into())))
            .unwrap_or_default();
        if admin.queue.len() >= ADMIN_QUEUE_MAX {
            return self.drop_admin(s);
        }
        admin.queue.push_back(bytes);
        self.desk_flush(s);
    }

    fn desk_flush(&mut self, s: SessionId) {
        let Some(admin) = self.desk.admins.get_mut(&s) else { return };
        while let Some(bytes) = admin.queue.front() {
            match admin.socket.try_send(bytes, &[]) {
                Ok(()) => drop(admin.queue.pop_front()),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let _ = self.poller.modify(&admin.socket, TOKEN | s as u64, Interest::Write);
                    return;
                }
                Err(_) => return self.drop_admin(s),
            }
        }
        let _ = self.poller.modify(&admin.socket, TOKEN | s as u64, Interest::Read);
    }

    /// Sends new events to those who follow the log.
    pub(crate) fn desk_follow(&mut self) {
        let followers: Vec<(SessionId, u64)> =
            self.desk.admins.iter().filter_map(|(s, a)| Some((*s, a.follows?))).collect();
        for (s, since) in followers {
            let next = self.log.next_number();
            if next > since {
                self.send_logs(s, since);
                if let Some(admin) = self.desk.admins.get_mut(&s) {
                    admin.follows = Some(next);
                }
            }
        }
    }

    pub(crate) fn desk_close(&mut self) {
        let admins: Vec<SessionId> = self.desk.admins.keys().copied().collect();
        for s in admins {
            self.part(s, AdminAnswer::End);
        }
    }
}

/// Resident memory of this process, KiB.
fn resident_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
