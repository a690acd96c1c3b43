//! Replicas of a service as commands see them: who there is, who comes, who goes.
//!
//! ```text
//!   move:  list: it comes ──► its program is started ──► it has caught up ──► list: the other goes ──► it
//! is out                │ undone                │ undone              │ undone               │ goes on by
//! itself
//! ```

use super::Context;
use super::nodes::order;
use super::service::services;
use crate::fail::{Done, Fail};
use crate::output::say;
use dvs::limits::REPLICA_SEATS_MAX;
use dvs::{Code, DcId, Endpoint, NodeId, Process, ThreadWait};
use dvs_replica::Client;
use dvs_replica::crew::{Crew as Seen, CrewError};
use dvs_replica::list::{Change, List, Refusal};
use dvs_replica::seats::seat_of;
use dvsd::admin::{AdminAnswer, AdminRequest, RunOrder, ServiceRow};
use std::time::Duration;

/// What is started, and in which folder.
pub type Start = (Vec<String>, Option<String>);

/// The replicas of one service.
pub struct Crew<'a> {
    context: &'a Context,
    dc: u16,
    service: Endpoint,
    client: Client<ThreadWait>,
    /// Kept as long as its clients.
    process: Process,
}

impl<'a> Crew<'a> {
    /// Of the service at an endpoint of a container.
    pub fn new(context: &'a Context, dc: u16, service: Endpoint) -> Done<Self> {
        let process = dvs::attach_to(&context.node.session_socket(), "dvs-replicas")?;
        let client = Client::new(process.bind(DcId(dc), Endpoint::NONE)?, service);
        Ok(Crew { context, dc, service, client, process })
    }

    /// A client whose orders replicas take: at a servers' slot of the container that nobody has, the last
    /// one.
    fn officer(&self) -> Done<Client<ThreadWait>> {
        let info = self.process.system().dc_info(DcId(self.dc))?;
        let declared: Vec<i32> =
            services(self.context)?.iter().filter(|r| r.dc == self.dc).map(|r| r.slot).collect();
        let seats = (0..REPLICA_SEATS_MAX).map(|seat| seat_of(self.service, seat).slot());
        let taken: Vec<i32> = declared.into_iter().chain(seats).collect();
        for slot in (0..info.sysprocs - info.tasks).rev().filter(|slot| !taken.contains(slot)) {
            match self.process.bind(DcId(self.dc), Endpoint::new(0, slot)) {
                Ok(port) => return Ok(Client::new(port, self.service)),
                Err(e) if e.code == Code::SLOTUSED => {}
                Err(e) if e.code == Code::PRIVILEGES => return Err(not_you()),
                Err(e) => return Err(e.into()),
            }
        }
        let text = "all servers' slots of the container are taken, and such an order needs one for a moment";
        Err(Fail::refused(Code::BUSY as i32, text).next("end one of its servers"))
    }

    /// What replicas say.
    pub fn look(&self) -> Done<Seen> {
        self.client.crew().map_err(|e| fail(&e))
    }

    /// What is in the way of a replica on a node; nothing if nothing is.
    pub fn hindrance(&self, to: u16) -> Done<Option<String>> {
        let containers = self.context.node.containers()?;
        let Some(dc) = containers.iter().find(|c| c.dc == self.dc) else {
            return Err(Fail::missing(format!("no container dc{}", self.dc)));
        };
        let on = u32::from(to) < u32::BITS && dc.nodes & 1 << to != 0;
        let name = &dc.name;
        Ok((!on).then(|| format!("container {name} does not run on n{to}: dvs dc add-node {name} {to}")))
    }

    /// Has the group decide that a node is to have a replica; one that was to go stays.
    pub fn add(&self, to: u16, within: Duration) -> Done<List> {
        if let Some(why) = self.hindrance(to)? {
            return Err(Fail::refused(Code::NODCNODE as i32, why));
        }
        self.allow(to)?;
        self.officer()?.change(Change::Add(NodeId(to)), false, within).map_err(|e| fail(&e))
    }

    /// Instances may be on a node from now on, if the service is declared.
    fn allow(&self, to: u16) -> Done<()> {
        let (dc, slot) = (self.dc, self.service.slot());
        let Some(row) = self.row()?.filter(|r| r.spec.nodes & 1 << to == 0) else { return Ok(()) };
        let spec = dvs_control::service::ServiceSpec { nodes: row.spec.nodes | 1 << to, ..row.spec };
        order(self.context, &AdminRequest::Service { dc, slot, spec: Some(spec) })
    }

    fn row(&self) -> Done<Option<ServiceRow>> {
        let is = |r: &ServiceRow| (r.dc, r.slot) == (self.dc, self.service.slot());
        Ok(services(self.context)?.into_iter().find(is))
    }

    /// Has the group decide that the replica of a node is to go.
    pub fn remove(&self, node: u16, force: bool, within: Duration) -> Done<List> {
        self.officer()?.change(Change::Remove(NodeId(node)), force, within).map_err(|e| fail(&e))
    }

    /// Waits until the replica of a node has a vote, and callers may come to it.
    pub fn await_added(&self, node: u16, within: Duration) -> Done<()> {
        self.client.await_added(NodeId(node), within).map(drop).map_err(|e| fail(&e))
    }

