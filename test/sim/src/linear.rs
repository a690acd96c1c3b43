//! Whether a history can be explained by a service that does one thing at a time.
//!
//! Each call must have been done at one moment between its begin and its end, so that the replies are those
//! of the model. The search is Wing and Gong's with the memory of Lowe: of the calls that are not done yet,
//! any one may be next that began before the first end among them; what was tried once is not tried again.
//!
//! ```text
//!   a ├──────┤              next may be a or b, not c:
//!   b    ├────────────┤     c began after a ended
//!   c            ├──┤
//!   d  ├─ ─ ─ ─ ─ ─ ─ ─     unknown: at any time since, or never
//! ```
//! Keys are checked apart. A call that changes nothing and may be next is next, without trying others; an
//! unknown one is done only if the one after it needs it.

use crate::history::{Call, End, History};
use crate::model::Model;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Steps of a search before it gives up.
pub const STEPS_MAX: u64 = 2_000_000;

/// Why a history is no good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotLinear {
    /// No order of these calls explains their replies.
    Wrong(String),
    /// It was not found out within [`STEPS_MAX`] steps.
    Undecided(String),
}

impl fmt::Display for NotLinear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotLinear::Wrong(calls) => write!(f, "no order explains these calls:\n{calls}"),
            NotLinear::Undecided(key) => write!(f, "not decided within {STEPS_MAX} steps, key {key}"),
        }
    }
}

impl std::error::Error for NotLinear {}

/// Whether a history can be explained by its model.
///
/// # Errors
/// [`NotLinear`].
pub fn check_linear<M: Model>(history: &History<M, M::Reply>) -> Result<(), NotLinear> {
    let mut keys: BTreeMap<M::Key, Vec<&Call<M, M::Reply>>> = BTreeMap::new();
    for call in history.calls().iter().filter(|c| c.end != End::Nothing) {
        keys.entry(call.op.key()).or_default().push(call);
    }
    for (key, calls) in keys {
        match Search::new(&calls).run() {
            Some(true) => {}
            Some(false) => return Err(NotLinear::Wrong(shown(&calls))),
            None => return Err(NotLinear::Undecided(format!("{key:?}"))),
        }
    }
    Ok(())
}

fn shown<M: Model>(calls: &[&Call<M, M::Reply>]) -> String {
    let lines = calls.iter().map(|c| match &c.end {
        End::Reply(r, at) => format!("  {:>14} {:>14}  {:?} -> {r:?}", c.began, at, c.op),
        _ => format!("  {:>14} {:>14}  {:?} -> unknown", c.began, "", c.op),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Calls done, one bit each.
type Done = Vec<u64>;

/// One call was done, these may be next.
struct Level<S> {
    next: Vec<usize>,
    /// The state here, and which call led on.
    before: S,
    led: Option<usize>,
    /// If the call that led here was unknown: the state before it.
    without: Option<S>,
}

struct Search<'a, M: Model> {
    calls: &'a [&'a Call<M, M::Reply>],
    done: Done,
    /// Calls with a reply that are not done yet.
    left: usize,
    state: M::State,
    tried: BTreeSet<(Done, M::State)>,
    steps: u64,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(calls: &'a [&'a Call<M, M::Reply>]) -> Self {
        Search {
            calls,
            done: vec![0; calls.len().div_ceil(64)],
            left: calls.iter().filter(|c| matches!(c.end, End::Reply(..))).count(),
            state: M::State::default(),
            tried: BTreeSet::new(),
            steps: 0,
        }
    }

    fn is_done(&self, call: usize) -> bool {
        self.done[call / 64] & 1 << (call % 64) != 0
    }

    fn ended(&self, call: usize) -> Option<u64> {
        match self.calls[call].end {
            End::Reply(_, at) => Some(at),
            End::Nothing | End::Unknown => None,
        }
    }

    /// The calls that may be next.
    fn candidates(&self) -> Vec<usize> {
        let open = || (0..self.calls.len()).filter(|c| !self.is_done(*c));
        let first_end = open().filter_map(|c| self.ended(c)).min().unwrap_or(u64::MAX);
        let mut next: Vec<_> = open().filter(|c| self.calls[*c].began <= first_end).collect();
        // Tried from the end: those that ended first are the likely ones, unknown ones the least.
        next.sort_by_key(|c| std::cmp::Reverse(self.ended(*c).unwrap_or(u64::MAX)));
        next
    }

    /// Whether an order was found; nothing if there were too many steps.
    fn run(&mut self) -> Option<bool> {
        let mut levels = vec![self.level(None)];
        while let Some(level) = levels.last_mut() {
            if self.left == 0 {
                return Some(true);
            }
            if let Some(call) = level.led.take() {
                // Came back from there: it was no good.
                self.done[call / 64] &= !(1 << (call % 64));
                self.left += usize::from(matches!(self.calls[call].end, End::Reply(..)));
                self.state = level.before.clone();
            }
            let Some(call) = level.next.pop() else {
                levels.pop();
                continue;
            };
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return None;
            }
            let (state, reply) = self.calls[call].op.run(&self.state);
            // An unknown call just before, without which this one would do the same, was done for nothing:
            // leaving it out is tried as well.
            let needless = level
                .without
                .as_ref()
                .is_some_and(|s| self.calls[call].op.run(s) == (state.clone(), reply.clone()));
            if needless || !self.fits(call, &state, &reply) {
                continue;
            }
            let idle = self.calls[call].op.changes_nothing(&reply);
            let without = Some(self.state.clone()).filter(|_| self.ended(call).is_none());
            if self.go(call, state) {
                level.led = Some(call);
                if idle {
                    // Whatever comes later, this call may as well be now.
                    level.next.clear();
                }
                let next = self.level(without);
                levels.push(next);
            }
        }
        Some(self.left == 0)
    }

    fn level(&self, without: Option<M::State>) -> Level<M::State> {
        Level { next: self.candidates(), before: self.state.clone(), led: None, without }
    }

    /// Whether a call may be done now: it was answered so; or, if nobody knows, it makes a difference.
    fn fits(&self, call: usize, state: &M::State, reply: &M::Reply) -> bool {
        match &self.calls[call].end {
            End::Reply(said, _) => said == reply,
            End::Nothing | End::Unknown => *state != self.state,
        }
    }

    /// Does a call, if that leads somewhere new.
    fn go(&mut self, call: usize, state: M::State) -> bool {
        let bit = 1 << (call % 64);
        self.done[call / 64] |= bit;
        if !self.tried.insert((self.done.clone(), state.clone())) {
            self.done[call / 64] &= !bit;
            return false;
        }
        self.left -= usize::from(self.ended(call).is_some());
        self.state = state;
        true
    }
}
