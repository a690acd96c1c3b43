//! Who runs next. Everything here belongs to one thread.

use super::co::Co;
use super::ready::{Flag, Ready};
use super::task::{State, Task};
use super::{COROUTINES_MAX, NEST_MAX};
use crate::process::Process;
use crate::wait::Place;
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use dvs_abi::{Code, Deadline, Error, Result};
use dvs_kern::rendezvous::{Ix, Rendezvous};
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

thread_local! {
    /// The scheduler that runs on this thread: what its coroutines do to each other needs no lock.
    static RUNNING: RefCell<Option<Rc<Inner>>> = const { RefCell::new(None) };
}

/// Does something with the scheduler of this number if it is the one that runs on the calling thread.
#[inline]
pub(super) fn on_this_thread<T>(number: u64, f: impl FnOnce(&Inner) -> T) -> Option<T> {
    // A thread that is ending has no scheduler any more.
    RUNNING
        .try_with(|running| match &*running.borrow() {
            Some(inner) if inner.number == number => Some(f(inner)),
            _ => None,
        })
        .unwrap_or(None)
}

/// Puts back the scheduler that ran before, also when [`Inner::run`] is left by a panic.
struct Outer(Option<Rc<Inner>>);

impl Drop for Outer {
    fn drop(&mut self) {
        RUNNING.set(self.0.take());
    }
}

/// The state of a scheduler.
pub(super) struct Inner {
    pub process: Process,
    pub ready: Arc<Ready>,
    /// That of `ready`.
    number: u64,
    tasks: RefCell<Vec<Rc<Task>>>,
    free: RefCell<Vec<usize>>,
    queue: RefCell<VecDeque<Rc<Task>>>,
    /// Coroutines being resumed right now.
    depth: Cell<usize>,
    /// How many of them were woken.
    woken_in_nest: Cell<usize>,
    /// Time and coroutine. One entry each serves many waits: see [`Inner::set_due`].
    timers: RefCell<BinaryHeap<Reverse<(u64, usize)>>>,
    live: Cell<usize>,
    panics: Cell<usize>,
    /// Turns until timers and the outside are looked at, though somebody is always ready.
    turns: Cell<u32>,
}

/// So many coroutines go on before timers and the outside are looked at: some microseconds' worth.
const TURNS: u32 = 256;

impl Inner {
    pub fn new(process: &Process) -> Self {
        let ready = Arc::new(Ready::new(process.shared().host().clone()));
        Inner {
            process: process.clone(),
            number: ready.number,
            ready,
            tasks: RefCell::new(Vec::new()),
            free: RefCell::new(Vec::new()),
            queue: RefCell::new(VecDeque::new()),
            depth: Cell::new(0),
            woken_in_nest: Cell::new(0),
            timers: RefCell::new(BinaryHeap::new()),
            live: Cell::new(0),
            panics: Cell::new(0),
            turns: Cell::new(TURNS),
        }
    }

    pub fn run(self: &Rc<Self>) -> usize {
        let _outer = Outer(RUNNING.replace(Some(self.clone())));
        while self.live.get() > 0 {
            match self.next_ready() {
                Some(task) => self.resume(&task),
                None => self.idle(),
            }
        }
        self.panics.replace(0)
    }

