//! News of the consensus library, for those who wait for some: told to all of them in the order in which they
//! began to wait.
//!
//! The library's own channel wakes whoever waits in an order drawn by lot, which no seed decides: a run could
//! not be repeated. So one task waits there, and all others here.

use crate::types::{Metrics, Raft};
use std::sync::Arc;
use tokio::sync::{Notify, futures::Notified, watch};

/// Tells those who wait. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bulletin(Arc<Notify>);

impl Bulletin {
    /// Tells until the member has ended.
    pub(crate) async fn run(self, mut metrics: watch::Receiver<Metrics>) {
        while metrics.changed().await.is_ok() {
            self.0.notify_waiters();
        }
        self.0.notify_waiters();
    }

    /// What one who waits has seen: what there is now.
    pub(crate) fn reader(&self, raft: &Raft) -> News {
        News { metrics: raft.metrics(), bulletin: self.0.clone() }
    }
}

/// What one who waits has seen.
#[derive(Debug)]
pub(crate) struct News {
    metrics: watch::Receiver<Metrics>,
    bulletin: Arc<Notify>,
}

/// There will be no more news: the member has ended.
#[derive(Debug)]
pub(crate) struct Ended;

impl News {
    /// Looks at what there is, which is then no news any more.
    pub(crate) fn borrow_and_update(&mut self) -> watch::Ref<'_, Metrics> {
        self.metrics.borrow_and_update()
    }

    /// Returns when there is something that was not looked at.
    pub(crate) async fn changed(&mut self) -> Result<(), Ended> {
        loop {
            // Before the look: what comes after it is not missed.
            let told: Notified<'_> = self.bulletin.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            match self.metrics.has_changed() {
                Ok(true) => {
                    self.metrics.mark_unchanged();
                    return Ok(());
                }
                Ok(false) => told.await,
                Err(_) => return Err(Ended),
            }
        }
    }
}
