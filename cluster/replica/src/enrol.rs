//! How a replica gets into its group, at the first start and after it lost its disk.
//!
//! ```text
//!            all seats are fresh, and this is the first one: found the group
//!   FRESH ──────────────────────────────────────────────────────────────────► MEMBER
//!     │  ▲ says so to all others                                                 ▲
//!     │  │                                                                       │
//!     ▼  │                                                                       │ the log says so
//!   WELCOMED ────────────────────────────────────────────────────────────────────┘
//!      the leader has made sure that the group does not count on what this one forgot
//! ```
//! A replica without anything on its disk is new, or has lost it. One that has lost it may have voted, and
//! confirmed entries, that it knows nothing of now: if it went on as if it were the old one, its group could
//! lose what it acknowledged. So it takes no part in the log until the leader, by a majority of the others,
//! has removed what it was and welcomes it as a new one. And only if *every* seat is fresh a group is
//! founded, so that a first seat that lost its disk founds no second one.
//!
//! *Who says so now?* What a replica said before it was taken in may be heard late, or by one that leads only
//! later: a member in good order would be removed, and a group of three that loses another one meanwhile is
//! stuck. So a leader acts on nothing but an answer to a question of its own term. A seat that the group does
//! not know although it has a log was removed so far that it was not taken in again: that is done then.
//!
//! Who is to be a member is said by the [list](crate::list). Whoever leads makes it so, one step after the
//! other, and looks again when it was broken off:
//!
//! ```text
//!   in the list, fresh ──► catches up ──► voter
//!   leaves: serves nobody ──► out of the group ──► no seat: it is told that it is out
//!     └ leads: another one is to lead first
//! ```

use crate::answers::Ended;
use crate::letter::Letter;
use crate::list::{Change, List};
use crate::listed;
use crate::member::{HAND_OVER, Inner};
use crate::service::Service;
use dvs_abi::NodeId;
use dvs_abi::limits::REPLICA_SEATS_MAX;
use dvs_log::{LogError, Role, Status};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Who said that it is fresh is, for so long.
const HEARD: Duration = Duration::from_millis(500);
/// Between two letters of welcome, any of which may be lost.
const WELCOME: Duration = Duration::from_millis(100);
/// A change of the members takes so long at most; a new one gets the whole state meanwhile.
const CHANGE: Duration = Duration::from_secs(30);

/// Who was silent for so long is not there: others may have to be looked after.
const SILENT: Duration = Duration::from_secs(1);

/// What a seat said of itself when it was last fresh.
#[derive(Clone, Copy)]
struct Claim {
    at: Instant,
    /// The number of its life.
    life: u64,
    /// The latest term in which it was asked.
    term: u64,
}

/// What whoever leads does for a seat.
#[derive(PartialEq, Eq, Debug)]
enum Due {
    Nothing,
    /// Ask whether it is fresh still.
    Ask,
    /// Take in the replica of this life as a new one.
    TakeIn(u64),
    /// Give it a vote.
    Admit,
}

fn due(claim: Option<Claim>, term: u64, role: Option<Role>) -> Due {
    match claim {
        Some(claim) if claim.term == term => Due::TakeIn(claim.life),
        Some(_) => Due::Ask,
        None if role == Some(Role::Voter) => Due::Nothing,
        None => Due::Admit,
    }
}

/// What a replica knows of who is new.
pub(crate) struct Enrolment {
    /// By seat.
    heard: Mutex<Vec<Option<Claim>>>,
    /// The life of each seat that was taken in last: what it said before may still arrive.
    taken: Mutex<Vec<Option<u64>>>,
    /// When anything came from each seat last.
    spoke: Mutex<Vec<Option<Instant>>>,
    /// Of this life: an earlier one's welcome says nothing about what this one forgot.
    life: u64,
    /// The latest term in which this one was asked.
    asked: AtomicU64,
    part: AtomicBool,
}

impl Enrolment {
    pub fn new() -> Self {
        let life = RandomState::new().hash_one((std::process::id(), std::time::SystemTime::now()));
        let heard = Mutex::new(vec![None; REPLICA_SEATS_MAX]);
        let taken = Mutex::new(vec![None; REPLICA_SEATS_MAX]);
        let spoke = Mutex::new(vec![None; REPLICA_SEATS_MAX]);
        Enrolment { heard, taken, spoke, life, asked: AtomicU64::new(0), part: AtomicBool::new(false) }
    }

    fn claims(&self) -> MutexGuard<'_, Vec<Option<Claim>>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self) -> MutexGuard<'_, Vec<Option<u64>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something came from a seat.
    pub fn heard(&self, seat: usize) {
        self.spoke()[seat] = Some(Instant::now());
    }

