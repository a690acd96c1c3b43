//! From a request to the rule that answers it.

use super::event::{Command, SessionId, Want};
use super::session::Session;
use super::{Node, bind::BindAsk, wait::WaitFor};
use crate::control::{Answer, Request};
use dvs_abi::limits::SESSIONS_MAX;
use dvs_abi::{Code, Endpoint, Error};

/// How a request ends for now.
pub(crate) enum Outcome {
    /// Answered.
    Answer(Answer),
    /// It waits; the answer comes later.
    Later,
    /// It has no answer.
    Silent,
}

/// Whether a request is answered only when the other sessions it concerns have taken in what follows from it.
/// (A notification is not: it waits for nobody. Nor is a lane that is opened: whoever rings through it before
/// its callee knows it is looked for there.)
fn matters_to_others(request: &Request) -> bool {
    matches!(
        request,
        Request::SetPriv { .. }
            | Request::Wakeup { .. }
            | Request::Unbind { .. }
            | Request::MigrateStart { .. }
            | Request::MigrateRollback { .. }
            | Request::MigrateCommit { .. }
            | Request::DcEnd { .. }
            | Request::DelNode { .. }
    )
}

pub(crate) const DONE: Outcome = Outcome::Answer(Answer::Done);

impl Node {
    pub(crate) fn reply(&mut self, session: SessionId, id: u64, result: Result<Outcome, Error>) {
        let result = match result {
            Ok(Outcome::Answer(answer)) => Ok(answer),
            Ok(Outcome::Later | Outcome::Silent) => return,
            Err(error) => Err(error.into()),
        };
        self.out.push(Command::Reply { session, id, result });
    }

    pub(crate) fn connected(&mut self, session: SessionId, id: u64, new: Session) {
        if self.sessions.contains_key(&session) || self.sessions.len() > SESSIONS_MAX {
            self.out.push(Command::Close { session, why: "too many sessions" });
            return;
        }
        let pid = new.pid;
        self.sessions.insert(session, new);
        let node = self.config.me.0;
        let welcome = Answer::Welcome { version: crate::control::VERSION, session, node };
        self.reply(session, id, Ok(Outcome::Answer(welcome)));
        if pid != 0 {
            self.adopt(session, pid);
        }
    }

    pub(crate) fn request(&mut self, session: SessionId, id: u64, request: Request) {
        let Some(known) = self.sessions.get(&session) else { return };
        if known.waits.contains_key(&id) {
            return self.reply(session, id, Err(Error::early(Code::INVAL)));
        }
        if let Err(error) = self.authorize(session, &request) {
            return self.reply(session, id, Err(error));
        }
        let others_see = matters_to_others(&request);
        match self.decide(session, id, request) {
            Ok(Outcome::Answer(answer)) if others_see => self.answer_when_heard(session, id, Ok(answer)),
            Err(error) if others_see => self.answer_when_heard(session, id, Err(error)),
            result => self.reply(session, id, result),
        }
        self.release_claimed();
    }

    fn decide(&mut self, s: SessionId, id: u64, request: Request) -> Result<Outcome, Error> {
        let ep = Endpoint::from_raw;
        match request {
            Request::Hello { .. } => Err(Code::BADREQUEST.into()),
            Request::Bind { kind, dc, endpoint, pid, node, name, board } => {
                self.bind(s, id, BindAsk { kind, dc, endpoint: ep(endpoint), pid, node, name, board })
            }
            Request::Unbind { dc, endpoint, remaining } => self.unbind(s, id, dc, ep(endpoint), remaining),
            Request::OpenLane { dc, from, to, remaining } => {
                self.open_lane(s, id, dc, ep(from), ep(to), remaining)
            }
            Request::FreeLane { link, lane } => self.free_lane(s, link, lane),
            Request::Heard { mark } => {
                self.heard(s, mark);
                Ok(Outcome::Silent)
            }
            Request::Watch { dc, endpoint } => self.watch(s, dc, ep(endpoint)),
            Request::WaitBind { dc, endpoint, remaining, board } => match ep(endpoint) {
                Endpoint::SELF => self.wait_own(s, id, board, remaining),
                endpoint => self.wait_bind(s, id, dc, endpoint, remaining),
            },
            Request::WaitUnbind { dc, endpoint, remaining } => {
                self.wait_unbind(s, id, dc, ep(endpoint), remaining)
            }
            Request::Withdraw { id } => {
                self.withdraw(s, id);
                Ok(Outcome::Silent)
            }
            Request::Wakeup { dc, endpoint } => self.wakeup(dc, ep(endpoint)),
            Request::HardwareNotify { dc, endpoint } => self.hardware_notify(dc, ep(endpoint)),
            Request::Notice { dc, source, from, endpoint, value, timestamp } => {
                let ends = [ep(source), ep(from), ep(endpoint)];
                self.notice(s, dc, ends, value, timestamp)
            }
            Request::Copy { from, to, length } => {
                let sides = [self.copy_side(s, from)?, self.copy_side(s, to)?];
                let [from, to] = sides;
                self.out.push(Command::Copy { session: s, id, from, to, length });
                Ok(Outcome::Later)
            }
            Request::MigrateStart { dc, endpoint } => self.migrate_start(dc, ep(endpoint)),
            Request::MigrateRollback { dc, endpoint } => self.migrate_rollback(dc, ep(endpoint)),
            Request::MigrateCommit { dc, endpoint, node, pid } => {
                self.migrate_commit(s, dc, ep(endpoint), node, pid)
            }
            Request::DeadlockCheck { dc, endpoint, call } => self.deadlock_check(dc, endpoint, call),
            Request::CarryNotices { dc, endpoint, notices } => {
                self.carry_notices(s, dc, ep(endpoint), notices)
            }
            Request::Mover { dc, slot, ask } => self.mover(s, id, (dc, slot), ask),
            Request::Exit { code } => {
                self.exit(s, code);
                Ok(DONE)
            }
            other => self.decide_tables(s, id, other),
        }
    }

