//! What a session asks for and all nodes have to agree on: containers, where they may run, slots by number.
//!
//! ```text
//!  session ── DcEnd ──► node ── Decide{7, End} ──► the log of all nodes
//!                         ◄── Container{None} ──── what was decided, to every node in one order
//!                         ◄── Decided{7, Ok} ────┘ to the one that asked
//!  session ◄── Done ──────┘ when those who were told of it have heard
//! ```
//! What can be refused without asking is refused at once. A request waits for its ticket, at most
//! `DECIDE_WAIT_NS`: without a majority of nodes nothing is decided. Then its effect is unknown.

use super::Node;
use super::dispatch::Outcome;
use super::event::{Command, SessionId, Want};
use super::heard::News;
use super::wait::{WaitFor, WaitId};
use crate::control::Answer;
use crate::slots::SlotRequest;
use dvs_abi::limits::{DECIDE_WAIT_NS, TICKETS_MAX};
use dvs_abi::{Code, Effect, Error};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One that is not decided yet.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    /// Who waits for it, if it still does.
    wait: Option<WaitId>,
    by: SessionId,
    want: Want,
    /// Who was told of what it changed.
    news: Option<Arc<News>>,
}

/// Those of sessions that are not decided yet.
#[derive(Default)]
pub(crate) struct Tickets {
    last: u64,
    open: BTreeMap<u64, Ticket>,
}

impl Tickets {
    pub(crate) fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// What was told by the event just handled is what follows from a ticket, too.
    pub(crate) fn note(&mut self, ticket: u64, news: &News) {
        if let Some(t) = self.open.get_mut(&ticket) {
            t.news = Some(Arc::new(news.with(t.news.as_deref())));
        }
    }

    /// Whether an instance of a service is offered, and that is not decided yet.
    pub(crate) fn offers(&self, dc: u16, slot: i32) -> bool {
        self.open.values().any(|t| match t.want {
            Want::Offer { dc: d, slot: s } | Want::Arrive { dc: d, slot: s, .. } => (d, s) == (dc, slot),
            _ => false,
        })
    }

    /// Whether a wait is that of a ticket.
    pub(crate) fn has(&self, wait: WaitId) -> bool {
        self.open.values().any(|t| t.wait == Some(wait))
    }
}

impl Node {
    /// Has something decided for a request.
    pub(crate) fn decide_for(&mut self, s: SessionId, id: u64, want: Want) -> Result<Outcome, Error> {
        self.room_for_ticket()?;
        // Number 0 means that nobody waits for the answer.
        let wait = match id {
            0 => None,
            _ => {
                self.park(s, id, 0, None, WaitFor::Decision, DECIDE_WAIT_NS)?;
                self.sessions.get(&s).and_then(|x| x.waits.get(&id)).copied()
            }
        };
        self.open_ticket(s, wait, want);
        Ok(Outcome::Later)
    }

    pub(crate) fn room_for_ticket(&self) -> Result<(), Error> {
        if self.tickets.open.len() >= TICKETS_MAX { Err(Code::NOSPC.into()) } else { Ok(()) }
    }

    pub(crate) fn open_ticket(&mut self, by: SessionId, wait: Option<WaitId>, want: Want) {
        let ticket = self.tickets.next();
        self.tickets.open.insert(ticket, Ticket { wait, by, want: want.clone(), news: None });
        self.out.push(Command::Decide { ticket, want });
    }

    /// The tickets about a container, and the processes that asked for its end or its leaving a node: they
    /// have work to finish and are not asked to end.
    pub(crate) fn tickets_about(&self, dc: u16) -> (Vec<u64>, BTreeSet<u32>) {
        let about = |t: &Ticket| match t.want {
            Want::End { dc: n } | Want::Allow { dc: n, on: false, .. } => n == dc,
            _ => false,
        };
        let those = || self.tickets.open.iter().filter(|(_, t)| about(t));
        let pids = those().filter_map(|(_, t)| self.sessions.get(&t.by)).map(|s| s.pid);
        (those().map(|(n, _)| *n).collect(), pids.collect())
    }

    pub(crate) fn decided(&mut self, ticket: u64, result: Result<(), Code>) {
        let Some(t) = self.tickets.open.remove(&ticket) else {
            self.retired(ticket);
            return self.slots_decided(ticket, result);
        };
        if let Want::Offer { dc, slot } | Want::Arrive { dc, slot, .. } = t.want {
            return self.offered(dc, slot, t.wait, result);
        }
        let Some(wait) = t.wait else { return };
        if let Want::Slots { dc, request: SlotRequest::Claim { .. } } = t.want {
            return self.claimed(dc, wait, result);
        }
        let result = result.map(|()| Answer::Done).map_err(|code| refusal(&t.want, code));
        match (self.unpark(wait), t.news) {
            (Some(w), Some(news)) => self.hold(w.session, w.id, result, &news),
            (Some(w), None) => self.reply(w.session, w.id, result.map(Outcome::Answer)),
            (None, _) => {}
        }
    }

    /// A ticket is decided; who waits for it.
    pub(crate) fn close_ticket(&mut self, ticket: u64) -> Option<WaitId> {
        self.tickets.open.remove(&ticket)?.wait
    }

    /// Nothing that was asked for will be answered any more.
    pub(crate) fn drop_tickets(&mut self) {
        for t in std::mem::take(&mut self.tickets.open).into_values() {
            let Some(wait) = t.wait else { continue };
            self.finish(wait, Err(refusal(&t.want, Code::STALE)));
        }
    }
}

/// The error of a request that was refused, in the words of the call.
fn refusal(want: &Want, code: Code) -> Error {
    let code = match (want, code) {
        (Want::Create { .. }, Code::DCRUN) => Code::RSCBUSY,
        (Want::End { .. } | Want::Allow { .. } | Want::Slots { .. }, Code::BADDCID) => Code::DCNOTRUN,
        _ => code,
    };
    let bind = matches!(want, Want::Slots { .. } | Want::Offer { .. } | Want::Arrive { .. });
    let unknown = matches!(code, Code::STALE | Code::TIMEDOUT) && !bind;
    Error::new(code, if unknown { Effect::Unknown } else { Effect::No })
}
