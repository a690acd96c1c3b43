//! One replica of one service: its member of the group, and the calls it has taken up.

use super::wire::{Note, Packet, Service};
use super::{MS, everybody};
use crate::actor::Effects;
use crate::lives::Lives;
use crate::member::{Ask, Member, Out, next_step};
use dvs_abi::{DcId, Endpoint, Message, NodeId};
use dvs_log::{GroupId, LogError, Timing};
use dvs_replica::call::{CallName, Caller};
use dvs_replica::calls::Calls;
use dvs_replica::service::Service as Server;
use dvs_replica::wire::{Told, decode_call, encode_told, inline_request};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often the leader looks who should have a vote.
const ROSTER_NS: u64 = 300 * MS;

/// What was asked of the member.
enum Doing {
    /// A call: who waits for which attempt.
    Call(NodeId, u64),
    Roster,
    Other,
}

/// A replica.
pub(super) struct Group<M: Server> {
    service: Service,
    member: Member<M, ()>,
    calls: Arc<Calls<M>>,
    doing: BTreeMap<u64, Doing>,
    numbers: u64,
    reviewed: u64,
    leader: Option<NodeId>,
    goal: Vec<NodeId>,
}

impl<M: Server> Group<M> {
    pub(super) fn start(service: Service, machine: M, fx: &mut Effects<'_, Note>) -> Result<Self, LogError> {
        // Snapshots are rare in a real cluster; here a run is short.
        let timing = Timing { snapshot_after: 25, kept: 8, ..Timing::default() };
        let number = service as u32 + 1;
        let member = Member::start(number, GroupId(number.into()), timing, fx, |_| machine)?;
        let calls = Calls::new(member.node());
        let (doing, goal) = (BTreeMap::new(), everybody());
        let mut group = Group { service, member, calls, doing, numbers: 0, reviewed: 0, leader: None, goal };
        if fx.me() == NodeId(0) {
            group.ask(Doing::Other, Ask::Found);
        }
        Ok(group)
    }

    pub(super) fn member(&self) -> &Member<M, ()> {
        &self.member
    }

    fn number(&mut self, doing: Doing) -> u64 {
        self.numbers += 1;
        self.doing.insert(self.numbers, doing);
        self.numbers
    }

    fn ask(&mut self, doing: Doing, ask: Ask) {
        let number = self.number(doing);
        self.member.ask(number, ask);
    }

    pub(super) fn hear(&mut self, from: NodeId, bytes: Vec<u8>) {
        self.member.hear(from, bytes);
    }

    pub(super) fn synced(&mut self, id: u64) {
        self.member.synced(id);
    }

    /// A client calls: what a replica's reception makes of its message.
    pub(super) fn call(&mut self, from: NodeId, attempt: u64, within: u64, message: &[u8]) {
        let Some(message) = Message::from_bytes(message) else { return };
        let Some(call) = decode_call(&message).filter(|c| c.inline) else { return };
        let caller = Caller { dc: DcId(0), endpoint: message.source(), binding: call.binding };
        let name = CallName { caller, number: call.number, again: call.again };
        let request = inline_request(&message, &call).to_vec();
        let (number, calls) = (self.number(Doing::Call(from, attempt)), self.calls.clone());
        self.member.work_on(number, move |_| async move {
            let until = Instant::now() + Duration::from_nanos(within);
            let outcome = match call.query {
                true => calls.query(&request, until).await,
                false => calls.call(name, &request, until).await,
            };
            encode_told(&Told::Outcome(outcome)).as_bytes().to_vec()
        });
    }

    /// Does what is to be done.
    ///
    /// # Errors
    /// Why its member has ended.
    pub(super) fn turn(&mut self, lives: &Lives, fx: &mut Effects<'_, Note>) -> Result<(), LogError> {
        loop {
            for out in self.member.turn(fx) {
                match out {
                    Out::Send(to, bytes) => {
                        fx.send(to, Packet::Log(lives.header(to), self.service, bytes).encode());
                    }
                    Out::Tell(()) => {}
                    Out::Done(number, result) => {
                        if let (Some(Doing::Call(to, attempt)), Ok(told)) =
                            (self.doing.remove(&number), result)
                        {
                            fx.send(to, Packet::Answer(attempt, told).encode());
                        }
                    }
                }
            }
            if let Some(error) = self.member.failure() {
                return Err(error);
            }
            if !self.member.waits() {
                break;
            }
        }
        let leader = self.member.leader();
        if leader != self.leader && leader == Some(fx.me()) {
            fx.note(Note::Leads(self.service, fx.me()));
        }
        self.leader = leader;
        Ok(())
    }

    /// Looks who should have a vote, if this node leads and it is time to.
    pub(super) fn review(&mut self, quiet: bool, fx: &mut Effects<'_, Note>) {
        let due = fx.now() >= self.reviewed + ROSTER_NS && self.leader == Some(fx.me());
        if !due || self.doing.values().any(|d| matches!(d, Doing::Roster)) {
            return;
        }
        self.reviewed = fx.now();
        if quiet || fx.random().odds(100) {
            self.goal = everybody();
        } else if fx.random().odds(70) {
            let out = fx.random().below(u64::from(super::REPLICAS)) as u16;
            self.goal.retain(|n| n.0 != out);
            if self.goal.is_empty() {
                self.goal = everybody();
            }
        }
        if let Some(step) = next_step(&self.member.members(), &everybody(), &self.goal) {
            self.ask(Doing::Roster, step);
        }
    }
}

/// The endpoint of a client.
pub(super) fn endpoint(node: NodeId, client: usize) -> Endpoint {
    Endpoint::new(1, 30 + 10 * i32::from(node.0) + client as i32)
}
