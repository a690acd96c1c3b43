//! A coroutine's view of itself: the home its endpoints wait in.

use super::STACK_BYTES;
use super::inner::Inner;
use super::task::{State, Task};
use crate::process::{Process, Shared};
use crate::wait::{Place, Wait, Wake, Why};
use corosensei::Yielder;
use dvs_abi::{Deadline, Message, Result};
use dvs_kern::rendezvous::{Ix, Plain, Rendezvous};
use std::rc::Rc;
use std::sync::Arc;

/// A coroutine's view of itself: the home its endpoints wait in.
pub struct Co<'y> {
    pub(super) inner: Rc<Inner>,
    pub(super) yielder: &'y Yielder<(), ()>,
    pub(super) task: Rc<Task>,
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
    /// As [`super::Scheduler::spawn`].
    pub fn spawn(&self, body: impl FnOnce(&Co<'_>) + 'static) -> Result<()> {
        self.inner.spawn(STACK_BYTES, body)
    }

    /// Lets every ready coroutine run once.
    pub fn yield_now(&self) {
        self.inner.look_afar();
        self.inner.goes_on(&self.task);
        self.inner.enqueue(&self.task);
        self.yielder.suspend(());
        self.inner.goes_on(&self.task);
    }

    /// Sleeps until a point in time of the node's clock.
    pub fn sleep_until(&self, deadline: Deadline) {
        while !deadline.passed(self.inner.ready.host.now()) {
            self.block(deadline);
        }
    }

    #[inline]
    fn block(&self, deadline: Deadline) {
        let (inner, task) = (&*self.inner, &*self.task);
        if deadline != Deadline::NEVER && task.state.get() == State::Quiet {
            inner.set_due(task, deadline);
        }
        while task.state.get() == State::Quiet {
            if inner.gives_way() {
                self.yielder.suspend(());
                continue;
            }
            match inner.next_ready() {
                Some(next) => inner.resume(&next),
                // Bringing in what other threads woke may have woken us.
                None if task.state.get() != State::Quiet => {}
                None => self.yielder.suspend(()),
            }
        }
        task.due.set(u64::MAX);
        inner.goes_on(task);
    }
}

impl Wait for Co<'_> {
    #[inline]
    fn wait(&self, _process: &Shared, deadline: Deadline) -> Why {
        self.block(deadline);
        if deadline != Deadline::NEVER && deadline.passed(self.inner.ready.host.now()) {
            Why::TimedOut
        } else {
            Why::Set
        }
    }

    #[inline]
    fn collect(&self, ix: Ix, into: &mut Message) -> Option<Plain> {
        if self.task.mail_for.get() != ix {
            return None;
        }
        let plain = self.task.mail.take()?;
        if plain == Plain::Message {
            *into = **self.task.message.borrow();
        }
        Some(plain)
    }

    #[inline]
    fn hand_over(&self, place: Place, table: &mut Rendezvous, ix: Ix) -> bool {
        let near = self.inner.is_at(place);
        if near {
            self.inner.deliver(place.id, table, ix);
        }
        near
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.task.flag.clone()
    }
}
