//! Questions to other members and the answers that are waited for.

use crate::message::{self, Answer, Letter, Question};
use crate::network::Network;
use crate::store::GroupId;
use crate::types::Runtime;
use dvs_abi::NodeId;
use openraft::AsyncRuntime;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

type Instant = <Runtime as AsyncRuntime>::Instant;

/// Who was asked, and who waits for the answer.
type Waiting = BTreeMap<u64, (NodeId, oneshot::Sender<Answer>)>;

/// The post office of one member. Clones are the same.
#[derive(Clone)]
pub(crate) struct Post {
    inner: Arc<Inner>,
}

struct Inner {
    group: GroupId,
    network: Box<dyn Network>,
    waiting: Mutex<Waiting>,
    next: Mutex<u64>,
}

/// Ends the wait for an answer, however the asker goes on.
struct Slot<'a> {
    post: &'a Post,
    number: u64,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.post.waiting().remove(&self.number);
    }
}

impl Post {
    /// Numbers its questions from `openings`, so that no late answer fits a question after a restart.
    pub fn new(group: GroupId, network: Box<dyn Network>, openings: u64) -> Self {
        let next = Mutex::new(openings << 40);
        Post { inner: Arc::new(Inner { group, network, waiting: Mutex::default(), next }) }
    }

    /// Asks. Nothing comes back if the question could not be sent or no answer came in time.
    pub async fn ask(&self, to: NodeId, question: Question, within: Duration) -> Option<Answer> {
        self.ask_again(to, question, within, within).await
    }

    /// The same for a question that does no harm when it comes twice: it is sent again so often.
    pub async fn ask_again(
        &self,
        to: NodeId,
        question: Question,
        within: Duration,
        every: Duration,
    ) -> Option<Answer> {
        let until = Instant::now() + within;
        let (tell, mut told) = oneshot::channel();
        let number = {
            let mut next = self.inner.next.lock().unwrap_or_else(PoisonError::into_inner);
            *next += 1;
            *next
        };
        let bytes = message::encode(self.inner.group, &Letter::Ask(number, question))?;
        self.waiting().insert(number, (to, tell));
        let _slot = Slot { post: self, number };
        loop {
            self.inner.network.send(to, bytes.clone());
            let left = until.saturating_duration_since(Instant::now());
            match Runtime::timeout(left.min(every), &mut told).await {
                Ok(answer) => return answer.ok(),
                Err(_) if left <= every => return None,
                Err(_) => {}
            }
        }
    }

    /// Answers.
    pub fn tell(&self, to: NodeId, number: u64, answer: Answer) {
        if let Some(bytes) = message::encode(self.inner.group, &Letter::Tell(number, answer)) {
            self.inner.network.send(to, bytes);
        }
    }

    /// Takes in an answer, if it was waited for from this node.
    pub fn told(&self, from: NodeId, number: u64, answer: Answer) {
        let mut waiting = self.waiting();
        if waiting.get(&number).is_some_and(|(asked, _)| *asked == from)
            && let Some((_, tell)) = waiting.remove(&number)
        {
            // Who does not wait any more does not mind.
            let _ = tell.send(answer);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