    pub fn spawn(self: &Rc<Self>, bytes: usize, body: impl FnOnce(&Co<'_>) + 'static) -> Result<()> {
        if self.live.get() >= COROUTINES_MAX {
            return Err(Error::early(Code::NOSPC));
        }
        let stack = DefaultStack::new(bytes).map_err(|_| Error::early(Code::NOMEM))?;
        let task = self.enter();
        // Weak, as a coroutine that never starts must not keep its own scheduler.
        let (inner, own) = (Rc::downgrade(self), Rc::downgrade(&task));
        let coroutine = Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
            let (Some(inner), Some(task)) = (inner.upgrade(), own.upgrade()) else { return false };
            let co = Co { inner, yielder, task };
            // Caught here once, not at every switch. (No coroutine is unwound by force: it keeps its
            // scheduler.)
            catch_unwind(AssertUnwindSafe(|| body(&co))).is_err()
        });
        *task.body.borrow_mut() = Some(coroutine);
        self.live.set(self.live.get() + 1);
        self.wake(&task);
        Ok(())
    }

    fn enter(&self) -> Rc<Task> {
        let mut tasks = self.tasks.borrow_mut();
        let id = self.free.borrow_mut().pop().unwrap_or(tasks.len());
        let task = Rc::new(Task::new(id, Arc::new(Flag::new(id, self.ready.clone()))));
        match tasks.get_mut(id) {
            Some(t) => *t = task.clone(),
            None => tasks.push(task.clone()),
        }
        task
    }

    /// Lets a coroutine go on when its turn comes.
    #[inline]
    pub fn wake(&self, task: &Rc<Task>) {
        if task.state.get() != State::Quiet {
            return;
        }
        if task.nested.get() {
            task.state.set(State::InNest);
            self.woken_in_nest.set(self.woken_in_nest.get() + 1);
        } else {
            self.enqueue(task);
        }
    }

    /// The same by number; one that nobody has is ignored.
    #[inline]
    pub fn wake_id(&self, id: usize) {
        if let Some(task) = self.tasks.borrow().get(id) {
            self.wake(task);
        }
    }

    /// Whether a home is one of ours.
    #[inline]
    pub fn is_at(&self, place: Place) -> bool {
        place.scheduler == self.number
    }

    /// Wakes a coroutine and takes the end of its wait out of the table for it.
    #[inline]
    pub fn deliver(&self, id: usize, table: &mut Rendezvous, ix: Ix) {
        let tasks = self.tasks.borrow();
        let Some(task) = tasks.get(id) else { return };
        // Earlier mail that was not fetched would be lost: then this one stays in the table, where it is
        // looked for.
        if task.mail.get().is_none()
            && let Some(plain) = table.finish_plain(ix, &mut task.message.borrow_mut())
        {
            task.mail.set(Some(plain));
            task.mail_for.set(ix);
        }
        self.wake(task);
    }

    pub fn enqueue(&self, task: &Rc<Task>) {
        task.state.set(State::Queued);
        self.queue.borrow_mut().push_back(task.clone());
    }

    /// The coroutine goes on: it is woken no more.
    #[inline]
    pub fn goes_on(&self, task: &Task) {
        if task.state.replace(State::Quiet) == State::InNest {
            self.woken_in_nest.set(self.woken_in_nest.get() - 1);
        }
    }

    /// Whether the running coroutine must not resume another but give way to those below.
    #[inline]
    pub fn gives_way(&self) -> bool {
        self.woken_in_nest.get() != 0 || self.depth.get() >= NEST_MAX
    }

    /// Brings in whom other threads woke.
    #[inline]
    pub fn look_afar(&self) {
        if !self.ready.is_empty() {
            self.bring_in();
        }
    }

    #[cold]
    fn bring_in(&self) {
        let tasks = self.tasks.borrow();
        for id in self.ready.take() {
            if let Some(task) = tasks.get(id) {
                task.flag.taken();
                self.wake(task);
            }
        }
    }

    #[inline]
    pub fn next_ready(&self) -> Option<Rc<Task>> {
        self.look_afar();
        match self.turns.get().checked_sub(1) {
            Some(left) => self.turns.set(left),
            None => self.glance(),
        }
        self.queue.borrow_mut().pop_front()
    }

    /// Coroutines that are ready again and again keep neither deadlines nor other processes waiting.
    #[cold]
    fn glance(&self) {
        self.turns.set(TURNS);
        let shared = self.process.shared();
        self.fire_timers(shared.host().now());
        if let Some(outside) = shared.outside() {
            let mut core = shared.lock();
            outside.look(&mut core);
            core.release();
        }
    }

    /// Resumes a coroutine until it blocks or ends. One that is being resumed already, or ended, is not
    /// touched.
    #[inline]
    pub fn resume(&self, task: &Task) {
        let Ok(mut body) = task.body.try_borrow_mut() else { return };
        let Some(coroutine) = &mut *body else { return };
        task.nested.set(true);
        self.depth.set(self.depth.get() + 1);
        let result = coroutine.resume(());
        self.depth.set(self.depth.get() - 1);
        task.nested.set(false);
        if let CoroutineResult::Return(panicked) = result {
            *body = None;
            self.ended(task, panicked);
        }
    }

    #[cold]
    fn ended(&self, task: &Task, panicked: bool) {
        self.goes_on(task);
        self.panics.set(self.panics.get() + usize::from(panicked));
        self.live.set(self.live.get() - 1);
        self.free.borrow_mut().push(task.id);
    }

    /// Has the present wait of a coroutine end at `deadline`.
    ///
    /// An entry of an earlier wait that comes first is good enough: when it fires, it is put off to the
    /// deadline of the wait there is then. So a loop of calls with deadlines keeps one entry and touches it
    /// once a timeout, not once a call.
    pub fn set_due(&self, task: &Task, deadline: Deadline) {
        task.due.set(deadline.ns());
        if deadline.ns() < task.armed.get() {
            self.arm(task, &mut self.timers.borrow_mut());
        }
    }

    fn arm(&self, task: &Task, timers: &mut BinaryHeap<Reverse<(u64, usize)>>) {
        task.armed.set(task.due.get());
        timers.push(Reverse((task.due.get(), task.id)));
    }

    /// Nothing is ready: waits for the outside, another thread or a timer.
    #[cold]
    fn idle(&self) {
        let shared = self.process.shared();
        let now = shared.host().now();
        if self.fire_timers(now) {
            return;
        }
        let due =
            self.timers.borrow().peek().map_or(Deadline::NEVER, |Reverse((t, ..))| Deadline::from_ns(*t));
        match shared.take_polling() {
            Some(turn) => {
                if self.ready.announce(true) {
                    // What the bell brings is for coroutines of ours (then they are queued) or for others.
                    turn.poll(
                        due,
                        Some(now),
                        &|| self.ready.is_rung() || !self.queue.borrow().is_empty(),
                        &|| {},
                    );
                }
            }
            None => {
                if self.ready.announce(false) {
                    self.ready.sleep(due);
                }
            }
        }
        self.ready.runs();
    }

    /// Makes those ready whose deadline has passed; whether there was one.
    fn fire_timers(&self, now: u64) -> bool {
        let mut fired = false;
        let mut timers = self.timers.borrow_mut();
        let tasks = self.tasks.borrow();
        while let Some(Reverse((at, id))) = timers.peek().copied() {
            if at > now {
                break;
            }
            timers.pop();
            // An entry that was overtaken by an earlier one, or whose coroutine has ended, says nothing.
            let Some(task) = tasks.get(id).filter(|t| t.armed.get() == at) else { continue };
            task.armed.set(u64::MAX);
            if task.due.get() <= now {
                self.wake(task);
                fired = true;
            } else if task.due.get() != u64::MAX {
                self.arm(task, &mut timers);
            }
        }
        fired
    }
}
