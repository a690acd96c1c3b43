//! Requests of programs that move a service: registered as waits, so that what is known of a program ends
//! with it.
//!
//! ```text
//!  Await, Stand ──► wait ──► Event::MoverOrder: answered         the driver decides who moves where
//!  Begin, Undo, Arrive ──► ticket ──► decided: answered          the log decides
//!  Place ──► wait ──► Event::ServicePlace: answered
//!  Report ──► Command::MoveReport                                the driver answers
//! ```
//! Rights: a move is begun and undone by the instance itself, or by an administrator; who stands by or
//! arrives needs what a bind of the slot needs.

use super::Node;
use super::bind::BindAsk;
use super::dispatch::Outcome;
use super::event::{Command, SessionId, Want};
use super::service::{Kind, Service};
use super::wait::{Wait, WaitFor, WaitId};
use crate::control::{Answer, BindKind};
use crate::mover::{MoverAnswer, MoverAsk};
use dvs_abi::limits::MOVER_WAIT_NS;
use dvs_abi::{Code, Endpoint, Error, NodeId};

/// A program that waits for a word about a move, as its driver sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiter {
    /// Its session.
    pub session: SessionId,
    /// The endpoint its state goes from or to.
    pub mover: Endpoint,
    /// Version of its state; of one that stands by: the versions it takes.
    pub versions: (u32, u32),
    /// Bytes of its state.
    pub bytes: u64,
}

/// Where callers go by the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Placed {
    /// There.
    pub node: Option<NodeId>,
    /// They wait: it moves.
    pub moves: bool,
    /// Since this epoch.
    pub epoch: u64,
}

impl Node {
    /// Answers a question of a program that moves the service at a slot.
    pub(crate) fn mover(
        &mut self,
        s: SessionId,
        id: u64,
        (dc, slot): (u16, i32),
        ask: MoverAsk,
    ) -> Result<Outcome, Error> {
        if let MoverAsk::Report { id: of, report } = ask {
            self.out.push(Command::MoveReport { session: s, request: id, id: of, report: report.short() });
            return Ok(Outcome::Later);
        }
        let service = self.service_of(dc, slot).ok_or(Code::BADPROC)?;
        if service.kind != Kind::Single {
            return Err(Code::PROCSTS.into());
        }
        match ask {
            MoverAsk::Await { mover, version, bytes } => {
                if !self.is_instance(s, dc, slot) {
                    return Err(Code::NOTBIND.into());
                }
                let mover = self.own(s, dc, mover)?;
                let waiter = Waiter { session: s, mover, versions: (version, version), bytes };
                self.park(s, id, dc, Some(slot), WaitFor::Order(waiter), MOVER_WAIT_NS)
            }
            MoverAsk::Stand { mover, versions } => {
                self.may_be_instance(s)?;
                let mover = self.own(s, dc, mover)?;
                let waiter = Waiter { session: s, mover, versions, bytes: 0 };
                let done = self.park(s, id, dc, Some(slot), WaitFor::Standby(waiter), MOVER_WAIT_NS)?;
                self.out.push(Command::StandsBy { dc, slot });
                Ok(done)
            }
            MoverAsk::Begin { to, hold_ns } => {
                self.may_move(s, dc, slot)?;
                self.decide_for(s, id, Want::Move { dc, slot, to, hold_ns })
            }
            MoverAsk::Undo { number } => {
                self.may_move(s, dc, slot)?;
                self.decide_for(s, id, Want::Undo { dc, slot, number })
            }
            MoverAsk::Arrive { number, board } => self.arrive(s, id, (dc, slot), number, board),
            MoverAsk::Place { after, remaining } => match Self::placed(service, after) {
                Some(answer) => Ok(answer),
                None => self.park(s, id, dc, Some(slot), WaitFor::Place { after }, remaining),
            },
            MoverAsk::Report { .. } => Err(Code::BADREQUEST.into()),
        }
    }

    /// The program that has all of a service becomes its instance.
    fn arrive(
        &mut self,
        s: SessionId,
        id: u64,
        (dc, slot): (u16, i32),
        number: u64,
        board: u32,
    ) -> Result<Outcome, Error> {
        self.may_be_instance(s)?;
        if !self.dc(dc)?.config.runs_on(self.config.me.0) {
            return Err(Code::NODCNODE.into());
        }
        let endpoint = Endpoint::new(0, slot);
        let ask = BindAsk { kind: BindKind::Own, dc, endpoint, pid: 0, node: 0, name: String::new(), board };
        if self.service_of(dc, slot).is_some_and(Service::retires) {
            return Err(Error::early(Code::BUSY).at(endpoint));
        }
        // Without a deadline: it may be the only one that has the state, and gives it up for nothing else
        // than the word of the log.
        self.offer_instance(s, id, &ask, Want::Arrive { dc, slot, number }, u64::MAX)
    }

