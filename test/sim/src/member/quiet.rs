//! When a runtime has nothing more to do at its present time.
//!
//! Its clock is paused: before it would go on to the next timer it says that it parks, and is told to come
//! back instead. Twice, as timers that are due are looked at after it has said so.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

#[derive(Debug, Default)]
struct Inner {
    parked: u32,
    waker: Option<Waker>,
}

/// Ends when the runtime has nothing more to do. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Quiet(Arc<Mutex<Inner>>);

impl Quiet {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The runtime has nothing to do.
    pub(super) fn parks(&self) {
        let waker = {
            let mut inner = self.inner();
            inner.parked += 1;
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// It is to be waited for again.
    pub(super) fn begin(&self) {
        self.inner().parked = 0;
    }
}

impl Future for Quiet {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.inner();
        if inner.parked >= 2 {
            return Poll::Ready(());
        }
        inner.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
