//! Serving the command line: answers from this node's tables, merged with those of the other nodes.
//!
//! A question about the whole system goes to every node that is up; their parts are passed on as they come.
//! When all have answered, or after [`PEERS_NS`], the answer ends, naming those who stayed silent.

use crate::admin::{AdminAnswer, AdminRequest, MoveOrder, ProcRow, ProgramSignal, RunOrder, Status, WaitRow};
use crate::cluster::For;
use crate::daemon::Daemon;
use crate::moves::MoveRecord;
use crate::programs::Asker;
use dvs_abi::limits::{ADMIN_QUEUE_MAX, ADMINS_MAX, RECORD_COST};
use dvs_abi::{Code, DcId, Endpoint, Error, NodeId};
use dvs_control::command::Command as Decision;
use dvs_control::epoch::Epoch;
use dvs_control::service::Place;
use dvs_control::state::Answer as Decided;
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
    Ask {
        id: u64,
        query: Query,
    },
    Told {
        id: u64,
        answer: Box<AdminAnswer>,
    },
    /// So much of a program's output has reached whoever asked `id`; each record counts a little more than
    /// its bytes.
    Credit {
        id: u64,
        bytes: u32,
    },
    /// Whoever asked `id` waits no more.
    Withdraw {
        id: u64,
    },
    /// What the replicated log's members say to each other.
    Log {
        bytes: Vec<u8>,
    },
    /// In which incarnation the sender is.
    Hello {
        incarnation: u64,
    },
    /// Whether the sender still counts as one of the system: to the leader; `sent` by the sender's clock.
    Lease {
        sent: u64,
    },
    /// How far the sender has done what the log says.
    Applied {
        applied: u64,
    },
    /// It does: the leader's answer; `upto` = what was decided by then.
    Granted {
        sent: u64,
        upto: u64,
    },
    /// About a move of a service.
    Move(MoveRecord),
}

/// A question to another node.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(crate) enum Query {
    Ps { dc: Option<u16> },
    Waits { dc: Option<u16> },
    Kill { dc: u16, endpoint: i32, force: bool },
    Ping,
    Run(RunOrder),
    Programs,
    Signal { program: u32, signal: ProgramSignal },
    Logs { since: u64 },
    Migrate(MoveOrder),
    CancelMove { dc: u16, slot: i32 },
    CommandOf { dc: u16, endpoint: i32 },
}

/// What an administrator gets when what they wanted is decided.
pub(crate) enum Wish {
    /// That it is done.
    Done,
    /// This token.
    Token(String),
}

/// A part of an answer that waits to be read.
struct Part {
    bytes: Vec<u8>,
    /// Of a program's output: who is to be told that it was read, and what it counts.
    receipt: Option<(Asker, u32)>,
}

struct Admin {
    socket: Socket,
    queue: VecDeque<Part>,
    follows: Option<u64>,
    /// The state machine knows it as a session.
    known: bool,
    calls: u64,
}

