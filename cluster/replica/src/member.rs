//! The replica as a member of its group: a thread with the log, on which every call that is under way is a
//! task ([`crate::calls`]).

use crate::answers::{Answers, Ended};
use crate::call::CallName;
use crate::calls::Calls;
use crate::carrier::{Carrier, Way};
use crate::enrol::Enrolment;
use crate::letter::Letter;
use crate::list::Change;
use crate::listed::Listed;
use crate::pulse::Pulse;
use crate::senders::Senders;
use crate::service::Service;
use dvs_abi::limits::{LOG_ASKED_MAX, REPLICA_WAITING_MAX};
use dvs_abi::{Effect, Endpoint, NodeId};
use dvs_log::{LogError, Node, Store, Timing};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Who ends in order waits so long for another one to lead.
pub(crate) const HAND_OVER: Duration = Duration::from_secs(1);

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
    /// Change the list of replicas, if it is of this version still.
    Change(Change, u64),
}

/// How a member is started.
pub struct Start<M> {
    /// Its store, and
    pub store: Store,
    /// where that is.
    pub path: PathBuf,
    /// The machine, as new.
    pub machine: M,
    /// The times of its group.
    pub timing: Timing,
    /// The way to the other replicas,
    pub carrier: Arc<Carrier>,
    /// whoever sends on it,
    pub(crate) senders: Arc<Senders>,
    /// and the version of the list that gave this replica its seat.
    pub since: u64,
    /// The way to whoever serves.
    pub answers: Arc<Answers>,
    /// How it is.
    pub(crate) pulse: Arc<Pulse>,
}

/// The way to a member's thread.
pub struct Member<M> {
    /// The member of the group.
    pub node: Node<Listed<M>>,
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

/// What the tasks of a member share.
pub(crate) struct Inner<M> {
    pub node: Node<Listed<M>>,
    pub carrier: Arc<Carrier>,
    pub senders: Arc<Senders>,
    pub answers: Arc<Answers>,
    pub pulse: Arc<Pulse>,
    pub me: NodeId,
    pub since: u64,
    pub enrolment: Enrolment,
    /// Where the log is, and
    pub store: PathBuf,
    /// which version of the list is kept beside it.
    pub kept: Mutex<u64>,
    calls: Arc<Calls<Listed<M>>>,
}

async fn run<M: Service>(
    start: Start<M>,
    mut arriving: mpsc::Receiver<Order>,
    tell: oneshot::Sender<Result<Node<Listed<M>>, LogError>>,
) {
    let Start { store, path, machine, timing, carrier, senders, since, answers, pulse } = start;
    let me = store.node();
    let opened = Node::open(store, Listed::new(machine), Way(carrier.clone()), timing).await;
    let node = opened.as_ref().ok().cloned();
    // Whoever starts it waits.
    let _ = tell.send(opened);
    let Some(node) = node else { return };
    let (enrolment, calls, kept) = (Enrolment::new(), Calls::new(node.clone()), Mutex::new(0));
    let store = path;
    let inner = Inner { node, carrier, senders, answers, pulse, me, since, enrolment, store, kept, calls };
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
            Order::Change(change, version) => {
                let inner = inner.clone();
                // Whoever wants it looks whether it was done.
                drop(tokio::spawn(async move {
                    let list = inner.carrier.list();
                    let next = list.with(change).ok().filter(|_| list.version() == version);
                    inner.change(next).await
                }));
            }
            Order::Letters(from, letters) => letters.into_iter().for_each(|l| inner.letter(from, l)),
        }
    }
    keeper.abort();
    inner.node.shutdown().await;
}

impl<M: Service> Inner<M> {
    fn letter(&self, from: NodeId, letter: Letter) {
        if let Some(seat) = self.carrier.list().of(from) {
            self.enrolment.heard(seat);
        }
        match letter {
            Letter::Log(message) if self.enrolment.may_take_part() => self.node.receive(from, &message),
            Letter::Log(_) => {}
            Letter::Fresh(life, term) => {
                if let Some(seat) = self.carrier.list().of(from) {
                    self.enrolment.heard_fresh(seat, life, term);
                }
            }
            Letter::Welcome(life) => self.enrolment.welcomed(life),
            Letter::Prove(term) => self.enrolment.asked(term),
        }
    }

    async fn serve(self: Arc<Self>, ask: Ask) {
        let until = Instant::now() + ask.within;
        let outcome = match ask.name {
            Some(name) => self.calls.call(name, &ask.request, until).await,
            None if ask.stale => self.calls.look(&ask.request),
            None => self.calls.query(&ask.request, until).await,
        };
        self.answers.put((ask.client, ask.seq, outcome));
    }

    /// The error of a member that has ended.
    pub(crate) async fn why_ended(&self) -> Ended {
        match self.node.read_barrier(Duration::ZERO).await {
            Err(error) => Ended::Failed(error),
            Ok(()) => Ended::Failed(LogError::Stopped(Effect::Unknown)),
        }
    }
}
