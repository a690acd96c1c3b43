//! The replica as a member of its group: a thread with the log, on which every call that is under way is a
//! task. Calls that come together go into the log together; reads that come together share one barrier.
//!
//! ```text
//!  call ──► prepare ──► propose ──┬─► answer
//!              ▲                  ├─ not done: nobody leads ─► wait a little, again
//!              └── again ◄────────┴─ nobody knows: the duplicate table will
//!  query ─► barrier (one for all that came before it) ─► look at the state ─► answer
//! ```

use crate::answers::{Answers, Ended};
use crate::call::{CallName, Done};
use crate::carrier::{Carrier, Way};
use crate::enrol::Enrolment;
use crate::letter::Letter;
use crate::passive::Planned;
use crate::seats::Seats;
use crate::service::{Outcome, Service};
use dvs_abi::limits::{LOG_ASKED_MAX, REPLICA_WAITING_MAX};
use dvs_abi::{Effect, Endpoint, NodeId};
use dvs_log::{LogError, Node, Store, Timing};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// One attempt to have something logged, or a barrier, takes so long at most.
const ATTEMPT: Duration = Duration::from_secs(3);
/// Who ends in order waits so long for another one to lead.
pub(crate) const HAND_OVER: Duration = Duration::from_secs(1);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// A call that was taken up.
#[derive(Debug)]
pub struct Ask {
    /// Who waits.
    pub client: Endpoint,
    /// The number of the call at this replica.
    pub seq: u64,
    /// Its name, unless it is a query.
    pub name: Option<CallName>,
    /// What is asked.
    pub request: Vec<u8>,
    /// Of a query: an older state will do.
    pub stale: bool,
    /// How long the caller waits.
    pub within: Duration,
}

/// What the member's thread is told.
pub enum Order {
    /// A call.
    Ask(Ask),
    /// Letters of another replica.
    Letters(NodeId, Vec<Letter>),
    /// This replica is about to end: another one is to lead. Answered when it does, or cannot.
    HandOver(std::sync::mpsc::Sender<bool>),
}

/// How a member is started.
pub struct Start<M> {
    /// Its store.
    pub store: Store,
    /// The machine, as new.
    pub machine: M,
    /// The times of its group.
    pub timing: Timing,
    /// The replicas.
    pub seats: Seats,
    /// The way to them.
    pub carrier: Arc<Carrier>,
    /// The way to whoever serves.
    pub answers: Arc<Answers>,
}

/// The way to a member's thread.
pub struct Member<M> {
    /// The member of the group.
    pub node: Node<M>,
    /// Orders to it; when all of these are dropped, it ends.
    pub orders: mpsc::Sender<Order>,
}

/// Room for orders: all that may wait, and letters.
const ORDERS_MAX: usize = REPLICA_WAITING_MAX + LOG_ASKED_MAX;