struct Question {
    admin: SessionId,
    nodes: BTreeSet<u16>,
    /// When those who have not answered are called silent, ns.
    deadline: u64,
    /// It started a program: its node is told when nobody waits any more.
    runs: bool,
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
        let asked: Vec<u64> =
            self.desk.questions.iter().filter(|(_, q)| q.admin == s).map(|(n, _)| *n).collect();
        for id in asked {
            if let Some(q) = self.desk.questions.remove(&id) {
                self.withdraw_question(id, &q);
            }
        }
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
            AdminRequest::Logs { node: Some(n), since, .. } if n != self.node.me().0 => {
                self.ask_one(s, n, Query::Logs { since });
            }
            AdminRequest::Logs { since, follow, .. } => {
                self.send_logs(s, since);
                match self.desk.admins.get_mut(&s).filter(|_| follow) {
                    Some(admin) => admin.follows = Some(since),
                    None => self.part(s, AdminAnswer::End),
                }
            }
            AdminRequest::Log { subject, lines } => {
                for line in lines {
                    self.log.add_output(&subject, line.as_bytes());
                }
                self.part(s, AdminAnswer::End);
            }
            AdminRequest::Ping { node } => self.ask_one(s, node, Query::Ping),
            AdminRequest::Run { node, order } => self.ask_one(s, node, Query::Run(order)),
            AdminRequest::Programs => self.ask_all(s, Query::Programs, None),
            AdminRequest::Signal { node, program, signal } => {
                self.ask_one(s, node, Query::Signal { program, signal });
            }
            AdminRequest::Token(order) => self.token(s, &order),
            AdminRequest::Nodes => {
                let rows = self.node_rows();
                self.part(s, AdminAnswer::Nodes(rows));
                self.part(s, AdminAnswer::End);
            }
            AdminRequest::Service { dc, slot, spec } => {
                self.declare(dc, slot, spec, For::Admin(s, Wish::Done));
            }
            AdminRequest::Services => {
                let rows = self.service_rows();
                self.part(s, AdminAnswer::Services(rows));
                self.part(s, AdminAnswer::End);
            }
            AdminRequest::Leave { node } => {
                self.decide(Decision::Leave { node: NodeId(node) }, For::Admin(s, Wish::Done));
            }
            AdminRequest::Drain { node, on } => {
                let node = NodeId(node);
                self.decide(Decision::Drain { node, on }, For::Admin(s, Wish::Done));
            }
            AdminRequest::Migrate(order) => self.ask_source(s, (order.dc, order.slot), Query::Migrate(order)),
            other @ (AdminRequest::CancelMove { .. } | AdminRequest::CommandOf { .. }) => {
                self.ask_where_it_is(s, &other);
            }
            AdminRequest::Switch { dc, slot, to, check } => self.switch(s, (dc, slot), to, check),
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

    /// What an administrator wanted was decided.
    pub(crate) fn admin_decided(&mut self, s: SessionId, wish: Wish, answer: Decided) {
        match (answer, wish) {
            (Err(e), _) => self.part(s, AdminAnswer::Refused { code: e.code, why: e.text }),
            (Ok(_), Wish::Token(token)) => self.part(s, AdminAnswer::Token(token)),
            (Ok(_), Wish::Done) => {}
        }
        self.part(s, AdminAnswer::End);
    }

    /// What the node of a program, or of a service, knows or does.
    fn ask_where_it_is(&mut self, s: SessionId, request: &AdminRequest) {
        match *request {
            AdminRequest::CommandOf { node, dc, endpoint } => {
                self.ask_one(s, node, Query::CommandOf { dc, endpoint });
            }
            AdminRequest::CancelMove { dc, slot } => {
                self.ask_source(s, (dc, slot), Query::CancelMove { dc, slot });
            }
            _ => self.part(s, AdminAnswer::End),
        }
    }

    /// Asks one node, if there is such a node.
    fn ask_one(&mut self, s: SessionId, node: u16, query: Query) {
        if self.plane.state.member(NodeId(node)).is_none() {
            return self.part(s, AdminAnswer::Error(Error::early(Code::BADNODEID).into()));
        }
        match query {
            Query::Run(order) if node == self.node.me().0 => {
                let id = self.question(s, [node].into(), true);
                self.run_asked(Asker { node, id }, &order);
            }
            Query::Migrate(order) if node == self.node.me().0 => {
                let id = self.question(s, [node].into(), true);
                self.move_asked(Asker { node, id }, order);
            }
            query => self.ask_all(s, query, Some(node)),
        }
    }

    /// Asks the node that a service would move away from. Where there is none, this node says so as well as
    /// any.
    fn ask_source(&mut self, s: SessionId, (dc, slot): (u16, i32), query: Query) {
        let c = self.plane.state.container(DcId(dc));
        let node = match c.and_then(|c| c.services.get(&slot)).map(|s| s.place) {
            Some(Place::At(node) | Place::Moving { from: node, .. }) => node.0,
            Some(Place::Vacant) | None => self.node.me().0,
        };
        self.ask_one(s, node, query);
    }

    /// Whoever asked for something that takes long does not wait any more.
    fn asker_left(&mut self, asker: Asker) {
        self.program_withdrawn(asker);
        self.move_withdrawn(asker);
    }

    fn question(&mut self, admin: SessionId, nodes: BTreeSet<u16>, runs: bool) -> u64 {
        self.desk.next_question += 1;
        let id = self.desk.next_question;
        let deadline = clock::now() + PEERS_NS;
        self.desk.questions.insert(id, Question { admin, nodes, deadline, runs });
        id
    }

