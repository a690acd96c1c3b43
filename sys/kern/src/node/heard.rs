//! Answers that are held back until other sessions have taken in what follows from them.
//!
//! Why: whoever changed something that another session must see (rights, the end of a container or of an
//! endpoint, the start of a move, a wake-up) may rely on it as soon as its request is answered. The news goes
//! to the other session by its own socket, so without this it could still be on its way.
//!
//! ```text
//!  asker ── SetPriv ──► node ── Privileges, Mark{7} ──► target's control thread: carries it in
//!                         ▲ ◄──────── Heard{7} ────────────┘
//!  asker ◄── Done ────────┘
//! ```
//!
//! All sessions that were told anything by the same event are asked with one mark each; the number of a mark
//! is that of the event being handled. A slot remembers who was told of its end, so that a wait for that end
//! which comes later waits for them too. A session that does not take in its news within `HEARD_MAX_NS` is
//! stopped or hostile: whoever asked is answered without it.

use super::Node;
use super::dispatch::Outcome;
use super::event::{Command, PROXY, SessionId};
use super::wait::{WaitFor, WaitId};
use crate::control::{Answer, Event as Told};
use dvs_abi::Error;
use dvs_abi::limits::HEARD_MAX_NS;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Who was told of something, by which event.
#[derive(Clone, Debug)]
pub(crate) struct News {
    turn: u64,
    told: BTreeSet<SessionId>,
}

impl News {
    /// This and what was told before.
    pub(crate) fn with(&self, before: Option<&News>) -> News {
        let mut told = self.told.clone();
        told.extend(before.iter().flat_map(|b| &b.told));
        News { turn: self.turn, told }
    }
}

/// An answer and who must hear first.
#[derive(Clone, Debug)]
pub(crate) struct Hearing {
    result: Result<Answer, Error>,
    pub(crate) awaited: BTreeMap<SessionId, u64>,
}

/// The answers of a node that are held back.
#[derive(Default)]
pub(crate) struct Hearings {
    /// Number of the event being handled.
    turn: u64,
    /// Answers of this event.
    fresh: Vec<(SessionId, u64, Result<Answer, Error>)>,
    /// Slots that became free by this event.
    freed: Vec<(u16, i32)>,
    /// Tickets that this event is about.
    decided: Vec<u64>,
    pub(crate) held: BTreeMap<WaitId, Hearing>,
}

impl Node {
    /// An event is about to be handled.
    pub(crate) fn next_turn(&mut self) {
        self.hearings.turn += 1;
    }

    /// Answers when everybody who is told something by this event has heard it.
    pub(crate) fn answer_when_heard(&mut self, s: SessionId, id: u64, result: Result<Answer, Error>) {
        self.hearings.fresh.push((s, id, result));
    }

    /// A slot became free: those who are told of it by this event are remembered there.
    pub(crate) fn note_freed(&mut self, dc: u16, slot: i32) {
        self.hearings.freed.push((dc, slot));
    }

    /// What is told by this event follows from these tickets.
    pub(crate) fn note_decided(&mut self, tickets: Vec<u64>) {
        self.hearings.decided.extend(tickets);
    }

    /// The event was handled: everybody who has to hear of it is asked to say when it has.
    pub(crate) fn spread(&mut self) {
        let h = &self.hearings;
        if h.fresh.is_empty() && h.freed.is_empty() && h.decided.is_empty() {
            return;
        }
        let told = self.out.iter().filter_map(|c| match c {
            Command::Tell { session, .. } if self.listens(*session) => Some(*session),
            _ => None,
        });
        let news = Arc::new(News { turn: self.hearings.turn, told: told.collect() });
        for (dc, slot) in std::mem::take(&mut self.hearings.freed) {
            if let Some(slot) = self.dcs.get_mut(&dc).and_then(|c| c.slot_mut(slot)) {
                slot.news = Some(news.clone()).filter(|n| !n.told.is_empty());
            }
        }
        for ticket in std::mem::take(&mut self.hearings.decided) {
            self.tickets.note(ticket, &news);
        }
        for (s, id, result) in std::mem::take(&mut self.hearings.fresh) {
            self.hold(s, id, result, &news);
        }
    }