    /// Waits until the replica of a node is out.
    pub fn await_removed(&self, node: u16, within: Duration) -> Done<()> {
        self.client.await_removed(NodeId(node), within).map(drop).map_err(|e| fail(&e))
    }

    /// What the replica of a node was started with.
    pub fn command_of(&self, node: u16) -> Done<Start> {
        let seat =
            self.look()?.list.of(NodeId(node)).map_or(self.service, |seat| seat_of(self.service, seat));
        let request = AdminRequest::CommandOf { node, dc: self.dc, endpoint: seat.raw() };
        for part in self.context.node.ask(&request)? {
            match part {
                AdminAnswer::Command { program, folder } => return Ok((program, folder)),
                AdminAnswer::Refused { code, why } => return Err(Fail::refused(code, why)),
                AdminAnswer::Silent(_) => return Err(Fail::gone(format!("n{node} does not answer"))),
                _ => {}
            }
        }
        Err(Fail::new(format!("n{node} did not say what its replica was started with")))
    }

    /// Why nothing can be started on a node; nothing if something can.
    pub fn may_start(&self, node: u16) -> Done<Option<String>> {
        let request = AdminRequest::CommandOf { node, dc: self.dc, endpoint: self.service.raw() };
        for part in self.context.node.ask(&request)? {
            match part {
                AdminAnswer::Refused { code, why } if code == Code::PERM as i32 => return Ok(Some(why)),
                AdminAnswer::Silent(_) => return Ok(Some(format!("n{node} does not answer"))),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Asks the replica of a node to have another one lead, if it does.
    pub fn resign(&self, node: u16) -> Done<()> {
        self.officer()?.resign(NodeId(node)).map_err(|e| fail(&e))
    }

    /// Starts a program on a node; nobody waits for it.
    pub fn start(&self, node: u16, (program, folder): Start) -> Done<()> {
        let endpoint = Endpoint::NONE.raw();
        let order = RunOrder { dc: self.dc, endpoint, program, folder, detach: true };
        for part in self.context.node.ask(&AdminRequest::Run { node, order })? {
            match part {
                AdminAnswer::Refused { code, why } => return Err(Fail::refused(code, why)),
                AdminAnswer::Silent(_) => return Err(Fail::gone(format!("n{node} does not answer"))),
                _ => {}
            }
        }
        Ok(())
    }

    /// A replica comes to a node, started with `start`, and counts. If it does not, the list is as before.
    pub fn bring(&self, to: u16, start: Start, within: Duration) -> Done<()> {
        self.add(to, within)?;
        let come = self.start(to, start).and_then(|()| self.await_added(to, within));
        if come.is_err() {
            // If that cannot be either, the list shows it.
            let _ = self.remove(to, true, within).and_then(|_| self.await_removed(to, within));
        }
        come
    }

    /// The replica of a node goes.
    pub fn dismiss(&self, node: u16, within: Duration) -> Done<()> {
        self.remove(node, false, within)?;
        self.await_removed(node, within)
    }

    /// The same on another node: one more there, then one less here.
    pub fn carry(&self, from: u16, to: u16, start: Start, within: Duration, shown: bool) -> Done<()> {
        let tell = |line: String| {
            if shown {
                say(&line);
            }
        };
        match self.look()?.list.sitter_of(NodeId(to)) {
            // What was broken off goes on.
            Some(s) if !s.leaves && self.look()?.in_step(NodeId(to)) => {}
            Some(s) if !s.leaves => {
                self.start(to, start)?;
                self.await_added(to, within)?;
            }
            _ => {
                tell(format!("a replica is started on n{to}"));
                self.bring(to, start, within)?;
            }
        }
        tell(format!("the replica on n{to} has everything; that on n{from} goes"));
        match self.look()?.list.sitter_of(NodeId(from)) {
            Some(s) if s.leaves => self.await_removed(from, within),
            _ => self.dismiss(from, within),
        }
    }
}

/// Replicas take orders about their list from operators only.
fn not_you() -> Fail {
    Fail::refused(Code::PRIVILEGES as i32, "who is a replica is changed by operators of the system only")
        .next("do it as root, or as the user whose daemon runs here")
}

/// What is said of an error, and what to do.
pub fn fail(error: &CrewError) -> Fail {
    let refused = |code: Code| Fail::refused(code as i32, error);
    match error {
        CrewError::Refused(Refusal::There(_)) => {
            refused(Code::BUSY).next("see the replicas with: dvs kv members ls")
        }
        CrewError::Refused(Refusal::NotThere(_)) => {
            Fail::missing(error).next("see the replicas with: dvs kv members ls")
        }
        CrewError::Refused(Refusal::Last(_)) => {
            refused(Code::BUSY).next("add another one before; or end the service with: dvs service rm")
        }
        CrewError::Refused(Refusal::TooFew { .. }) => refused(Code::BUSY)
            .next("start the others again, or add one before; --force does it nevertheless"),
        CrewError::Refused(_) => refused(Code::BUSY),
        CrewError::Nobody => Fail::missing(error).next("start a replica with: dvs kv serve"),
        CrewError::NoLeader => refused(Code::TIMEDOUT).next("see who is missing with: dvs kv status"),
        CrewError::Unknown | CrewError::Late(_) => {
            refused(Code::TIMEDOUT).next("see how far it is with: dvs kv members ls; it may be repeated")
        }
        CrewError::NotYou => not_you(),
        CrewError::Call(e) => Fail::from(e.clone()),
    }
}