/// Starts a member on a thread of its own; returns when it is open.
///
/// # Errors
/// As [`Node::open`]; or if the system has no thread left.
pub fn start<M: Service>(start: Start<M>) -> Result<(Member<M>, std::thread::JoinHandle<()>), LogError> {
    let refused = |e: std::io::Error| LogError::Refused(format!("the thread of a replica: {e}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(refused)?;
    let (orders, arriving) = mpsc::channel(ORDERS_MAX);
    let (tell, told) = oneshot::channel();
    let run = move || runtime.block_on(run(start, arriving, tell));
    let thread = std::thread::Builder::new().name("replica".to_owned()).spawn(run).map_err(refused)?;
    let node = told.blocking_recv().unwrap_or(Err(LogError::Stopped(Effect::No)))?;
    Ok((Member { node, orders }, thread))
}

/// Who waits for a read barrier.
type Barred = oneshot::Sender<Result<(), LogError>>;

/// What the tasks of a member share.
pub(crate) struct Inner<M> {
    pub node: Node<M>,
    pub seats: Seats,
    pub carrier: Arc<Carrier>,
    pub answers: Arc<Answers>,
    pub me: NodeId,
    pub enrolment: Enrolment,
    /// Who waits for a read barrier; nobody runs one if there is no list.
    barriers: Mutex<Option<Vec<Barred>>>,
    /// Calls that are planned: one at a time.
    planning: tokio::sync::Mutex<()>,
}

async fn run<M: Service>(
    start: Start<M>,
    mut arriving: mpsc::Receiver<Order>,
    tell: oneshot::Sender<Result<Node<M>, LogError>>,
) {
    let Start { store, machine, timing, seats, carrier, answers } = start;
    let me = store.node();
    let opened = Node::open(store, machine, Way(carrier.clone()), timing).await;
    let node = opened.as_ref().ok().cloned();
    // Whoever starts it waits.
    let _ = tell.send(opened);
    let Some(node) = node else { return };
    let (enrolment, barriers) = (Enrolment::new(seats.count()), Mutex::default());
    let planning = tokio::sync::Mutex::default();
    let inner = Inner { node, seats, carrier, answers, me, enrolment, barriers, planning };
    let inner = Arc::new(inner);
    let keeper = tokio::spawn(crate::enrol::keep(inner.clone()));
    while let Some(order) = arriving.recv().await {
        match order {
            Order::Ask(ask) => drop(tokio::spawn(inner.clone().serve(ask))),
            Order::HandOver(tell) => {
                let inner = inner.clone();
                // Who does not wait any more has given up.
                drop(tokio::spawn(async move { tell.send(inner.node.hand_over(HAND_OVER).await) }));
            }
            Order::Letters(from, letters) => letters.into_iter().for_each(|l| inner.letter(from, l)),
        }
    }
    keeper.abort();
    inner.node.shutdown().await;
}

impl<M: Service> Inner<M> {
    fn letter(&self, from: NodeId, letter: Letter) {
        match letter {
            Letter::Log(message) if self.enrolment.may_take_part() => self.node.receive(from, &message),
            Letter::Log(_) => {}
            Letter::Fresh(life) => {
                if let Some(seat) = self.seats.of(from) {
                    self.enrolment.heard_fresh(seat, life);
                }
            }
            Letter::Welcome(life) => self.enrolment.welcomed(life),
        }
    }

    async fn serve(self: Arc<Self>, ask: Ask) {
        let until = Instant::now() + ask.within;
        let outcome = match ask.name {
            Some(name) => self.call(name, &ask.request, until).await,
            None if ask.stale => self.look(&ask.request),
            None => self.query(&ask.request, until).await,
        };
        self.answers.put((ask.client, ask.seq, outcome));
    }

    /// Has a call done, whoever leads, as long as its caller waits.
    async fn call(self: &Arc<Self>, mut name: CallName, request: &[u8], until: Instant) -> Outcome {
        // One that is planned is planned on what the one before has changed.
        let _alone = if M::PLANS { Some(self.planning.lock().await) } else { None };
        let mut maybe = false;
        loop {
            let error = match self.attempt(name, request, until).await {
                // Somebody else was first, or parts were dropped; nothing was done.
                Ok(Done::Replan | Done::Incomplete) if Instant::now() < until => {
                    tokio::task::yield_now().await;
                    continue;
                }
                Ok(Done::Replan | Done::Incomplete) if !maybe => return Outcome::Full,
                Ok(done) => return done.into(),
                Err(error) => error,
            };
            match error.effect() {
                Effect::Yes => return Outcome::AnswerTooLarge,
                Effect::Unknown => (maybe, name.again) = (true, true),
                Effect::No => {}
            }
            match outcome(&error, maybe) {
                Some(outcome) => return outcome,
                None if Instant::now() + PAUSE >= until => return given_up(&error, maybe),
                None => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn attempt(
        self: &Arc<Self>,
        name: CallName,
        request: &[u8],
        until: Instant,
    ) -> Result<Done, LogError> {
        if M::PLANS {
            self.barrier(until).await?;
        }
        match self.node.read(|m| m.prepare(name, request)) {
            Planned::Done(done) => Ok(done),
            Planned::Log(entry) => self.propose(entry, until).await,
            Planned::Parts(entries) => {
                let mut done = Done::Incomplete;
                for entry in entries {
                    done = self.propose(entry, until).await?;
                    if !matches!(&done, Done::Answer(a) if a.is_empty()) {
                        // The last one; or it was done before, or has to begin anew.
                        return Ok(done);
                    }
                }
                Ok(done)
            }
        }
    }

    async fn propose(&self, entry: Vec<u8>, until: Instant) -> Result<Done, LogError> {
        let within = until.saturating_duration_since(Instant::now()).min(ATTEMPT);
        Ok(Done::decode(&self.node.propose(entry, within).await?))
    }

    /// What the state here says.
    fn look(&self, request: &[u8]) -> Outcome {
        self.node.read(|m| m.query(request)).map_or(Outcome::Malformed, Outcome::Answer)
    }

    async fn query(self: &Arc<Self>, request: &[u8], until: Instant) -> Outcome {
        loop {
            match self.barrier(until).await {
                Ok(()) => return self.look(request),
                Err(error) => match outcome(&error, false) {
                    Some(outcome) => return outcome,
                    None if Instant::now() + PAUSE >= until => return given_up(&error, false),
                    None => tokio::time::sleep(PAUSE).await,
                },
            }
        }
    }

    /// A read barrier that begins after this call. While one is under way, all that come wait for one more.
    async fn barrier(self: &Arc<Self>, until: Instant) -> Result<(), LogError> {
        let (tell, told) = oneshot::channel();
        let runs = {
            let mut waiting = self.barriers();
            let runs = waiting.is_some();
            waiting.get_or_insert_default().push(tell);
            runs
        };
        if !runs {
            tokio::spawn(self.clone().run_barriers());
        }
        tokio::time::timeout_at(until, told)
            .await
            .unwrap_or(Ok(Err(LogError::NoLeader)))
            .unwrap_or(Err(LogError::NoLeader))
    }

    fn barriers(&self) -> MutexGuard<'_, Option<Vec<Barred>>> {
        self.barriers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs barriers until nobody waits for one.
    async fn run_barriers(self: Arc<Self>) {
        while let Some(list) = self.take_barred() {
            let passed = self.node.read_barrier(ATTEMPT).await;
            list.into_iter().for_each(|w| drop(w.send(passed.clone())));
        }
    }

    /// Those who wait for a barrier now; if nobody does, the next one who comes has barriers run again.
    fn take_barred(&self) -> Option<Vec<Barred>> {
        let mut waiting = self.barriers();
        let list = std::mem::take(waiting.as_mut()?);
        if list.is_empty() {
            *waiting = None;
        }
        (!list.is_empty()).then_some(list)
    }

    /// The error of a member that has ended.
    pub(crate) async fn why_ended(&self) -> Ended {
        match self.node.read_barrier(Duration::ZERO).await {
            Err(error) => Ended::Failed(error),
            Ok(()) => Ended::Failed(LogError::Stopped(Effect::Unknown)),
        }
    }
}

/// What a caller is told of an error; nothing if it is to be tried again.
fn outcome(error: &LogError, maybe: bool) -> Option<Outcome> {
    match error {
        LogError::TooLarge { .. } => Some(Outcome::TooLarge),
        LogError::Stopped(_) | LogError::Store { .. } => {
            Some(if maybe { Outcome::EndedUnknown } else { Outcome::Ended })
        }
        _ => None,
    }
}

/// What a caller is told when its time is over.
fn given_up(error: &LogError, maybe: bool) -> Outcome {
    match error {
        _ if maybe => Outcome::Unknown,
        LogError::NoQuorum => Outcome::NoQuorum,
        LogError::Full => Outcome::Full,
        _ => Outcome::NoLeader,
    }
}