    fn spoke(&self) -> MutexGuard<'_, Vec<Option<Instant>>> {
        self.spoke.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody is there.
    fn is_there(&self, seat: usize) -> bool {
        self.spoke()[seat].is_some_and(|at| at.elapsed() < SILENT)
    }

    /// The replica of a seat says that it is fresh.
    pub fn heard_fresh(&self, seat: usize, life: u64, term: u64) {
        if self.taken()[seat] != Some(life) {
            self.claims()[seat] = Some(Claim { at: Instant::now(), life, term });
        }
    }

    /// What the replica of a seat says if it was fresh a moment ago.
    fn fresh(&self, seat: usize) -> Option<Claim> {
        self.claims()[seat].filter(|claim| claim.at.elapsed() < HEARD)
    }

    /// One that leads in this term asks whether this replica is fresh still.
    pub fn asked(&self, term: u64) {
        self.asked.fetch_max(term, Ordering::AcqRel);
    }

    fn claim(&self) -> Letter {
        Letter::Fresh(self.life, self.asked.load(Ordering::Acquire))
    }

    /// It was tried to take a replica in.
    fn tried(&self, seat: usize, life: u64, done: bool) {
        self.claims()[seat] = None;
        if done {
            self.taken()[seat] = Some(life);
        }
    }

    /// The leader takes in the one of this life.
    pub fn welcomed(&self, life: u64) {
        if life == self.life {
            self.part.store(true, Ordering::Release);
        }
    }

    /// Whether messages of the log may be listened to.
    pub fn may_take_part(&self) -> bool {
        self.part.load(Ordering::Acquire)
    }
}

/// Looks after the membership of this replica, and of others while it leads, until its member ends.
pub(crate) async fn keep<M: Service>(inner: Arc<Inner<M>>) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let status = inner.node.status();
        if !status.running {
            return inner.answers.end(inner.why_ended().await);
        }
        inner.pulse.looked(&status, status.leader == Some(inner.me));
        if let Err(ended) = inner.follow(&status) {
            return inner.answers.end(ended);
        }
        let done = match status.members.is_empty() {
            true => inner.seek().await,
            false => inner.look_after(&status).await,
        };
        if let Err(error @ (LogError::Stopped(_) | LogError::Store { .. })) = done {
            return inner.answers.end(Ended::Failed(error));
        }
    }
}

impl<M: Service> Inner<M> {
    /// Takes up the latest list, and sees what it says of this replica.
    fn follow(&self, status: &Status) -> Result<(), Ended> {
        self.node.read(|m| m.list().map(|list| self.carrier.follow(list)));
        let list = self.carrier.list();
        self.keep_list(&list)?;
        self.senders.look();
        let me = list.sitter_of(self.me).filter(|s| s.since == self.since);
        let Some(me) = me else { return Err(Ended::Out(list.version())) };
        // Who leads serves until another one does.
        self.answers.leave(me.leaves && status.leader != Some(self.me));
        if me.leaves {
            // Nobody sends to it any more when it is out: it asks.
            self.carrier.greet();
        }
        Ok(())
    }