    /// Whether a session is a process that reads its news.
    fn listens(&self, s: SessionId) -> bool {
        s != PROXY && self.sessions.get(&s).is_some_and(|x| x.pid != 0)
    }

    /// Answers when those have heard who were told of a slot's end, if there are any left.
    pub(crate) fn after_the_end(&mut self, s: SessionId, id: u64, dc: u16, slot: i32) -> Outcome {
        let news = self.dcs.get(&dc).and_then(|c| c.slot(slot)).and_then(|x| x.news.clone());
        match news {
            Some(news) => {
                self.hold(s, id, Ok(Answer::Done), &news);
                Outcome::Later
            }
            None => super::dispatch::DONE,
        }
    }

    /// Answers when those have heard who were told.
    pub(crate) fn hold(&mut self, s: SessionId, id: u64, result: Result<Answer, Error>, news: &News) {
        let behind = |n: &&SessionId| self.sessions.get(*n).is_some_and(|x| x.heard < news.turn);
        let awaited: Vec<SessionId> = news.told.iter().filter(behind).copied().collect();
        let parked = if awaited.is_empty() {
            None
        } else {
            // Whoever may not wait (or has too many waits) is answered as it is.
            let parked = self.park(s, id, 0, None, WaitFor::Heard, HEARD_MAX_NS);
            parked.ok().and_then(|_| self.sessions.get(&s)?.waits.get(&id).copied())
        };
        let Some(wait) = parked else {
            return self.reply(s, id, result.map(Outcome::Answer));
        };
        let mut marks = BTreeMap::new();
        for n in awaited {
            let turn = self.hearings.turn;
            let Some(session) = self.sessions.get_mut(&n) else { continue };
            let asks = session.asked < news.turn;
            if asks {
                session.asked = turn;
            }
            // A later mark than needed is as good, and the only one there may be.
            let mark = session.asked;
            session.hearers.insert((mark, wait));
            marks.insert(n, mark);
            if asks {
                self.tell(n, Told::Mark { mark });
            }
        }
        self.hearings.held.insert(wait, Hearing { result, awaited: marks });
    }

    /// A session has taken in everything up to a mark.
    pub(crate) fn heard(&mut self, s: SessionId, mark: u64) {
        let Some(session) = self.sessions.get_mut(&s) else { return };
        // It cannot have heard what it was not asked.
        session.heard = session.heard.max(mark.min(session.asked));
        let heard = session.heard;
        let those: Vec<(u64, WaitId)> = session.hearers.range(..=(heard, WaitId::MAX)).copied().collect();
        for (mark, wait) in those {
            if let Some(session) = self.sessions.get_mut(&s) {
                session.hearers.remove(&(mark, wait));
            }
            self.heard_by(s, wait);
        }
    }

    /// `s` has heard what `wait` is about, or is gone.
    pub(crate) fn heard_by(&mut self, s: SessionId, wait: WaitId) {
        let Some(hearing) = self.hearings.held.get_mut(&wait) else { return };
        hearing.awaited.remove(&s);
        if hearing.awaited.is_empty() {
            self.finish_hearing(wait);
        }
    }

    /// Gives the answer that was held back, whoever has heard by now.
    pub(crate) fn finish_hearing(&mut self, wait: WaitId) {
        let Some(result) = self.hearings.held.get(&wait).map(|h| h.result.clone()) else { return };
        self.finish(wait, result.map(Outcome::Answer));
    }

    /// Nobody waits for a held answer any more.
    pub(crate) fn drop_hearing(&mut self, wait: WaitId) {
        for (s, mark) in self.hearings.held.remove(&wait).map(|h| h.awaited).unwrap_or_default() {
            if let Some(session) = self.sessions.get_mut(&s) {
                session.hearers.remove(&(mark, wait));
            }
        }
    }
}