    /// Requests about containers, nodes, rights and what is in the tables.
    fn decide_tables(&mut self, s: SessionId, id: u64, request: Request) -> Result<Outcome, Error> {
        let ep = Endpoint::from_raw;
        match request {
            Request::DcInit { dc, name, procs, tasks, sysprocs, warn, warn_type, nodes } => {
                let config = super::config::DcConfig {
                    name,
                    tasks,
                    procs,
                    sysprocs,
                    warn,
                    warn_type,
                    nodes: 0,
                    born: 0,
                };
                self.dc_init(s, id, dc, config, &nodes)
            }
            Request::DcEnd { dc } => self.dc_end(s, id, dc),
            Request::Declare { dc, slot, name, kind, rule, nodes } => {
                self.declare(s, id, Want::Declare { dc, slot, name, kind, rule, nodes })
            }
            Request::AddNode { dc, node } => self.add_node(s, id, dc, node),
            Request::DelNode { dc, node } => self.del_node(s, id, dc, node),
            Request::GetEp { dc, pid } => self.get_ep(dc, pid),
            Request::ProcInfo { dc, slot } => Ok(Outcome::Answer(Answer::Proc(self.proc_info(dc, slot)?))),
            Request::DcInfo { dc } => Ok(Outcome::Answer(Answer::Dc(self.dc_info(dc)?))),
            Request::DvsInfo => Ok(Outcome::Answer(Answer::Dvs(self.dvs_info()))),
            Request::NodeInfo { node } => Ok(Outcome::Answer(Answer::Node(self.node_info(node)?))),
            Request::GetPriv { dc, endpoint } => self.get_priv(dc, ep(endpoint)),
            Request::SetPriv { dc, endpoint, privileges } => self.set_priv(dc, ep(endpoint), privileges),
            _ => Err(Code::BADREQUEST.into()),
        }
    }

    /// The process or the socket of a session is gone.
    pub(crate) fn session_died(&mut self, session: SessionId, code: Option<i32>) {
        let Some(s) = self.sessions.get(&session) else { return };
        let code = s.exit.or(code).unwrap_or(-1);
        for id in s.waits.keys().copied().collect::<Vec<_>>() {
            self.withdraw(session, id);
        }
        self.end_all(session, code);
        let Some(mut s) = self.sessions.remove(&session) else { return };
        for (dc, endpoint) in std::mem::take(&mut s.watches) {
            if let Some(d) = self.dcs.get_mut(&dc).and_then(|c| c.bound_mut(endpoint.slot())) {
                d.watchers.remove(&session);
            }
        }
        for link in std::mem::take(&mut s.links).into_values() {
            self.drop_link(link, session);
        }
        for (_, wait) in std::mem::take(&mut s.hearers) {
            self.heard_by(session, wait);
        }
    }

    fn watch(&mut self, s: SessionId, dc: u16, endpoint: Endpoint) -> Result<Outcome, Error> {
        let found = self.dc(dc)?.find(endpoint).map(|d| d.endpoint);
        let endpoint = found.map_err(|c| match c {
            Code::DSTDIED | Code::NOTCONN => Error::early(Code::SRCDIED).at(endpoint),
            other => other.into(),
        })?;
        let session = self.sessions.get_mut(&s).ok_or(Code::NOTBIND)?;
        if session.watches.len() >= dvs_abi::limits::SESSION_WATCHES_MAX {
            return Err(Code::NOSPC.into());
        }
        session.watches.insert((dc, endpoint));
        if let Some(d) = self.dc_mut(dc)?.bound_mut(endpoint.slot()) {
            d.watchers.insert(s);
        }
        Ok(DONE)
    }

    fn get_ep(&self, dc: u16, pid: u32) -> Result<Outcome, Error> {
        let found = self.dc(dc)?.descriptors().find(|d| d.pid == pid && d.node == self.config.me);
        let endpoint = found.ok_or(Code::NOTBIND)?.endpoint.raw();
        Ok(Outcome::Answer(Answer::Endpoint { endpoint }))
    }

    pub(crate) fn wait_own(
        &mut self,
        s: SessionId,
        id: u64,
        board: u32,
        remaining: u64,
    ) -> Result<Outcome, Error> {
        match self.claim(s, board) {
            Some((dc, endpoint)) => self.bound_answer(dc, endpoint).map(Outcome::Answer),
            None => self.park(s, id, 0, None, WaitFor::Own { board }, remaining),
        }
    }
}
