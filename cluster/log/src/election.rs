//! Who leads when the leader is silent. The library's own timers are off; this one asks before it acts, so
//! that nobody who would lose, or whose leader others still hear, disturbs the group.
//!
//! ```text
//!   leader:  a sign of life every heartbeat
//!   voter:   silent for longer than its lot ──► "would you vote for me?" ──► a majority: stand for election
//!               ▲                                    │ too few                     │ lost
//!               └──────── a moment, by lot ──────────┴─────────────────────────────┘
//! ```
//! A member says yes if it has not heard from a leader for the shortest time either, and if the asker's log
//! has all that its own has. The lot is drawn anew each time: the library draws one for the life of a
//! process, so two members with lots close to each other would collide each time, and it makes who lacked an
//! entry wait for twice the longest time.

use crate::machine::Machine;
use crate::message::{Answer, Question};
use crate::node::Inner;
use crate::record::Mark;
use crate::runtime::Lots;
use crate::types::{LogId, Metrics, Nid, Runtime};
use dvs_abi::NodeId;
use dvs_abi::limits::LOG_VOTERS_MAX;
use openraft::{AsyncRuntime, ServerState};
use rand::RngCore;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::mpsc;

type Instant = <Runtime as AsyncRuntime>::Instant;

/// When there was last a reason to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quiet {
    /// A leader was heard.
    heard: Instant,
    /// Somebody got this member's vote: it has its time to become leader.
    voted: Instant,
    /// How long it waits after that, in milliseconds.
    patience: u64,
}

impl Quiet {
    pub fn new(patience: u64) -> Self {
        let now = Instant::now();
        Quiet { heard: now, voted: now, patience }
    }

    /// A leader was heard.
    pub fn hears(&mut self) {
        self.heard = Instant::now();
    }

    /// This member has voted.
    pub fn votes(&mut self) {
        self.voted = Instant::now();
    }

    /// How long to wait still.
    fn left(&self) -> Duration {
        let since = self.heard.max(self.voted).elapsed();
        Duration::from_millis(self.patience).saturating_sub(since)
    }
}

/// A lot, in milliseconds.
pub(crate) fn draw(from: u64, to: u64) -> u64 {
    from + Lots.next_u64() % (to.saturating_sub(from) + 1)
}

/// Watches over who leads until the member ends.
pub(crate) async fn run<M: Machine>(inner: Weak<Inner<M>>) {
    loop {
        let pause = match inner.upgrade() {
            Some(inner) if !inner.has_ended() => inner.duty().await,
            _ => return,
        };
        Runtime::sleep(pause).await;
    }
}

/// Nothing is taken while this is held.
struct Handing<'a>(&'a AtomicBool);

impl<'a> Handing<'a> {
    fn begin(flag: &'a AtomicBool) -> Self {
        flag.store(true, Ordering::Release);
        Handing(flag)
    }
}

impl Drop for Handing<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl<M: Machine> Inner<M> {
    /// Does what is due; returns how long nothing is.
    async fn duty(self: &Arc<Self>) -> Duration {
        let metrics = self.raft.metrics().borrow().clone();
        let timing = &self.timing;
        let shortest = Duration::from_millis(timing.election_min_ms);
        if metrics.state == ServerState::Leader {
            // It fails only if the member has ended.
            let _ = self.raft.trigger().heartbeat().await;
            return timing.pause();
        }
        let me = u64::from(self.store.node().0);
        if !metrics.membership_config.voter_ids().any(|voter| voter == me) {
            return shortest;
        }
        if self.handing.load(Ordering::Acquire) {
            return timing.pause();
        }
        let alone = metrics.membership_config.voter_ids().count() == 1;
        let left = self.quiet().left();
        if !alone && !left.is_zero() {
            // Meanwhile it may have become leader, as the founder does.
            return left.min(shortest / 2);
        }
        if alone || self.is_wanted(&metrics).await {
            self.stand(&metrics, shortest).await;
            self.quiet().patience = draw(timing.election_min_ms, timing.election_max_ms);
        }
        Duration::from_millis(draw(timing.heartbeat_ms / 2, timing.heartbeat_ms * 3 / 2).max(1))
    }

    /// Whether a majority would vote for this member.
    async fn is_wanted(self: &Arc<Self>, metrics: &Metrics) -> bool {
        let Ok(last) = self.store.last_mark() else { return false };
        let me = u64::from(self.store.node().0);
        let sets = metrics.membership_config.membership().get_joint_config();
        let mut open: BTreeSet<Nid> = sets.iter().flatten().copied().filter(|n| *n != me).collect();
        let (tell, mut told) = mpsc::channel(2 * LOG_VOTERS_MAX);
        let within = Duration::from_millis(self.timing.election_min_ms / 2);
        for node in open.clone() {
            let (inner, tell, every) = (self.clone(), tell.clone(), self.timing.pause());
            Runtime::spawn(async move {
                let question = Question::Canvass { last };
                let answer = inner.post.ask_again(NodeId(node as u16), question, within, every).await;
                // Who does not wait any more has enough.
                let _ = tell.send((node, answer == Some(Answer::Canvassed(true)))).await;
            });
        }
        drop(tell);
        // The one that is silent is asked too, but not waited for.
        if let Some(silent) = metrics.current_leader {
            open.remove(&silent);
        }
        let mut yes = BTreeSet::from([me]);
        while let Some((node, wants)) = told.recv().await {
            open.remove(&node);
            if wants {
                yes.insert(node);
            }
            if sets.iter().all(|set| 2 * set.intersection(&yes).count() > set.len()) {
                // It may have heard of a leader in between.
                return self.quiet().left().is_zero();
            }
            if open.is_empty() {
                return false;
            }
        }
        false
    }

