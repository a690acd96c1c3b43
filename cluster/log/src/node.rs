//! A member of a group, for asynchronous programs. It runs in the tokio runtime it was opened in;
//! [`Group`](crate::Group) is the same for threads.
//!
//! What is asked of a member that does not lead goes to the leader:
//!
//! ```text
//!   propose ──► who leads? ──nobody──► wait for news ◄──────────── "not I", "I reach no majority": not done
//!                   │ this one: queue ──► entry ──► decided ──► answer
//!                   └ another: question ──────────────────────► answer
//!                                  └ no answer in time, or it was succeeded meanwhile ──► Unknown
//! ```
//! A command is handed on a second time only if it is certain that the first time was in vain.

use crate::apply::Applier;
use crate::batch::{self, Waiting};
use crate::election::{self, Quiet};
use crate::error::LogError;
use crate::link::{Forgetful, Links};
use crate::machine::Machine;
use crate::message::{self, Answer, Change, Failure, Letter, Question};
use crate::network::Network;
use crate::news::{Bulletin, News};
use crate::post::Post;
use crate::seen::Seen;
use crate::serve::Incoming;
use crate::status::{Role, Status};
use crate::store::Store;
use crate::timing::Timing;
use crate::types::{Metrics, Nothing, Raft, Runtime};
use dvs_abi::limits::{LOG_ASKED_MAX, LOG_COMMAND_BYTES_MAX, LOG_WAITING_MAX};
use dvs_abi::{Effect, NodeId};
use openraft::error::{CheckIsLeaderError, InitializeError, RaftError};
use openraft::{AsyncRuntime, ServerState};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

type Instant = <Runtime as AsyncRuntime>::Instant;

/// Nobody waits longer; what others ask for is bounded by it too.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// A member of a group. Clones are the same member.
pub struct Node<M> {
    inner: Arc<Inner<M>>,
}

impl<M> Clone for Node<M> {
    fn clone(&self) -> Self {
        Node { inner: self.inner.clone() }
    }
}

/// What the parts of a member share.
pub(crate) struct Inner<M> {
    pub raft: Raft,
    pub store: Store,
    pub incoming: Mutex<Option<Incoming>>,
    pub changing: tokio::sync::Mutex<()>,
    pub timing: Timing,
    pub post: Post,
    quiet: Mutex<Quiet>,
    /// Another one is to lead: nothing more is taken here.
    pub handing: AtomicBool,
    forgetful: Forgetful,
    applier: Applier<M>,
    queue: mpsc::Sender<Waiting>,
    asked: AtomicUsize,
    /// Decided up to here, by the word of others.
    decided: AtomicU64,
    seen: Mutex<Seen>,
    bulletin: Bulletin,
}

impl<M: Machine> Node<M> {
    /// Opens the member whose store this is. `machine` is as new: what the store knows is done to it.
    ///
    /// A new member takes part when it has [founded](Node::found) its group or another one has
    /// [admitted](Node::admit) it.
    ///
    /// # Errors
    /// [`LogError::Store`], or [`LogError::Refused`] for times that do not fit each other.
    pub async fn open(
        store: Store,
        machine: M,
        network: impl Network,
        timing: Timing,
    ) -> Result<Self, LogError> {
        let config = Arc::new(timing.config()?);
        let post = Post::new(store.group(), Box::new(network), store.openings());
        let applier = Applier::new(machine, store.clone())?;
        let forgetful = Forgetful::default();
        let links = Links { post: post.clone(), timing, forgetful: forgetful.clone() };
        let raft = Raft::new(u64::from(store.node().0), config, links, store.clone(), applier.clone())
            .await
            .map_err(|_| store.failure().map_or(LogError::Stopped(Effect::No), LogError::from))?;
        // Before it has said what the store knows it looks like a new one. One that fails says so later.
        let _ = raft.with_raft_state(|_| ()).await;
        let (queue, waiting) = mpsc::channel(LOG_WAITING_MAX);
        let (incoming, changing) = (Mutex::default(), tokio::sync::Mutex::default());
        let (asked, seen) = (AtomicUsize::new(0), Mutex::default());
        let quiet = Mutex::new(Quiet::new(election::draw(timing.election_min_ms, timing.election_max_ms)));
        let inner = Arc::new(Inner {
            raft,
            store,
            incoming,
            changing,
            timing,
            post,
            quiet,
            handing: AtomicBool::new(false),
            forgetful,
            applier,
            queue,
            asked,
            decided: AtomicU64::new(0),
            seen,
            bulletin: Bulletin::default(),
        });
        Runtime::spawn(inner.bulletin.clone().run(inner.raft.metrics()));
        Runtime::spawn(batch::run(Arc::downgrade(&inner), waiting));
        Runtime::spawn(election::run(Arc::downgrade(&inner)));
        Ok(Node { inner })
    }

