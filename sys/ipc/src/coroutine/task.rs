//! One coroutine as its scheduler keeps it; touched by the thread of the scheduler only.

use super::ready::Flag;
use corosensei::Coroutine;
use dvs_abi::Message;
use dvs_kern::rendezvous::{Ix, Plain};
use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// Returns whether it ended by a panic.
pub(super) type Body = Coroutine<(), (), bool>;

/// Whether a coroutine may go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// It runs, or waits and nothing has come.
    Quiet,
    /// Woken, and in the queue of the ready.
    Queued,
    /// Woken while it is being resumed: it goes on when those above it in the nest suspend.
    InNest,
}

/// One coroutine.
pub(super) struct Task {
    pub id: usize,
    /// The stack; `None` before the start and after the end, borrowed while it is being resumed.
    pub body: RefCell<Option<Body>>,
    pub state: Cell<State>,
    /// It is being resumed right now, by the scheduler or by a coroutine below it.
    pub nested: Cell<bool>,
    /// When the present wait ends at the latest, ns; `u64::MAX` for never.
    pub due: Cell<u64>,
    /// Time of its entry among the timers; `u64::MAX` for none. Never later than `due`.
    pub armed: Cell<u64>,
    /// The end of the wait of an endpoint, brought by another coroutine of the same thread, and the message
    /// if there is one.
    pub mail: Cell<Option<Plain>>,
    pub mail_for: Cell<Ix>,
    pub message: RefCell<Box<Message>>,
    /// What other threads see of it.
    pub flag: Arc<Flag>,
}

impl Task {
    /// A coroutine that has no body yet.
    pub fn new(id: usize, flag: Arc<Flag>) -> Self {
        Task {
            id,
            body: RefCell::new(None),
            state: Cell::new(State::Quiet),
            nested: Cell::new(false),
            due: Cell::new(u64::MAX),
            armed: Cell::new(u64::MAX),
            mail: Cell::new(None),
            mail_for: Cell::new(0),
            message: RefCell::default(),
            flag,
        }
    }
}