    /// Keeps the list for the next start, before it is acted on.
    fn keep_list(&self, list: &List) -> Result<(), Ended> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if *kept < list.version() {
            let refused = |e| LogError::Refused(format!("the list of replicas: {e}"));
            crate::kept::write(&self.store, list).map_err(|e| Ended::Failed(refused(e)))?;
            *kept = list.version();
        }
        Ok(())
    }

    /// Founds the group, or asks to be taken in.
    async fn seek(&self) -> Result<(), LogError> {
        let list = self.carrier.list();
        let first = list.version() == 0 && list.of(self.me) == Some(0);
        if first && self.carrier.others().all(|seat| self.enrolment.fresh(seat).is_some()) {
            self.enrolment.part.store(true, Ordering::Release);
            return self.node.found().await;
        }
        for node in self.carrier.others().filter_map(|seat| list.node(seat)) {
            self.carrier.send(node, self.enrolment.claim());
        }
        Ok(())
    }

    async fn look_after(&self, status: &Status) -> Result<(), LogError> {
        self.enrolment.part.store(true, Ordering::Release);
        let list = self.carrier.list();
        // A group that is being founded acknowledges nothing before a majority of the seats is in it. The
        // list is not changed before.
        let there = status.voters().filter(|n| list.of(*n).is_some()).count();
        let founded = list.version() > 0 || there * 2 > list.sitters().count();
        // In step is who has done what was acknowledged before it says so.
        if founded && !self.answers.is_ready() && self.node.read_barrier(HEARD).await.is_ok() {
            self.answers.ready();
        }
        if status.leader != Some(self.me) {
            return Ok(());
        }
        if list.sitter_of(self.me).is_some_and(|s| s.leaves) {
            // If nobody can, it is tried again.
            self.node.hand_over(HAND_OVER).await;
            return Ok(());
        }
        for (seat, sitter) in list.sitters().filter(|(_, s)| s.node != self.me) {
            let role = status.members.iter().find(|(n, _)| *n == sitter.node).map(|(_, role)| *role);
            match (sitter.leaves, role) {
                (true, Some(_)) => return self.node.remove(sitter.node, CHANGE).await,
                (true, None) => return self.change(list.with(Change::Gone(sitter.node)).ok()).await,
                (false, _) => {}
            }
            match due(self.enrolment.fresh(seat), status.term, role) {
                Due::Nothing => {}
                Due::Ask => self.carrier.send(sitter.node, Letter::Prove(status.term)),
                Due::TakeIn(life) => {
                    let taken = self.take_in(sitter.node, life, role.is_some()).await;
                    self.enrolment.tried(seat, life, taken.is_ok());
                    return taken;
                }
                // One that is fresh takes no part.
                Due::Admit if !self.enrolment.is_there(seat) => {}
                Due::Admit => match self.admit(sitter.node, None).await {
                    Ok(()) | Err(LogError::Unknown) => {}
                    Err(error) => return Err(error),
                },
            }
        }
        Ok(())
    }

    /// Has the group decide on the next list.
    pub(crate) async fn change(&self, next: Option<List>) -> Result<(), LogError> {
        let Some(next) = next else { return Ok(()) };
        // If it is not done, another change was: it is thought over by whoever wants it.
        self.node.propose(listed::entry(&next), CHANGE).await.map(drop)
    }

    /// Makes a replica a voter, unless it is not wanted any more meanwhile, or is gone.
    async fn admit(&self, node: NodeId, life: Option<u64>) -> Result<(), LogError> {
        let version = self.carrier.list().version();
        let unwanted = async {
            let seat = self.carrier.list().of(node);
            // One that begins anew, with nothing, is another one.
            let same = |seat| self.enrolment.fresh(seat).is_none_or(|claim| Some(claim.life) == life);
            let there = || seat.is_some_and(|seat| self.enrolment.is_there(seat) && same(seat));
            while there() && self.node.read(|m| m.list().map_or(0, List::version)) <= version {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            admitted = self.node.admit(node, Role::Voter, CHANGE) => admitted,
            () = unwanted => Err(LogError::Unknown),
        }
    }

    /// Takes a fresh replica in; if it was a member, what it was is removed before.
    async fn take_in(&self, node: NodeId, life: u64, was_member: bool) -> Result<(), LogError> {
        // Only who leads indeed knows who is a member.
        self.node.read_barrier(HEARD).await?;
        if was_member {
            self.node.remove(node, CHANGE).await?;
        }
        let welcome = async {
            loop {
                self.carrier.send(node, Letter::Welcome(life));
                tokio::time::sleep(WELCOME).await;
            }
        };
        tokio::select! {
            admitted = self.admit(node, Some(life)) => admitted,
            () = welcome => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_to_a_leader_before_has_no_one_removed() {
        let claims = Enrolment::new();
        claims.heard_fresh(1, 77, 0);
        assert_eq!(due(claims.fresh(1), 5, Some(Role::Voter)), Due::Ask);
        claims.heard_fresh(1, 77, 4);
        assert_eq!(due(claims.fresh(1), 5, Some(Role::Voter)), Due::Ask);
        claims.heard_fresh(1, 77, 5);
        assert_eq!(due(claims.fresh(1), 5, Some(Role::Voter)), Due::TakeIn(77));
        claims.tried(1, 77, true);
        claims.heard_fresh(1, 77, 5);
        assert_eq!(due(claims.fresh(1), 5, Some(Role::Voter)), Due::Nothing, "it was taken in");
        assert_eq!(due(claims.fresh(1), 5, Some(Role::Learner)), Due::Admit);
        assert_eq!(due(claims.fresh(1), 5, None), Due::Admit, "it was removed, and that was all");
    }

    #[test]
    fn a_replica_says_of_which_term_it_was_asked() {
        let fresh = Enrolment::new();
        assert_eq!(fresh.claim(), Letter::Fresh(fresh.life, 0));
        fresh.asked(9);
        fresh.asked(7);
        assert_eq!(fresh.claim(), Letter::Fresh(fresh.life, 9));
    }
}
