//! Notifications on their way to an endpoint that moves.
//!
//! ```text
//!   old process ──CarryNotices──▶ its node ──Notice──▶ the new node ──▶ new process
//!                                                        │ held while the move goes on there,
//!                                                        └ and until the process has taken the endpoint
//! ```
//! What had reached the old process, and was not received there, it hands back when it hears that the
//! endpoint moved. What is held is merged by source, as everywhere, and bounded.

use super::dispatch::Outcome;
use super::event::{Command, SessionId};
use super::record::Record;
use super::{Node, Place};
use crate::control::Event as Told;
use dvs_abi::limits::{NOTICES_HELD_MAX, SESSION_ENDPOINTS_MAX};
use dvs_abi::{Code, Endpoint, Error};

/// A notification that waits for its receiver's place to be settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeldNotice {
    /// Who raised it.
    pub source: Endpoint,
    /// Its bits.
    pub value: u64,
    /// When, ns on this node's clock.
    pub timestamp: u64,
}

impl Node {
    /// `endpoint` left a session of this node: it may hand back what it had been notified of.
    pub(crate) fn note_left(&mut self, session: SessionId, place: Place) {
        if let Some(s) = self.sessions.get_mut(&session).filter(|s| s.left.len() < SESSION_ENDPOINTS_MAX) {
            s.left.insert(place);
        }
    }

    /// A session hands back what an endpoint that left it had been notified of.
    pub(crate) fn carry_notices(
        &mut self,
        s: SessionId,
        dc: u16,
        endpoint: Endpoint,
        notices: Vec<(i32, u64, u64)>,
    ) -> Result<Outcome, Error> {
        if !self.sessions.get(&s).is_some_and(|x| x.left.contains(&(dc, endpoint))) {
            return Err(Code::NOTBIND.into());
        }
        for (source, value, timestamp) in notices {
            let source = Endpoint::from_raw(source);
            self.forward_notice(dc, endpoint, HeldNotice { source, value, timestamp });
        }
        Ok(Outcome::Silent)
    }

    /// Brings a notification to where its receiver is, or holds it until that is known. Nobody hears of a
    /// failure.
    pub(crate) fn forward_notice(&mut self, dc: u16, endpoint: Endpoint, notice: HeldNotice) {
        let me = self.config.me;
        let Some(c) = self.dcs.get_mut(&dc).filter(|c| c.is_system(endpoint.slot())) else { return };
        let Some(d) = c.bound_mut(endpoint.slot()).filter(|d| d.endpoint == endpoint) else { return };
        let nobody = d.service && d.is_remote() && d.node == me;
        if d.moving || nobody || (d.is_local() && d.receiver().is_none()) {
            match d.held.iter().position(|h| h.source == notice.source) {
                Some(at) => d.held[at].value |= notice.value,
                None if d.held.len() < NOTICES_HELD_MAX => d.held.push(notice),
                None => {}
            }
            return;
        }
        let HeldNotice { source, value, timestamp } = notice;
        let (source, endpoint) = (source.raw(), endpoint.raw());
        match d.receiver() {
            Some(session) => self.tell(session, Told::Notice { dc, source, endpoint, value, timestamp }),
            None => {
                let (node, record) = (d.node.0, Record::Notice { dc, source, endpoint, value });
                if self.peers.get(&node).is_some_and(|p| p.up) {
                    self.out.push(Command::Control { node, record });
                }
            }
        }
    }

    /// A node forwards a notification for an endpoint that is here or on its way here.
    pub(crate) fn notice_record(&mut self, dc: u16, endpoint: Endpoint, notice: HeldNotice) {
        let bound = self.dcs.get(&dc).and_then(|c| c.bound(endpoint.slot()));
        // One that went on meanwhile is not followed: two nodes that each think the other has it would
        // never end.
        if bound.is_some_and(|d| d.is_local() || d.moving) {
            self.forward_notice(dc, endpoint, notice);
        }
    }

    /// The place of an endpoint is settled: what was held for it goes there.
    pub(crate) fn release_notices(&mut self, dc: u16, slot: i32) {
        let Some(d) = self.dcs.get_mut(&dc).and_then(|c| c.bound_mut(slot)) else { return };
        let endpoint = d.endpoint;
        for notice in std::mem::take(&mut d.held) {
            self.forward_notice(dc, endpoint, notice);
        }
    }

    /// The same for endpoints that sessions have just taken.
    pub(crate) fn release_claimed(&mut self) {
        for (dc, endpoint) in std::mem::take(&mut self.taken) {
            self.release_notices(dc, endpoint.slot());
        }
    }
}