    /// Nobody waits for the answers to a question any more.
    fn withdraw_question(&mut self, id: u64, question: &Question) {
        let me = self.node.me().0;
        for node in question.nodes.iter().filter(|_| question.runs) {
            match *node == me {
                true => self.asker_left(Asker { node: me, id }),
                false => self.send_node(*node, &NodeRecord::Withdraw { id }),
            }
        }
    }

    /// Asks one node or all, this one included.
    fn ask_all(&mut self, s: SessionId, query: Query, only: Option<u16>) {
        let me = self.node.me().0;
        let wanted = |n: u16| only.is_none_or(|o| o == n);
        let others: Vec<u16> = self.plane.others().filter(|n| wanted(*n)).collect();
        let (up, down): (Vec<u16>, Vec<u16>) =
            others.into_iter().partition(|n| self.node.peer(*n).is_some_and(|p| p.up));
        if wanted(me) {
            for answer in self.answers(me, &query) {
                self.part(s, answer);
            }
        }
        if !down.is_empty() {
            self.part(s, AdminAnswer::Silent(down));
        }
        if up.is_empty() || self.desk.questions.len() >= QUESTIONS_MAX {
            return self.part(s, AdminAnswer::End);
        }
        let id = self.question(
            s,
            up.iter().copied().collect(),
            matches!(query, Query::Run(_) | Query::Migrate(_)),
        );
        for node in up {
            self.send_node(node, &NodeRecord::Ask { id, query: query.clone() });
        }
    }

    pub(crate) fn on_node_record(&mut self, node: u16, record: NodeRecord) {
        match record {
            NodeRecord::Rules(record) => {
                if matches!(record, Record::Probe { .. } | Record::Victim { .. }) {
                    self.refresh_boards();
                }
                self.node_rules(node, record);
            }
            NodeRecord::Log { bytes } => self.node_log(node, bytes),
            NodeRecord::Hello { incarnation } => self.node_greets(node, Epoch(incarnation)),
            NodeRecord::Lease { sent } => self.lease_asked(node, sent),
            NodeRecord::Applied { applied } => self.radar_heard(node, Epoch(applied)),
            NodeRecord::Granted { sent, upto } => self.lease_granted(node, sent, Epoch(upto)),
            NodeRecord::Credit { id, bytes } => self.program_credit(Asker { node, id }, bytes),
            NodeRecord::Withdraw { id } => self.asker_left(Asker { node, id }),
            NodeRecord::Move(record) => self.move_record(node, record),
            NodeRecord::Ask { id, query: Query::Run(order) } => self.run_asked(Asker { node, id }, &order),
            NodeRecord::Ask { id, query: Query::Migrate(order) } => {
                self.move_asked(Asker { node, id }, order)
            }
            NodeRecord::Ask { id, query } => {
                for answer in self.answers(node, &query) {
                    self.send_node(node, &NodeRecord::Told { id, answer: Box::new(answer) });
                }
                self.send_node(node, &NodeRecord::Told { id, answer: Box::new(AdminAnswer::End) });
            }
            NodeRecord::Told { id, answer } => self.told(node, id, *answer),
        }
    }

    /// A part of another node's answer (or of a program's of this one).
    fn told(&mut self, node: u16, id: u64, answer: AdminAnswer) {
        let Some(question) = self.desk.questions.get_mut(&id) else { return };
        let admin = question.admin;
        if !question.nodes.contains(&node) {
            return;
        }
        let mut receipt = None;
        match &answer {
            AdminAnswer::End => {
                question.nodes.remove(&node);
                if !question.nodes.is_empty() {
                    return;
                }
                self.desk.questions.remove(&id);
            }
            // From now on it may take as long as it takes.
            AdminAnswer::Started { .. } | AdminAnswer::Moving { .. } if question.runs => {
                question.deadline = u64::MAX;
            }
            AdminAnswer::Output { bytes, .. } => {
                receipt = Some((Asker { node, id }, (bytes.len() + RECORD_COST) as u32));
            }
            _ => {}
        }
        self.part_with(admin, answer, receipt);
    }

