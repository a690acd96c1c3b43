//! A first scheduler: stackful coroutines of one thread, each with endpoints of its own.
//!
//! # Why
//! Servers are written as plain code that blocks. In one process they need not be threads: a blocked call
//! switches stacks, which costs some ten nanoseconds instead of some microseconds.
//!
//! # The picture
//!
//! ```text
//!   run() ──resume──> A ──resume──> B          a coroutine that is about to block resumes the next ready one
//!                     A <─suspend── B          itself, on top of its own stack; when that one blocks and A has been
//!                     |                        woken meanwhile, A goes on: one switch there, one back
//! ```
//!
//! # The algorithm
//! There is one queue of ready coroutines. Whoever blocks hands the processor to the first of them by nesting,
//! unless a coroutine below it in the nest has become ready: then it suspends, so that those below are never
//! kept waiting by those above. Nesting is at most [`NEST_MAX`] deep. When nothing is ready, the scheduler waits
//! at the doorbell of the process (or on a futex of its own), at most until the nearest deadline.
//!
//! Coroutines stay on the thread of their scheduler. A panic in one ends that coroutine alone and is reported by
//! [`Scheduler::run`].

use crate::host::{Host, Wake as FutexWake};
use crate::process::{Process, Shared};
use crate::sync::{AtomicU64, Ordering};
use crate::wait::{Kick, Wait, Wake, Why};
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use dvs_abi::{Code, Deadline, Error, Result};
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

/// How deep coroutines resume each other before they go back to the scheduler.
pub const NEST_MAX: usize = 16;
/// Bytes of a coroutine's stack unless asked otherwise; touched pages count, the rest is address space.
pub const STACK_BYTES: usize = 64 << 10;
/// Coroutines of one scheduler.
pub const COROUTINES_MAX: usize = 65_536;

type Body = Coroutine<(), (), ()>;

/// Runs coroutines of the thread that made it.
pub struct Scheduler {
    inner: Rc<Inner>,
}

struct Inner {
    process: Process,
    bodies: RefCell<Vec<Option<Body>>>,
    flags: RefCell<Vec<Arc<Flag>>>,
    free: RefCell<Vec<usize>>,
    /// Coroutines being resumed right now, the running one last.
    nest: RefCell<Vec<usize>>,
    timers: RefCell<BinaryHeap<Reverse<(u64, usize, u64)>>>,
    ready: Arc<Ready>,
    live: Cell<usize>,
    panics: Cell<usize>,
}

thread_local! {
    /// Ready coroutines of the scheduler that runs on this thread: what its own coroutines wake needs no lock.
    static OWN: Own = const { Own { running: Cell::new(0), queue: RefCell::new(VecDeque::new()) } };
}

struct Own {
    /// Number of the scheduler that runs, zero for none.
    running: Cell<u64>,
    queue: RefCell<VecDeque<usize>>,
}

/// Numbers of schedulers.
static SCHEDULERS: AtomicU64 = AtomicU64::new(1);

/// What other threads see of a scheduler.
struct Ready {
    host: Arc<dyn Host>,
    number: u64,
    /// Coroutines woken by other threads (and those spawned before the scheduler ran).
    queue: Mutex<VecDeque<usize>>,
    queued: AtomicU64,
    /// 0 runs, 1 rung, 2 sleeps on this word, 3 sleeps at the doorbell.
    state: AtomicU64,
}

/// The flag of one coroutine.
struct Flag {
    id: usize,
    /// Set and not yet cleared by the wait.
    set: AtomicU64,
    /// Number of the present wait, so that a timer of an earlier one is recognised.
    waits: AtomicU64,
    ready: Arc<Ready>,
}

/// A coroutine's view of itself: the home its endpoints wait in.
pub struct Co<'y> {
    inner: Rc<Inner>,
    yielder: &'y Yielder<(), ()>,
    flag: Arc<Flag>,
}

impl Scheduler {
    /// A scheduler for the calling thread.
    pub fn new(process: &Process) -> Self {
        let ready = Ready {
            host: process.shared().host().clone(),
            number: SCHEDULERS.fetch_add(1, Ordering::Relaxed),
            queue: Mutex::new(VecDeque::new()),
            queued: AtomicU64::new(0),
            state: AtomicU64::new(0),
        };
        Scheduler {
            inner: Rc::new(Inner {
                process: process.clone(),
                bodies: RefCell::new(Vec::new()),
                flags: RefCell::new(Vec::new()),
                free: RefCell::new(Vec::new()),
                nest: RefCell::new(Vec::new()),
                timers: RefCell::new(BinaryHeap::new()),
                ready: Arc::new(ready),
                live: Cell::new(0),
                panics: Cell::new(0),
            }),
        }
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
        self.inner.clone().spawn(STACK_BYTES, body)
    }

