//! The side that a service moves from. It leads.
//!
//! ```text
//!            ready           small enough, or      Begun          the target has it
//!  Preparing ─────► Copying ─────────────► Freezing ─────► Sending ─────────────► Waiting
//!     │               │     enough rounds     │              │                      │
//!     │ refused, link cut, cancelled, too long│refused       │ link cut, cancelled  │ the log: placed
//!     └──────────────►┴───────────────────────┴─► Ended      └──► Undoing ──────────┴───► Ended
//! ```
//! Once the move is in the log it ends when the log says where the service is, and not before: whether the
//! target has offered itself is not known here. What is put into the log may be lost; it is repeated.

use crate::Note;
use dvs_abi::{DcId, NodeId};
use dvs_control::command::Command;
use dvs_control::epoch::Epoch;

/// What is to be moved, and with how much patience.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The container.
    pub dc: DcId,
    /// The service's slot.
    pub slot: i32,
    /// From here.
    pub from: NodeId,
    /// To there.
    pub to: NodeId,
    /// When it is given up if callers are not held yet.
    pub begin_by: u64,
    /// How long callers are held at most before it is undone, ns.
    pub hold_max: u64,
    /// So little left is sent while callers are held.
    pub small: u64,
    /// Rounds of copying before that, at most.
    pub rounds_max: u32,
}

/// Where it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The target starts an instance.
    Preparing,
    /// State is sent while callers are served; the round under way, and how much it has.
    Copying {
        /// From 1 up.
        round: u32,
        /// Bytes of it.
        bytes: u64,
    },
    /// The log is asked to hold callers.
    Freezing,
    /// Callers are held; the rest is on its way.
    Sending(Epoch),
    /// The target has it all; the log will say.
    Waiting(Epoch),
    /// It is to be undone; the log will say.
    Undoing(Epoch),
    /// It is over.
    Ended(Ending),
}

/// How it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The service is at the target; what is here is to end.
    Moved,
    /// It is here as before; why.
    Stayed(String),
    /// It is at neither: this node was taken for lost meanwhile, say.
    Elsewhere,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The target said something.
    Note(Note),
    /// So much has changed since the round before; the answer to [`Order::Collect`].
    Changed(u64),
    /// The log took the move.
    Begun(Epoch),
    /// The log refused the move, or nobody can be asked.
    NotBegun(String),
    /// The log says that the service is on this node.
    PlacedAt(NodeId, Epoch),
    /// The log says that it is nowhere.
    Vacant(Epoch),
    /// The connection with the target was lost, with what was on the way.
    Cut,
    /// An operator wants it stopped.
    Cancel,
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// Tell the target.
    Tell(Note),
    /// Find out what has changed since the last round; answered by [`Event::Changed`].
    Collect,
    /// Put it into the log.
    Propose(Command),
    /// The instance may take requests again.
    Serve,
    /// The instance here is over.
    End,
}

/// How long until what was put into the log is repeated.
const REPEAT_NS: u64 = 200_000_000;

/// One move.
#[derive(Debug)]
pub struct Source {
    plan: Plan,
    phase: Phase,
    round: u32,
    /// What was put into the log last, and when it is to be repeated.
    proposed: Option<(Command, u64)>,
    cause: String,
    /// What the log said last about the place; it may have been heard before [`Event::Begun`].
    placed: Option<(NodeId, Epoch)>,
}

impl Source {
    /// Begins a move that nothing hinders.
    pub fn begin(plan: Plan, out: &mut Vec<Order>) -> Self {
        out.push(Order::Tell(Note::Prepare));
        Source { plan, phase: Phase::Preparing, round: 0, proposed: None, cause: String::new(), placed: None }
    }

    /// Where it is.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Whether the instance here may take requests. It does while the log is asked: what it still gets then
    /// goes with the last round, which is collected after.
    pub fn serves(&self) -> bool {
        use Phase::{Copying, Ended, Freezing, Preparing};
        matches!(self.phase, Preparing | Copying { .. } | Freezing | Ended(Ending::Stayed(_)))
    }

    /// Something happened.
    pub fn step(&mut self, event: Event, now: u64, out: &mut Vec<Order>) {
        match event {
            _ if matches!(self.phase, Phase::Ended(_)) => {}
            Event::Note(note) => self.note(note, now, out),
            Event::Changed(bytes) => self.changed(bytes, out),
            Event::Begun(number) if self.phase == Phase::Freezing => {
                self.phase = Phase::Sending(number);
                self.proposed = None;
                match self.placed.filter(|(_, epoch)| *epoch > number) {
                    Some((node, epoch)) => self.placed(node, epoch, out),
                    None => out.push(Order::Collect),
                }
            }
            Event::Begun(_) => {}
            Event::NotBegun(why) => {
                if self.phase == Phase::Freezing {
                    self.stay(why, out);
                }
            }
            Event::PlacedAt(node, epoch) => {
                self.placed = Some((node, epoch));
                self.placed(node, epoch, out);
            }
            Event::Vacant(epoch) => {
                if self.held_since().is_some_and(|number| epoch > number) {
                    self.phase = Phase::Ended(Ending::Elsewhere);
                    out.push(Order::End);
                }
            }
            Event::Cut => self.give_up("the connection with the target was lost", now, out),
            Event::Cancel => self.give_up("it was cancelled", now, out),
            Event::Tick => self.tick(now, out),
        }
    }

