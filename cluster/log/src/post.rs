//! Questions to other members and the answers that are waited for.
//!
//! A member numbers its questions from its life on, which its store counts. So whoever is asked something by
//! one that was started anew learns that its own questions to the life before will have no answer, and need
//! not be waited for.

use crate::message::{self, Answer, Letter, Question};
use crate::network::Network;
use crate::store::GroupId;
use crate::types::Runtime;
use dvs_abi::NodeId;
use dvs_abi::limits::NODES_MAX;
use openraft::AsyncRuntime;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

type Instant = <Runtime as AsyncRuntime>::Instant;

/// Numbers a life has for its questions.
const LIFE_BITS: u32 = 40;

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
    /// The latest life of each other member that was heard of.
    lives: Mutex<BTreeMap<NodeId, u64>>,
    /// When something came last from each.
    heard: Mutex<BTreeMap<NodeId, Instant>>,
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
        let next = Mutex::new(openings << LIFE_BITS);
        let (waiting, lives, heard) = (Mutex::default(), Mutex::default(), Mutex::default());
        Post { inner: Arc::new(Inner { group, network, waiting, next, lives, heard }) }
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

    /// Something came from a node.
    pub fn hears_of(&self, from: NodeId) {
        if usize::from(from.0) < NODES_MAX {
            self.heard().insert(from, Instant::now());
        }
    }

    /// When something came last from a node; nothing if nothing has.
    pub fn last_heard(&self, from: NodeId) -> Option<Instant> {
        self.heard().get(&from).copied()
    }

    fn heard(&self) -> MutexGuard<'_, BTreeMap<NodeId, Instant>> {
        self.inner.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A question of this number came from a node. If that is of a new life, what its last one was asked has
    /// no answer.
    pub fn hears(&self, from: NodeId, number: u64) {
        let life = number >> LIFE_BITS;
        let mut lives = self.inner.lives.lock().unwrap_or_else(PoisonError::into_inner);
        if usize::from(from.0) >= NODES_MAX || lives.get(&from).is_some_and(|known| life <= *known) {
            return;
        }
        if lives.insert(from, life).is_some() {
            self.waiting().retain(|_, (asked, _)| *asked != from);
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Nowhere;
    impl Network for Nowhere {
        fn send(&self, _: NodeId, _: Vec<u8>) {}
    }

    #[tokio::test]
    async fn what_the_last_life_of_a_member_was_asked_is_not_waited_for() {
        let post = Post::new(GroupId(1), Box::new(Nowhere), 1);
        let life = |n: u64| n << LIFE_BITS;
        post.hears(NodeId(2), life(3) + 1);
        let ask = |node| {
            let post = post.clone();
            tokio::spawn(async move { post.ask(node, Question::Barrier, Duration::from_secs(600)).await })
        };
        let (dead, other) = (ask(NodeId(2)), ask(NodeId(1)));
        while post.waiting().len() < 2 {
            tokio::task::yield_now().await;
        }
        post.hears(NodeId(2), life(2));
        post.hears(NodeId(2), life(3) + 9);
        post.hears(NodeId(1), life(1));
        assert_eq!(post.waiting().len(), 2, "nobody was started anew");
        post.hears(NodeId(2), life(4));
        assert_eq!(dead.await.unwrap(), None);
        let number = *post.waiting().keys().next().unwrap();
        post.told(NodeId(1), number, Answer::Changed);
        assert_eq!(other.await.unwrap(), Some(Answer::Changed));
    }
}
