//! The replicated state on its log: what every node does with each entry.
//!
//! The log's own thread applies entries here; the daemon gets each of them to apply to a copy of its own, so
//! that it sees what followed from an entry together with the state right after it, and nobody holds a lock
//! while it acts on it.

use super::News;
use crate::proxy::Waker;
use dvs_abi::Code;
use dvs_control::command::{Entry, Refusal};
use dvs_control::epoch::Epoch;
use dvs_control::state::{Answer, State};
use serde::{Deserialize, Serialize};
use std::sync::mpsc::Sender;

/// An entry as it stands in the log.
#[derive(Serialize, Deserialize)]
enum Stored {
    V1(Entry),
}

/// The state as it stands in a snapshot.
#[derive(Serialize, Deserialize)]
enum Snapshot {
    V1(State),
}

/// What the sender of an entry gets: its place in the log and what became of it.
pub(super) type Verdict = (Epoch, Answer);

/// The state, and who is told of it.
pub(crate) struct Ledger {
    state: State,
    news: Sender<News>,
    waker: Waker,
}

impl Ledger {
    /// Nothing yet.
    pub(super) fn new(news: Sender<News>, waker: Waker) -> Self {
        Ledger { state: State::default(), news, waker }
    }

    /// The place of the last entry that was done.
    pub(super) fn last(&self) -> Epoch {
        self.state.last()
    }

    fn tell(&self, news: News) {
        // A daemon that has ended needs none.
        let _ = self.news.send(news);
        self.waker.wake();
    }
}

/// An entry for the log.
pub(super) fn encode(entry: &Entry) -> Vec<u8> {
    // Only memory could fail; an empty entry is refused by every node.
    postcard::to_stdvec(&Stored::V1(entry.clone())).unwrap_or_default()
}

fn answered(place: Epoch, answer: Answer) -> Vec<u8> {
    postcard::to_stdvec(&(place, answer)).unwrap_or_default()
}

/// What the log answered.
pub(super) fn verdict(bytes: &[u8]) -> Option<Verdict> {
    postcard::from_bytes(bytes).ok()
}

impl dvs_log::Machine for Ledger {
    fn apply(&mut self, place: u64, command: &[u8]) -> Vec<u8> {
        let place = Epoch(place);
        let answer: Answer = match postcard::from_bytes(command) {
            Ok(Stored::V1(entry)) => {
                let mut changes = Vec::new();
                let answer = self.state.apply(place, &entry, &mut changes);
                self.tell(News::Applied { place, entry });
                answer
            }
            Err(_) => {
                // Others may have been able to read it: this node must not go on without what it says.
                self.tell(News::Unreadable { place });
                let text = format!("{} cannot read this entry", env!("CARGO_PKG_VERSION"));
                return answered(Epoch::default(), Err(Refusal { code: Code::VERSION as i32, text }));
            }
        };
        answered(place, answer)
    }

    fn snapshot(&self) -> Vec<u8> {
        postcard::to_stdvec(&Snapshot::V1(self.state.clone())).unwrap_or_default()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let Snapshot::V1(state) = postcard::from_bytes(snapshot).map_err(|e| e.to_string())?;
        self.state = state.clone();
        self.tell(News::Restored(Box::new(state)));
        Ok(())
    }
}
