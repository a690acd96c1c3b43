//! Where the thread that serves stops between two requests while callers are held.
//!
//! ```text
//!        park             the thread comes by
//!  Open ──────► Asked ───────────────────────► Parked
//!   ▲             │ open                          │ open
//!   └─────────────┴───────────────────────────────┘
//!  any ── over ──► Over: the thread is not to come back
//! ```

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Open,
    Asked,
    Parked,
    Over,
}

/// The gate.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

impl Gate {
    /// An open one.
    pub(crate) fn new() -> Self {
        Gate { state: Mutex::new(State::Open), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is one word: nothing is half done after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        let mut now = self.lock();
        if *now != State::Over {
            *now = state;
        }
        self.changed.notify_all();
    }

    /// The thread that serves comes by, with nothing in its hands; whether it goes on serving.
    pub(crate) fn pass(&self) -> bool {
        let mut state = self.lock();
        if *state == State::Asked {
            *state = State::Parked;
            self.changed.notify_all();
        }
        let parked = |s: &mut State| *s == State::Parked;
        let state = self.changed.wait_while(state, parked).unwrap_or_else(PoisonError::into_inner);
        *state != State::Over
    }

    /// Asks it to stop here. `rouse` has it come by if it sleeps.
    pub(crate) fn ask(&self, rouse: impl FnOnce()) {
        self.set(State::Asked);
        rouse();
    }

    /// Waits until it has stopped here; whether it has.
    pub(crate) fn wait_parked(&self, within: Duration) -> bool {
        let asked = |s: &mut State| *s == State::Asked;
        let waited = self.changed.wait_timeout_while(self.lock(), within, asked);
        *waited.unwrap_or_else(PoisonError::into_inner).0 == State::Parked
    }

    /// Waits so long until it has stopped here, asked by whomever; whether it has, and waits for a word.
    pub(crate) fn wait_stopped(&self, within: Duration) -> bool {
        let goes = |s: &mut State| matches!(*s, State::Open | State::Asked);
        let waited = self.changed.wait_timeout_while(self.lock(), within, goes);
        *waited.unwrap_or_else(PoisonError::into_inner).0 == State::Parked
    }

    /// It goes on.
    pub(crate) fn open(&self) {
        self.set(State::Open);
    }

    /// It is not to come back.
    pub(crate) fn over(&self) {
        self.set(State::Over);
    }

    /// Whether it is.
    pub(crate) fn is_over(&self) -> bool {
        *self.lock() == State::Over
    }

    /// Waits so long, or until it is over; whether it is.
    pub(crate) fn wait_over(&self, within: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), within, |s| *s != State::Over);
        *waited.unwrap_or_else(PoisonError::into_inner).0 == State::Over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked_stops_with_nothing_in_its_hands_and_goes_on() {
        let (gate, done) = (Gate::new(), Mutex::new(0_u64));
        std::thread::scope(|s| {
            s.spawn(|| {
                while gate.pass() {
                    *done.lock().unwrap() += 1;
                }
            });
            for _ in 0..100 {
                gate.ask(|| {});
                assert!(gate.wait_parked(Duration::from_secs(60)));
                let before = *done.lock().unwrap();
                std::thread::yield_now();
                assert_eq!(*done.lock().unwrap(), before);
                gate.open();
            }
            gate.over();
        });
        assert!(gate.is_over() && !gate.pass());
        gate.open();
        assert!(gate.is_over(), "for good");
    }
}
