//! Commands that wait for the log, put together: those that come while an entry is being written share the
//! next one, and so one sync of each disk.

use crate::error::LogError;
use crate::machine::Machine;
use crate::node::Inner;
use crate::types::{Answers, Batch, Runtime};
use dvs_abi::Effect;
use dvs_abi::limits::{LOG_ENTRIES_OPEN_MAX, LOG_ENTRY_BYTES_MAX, LOG_ENTRY_COMMANDS_MAX};
use openraft::AsyncRuntime;
use openraft::error::{ClientWriteError, Fatal, RaftError};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};

type Answer = Result<Vec<u8>, LogError>;

/// A command that waits, and who waits for its answer.
pub(crate) struct Waiting {
    pub command: Vec<u8>,
    pub until: <Runtime as AsyncRuntime>::Instant,
    pub answer: oneshot::Sender<Answer>,
}

/// Takes commands from the queue until the member ends.
pub(crate) async fn run<M: Machine>(inner: Weak<Inner<M>>, mut queue: mpsc::Receiver<Waiting>) {
    let open = Arc::new(Semaphore::new(LOG_ENTRIES_OPEN_MAX));
    let mut left = None;
    loop {
        let first = match left.take() {
            Some(first) => first,
            None => match queue.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let Ok(permit) = open.clone().acquire_owned().await else { return };
        let (together, over) = collect(first, &mut queue);
        left = over;
        let Some(inner) = inner.upgrade() else { return };
        if together.is_empty() {
            continue;
        }
        Runtime::spawn(async move {
            decide(&inner, together).await;
            drop(permit);
        });
    }
}

/// The commands that fit one entry, and the one that does not any more. Whose caller has left is left out.
fn collect(first: Waiting, queue: &mut mpsc::Receiver<Waiting>) -> (Vec<Waiting>, Option<Waiting>) {
    let mut room = LOG_ENTRY_BYTES_MAX;
    let mut out = Vec::new();
    let mut next = Some(first);
    while let Some(waiting) = next.take().or_else(|| queue.try_recv().ok()) {
        if waiting.answer.is_closed() {
            continue;
        }
        if waiting.command.len() > room {
            return (out, Some(waiting));
        }
        room -= waiting.command.len();
        out.push(waiting);
        if out.len() == LOG_ENTRY_COMMANDS_MAX {
            break;
        }
    }
    (out, None)
}

/// Has one entry decided and tells those who wait.
async fn decide<M: Machine>(inner: &Arc<Inner<M>>, together: Vec<Waiting>) {
    if let Err(error) = inner.may_lead() {
        return together.into_iter().for_each(|w| drop(w.answer.send(Err(error.clone()))));
    }
    let until = together.iter().map(|w| w.until).max();
    let now = <Runtime as AsyncRuntime>::Instant::now();
    let within = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
    let (commands, waiting): (Vec<_>, Vec<_>) = together.into_iter().map(|w| (w.command, w.answer)).unzip();
    let (batch, written) = Batch::marked(commands);
    let result = Runtime::timeout(within, inner.raft.client_write(batch)).await;
    let unknown = written.load(Ordering::SeqCst);
    let effect = if unknown { Effect::Unknown } else { Effect::No };
    let error = match result {
        Ok(Ok(done)) => return deliver(waiting, done.data),
        // Still on its way into the log, perhaps.
        Err(_) => LogError::Unknown,
        Ok(Err(RaftError::Fatal(fatal))) => inner.fatal(&fatal, effect),
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) if !unknown => LogError::NoLeader,
        // It was in the log of a leader that is none any more: another one may still have it decided.
        Ok(Err(RaftError::APIError(_))) => LogError::Unknown,
    };
    waiting.into_iter().for_each(|w| drop(w.send(Err(error.clone()))));
}

fn deliver(waiting: Vec<oneshot::Sender<Answer>>, answers: Answers) {
    for (who, answer) in waiting.into_iter().zip(answers.0) {
        drop(who.send(Ok(answer)));
    }
}

impl<M: Machine> Inner<M> {
    /// The error of a member that has ended.
    pub(crate) fn fatal(&self, fatal: &Fatal<u64>, effect: Effect) -> LogError {
        match (self.store.failure(), fatal) {
            (Some(error), _) => LogError::Store { error, effect },
            (None, _) => LogError::Stopped(effect),
        }
    }
}
