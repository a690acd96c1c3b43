//! The side that a service moves to. It follows.
//!
//! ```text
//!          prepared            the last round          the log: placed here
//!  Starting ───────► Filling ──────────────────► Full ──────────────────────► Serves
//!     │               ▲   │ next round            │ offers itself until then
//!     │               └───┤                       │
//!     │ forget, link cut, │ a gap                 │ the log: placed elsewhere, offer refused
//!     └───────────────────┴────────► Over ◄───────┘
//! ```
//! A target that is not full ends when the link is cut: the source may begin again. A full one asks the log,
//! also when the source is gone: then it is the only one that has the state.

use crate::Note;
use dvs_abi::{DcId, NodeId};
use dvs_control::command::Command;
use dvs_control::epoch::Epoch;

/// Where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// An instance is being started.
    Starting,
    /// It has the rounds up to this one.
    Filling(u32),
    /// It has all.
    Full,
    /// Callers come here.
    Serves,
    /// There is no instance any more.
    Over,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The instance runs, or could not be started.
    Started(Result<(), String>),
    /// The source said something.
    Note(Note),
    /// The log says that the service is on this node.
    PlacedAt(NodeId, Epoch),
    /// The log refused the offer.
    NotOffered,
    /// The connection with the source was lost.
    Cut,
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// Tell the source.
    Tell(Note),
    /// Start an instance.
    Start,
    /// Take the state that came with the note.
    Take {
        /// Its round.
        round: u32,
    },
    /// Put it into the log.
    Propose(Command),
    /// The instance may take requests.
    Serve,
    /// The instance is over.
    End,
}

/// How long until an offer is repeated.
const REPEAT_NS: u64 = 200_000_000;

/// One move.
#[derive(Debug)]
pub struct Target {
    me: NodeId,
    dc: DcId,
    slot: i32,
    phase: Phase,
    /// The epoch of the place when it began: older news says nothing about this move.
    since: Epoch,
    /// The move in the log, once it has all.
    number: Epoch,
    offer_at: u64,
}

impl Target {
    /// The source wants to move the service at `slot` of `dc` here. `since` = its present epoch.
    pub fn begin(me: NodeId, (dc, slot): (DcId, i32), since: Epoch, out: &mut Vec<Order>) -> Self {
        out.push(Order::Start);
        Target { me, dc, slot, phase: Phase::Starting, since, number: Epoch::default(), offer_at: 0 }
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Something happened.
    pub fn step(&mut self, event: Event, now: u64, out: &mut Vec<Order>) {
        match (event, self.phase) {
            (_, Phase::Over) => {}
            (Event::Started(Ok(())), Phase::Starting) => {
                self.phase = Phase::Filling(0);
                out.push(Order::Tell(Note::Ready));
            }
            (Event::Started(Err(why)), Phase::Starting) => {
                out.push(Order::Tell(Note::Refused(why)));
                self.end(out);
            }
            (Event::Note(Note::State { round, last, .. }), Phase::Filling(has)) if round == has + 1 => {
                out.extend([Order::Take { round }, Order::Tell(Note::Has { round })]);
                self.phase = Phase::Filling(round);
                if let Some(number) = last {
                    self.phase = Phase::Full;
                    self.number = number;
                    self.offer(now, out);
                }
            }
            (Event::Note(Note::State { round, .. }), Phase::Filling(_)) => {
                out.push(Order::Tell(Note::Refused(format!("round {round} came out of turn"))));
                self.end(out);
            }
            (Event::Note(Note::Forget) | Event::Cut, Phase::Starting | Phase::Filling(_)) => self.end(out),
            (Event::PlacedAt(node, epoch), Phase::Full) if epoch > self.since => {
                if node == self.me {
                    self.phase = Phase::Serves;
                    out.push(Order::Serve);
                } else {
                    self.end(out);
                }
            }
            (Event::PlacedAt(node, _), Phase::Serves) if node != self.me => self.end(out),
            (Event::NotOffered, Phase::Full) => {
                out.push(Order::Tell(Note::Refused("the log took the move for over".to_owned())));
                self.end(out);
            }
            (Event::Tick, Phase::Full) if now >= self.offer_at => self.offer(now, out),
            _ => {}
        }
    }

    fn offer(&mut self, now: u64, out: &mut Vec<Order>) {
        self.offer_at = now + REPEAT_NS;
        let Target { dc, slot, number, .. } = *self;
        out.push(Order::Propose(Command::Arrive { dc, slot, number }));
    }

    fn end(&mut self, out: &mut Vec<Order>) {
        self.phase = Phase::Over;
        out.push(Order::End);
    }
}