    fn is_instance(&self, s: SessionId, dc: u16, slot: i32) -> bool {
        let bound = self.dcs.get(&dc).and_then(|c| c.bound(slot));
        bound.is_some_and(|d| d.service && d.session == Some(s))
    }

    /// An endpoint of this session's own.
    fn own(&self, s: SessionId, dc: u16, endpoint: i32) -> Result<Endpoint, Error> {
        let endpoint = Endpoint::from_raw(endpoint);
        let has = self.sessions.get(&s).is_some_and(|x| x.endpoints.contains(&(dc, endpoint)));
        if has { Ok(endpoint) } else { Err(Error::early(Code::NOTBIND).at(endpoint)) }
    }

    fn may_be_instance(&self, s: SessionId) -> Result<(), Error> {
        let operator = self.sessions.get(&s).is_some_and(|x| x.operator);
        if operator { Ok(()) } else { Err(Code::PRIVILEGES.into()) }
    }

    fn may_move(&self, s: SessionId, dc: u16, slot: i32) -> Result<(), Error> {
        let session = self.sessions.get(&s).ok_or(Code::NOTBIND)?;
        let administrator = session.operator && session.endpoints.is_empty();
        if administrator || self.is_instance(s, dc, slot) { Ok(()) } else { Err(Code::PRIVILEGES.into()) }
    }

    fn placed(service: &Service, after: u64) -> Option<Outcome> {
        let at = service.placed;
        let node = at.node.map(|n| n.0);
        let answer = Answer::Mover(MoverAnswer::At { node, epoch: at.epoch });
        (at.epoch > after && !at.moves).then_some(Outcome::Answer(answer))
    }

    /// What became of a wait when something has changed at its slot.
    pub(crate) fn retry_mover(&self, w: &Wait) -> Result<Outcome, Error> {
        let slot = w.slot.unwrap_or_default();
        let service = self.service_of(w.dc, slot).ok_or(Code::DSTDIED)?;
        match w.what {
            WaitFor::Place { after } => Ok(Self::placed(service, after).unwrap_or(Outcome::Later)),
            _ => Ok(Outcome::Later),
        }
    }

    /// The log says where a service is, and what follows was carried out.
    pub(crate) fn service_place(&mut self, dc: u16, slot: i32, placed: Placed) {
        let Some(service) = self.service_mut(dc, slot) else { return };
        if placed.epoch > service.placed.epoch {
            service.placed = placed;
            self.reconsider(dc, slot);
        }
    }

    /// A move is in the log.
    pub(crate) fn move_begun(&mut self, ticket: u64, number: u64) {
        if let Some(wait) = self.close_ticket(ticket) {
            self.finish(wait, Ok(Outcome::Answer(Answer::Mover(MoverAnswer::Begun { number }))));
        }
    }

    fn waiter(&self, dc: u16, slot: i32, stands_by: bool) -> Option<(WaitId, Waiter)> {
        let list = self.dcs.get(&dc)?.waiting.get(&slot)?;
        list.iter().find_map(|wait| match self.waits.table.get(wait)?.what {
            WaitFor::Order(waiter) if !stands_by => Some((*wait, waiter)),
            WaitFor::Standby(waiter) if stands_by => Some((*wait, waiter)),
            _ => None,
        })
    }

    /// The instance of a service that can be told to move away now.
    pub fn movable_instance(&self, dc: u16, slot: i32) -> Option<Waiter> {
        self.waiter(dc, slot, false).map(|(_, w)| w)
    }

    /// One that can take a service over.
    pub fn standby(&self, dc: u16, slot: i32) -> Option<Waiter> {
        self.waiter(dc, slot, true).map(|(_, w)| w)
    }

    /// Tells the one that waits for it.
    pub(crate) fn mover_order(&mut self, dc: u16, slot: i32, answer: MoverAnswer) {
        let stands_by = matches!(answer, MoverAnswer::Take { .. });
        if let Some((wait, _)) = self.waiter(dc, slot, stands_by) {
            self.finish(wait, Ok(Outcome::Answer(Answer::Mover(answer))));
        }
    }
}
