//! The one pair of traits behind which a home is hidden.
//!
//! A *home* is where a program's calls block: a thread (futex), a coroutine (switch of stacks), a task of an
//! asynchronous runtime (waker), the simulator or the model checker. Calls know only this: the waiting side
//! [`Wait::wait`]s, and whoever completes the call [`Wake::set`]s the flag of the waiting side, under the
//! lock of the process, and [`Wake::kick`]s it after that lock was released if it said that it sleeps.

use crate::host::{Host, Wake as FutexWake};
use crate::process::Shared;
use crate::sync::{AtomicU64, Ordering};
use dvs_abi::{Deadline, Message};
use dvs_kern::rendezvous::{Ix, Plain, Rendezvous};
use std::sync::Arc;

/// Why a wait returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The flag was set (or nothing in particular happened: look again).
    Set,
    /// The deadline passed.
    TimedOut,
    /// A signal handler ran on this thread.
    Interrupted,
}

/// The waiting side of a home. One endpoint has one; it never leaves the home.
pub trait Wait {
    /// Blocks until the flag is set or the deadline passes, and clears the flag. Spurious returns are
    /// allowed.
    ///
    /// `process` is there for homes that look after the outside world (lanes, timers) while they wait.
    fn wait(&self, process: &Shared, deadline: Deadline) -> Why;

    /// The same when the clock was looked at just now and said `now`: saves a home that needs it a look.
    #[inline]
    fn wait_from(&self, process: &Shared, deadline: Deadline, now: u64) -> Why {
        let _ = now;
        self.wait(process, deadline)
    }

    /// The end of the wait of `ix` if [`Wake::deliver`] brought it here; it is then not looked for in the
    /// table. A message is copied to `into`.
    fn collect(&self, ix: Ix, into: &mut Message) -> Option<Plain> {
        let _ = (ix, into);
        None
    }

    /// Does at once what [`Wake::deliver`] of the home at `place` would do, if that is a neighbour of this
    /// one: nothing has then to be looked up to find it. Says whether it did.
    #[inline]
    fn hand_over(&self, place: Place, table: &mut Rendezvous, ix: Ix) -> bool {
        let _ = (place, table, ix);
        false
    }

    /// The waking side, kept in the process' table.
    fn waker(&self) -> Arc<dyn Wake>;
}

/// Where a home is among its neighbours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Number of the scheduler all neighbours have; zero for none.
    pub scheduler: u64,
    /// Number of the home there.
    pub id: usize,
}

impl Place {
    /// A home without neighbours.
    pub const ALONE: Place = Place { scheduler: 0, id: 0 };
}

impl<T: Wait + ?Sized> Wait for &T {
    #[inline]
    fn wait(&self, process: &Shared, deadline: Deadline) -> Why {
        (**self).wait(process, deadline)
    }

    #[inline]
    fn wait_from(&self, process: &Shared, deadline: Deadline, now: u64) -> Why {
        (**self).wait_from(process, deadline, now)
    }

    #[inline]
    fn collect(&self, ix: Ix, into: &mut Message) -> Option<Plain> {
        (**self).collect(ix, into)
    }

    #[inline]
    fn hand_over(&self, place: Place, table: &mut Rendezvous, ix: Ix) -> bool {
        (**self).hand_over(place, table, ix)
    }

    fn waker(&self) -> Arc<dyn Wake> {
        (**self).waker()
    }
}

/// What must follow after the flag was set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kick {
    /// Nothing: it runs, or its scheduler knows already.
    No,
    /// It sleeps on its own: [`Wake::kick`].
    Sleeps,
    /// It sleeps on the doorbell of the session: the process rings it.
    Polls,
}

/// The waking side of a home.
pub trait Wake: Send + Sync {
    /// Sets the flag and says what must follow. Called under the lock of the process: short, no system call.
    fn set(&self) -> Kick;
    /// The same, when the table holds the end of the wait of `ix`. A home whose waiting side runs on the
    /// calling thread may take it out of the table and keep it for [`Wait::collect`], so that the waiting
    /// side needs no lock.
    fn deliver(&self, table: &mut Rendezvous, ix: Ix) -> Kick {
        let _ = (table, ix);
        self.set()
    }
    /// Where it is for [`Wait::hand_over`].
    fn place(&self) -> Place {
        Place::ALONE
    }
    /// Ends a sleep. Called without any lock.
    fn kick(&self);
}

const RUNS: u64 = 0;
const SET: u64 = 1;
const SLEEPS: u64 = 2;
const POLLS: u64 = 3;

/// A thread: sleeps on a futex of its own, or on the doorbell of the session when it is the one that polls.
pub struct ThreadWait {
    flag: Arc<ThreadFlag>,
}

struct ThreadFlag {
    host: Arc<dyn Host>,
    state: AtomicU64,
}

impl ThreadWait {
    /// A home for the thread that will own the endpoint.
    pub fn new(host: &Arc<dyn Host>) -> Self {
        ThreadWait { flag: Arc::new(ThreadFlag { host: host.clone(), state: AtomicU64::new(RUNS) }) }
    }
}

impl ThreadFlag {
    /// Announces a sleep; false when the flag was set already (it is then cleared).
    fn announce(&self, state: u64) -> bool {
        let sleeps = self.state.load(Ordering::Acquire) != SET
            && self.state.compare_exchange(RUNS, state, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if !sleeps {
            self.state.store(RUNS, Ordering::Release);
        }
        sleeps
    }
}

impl ThreadWait {
    fn wait_at(&self, process: &Shared, deadline: Deadline, mut now: Option<u64>) -> Why {
        let f = &*self.flag;
        let sleeper = loop {
            if let Some(turn) = process.take_polling() {
                let looks = || {
                    let _ = f.state.compare_exchange(POLLS, RUNS, Ordering::AcqRel, Ordering::Acquire);
                };
                let why = turn.poll(deadline, now.take(), &|| !f.announce(POLLS), &looks);
                f.state.store(RUNS, Ordering::Release);
                return why;
            }
            if !f.announce(SLEEPS) {
                return Why::Set;
            }
            let sleeper = f_arc(&self.flag);
            if process.add_sleeper(&sleeper) {
                break sleeper;
            }
            // The one that polled has stopped meanwhile.
            if f.state.swap(RUNS, Ordering::AcqRel) == SET {
                return Why::Set;
            }
        };
        let why = match f.host.futex_wait(&f.state, SLEEPS as u32, deadline, false) {
            FutexWake::TimedOut => Why::TimedOut,
            FutexWake::Interrupted => Why::Interrupted,
            FutexWake::Woken | FutexWake::Changed => Why::Set,
        };
        process.remove_sleeper(&sleeper);
        f.state.store(RUNS, Ordering::Release);
        why
    }
}

impl Wait for ThreadWait {
    fn wait(&self, process: &Shared, deadline: Deadline) -> Why {
        self.wait_at(process, deadline, None)
    }

    fn wait_from(&self, process: &Shared, deadline: Deadline, now: u64) -> Why {
        self.wait_at(process, deadline, Some(now))
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.flag.clone()
    }
}

fn f_arc(flag: &Arc<ThreadFlag>) -> Arc<dyn Wake> {
    flag.clone()
}

impl Wake for ThreadFlag {
    fn set(&self) -> Kick {
        match self.state.swap(SET, Ordering::AcqRel) {
            SLEEPS => Kick::Sleeps,
            POLLS => Kick::Polls,
            _ => Kick::No,
        }
    }

    fn kick(&self) {
        self.host.futex_wake(&self.state, 1, false);
    }
}