    /// Founds the group: this node is its only member and voter. Does nothing if it belongs to one already.
    ///
    /// # Errors
    /// If the member has stopped.
    pub async fn found(&self) -> Result<(), LogError> {
        let me = BTreeMap::from([(u64::from(self.inner.store.node().0), Nothing {})]);
        match self.inner.raft.initialize(me).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::Fatal(fatal)) => Err(self.inner.fatal(&fatal, Effect::No)),
            Err(RaftError::APIError(e)) => Err(LogError::Refused(e.to_string())),
        }
    }

    /// Has a command done by every member, in the one order, and returns the answer of the machine. When it
    /// returns, the command is on the disks of a majority of the voters.
    ///
    /// # Errors
    /// [`LogError::effect`] says whether it was done; only then and after [`Effect::No`] it may be tried
    /// again without the machine knowing.
    pub async fn propose(&self, command: Vec<u8>, within: Duration) -> Result<Vec<u8>, LogError> {
        size("the command", command.len(), Effect::No)?;
        let ask = |left: Duration| Question::Propose { command: command.clone(), within_ms: millis(left) };
        match self.inner.at_leader(ask, within).await? {
            Answer::Done(answer) => Ok(answer),
            _ => Err(LogError::Unknown),
        }
    }

    /// Returns when this member has done everything that was answered before the call, to whomever: what is
    /// read here then is not old.
    ///
    /// # Errors
    /// [`LogError::NoLeader`], [`LogError::NoQuorum`], or that this member has stopped.
    pub async fn read_barrier(&self, within: Duration) -> Result<(), LogError> {
        let until = Instant::now() + within.min(WAIT_MAX);
        let upto = match self.inner.at_leader(|_| Question::Barrier, within).await {
            Ok(Answer::Decided(upto)) => upto,
            Ok(_) | Err(LogError::Unknown) => return Err(LogError::NoLeader),
            Err(error) => return Err(error),
        };
        let left = until.saturating_duration_since(Instant::now());
        let reached = self.wait(|status| !status.running || Some(status.applied) >= upto, left).await;
        match reached {
            Some(status) if status.running => Ok(()),
            Some(_) => Err(self.inner.ended(Effect::No)),
            None => Err(LogError::NoLeader),
        }
    }

    /// As [`Node::propose`], but only if this member leads: never handed on. For what a leader decides by
    /// what it alone has seen: if it has been succeeded meanwhile, nobody does it.
    ///
    /// # Errors
    /// [`LogError::NoLeader`] if another member leads, or none; as [`Node::propose`].
    pub async fn propose_here(&self, command: Vec<u8>, within: Duration) -> Result<Vec<u8>, LogError> {
        let doing = self.inner.propose_here(command, within);
        Runtime::timeout(within, doing).await.unwrap_or(Err(LogError::Unknown))
    }

    /// Has a majority confirm, after the call, that this member leads; returns the place of the last entry
    /// that was decided before.
    ///
    /// # Errors
    /// [`LogError::NoLeader`] if it does not lead, [`LogError::NoQuorum`] if no majority confirmed it in
    /// time.
    pub async fn confirm(&self, within: Duration) -> Result<u64, LogError> {
        let confirming = self.inner.decided_here();
        let decided = Runtime::timeout(within, confirming).await.unwrap_or(Err(LogError::NoQuorum))?;
        Ok(decided.unwrap_or(0))
    }

    /// Looks at the machine of this member. It may be behind; after a [`Node::read_barrier`] it is not.
    pub fn read<T>(&self, look: impl FnOnce(&M) -> T) -> T {
        self.inner.applier.read(look)
    }

    /// Makes a node a member or gives it another role. A voter-to-be first catches up. The node has to run a
    /// member with a new store, or one that belongs to this group.
    ///
    /// # Errors
    /// [`LogError::Refused`] if there are [`LOG_VOTERS_MAX`](dvs_abi::limits::LOG_VOTERS_MAX) voters already;
    /// as
    /// [`Node::propose`]. It may be repeated.
    pub async fn admit(&self, node: NodeId, role: Role, within: Duration) -> Result<(), LogError> {
        let node = u64::from(node.0);
        self.change(if role == Role::Voter { Change::Voter(node) } else { Change::Learner(node) }, within)
            .await
    }

    /// Takes a node out of the group; it may be the leader, and it may be dead.
    ///
    /// # Errors
    /// [`LogError::Refused`] for the only voter; as [`Node::propose`]. It may be repeated.
    pub async fn remove(&self, node: NodeId, within: Duration) -> Result<(), LogError> {
        self.change(Change::Remove(u64::from(node.0)), within).await
    }

    async fn change(&self, change: Change, within: Duration) -> Result<(), LogError> {
        let ask = |left: Duration| Question::Change { change, within_ms: millis(left) };
        match self.inner.at_leader(ask, within).await? {
            Answer::Changed => Ok(()),
            _ => Err(LogError::Unknown),
        }
    }

    /// Has another member lead, if this one does: before it ends in order, so that nobody has to find out.
    /// It takes nothing meanwhile; if nobody else leads in time, it goes on. Whether it leads no more.
    pub async fn hand_over(&self, within: Duration) -> bool {
        Runtime::timeout(within, self.inner.hand_over()).await.unwrap_or(false)
    }

    /// See [`crate::Group::failure`].
    pub fn failure(&self) -> Option<LogError> {
        self.inner.has_ended().then(|| self.inner.ended(Effect::No))
    }

    /// Takes in a message from another member. Whatever it is, it does no harm; it has to come from that
    /// node. To be called within the runtime.
    pub fn receive(&self, from: NodeId, bytes: &[u8]) {
        let letter = message::decode(self.inner.store.group(), bytes);
        if letter.is_some() {
            self.inner.post.hears_of(from);
        }
        match letter {
            Some(Letter::Tell(number, answer)) => self.inner.post.told(from, number, answer),
            Some(Letter::Ask(number, question)) => {
                self.inner.post.hears(from, number);
                let once = matches!(question, Question::Propose { .. } | Question::Change { .. });
                if once && !self.inner.seen().first_time(from, number) {
                    return;
                }
                if self.inner.asked.fetch_add(1, Ordering::SeqCst) >= LOG_ASKED_MAX {
                    self.inner.asked.fetch_sub(1, Ordering::SeqCst);
                    return;
                }
                let asked = Asked(self.inner.clone());
                Runtime::spawn(async move {
                    if let Some(answer) = asked.0.answer(from, question).await {
                        asked.0.post.tell(from, number, answer);
                    }
                });
            }
            None => {}
        }
    }

    /// What this member knows of its group.
    pub fn status(&self) -> Status {
        self.inner.status(&self.inner.raft.metrics().borrow())
    }

    /// Who leads, as far as this member knows.
    pub fn leader(&self) -> Option<NodeId> {
        self.status().leader
    }

    /// Waits until `holds`; nothing if it did not in time.
    pub async fn wait(
        &self,
        holds: impl Fn(&Status) -> bool + Send + Sync,
        within: Duration,
    ) -> Option<Status> {
        let mut news = self.inner.news();
        let look = async {
            loop {
                let status = self.inner.status(&news.borrow_and_update());
                if holds(&status) {
                    return Some(status);
                }
                if !status.running {
                    return None;
                }
                // It has ended if there can be no more news; the status says so then.
                let _ = news.changed().await;
            }
        };
        Runtime::timeout(within.min(WAIT_MAX), look).await.ok().flatten()
    }

    /// Takes a snapshot now; it is there when [`Status::snapshot`] says so.
    ///
    /// # Errors
    /// If the member has stopped.
    pub async fn snapshot(&self) -> Result<(), LogError> {
        let started = self.inner.raft.trigger().snapshot().await;
        started.map_err(|fatal| self.inner.fatal(&fatal, Effect::No))
    }

    /// Ends this member; its group goes on if a majority of the voters is left.
    pub async fn shutdown(&self) {
        // It fails only if the member had ended by a panic before.
        let _ = self.inner.raft.shutdown().await;
    }
}