    /// The same with a stack of so many bytes.
    ///
    /// # Errors
    /// As [`Scheduler::spawn`].
    pub fn spawn_with_stack(&self, bytes: usize, body: impl FnOnce(&Co<'_>) + 'static) -> Result<()> {
        self.inner.clone().spawn(bytes, body)
    }

    /// Runs until every coroutine has ended; how many ended by a panic.
    pub fn run(&self) -> usize {
        let inner = &self.inner;
        // A scheduler run from within a coroutine of another keeps that one's queue for later.
        let outer = OWN.with(|o| (o.running.replace(inner.ready.number), o.queue.take()));
        while inner.live.get() > 0 {
            match inner.next_ready() {
                Some(id) => inner.resume(id),
                None => inner.idle(),
            }
        }
        OWN.with(|o| {
            o.running.set(outer.0);
            o.queue.replace(outer.1);
        });
        inner.panics.replace(0)
    }
}

impl Inner {
    fn spawn(self: Rc<Self>, bytes: usize, body: impl FnOnce(&Co<'_>) + 'static) -> Result<()> {
        if self.live.get() >= COROUTINES_MAX {
            return Err(Error::early(Code::NOSPC));
        }
        let stack = DefaultStack::new(bytes).map_err(|_| Error::early(Code::NOMEM))?;
        let id = self.free.borrow_mut().pop().unwrap_or(self.bodies.borrow().len());
        let flag = Arc::new(Flag {
            id,
            set: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            ready: self.ready.clone(),
        });
        let (inner, own) = (Rc::downgrade(&self), flag.clone());
        let coroutine = Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
            if let Some(inner) = inner.upgrade() {
                body(&Co { inner, yielder, flag: own });
            }
        });
        let mut bodies = self.bodies.borrow_mut();
        let mut flags = self.flags.borrow_mut();
        if id == bodies.len() {
            bodies.push(Some(coroutine));
            flags.push(flag);
        } else {
            bodies[id] = Some(coroutine);
            flags[id] = flag;
        }
        self.live.set(self.live.get() + 1);
        self.ready.push(id);
        Ok(())
    }

    fn next_ready(&self) -> Option<usize> {
        if self.ready.queued.load(Ordering::Acquire) != 0 {
            let mut queue = self.ready.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            self.ready.queued.store(0, Ordering::Release);
            OWN.with(|o| o.queue.borrow_mut().extend(queue.drain(..)));
        }
        OWN.with(|o| o.queue.borrow_mut().pop_front())
    }

    /// Resumes a coroutine until it blocks or ends. One that is being resumed already is not touched: it finds its
    /// flag when those above it suspend.
    fn resume(&self, id: usize) {
        let Some(mut body) = self.bodies.borrow_mut().get_mut(id).and_then(Option::take) else { return };
        self.nest.borrow_mut().push(id);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body.resume(())));
        self.nest.borrow_mut().pop();
        match result {
            Ok(CoroutineResult::Yield(())) => self.bodies.borrow_mut()[id] = Some(body),
            Ok(CoroutineResult::Return(())) => self.ended(id),
            Err(_) => {
                self.panics.set(self.panics.get() + 1);
                self.ended(id);
            }
        }
    }

    fn ended(&self, id: usize) {
        self.live.set(self.live.get() - 1);
        self.free.borrow_mut().push(id);
    }

    /// Whether a coroutine below the running one has become ready.
    fn below_is_ready(&self) -> bool {
        let nest = self.nest.borrow();
        let flags = self.flags.borrow();
        nest.iter().rev().skip(1).any(|&id| flags[id].set.load(Ordering::Acquire) != 0)
    }

    /// Nothing is ready: waits for the outside, another thread or a timer.
    fn idle(&self) {
        let shared = self.process.shared();
        let now = shared.host().now();
        let due = match self.fire_timers(now) {
            true => return,
            false => {
                self.timers.borrow().peek().map_or(Deadline::NEVER, |Reverse((t, ..))| Deadline::from_ns(*t))
            }
        };
        let r = &*self.ready;
        match shared.take_polling() {
            Some(turn) => {
                if r.state.compare_exchange(0, 3, Ordering::AcqRel, Ordering::Acquire).is_ok() && r.is_empty()
                {
                    turn.poll(due, &|| r.state.load(Ordering::Acquire) == 1);
                }
            }
            None => {
                if r.state.compare_exchange(0, 2, Ordering::AcqRel, Ordering::Acquire).is_ok() && r.is_empty()
                {
                    let _: FutexWake = r.host.futex_wait(&r.state, 2, due, false);
                }
            }
        }
        r.state.store(0, Ordering::Release);
    }

    /// Makes those ready whose deadline has passed; whether there was one.
    fn fire_timers(&self, now: u64) -> bool {
        let mut fired = false;
        let mut timers = self.timers.borrow_mut();
        while let Some(Reverse((at, id, wait))) = timers.peek().copied() {
            if at > now {
                break;
            }
            timers.pop();
            let flag = self.flags.borrow()[id].clone();
            if flag.waits.load(Ordering::Acquire) == wait {
                flag.set();
                fired = true;
            }
        }
        fired
    }
}