    /// The move in the log, if it is there.
    fn held_since(&self) -> Option<Epoch> {
        match self.phase {
            Phase::Sending(number) | Phase::Waiting(number) | Phase::Undoing(number) => Some(number),
            _ => None,
        }
    }

    fn note(&mut self, note: Note, now: u64, out: &mut Vec<Order>) {
        match (note, &self.phase) {
            (Note::Ready, Phase::Preparing) => {
                self.phase = Phase::Copying { round: 1, bytes: 0 };
                out.push(Order::Collect);
            }
            (Note::Refused(why), _) => self.give_up(&why, now, out),
            (Note::Has { round }, Phase::Copying { round: sent, bytes }) if round == *sent => {
                // What changes while this much is sent is about as much as what will be left.
                if *bytes <= self.plan.small || round >= self.plan.rounds_max {
                    self.freeze(now, out);
                } else {
                    self.phase = Phase::Copying { round: round + 1, bytes: 0 };
                    out.push(Order::Collect);
                }
            }
            (Note::Has { round }, Phase::Sending(number)) if round == self.round => {
                self.phase = Phase::Waiting(*number);
            }
            _ => {}
        }
    }

    fn changed(&mut self, changed: u64, out: &mut Vec<Order>) {
        let last = match &mut self.phase {
            Phase::Copying { round, bytes } if *round == self.round + 1 => {
                *bytes = changed;
                None
            }
            Phase::Sending(number) => Some(*number),
            _ => return,
        };
        self.round += 1;
        out.push(Order::Tell(Note::State { round: self.round, bytes: changed, last }));
    }

    fn freeze(&mut self, now: u64, out: &mut Vec<Order>) {
        let Plan { dc, slot, to, hold_max, .. } = self.plan;
        self.phase = Phase::Freezing;
        self.propose(Command::Move { dc, slot, to, deadline: now + hold_max }, now, out);
    }

    fn propose(&mut self, command: Command, now: u64, out: &mut Vec<Order>) {
        self.proposed = Some((command.clone(), now + REPEAT_NS));
        out.push(Order::Propose(command));
    }

    /// Nobody else has seen anything: it goes on as before.
    fn stay(&mut self, why: String, out: &mut Vec<Order>) {
        self.phase = Phase::Ended(Ending::Stayed(why));
        self.proposed = None;
        out.extend([Order::Tell(Note::Forget), Order::Serve]);
    }

    fn give_up(&mut self, why: &str, now: u64, out: &mut Vec<Order>) {
        match self.phase {
            Phase::Preparing | Phase::Copying { .. } => self.stay(why.to_owned(), out),
            // The target may have offered itself already, or still do: the log decides between that and this.
            Phase::Sending(number) | Phase::Waiting(number) => {
                why.clone_into(&mut self.cause);
                self.phase = Phase::Undoing(number);
                let Plan { dc, slot, .. } = self.plan;
                self.propose(Command::Undo { dc, slot, number }, now, out);
            }
            // Whether the move is in the log is not known yet.
            Phase::Freezing => why.clone_into(&mut self.cause),
            Phase::Undoing(_) | Phase::Ended(_) => {}
        }
    }

    fn placed(&mut self, node: NodeId, epoch: Epoch, out: &mut Vec<Order>) {
        let Some(number) = self.held_since().filter(|number| epoch > *number) else { return };
        self.proposed = None;
        if node == self.plan.from {
            let why = if self.cause.is_empty() { "callers were held for too long" } else { &self.cause };
            let why = format!("{why}; the move {number} was undone");
            self.stay(why, out);
            return;
        }
        let ending = if node == self.plan.to { Ending::Moved } else { Ending::Elsewhere };
        self.phase = Phase::Ended(ending);
        out.push(Order::End);
    }

    fn tick(&mut self, now: u64, out: &mut Vec<Order>) {
        let held = matches!(self.phase, Phase::Freezing) || self.held_since().is_some();
        if !held && now >= self.plan.begin_by {
            return self.stay("it took too long to prepare".to_owned(), out);
        }
        if !self.cause.is_empty()
            && let Phase::Sending(_) = self.phase
        {
            let why = std::mem::take(&mut self.cause);
            return self.give_up(&why, now, out);
        }
        if let Some((command, at)) = self.proposed.take() {
            if now < at {
                self.proposed = Some((command, at));
            } else {
                self.propose(command, now, out);
            }
        }
    }
}