    /// Stands for election and waits, for so long at most, until that is decided.
    async fn stand(&self, before: &Metrics, within: Duration) {
        let mut news = self.news();
        // It fails only if the member has ended.
        let _ = self.raft.trigger().elect().await;
        let decided = async {
            loop {
                let (term, state) = {
                    let now = news.borrow_and_update();
                    (now.current_term, now.state)
                };
                let stood = term > before.current_term && state != ServerState::Candidate;
                if stood || news.changed().await.is_err() {
                    return;
                }
            }
        };
        // Not decided: it is tried again.
        drop(Runtime::timeout(within, decided).await);
    }

    /// Has the voter that has most of the log lead. Two of three are a majority at once: itself, and this
    /// one, which votes for it as soon as its own time as a leader is older than the shortest election time,
    /// or it has been outvoted. With more voters the others let go of this one after that time.
    pub(crate) async fn hand_over(&self) -> bool {
        let _handing = Handing::begin(&self.handing);
        // A change of the members that was begun adds entries until it is done.
        let _alone = Runtime::timeout(3 * self.timing.pause(), self.changing.lock()).await;
        let mut news = self.news();
        let me = u64::from(self.store.node().0);
        let mut heirs = Vec::new();
        let mut asked = 0;
        loop {
            let metrics = news.borrow_and_update().clone();
            if metrics.current_leader.is_some_and(|n| n != me) {
                return true;
            }
            if metrics.state == ServerState::Leader {
                // One that is dead may have as much as any, and nothing is taken meanwhile that it would
                // lack: who was asked in vain is not asked again before the others.
                heirs = heirs_of(&metrics, me);
                let Some((has, _)) = heirs.first() else { return false };
                if *has < metrics.last_log_index {
                    // What is under way reaches it first.
                    drop(Runtime::timeout(self.timing.pause(), news.changed()).await);
                    continue;
                }
            }
            // One that led no more when it was asked has nobody to name.
            let Some((_, node)) = heirs.get(asked % heirs.len().max(1)) else { return false };
            let Ok(last) = self.store.last_mark() else { return false };
            // If it does not hear this, or is refused a vote, it is asked again, as are the others when this
            // one leads no more: any of them may have been sent an entry that the first one lacks.
            let question = Question::Succeed { last };
            let _ = self.post.ask(NodeId(*node as u16), question, self.timing.pause()).await;
            asked += 1;
            drop(Runtime::timeout(self.timing.pause() / 10, news.changed()).await);
        }
    }

    /// The leader, or who led until a moment ago, wants this member to follow it. One whose log lacks
    /// something would not be voted for, and would only keep others from being.
    pub(crate) async fn succeed(&self, from: NodeId, last: Option<Mark>) -> bool {
        let metrics = self.raft.metrics().borrow().clone();
        let me = u64::from(self.store.node().0);
        let votes = metrics.membership_config.voter_ids().any(|voter| voter == me);
        let lacks = self.store.last_mark().is_ok_and(|mine| mine.map(LogId::from) < last.map(LogId::from));
        if metrics.current_leader.is_some_and(|n| n != u64::from(from.0)) || !votes || lacks {
            return metrics.current_leader == Some(me);
        }
        self.stand(&metrics, self.timing.pause() / 2).await;
        self.raft.metrics().borrow().state == ServerState::Leader
    }

    /// Whether this member would vote for one whose log ends with `last`.
    pub(crate) fn would_vote(&self, last: Option<Mark>) -> bool {
        let metrics = self.raft.metrics().borrow().clone();
        let (leads, shortest) = (metrics.state == ServerState::Leader, self.timing.election_min_ms);
        let content = match leads {
            true => !self.is_stale(&metrics),
            false => self.quiet().heard.elapsed() < Duration::from_millis(shortest),
        };
        let Ok(mine) = self.store.last_mark() else { return false };
        !content && last.map(LogId::from) >= mine.map(LogId::from)
    }
}

/// The other voters, who has most of the log first; with how much that is.
fn heirs_of(metrics: &Metrics, me: Nid) -> Vec<(Option<u64>, Nid)> {
    let voters: BTreeSet<Nid> = metrics.membership_config.voter_ids().collect();
    let places = metrics.replication.iter().flatten();
    let others = places.filter(|(n, _)| **n != me && voters.contains(n));
    let mut heirs: Vec<_> = others.map(|(n, has)| (has.map(|id| id.index), *n)).collect();
    heirs.sort_by(|a, b| b.cmp(a));
    heirs
}