/// A question that is being answered.
struct Asked<M>(Arc<Inner<M>>);

impl<M> Drop for Asked<M> {
    fn drop(&mut self) {
        self.0.asked.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<M: Machine> Inner<M> {
    /// Asks the leader, whoever it is, until it has an answer or the time is over.
    async fn at_leader(
        self: &Arc<Self>,
        ask: impl Fn(Duration) -> Question,
        within: Duration,
    ) -> Result<Answer, LogError> {
        let until = Instant::now() + within.min(WAIT_MAX);
        let mut news = self.news();
        let mut last = LogError::NoLeader;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let (leader, term, running) = {
                let metrics = news.borrow_and_update();
                (metrics.current_leader, metrics.current_term, metrics.running_state.is_ok())
            };
            if !running || self.has_ended() {
                return Err(self.ended(Effect::No));
            }
            if left.is_zero() {
                return Err(last);
            }
            let me = self.store.node();
            let answer = match leader.map(|n| NodeId(n as u16)) {
                None => Answer::Failed(Failure::NotLeader),
                Some(node) if node == me => {
                    let here = Runtime::timeout(left, self.answer(me, ask(left))).await.ok().flatten();
                    here.unwrap_or(Answer::Failed(Failure::Unknown))
                }
                Some(node) => self.elsewhere(node, term, ask(left), left).await,
            };
            match answer {
                Answer::Failed(Failure::NotLeader) => {}
                Answer::Failed(Failure::NoQuorum) => last = LogError::NoQuorum,
                Answer::Failed(Failure::Stopped(maybe)) if leader == Some(u64::from(me.0)) => {
                    return Err(self.ended(if maybe { Effect::Unknown } else { Effect::No }));
                }
                Answer::Failed(Failure::Stopped(false)) => {}
                Answer::Failed(failure) => return Err(failure.into()),
                answer => return Ok(answer),
            }
            // Whoever leads next, this member hears of it; who leads and cannot may be able to in a while.
            drop(Runtime::timeout(self.timing.pause().min(left), news.changed()).await);
        }
    }

    /// Asks another node that leads in this term; gives up when it was succeeded, perhaps by itself, and does
    /// not answer soon.
    async fn elsewhere(&self, node: NodeId, term: u64, question: Question, left: Duration) -> Answer {
        let mut news = self.news();
        let succeeded = async {
            loop {
                let (leads, now) = {
                    let metrics = news.borrow_and_update();
                    (metrics.current_leader.is_some(), metrics.current_term)
                };
                if leads && now > term {
                    return Runtime::sleep(self.timing.pause()).await;
                }
                if news.changed().await.is_err() {
                    return;
                }
            }
        };
        let answer = tokio::select! {
            biased;
            answer = self.post.ask(node, question, left) => answer,
            () = succeeded => None,
        };
        answer.unwrap_or(Answer::Failed(Failure::Unknown))
    }

    /// Has a command done, this member leading.
    pub(crate) async fn propose_here(&self, command: Vec<u8>, within: Duration) -> Result<Vec<u8>, LogError> {
        size("the command", command.len(), Effect::No)?;
        self.may_lead()?;
        let (tell, told) = oneshot::channel();
        let waiting = Waiting { command, until: Instant::now() + within.min(WAIT_MAX), answer: tell };
        self.queue.try_send(waiting).map_err(|_| LogError::Full)?;
        // The member ends in between: it may have been done.
        let answer = told.await.unwrap_or(Err(LogError::Stopped(Effect::Unknown)))?;
        size("the answer", answer.len(), Effect::Yes)?;
        Ok(answer)
    }

    /// To wait for news of the member.
    pub(crate) fn news(&self) -> News {
        self.bulletin.reader(&self.raft)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to where the log is decided, this member leading.
    pub(crate) async fn decided_here(&self) -> Result<Option<u64>, LogError> {
        self.may_lead()?;
        match self.raft.get_read_log_id().await {
            Ok((decided, _)) => Ok(decided.map(|id| id.index)),
            Err(RaftError::Fatal(fatal)) => Err(self.fatal(&fatal, Effect::No)),
            Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))) => Err(LogError::NoQuorum),
            Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(_))) => Err(LogError::NoLeader),
        }
    }

    /// Whether this member leads and hears from a majority.
    pub(crate) fn may_lead(&self) -> Result<(), LogError> {
        let metrics = self.raft.metrics().borrow().clone();
        if self.has_ended() {
            return Err(self.ended(Effect::No));
        }
        if metrics.state != ServerState::Leader || self.handing.load(Ordering::Acquire) {
            return Err(LogError::NoLeader);
        }
        if self.is_stale(&metrics) { Err(LogError::NoQuorum) } else { Ok(()) }
    }

    /// Whether this member takes part no more. One whose library panicked has had no time to say so.
    pub(crate) fn has_ended(&self) -> bool {
        self.is_silent() || self.raft.metrics().borrow().running_state.is_err()
    }

    /// Whether there will be no more news of this member.
    fn is_silent(&self) -> bool {
        self.raft.metrics().has_changed().is_err()
    }

    /// What it knows of when to stand for election.
    pub(crate) fn quiet(&self) -> MutexGuard<'_, Quiet> {
        self.quiet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a leader is not sure to be one: it was succeeded perhaps, or it led before it was started
    /// anew.
    pub(crate) fn is_stale(&self, metrics: &Metrics) -> bool {
        let bound = u64::try_from(self.timing.stale().as_millis()).unwrap_or(u64::MAX);
        let alone = metrics.membership_config.voter_ids().count() == 1;
        !alone && metrics.millis_since_quorum_ack.is_none_or(|ms| ms > bound)
    }

    /// The error of this member when it has ended.
    pub(crate) fn ended(&self, effect: Effect) -> LogError {
        self.store.failure().map_or(LogError::Stopped(effect), |error| LogError::Store { error, effect })
    }

    /// One that leads says that the log is decided up to here.
    pub(crate) fn hears_decided(&self, upto: Option<u64>) {
        self.decided.fetch_max(upto.unwrap_or(0), Ordering::AcqRel);
    }

    fn status(&self, metrics: &Metrics) -> Status {
        let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
        let role = |node: &u64| if voters.contains(node) { Role::Voter } else { Role::Learner };
        let members = metrics.membership_config.nodes().map(|(n, _)| (NodeId(*n as u16), role(n))).collect();
        let leads = metrics.state == ServerState::Leader;
        let running = metrics.running_state.is_ok() && !self.is_silent();
        let known = !(leads && self.is_stale(metrics)) && running;
        let forgetful = self.forgetful.lock().unwrap_or_else(PoisonError::into_inner);
        let applied = metrics.last_applied.map_or(0, |id| id.index);
        Status {
            leader: metrics.current_leader.filter(|_| known).map(|n| NodeId(n as u16)),
            term: metrics.current_term,
            last: metrics.last_log_index.unwrap_or(0),
            decided: self.decided.load(Ordering::Acquire).max(applied),
            applied,
            snapshot: metrics.snapshot.map_or(0, |id| id.index),
            members,
            forgetful: forgetful.iter().copied().collect(),
            running,
        }
    }
}

fn size(what: &'static str, bytes: usize, effect: Effect) -> Result<(), LogError> {
    let max = LOG_COMMAND_BYTES_MAX;
    if bytes > max { Err(LogError::TooLarge { what, bytes, max, effect }) } else { Ok(()) }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