    /// Ends questions whose time is over.
    pub(crate) fn desk_expire(&mut self) {
        let now = clock::now();
        let over: Vec<u64> =
            self.desk.questions.iter().filter(|(_, q)| q.deadline <= now).map(|(n, _)| *n).collect();
        for id in over {
            if let Some(q) = self.desk.questions.remove(&id) {
                self.withdraw_question(id, &q);
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

    /// This node's answer to a question of a node, which may be this one.
    fn answers(&mut self, from: u16, query: &Query) -> Vec<AdminAnswer> {
        let refused = |(code, why): (Code, String)| vec![AdminAnswer::Refused { code: code as i32, why }];
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
            Query::Programs => {
                let rows = self.program_rows();
                rows.chunks(ROWS).map(|c| AdminAnswer::Programs(c.to_vec())).collect()
            }
            Query::Signal { program, signal } => {
                self.program_signal(from, *program, *signal).map_or_else(refused, |()| Vec::new())
            }
            Query::Logs { since } => match self.may_run(from) {
                Ok(()) => self.log.batches(*since).into_iter().map(AdminAnswer::Events).collect(),
                Err(e) => refused(e),
            },
            Query::CancelMove { dc, slot } => {
                self.move_cancelled(*dc, *slot);
                Vec::new()
            }
            Query::CommandOf { dc, endpoint } => match self.may_run(from) {
                Ok(()) => vec![self.command_at(*dc, *endpoint)],
                Err(e) => refused(e),
            },
            // Answered when the program is started, and ends; when the service moves, and has moved.
            Query::Run(_) | Query::Migrate(_) => Vec::new(),
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
        let nodes = self.plane.state.members().filter_map(|(n, _)| self.node.node_info(n.0.into()).ok());
        let nodes = nodes.collect();
        let (links, lanes) = self.node.lane_counts();
        let here = self.node.containers().flat_map(|(_, c)| c.descriptors()).filter(|d| d.pid != 0);
        Status {
            node: self.node.me().0,
            name: self.config.node.clone(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_ms: clock::now().saturating_sub(self.started) / 1_000_000,
            fingerprint: self.fingerprint.clone(),
            security: self.plane.security().name().into(),
            sessions: self.conns.len() as u32,
            endpoints: here.count() as u32,
            links: links as u32,
            lanes: lanes as u32,
            containers: self.node.containers().count() as u32,
            resident_kib: resident_kib(),
            cluster: self.plane_status(),
            nodes,
        }
    }

    fn send_logs(&mut self, s: SessionId, since: u64) {
        for batch in self.log.batches(since) {
            self.part(s, AdminAnswer::Events(batch));
        }
    }

    /// Writes a part of an answer.
    pub(crate) fn part(&mut self, s: SessionId, answer: AdminAnswer) {
        self.part_with(s, answer, None);
    }

    fn part_with(&mut self, s: SessionId, answer: AdminAnswer, receipt: Option<(Asker, u32)>) {
        let Some(admin) = self.desk.admins.get_mut(&s) else { return };
        let bytes = control::encode(&answer)
            .or_else(|e| control::encode(&AdminAnswer::Error(e.into())))
            .unwrap_or_default();
        if admin.queue.len() >= ADMIN_QUEUE_MAX {
            return self.drop_admin(s);
        }
        admin.queue.push_back(Part { bytes, receipt });
        self.desk_flush(s);
    }

    fn desk_flush(&mut self, s: SessionId) {
        let Some(admin) = self.desk.admins.get_mut(&s) else { return };
        let (mut receipts, mut interest) = (Vec::new(), Interest::Read);
        while let Some(part) = admin.queue.front() {
            match admin.socket.try_send(&part.bytes, &[]) {
                Ok(()) => receipts.extend(admin.queue.pop_front().and_then(|p| p.receipt)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    interest = Interest::Write;
                    break;
                }
                Err(_) => return self.drop_admin(s),
            }
        }
        let _ = self.poller.modify(&admin.socket, TOKEN | s as u64, interest);
        let me = self.node.me().0;
        for (asker, bytes) in receipts {
            match asker.node == me {
                true => self.program_credit(asker, bytes),
                false => self.send_node(asker.node, &NodeRecord::Credit { id: asker.id, bytes }),
            }
        }
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
