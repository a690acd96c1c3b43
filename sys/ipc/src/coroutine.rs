//! A first scheduler: stackful coroutines of one thread, each with endpoints of its own.
//!
//! # Why
//! Servers are written as plain code that blocks. In one process they need not be threads: a blocked call
//! switches stacks, which costs some ten nanoseconds instead of some microseconds.
//!
//! # The picture
//!
//! ```text
//!   run() ──resume──> A ──resume──> B     a coroutine about to block resumes the next ready one
//!                     A <─suspend── B     itself, on top of its own stack; when that one blocks and
//!                     |                   A was woken meanwhile, A goes on: one switch there, one back
//! ```
//!
//! # The algorithm
//! There is one queue of ready coroutines. Whoever blocks hands the processor to the first of them by
//! nesting, unless a coroutine below it in the nest has become ready: then it suspends, so that those below
//! are never kept waiting by those above. Nesting is at most [`NEST_MAX`] deep. When nothing is ready, the
//! scheduler waits at the doorbell of the process (or on a futex of its own), at most until the nearest
//! deadline.
//!
//! What happens between coroutines of one thread stays in plain memory of that thread (`inner`): whoever
//! ends the wait of a neighbour takes the outcome and the message out of the table then and there and puts
//! them into its
//! mail (`task`), so that the neighbour, when it runs, takes no lock. Only other threads go through atomics
//! and a locked queue (`ready`).
//!
//! Coroutines stay on the thread of their scheduler. A panic in one ends that coroutine alone and is reported
//! by
//! [`Scheduler::run`].

mod co;
mod inner;
mod ready;
mod task;
#[cfg(test)]
mod tests;

pub use co::Co;

use crate::process::Process;
use dvs_abi::Result;
use inner::Inner;
use std::rc::Rc;

/// How deep coroutines resume each other before they go back to the scheduler.
pub const NEST_MAX: usize = 16;
/// Bytes of a coroutine's stack unless asked otherwise; touched pages count, the rest is address space.
pub const STACK_BYTES: usize = 64 << 10;
/// Coroutines of one scheduler.
pub const COROUTINES_MAX: usize = 65_536;

/// Runs coroutines of the thread that made it.
pub struct Scheduler {
    inner: Rc<Inner>,
}

impl Scheduler {
    /// A scheduler for the calling thread.
    pub fn new(process: &Process) -> Self {
        Scheduler { inner: Rc::new(Inner::new(process)) }
    }

    /// Adds a coroutine; it starts when [`Scheduler::run`] comes to it.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use dvs_abi::{DcId, Endpoint, Message, Timeout};
    /// use dvs_ipc::{Process, coroutine::Scheduler};
    /// let process = Process::alone(Arc::new(dvs_ipc::testing::TestHost::default()));
    /// let scheduler = Scheduler::new(&process);
    /// let server = Endpoint::new(0, 3);
    /// scheduler.spawn(move |co| {
    ///     let port = co.bind(DcId(0), server).unwrap();
    ///     let mut m = Message::default();
    ///     port.receive(Endpoint::ANY, &mut m, Timeout::Forever).unwrap();
    ///     m.set_mtype(m.mtype() * 2);
    ///     port.reply(m.source(), &mut m, Timeout::Forever).unwrap();
    /// }).unwrap();
    /// scheduler.spawn(move |co| {
    ///     let port = co.bind(DcId(0), Endpoint::NONE).unwrap();
    ///     let mut m = Message::new(21);
    ///     port.sendrec(server, &mut m, Timeout::Forever).unwrap();
    ///     assert_eq!(m.mtype(), 42);
    /// }).unwrap();
    /// assert_eq!(scheduler.run(), 0);
    /// ```
    ///
    /// # Errors
    /// `NOSPC` when there are [`COROUTINES_MAX`], `NOMEM` when there is no stack.
    pub fn spawn(&self, body: impl FnOnce(&Co<'_>) + 'static) -> Result<()> {
        self.inner.spawn(STACK_BYTES, body)
    }

    /// The same with a stack of so many bytes.
    ///
    /// # Errors
    /// As [`Scheduler::spawn`].
    pub fn spawn_with_stack(&self, bytes: usize, body: impl FnOnce(&Co<'_>) + 'static) -> Result<()> {
        self.inner.spawn(bytes, body)
    }

    /// Runs until every coroutine has ended; how many ended by a panic.
    pub fn run(&self) -> usize {
        self.inner.run()
    }
}