impl Ready {
    fn is_empty(&self) -> bool {
        self.queued.load(Ordering::Acquire) == 0
    }

    /// Whether the scheduler runs on the calling thread.
    fn is_here(&self) -> bool {
        OWN.with(|o| o.running.get() == self.number)
    }

    fn push(&self, id: usize) {
        if self.is_here() {
            OWN.with(|o| o.queue.borrow_mut().push_back(id));
            return;
        }
        let mut queue = self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        queue.push_back(id);
        self.queued.store(1, Ordering::Release);
    }
}

impl Wake for Flag {
    fn set(&self) -> Kick {
        if self.set.swap(1, Ordering::AcqRel) != 0 {
            return Kick::No;
        }
        self.ready.push(self.id);
        if self.ready.is_here() {
            // It does not sleep: we are one of its coroutines, or it polls and brings in what it found itself.
            if self.ready.state.load(Ordering::Relaxed) != 0 {
                self.ready.state.store(1, Ordering::Release);
            }
            return Kick::No;
        }
        match self.ready.state.swap(1, Ordering::AcqRel) {
            2 => Kick::Sleeps,
            3 => Kick::Polls,
            _ => Kick::No,
        }
    }

    fn kick(&self) {
        self.ready.host.futex_wake(&self.ready.state, 1, false);
    }
}

impl Co<'_> {
    /// Binds an endpoint to this coroutine.
    ///
    /// # Errors
    /// See [`Process::bind_in`].
    pub fn bind(&self, dc: dvs_abi::DcId, endpoint: dvs_abi::Endpoint) -> Result<crate::port::Port<&Self>> {
        self.inner.process.bind_in(self, dc, endpoint)
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.inner.process
    }

    /// Adds another coroutine.
    ///
    /// # Errors
    /// As [`Scheduler::spawn`].
    pub fn spawn(&self, body: impl FnOnce(&Co<'_>) + 'static) -> Result<()> {
        self.inner.clone().spawn(STACK_BYTES, body)
    }

    /// Lets every ready coroutine run once.
    pub fn yield_now(&self) {
        self.flag.set();
        self.block(Deadline::NEVER);
    }

    /// Sleeps until a point in time of the node's clock.
    pub fn sleep_until(&self, deadline: Deadline) {
        while !deadline.passed(self.inner.ready.host.now()) {
            self.block(deadline);
        }
    }

    fn block(&self, deadline: Deadline) {
        let f = &*self.flag;
        if deadline != Deadline::NEVER && f.set.load(Ordering::Acquire) == 0 {
            let wait = f.waits.load(Ordering::Relaxed);
            self.inner.timers.borrow_mut().push(Reverse((deadline.ns(), f.id, wait)));
        }
        while f.set.load(Ordering::Acquire) == 0 {
            let deep = self.inner.nest.borrow().len() >= NEST_MAX;
            let next = if deep || self.inner.below_is_ready() { None } else { self.inner.next_ready() };
            match next {
                Some(id) => self.inner.resume(id),
                None => self.yielder.suspend(()),
            }
        }
        f.waits.fetch_add(1, Ordering::AcqRel);
        f.set.store(0, Ordering::Release);
    }
}

impl Wait for Co<'_> {
    fn wait(&self, _process: &Shared, deadline: Deadline) -> Why {
        self.block(deadline);
        if deadline != Deadline::NEVER && deadline.passed(self.inner.ready.host.now()) {
            Why::TimedOut
        } else {
            Why::Set
        }
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.flag.clone()
    }
}

#[cfg(test)]
mod tests;
