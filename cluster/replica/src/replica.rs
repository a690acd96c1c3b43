//! A replica of a service: its threads and endpoints, from start to end.
//!
//! ```text
//!                        ┌ seat's thread ◄──── parcels of the others
//!  callers ─► serving ──►│                    │ letters
//!             thread     │      member's thread: log, state, tasks of calls
//!          ◄─ answers ───┘                    │ letters
//!                          senders' threads ──┴─► the others, one thread each
//! ```

use crate::answers::{Answers, Ended};
use crate::carrier::{Carrier, ask_list};
use crate::desk::Desk;
use crate::kept;
use crate::letter::Letter;
use crate::list::List;
use crate::listed::Listed;
use crate::member::{self, Member, Order};
use crate::pulse::Pulse;
use crate::reception::Reception;
use crate::seats::{Seats, seat_of};
use crate::senders::Senders;
use crate::service::Service;
use dvs_abi::limits::{REPLICA_SEATS_MAX, SYSPROCS_DEFAULT, TASKS_MAX};
use dvs_abi::{Code, DcId, Endpoint, Error, NodeId};
use dvs_ipc::control::{Rule, ServiceKind};
use dvs_ipc::{Port, Process, ServicePlan};
use dvs_log::{GroupId, LogError, Node, Store, StoreError, Timing, from_leader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread::JoinHandle;
use std::time::Duration;

/// A replica that runs says at once which list it knows; one of a node that is not reached does not.
const KNOWN_WITHIN: Duration = Duration::from_millis(300);
/// Between two attempts to become an instance of the service while nothing can be decided.
const DECIDED_AGAIN: Duration = Duration::from_millis(200);

/// What makes a replica.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the service is called, and the replicas it is founded with: the same list on every node. Once
    /// that was changed it is what the replicas say, or what this one has kept beside its log.
    pub seats: Seats,
    /// A later list, if one is known: see [`known_list`].
    pub known: Option<List>,
    /// The file this replica keeps its log in. Made if it is not there.
    pub store: PathBuf,
    /// The times of the group; the same for all.
    pub timing: Timing,
    /// The name of the service, if nobody has declared it yet; at most 15 bytes, one of its container.
    pub name: String,
    /// What a replica does that is cut off, likewise. With [`Rule::Continue`] it takes calls, and answers
    /// what the log lets it: nothing, without a majority of the replicas. So that is the default.
    pub rule: Rule,
}

impl Plan {
    /// A plan with the usual times, and a name after the slot.
    pub fn new(seats: Seats, store: impl Into<PathBuf>) -> Plan {
        let name = format!("replicated{}", seats.service.slot());
        Plan {
            seats,
            known: None,
            store: store.into(),
            timing: Timing::default(),
            name,
            rule: Rule::Continue,
        }
    }
}

/// Why a replica does not run.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum ReplicaError {
    /// The node is not in the list.
    #[error("{0} is not in the list of the service's nodes")]
    NoSeat(NodeId),
    /// It was taken out of the list, in this version.
    #[error("{node} is not in the list of the service's nodes any more (version {version})")]
    Out {
        /// Its node.
        node: NodeId,
        /// The version of the list.
        version: u64,
    },
    /// An endpoint cannot be bound, or is none any more.
    #[error("{what}: {error}")]
    Endpoint {
        /// Which.
        what: String,
        /// Why.
        error: Error,
    },
    /// The folder of the store cannot be made.
    #[error("{}: {what}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system says.
        what: String,
    },
    /// The log cannot be used, or failed while the replica ran: it steps back, the others go on.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<StoreError> for ReplicaError {
    fn from(error: StoreError) -> Self {
        ReplicaError::Log(error.into())
    }
}

fn endpoint(what: impl Into<String>) -> impl FnOnce(Error) -> ReplicaError {
    let what = what.into();
    move |error| ReplicaError::Endpoint { what, error }
}

/// A running replica. Ends when it is dropped.
///
/// ```
/// use dvs_replica::active::{Active, Server};
/// use dvs_replica::call::Caller;
/// use dvs_replica::client::Client;
/// use dvs_replica::replica::{Plan, Replica};
/// use dvs_replica::seats::Seats;
/// use dvs_abi::{DcId, Endpoint, NodeId};
///
/// struct Count(u64);
/// impl Server for Count {
///     fn request(&mut self, _: &Caller, _: &[u8]) -> Vec<u8> {
///         self.0 += 1;
///         self.snapshot()
///     }
///     fn query(&self, _: &[u8]) -> Option<Vec<u8>> {
///         Some(self.snapshot())
///     }
///     fn snapshot(&self) -> Vec<u8> {
///         self.0.to_le_bytes().to_vec()
///     }
///     fn restore(&mut self, s: &[u8]) -> Result<(), String> {
///         self.0 = u64::from_le_bytes(s.try_into().map_err(|_| "eight bytes are a count")?);
///         Ok(())
///     }
/// }
///
/// let folder = tempfile::tempdir()?;
/// let process = dvs::alone(); // a group of one; with a daemon: of up to five nodes
/// let (dc, service) = (DcId(0), Endpoint::new(0, 5));
/// let seats = Seats::new(dc, service, &[NodeId(0)])?;
/// let plan = Plan::new(seats, folder.path().join("count.log"));
/// let replica = Replica::start(&process, &plan, Active::new(Count(0)))?;
/// let stopper = replica.stopper();
/// let serving = std::thread::spawn(move || replica.serve());
///
/// let client = Client::new(process.bind(dc, Endpoint::NONE)?, service);
/// assert_eq!(client.call(b"one more")?, 1u64.to_le_bytes());
/// assert_eq!(client.query(b"how many")?, 1u64.to_le_bytes());
/// stopper.stop();
/// serving.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Replica<M: Service> {
    process: Process,
    plan: Plan,
    carrier: Arc<Carrier>,
    senders: Arc<Senders>,
    answers: Arc<Answers>,
    pulse: Arc<Pulse>,
    member: Option<Member<M>>,
    waiting: Arc<AtomicU32>,
    threads: Vec<JoinHandle<()>>,
}

/// Ends a replica from another thread.
#[derive(Clone)]
pub struct Stopper(Arc<Answers>);

impl Stopper {
    /// Has [`Replica::serve`] return, in order: another replica leads before callers go there.
    pub fn stop(&self) {
        self.0.end(Ended::Asked);
    }
}

impl<M: Service> Replica<M> {
    /// Starts the replica of this process' node. It takes part in its group from now on; it serves in
    /// [`Replica::serve`].
    ///
    /// # Errors
    /// The node has no seat, the seat's endpoint is taken (a replica of this service runs here already), the
    /// store is damaged, another's, or in use.
    pub fn start(process: &Process, plan: &Plan, machine: M) -> Result<Self, ReplicaError> {
        let (dc, service, node) = (plan.seats.dc, plan.seats.service, process.node());
        let list = find_list(process, plan)?;
        let out = ReplicaError::Out { node, version: list.version() };
        let no_seat = || if list.version() > 0 { out } else { ReplicaError::NoSeat(node) };
        let (me, sitter) = list.of(node).zip(list.sitter_of(node)).ok_or_else(no_seat)?;
        let seat = seat_of(service, me);
        let port = process.bind(dc, seat).map_err(endpoint(format!("the replica's endpoint {seat}")))?;
        make_folder(&plan.store)?;
        keep_list(plan, &list, node)?;
        let store = open(plan, node)?;
        let carrier = Carrier::new(process, (dc, service), list, me);
        let answers = Arc::new(Answers::new(process, (dc, service)));
        let senders = Senders::new(process, dc, carrier.clone(), answers.clone());
        let mut replica = Replica {
            process: process.clone(),
            plan: plan.clone(),
            carrier: carrier.clone(),
            senders: senders.clone(),
            answers: answers.clone(),
            pulse: Arc::new(Pulse::new()),
            member: None,
            waiting: Arc::default(),
            threads: Vec::new(),
        };
        let (timing, path, since) = (plan.timing, plan.store.clone(), sitter.since);
        let pulse = replica.pulse.clone();
        let start = member::Start { store, path, machine, timing, carrier, senders, since, answers, pulse };
        let (member, thread) = member::start(start)?;
        replica.threads.push(thread);
        replica.listen(port, &member)?;
        replica.member = Some(member);
        replica.senders.look();
        Ok(replica)
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), ReplicaError> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        let thread = thread.map_err(|e| LogError::Refused(format!("a thread of the replica: {e}")))?;
        self.threads.push(thread);
        Ok(())
    }

    fn listen(&mut self, port: Port, member: &Member<M>) -> Result<(), ReplicaError> {
        let (carrier, answers, orders) =
            (self.carrier.clone(), self.answers.clone(), member.orders.downgrade());
        let desk = Desk {
            node: member.node.clone(),
            me: self.process.node(),
            waiting: self.waiting.clone(),
            carrier: carrier.clone(),
            answers: answers.clone(),
            orders: orders.clone(),
            first_user: first_user(&self.process, self.plan.seats.dc)?,
        };
        let (pulse, watched, group) = (self.pulse.clone(), self.answers.clone(), group_of(&self.plan.seats));
        let watch = self.pulse.clone();
        self.spawn("replica-watch", move || watch.watch(&watched))?;
        self.spawn("replica-seat", move || {
            let inbox = move |from: NodeId, letters: Vec<Letter>| {
                if letters.iter().any(|l| matches!(l, Letter::Log(bytes) if from_leader(group, bytes))) {
                    pulse.heard();
                }
                // One that is behind loses some, as a network does.
                let _ = orders.upgrade().map(|o| o.try_send(Order::Letters(from, letters)));
            };
            let error = carrier.run_seat(&port, &inbox, &move |m| desk.answer(m));
            if error.code != Code::SHUTDOWN {
                answers.end(Ended::Unbound(error));
            }
        })
    }

    /// What ends it from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.answers.clone())
    }

    /// The member of the group, to be looked at.
    pub fn node(&self) -> Option<&Node<Listed<M>>> {
        self.member.as_ref().map(|m| &m.node)
    }

    /// Waits until the group is there and this replica has what was acknowledged, declares the service if
    /// nobody has, and serves callers as an instance of it until the replica ends.
    ///
    /// # Errors
    /// Why it ended, unless it was asked to.
    pub fn serve(&self) -> Result<(), ReplicaError> {
        let Some(member) = &self.member else { return Ok(()) };
        if let Err(ended) = self.answers.await_ready() {
            return self.over(ended);
        }
        let service = self.plan.seats.service;
        loop {
            if let Err(ended) = self.answers.await_stays() {
                return self.over(ended);
            }
            match self.become_instance() {
                Ok(port) => {
                    let mut reception = Reception::new(&port, &member.orders, &self.answers, &self.waiting);
                    match reception.serve() {
                        // Also of one that has fallen behind.
                        // What was taken up goes to another one when the port is dropped.
                        Ended::Leaves => {}
                        ended => {
                            if ended == Ended::Asked {
                                self.hand_over(member);
                            }
                            return self.over(ended);
                        }
                    }
                }
                // Nothing is decided at the moment; the replica is there for the others meanwhile.
                Err(e) if matches!(e.code, Code::TIMEDOUT | Code::STALE | Code::AGAIN | Code::NOSPC) => {
                    if let Some(ended) = self.answers.ended_within(DECIDED_AGAIN) {
                        return self.over(ended);
                    }
                }
                Err(e) => return Err(endpoint(format!("the service's endpoint {service}"))(e)),
            }
        }
    }

    fn over(&self, ended: Ended) -> Result<(), ReplicaError> {
        match ended {
            Ended::Asked => Ok(()),
            Ended::Failed(error) => Err(error.into()),
            Ended::Unbound(error) => Err(endpoint("an endpoint of the replica")(error)),
            // Whoever leaves is told at last that it is out.
            Ended::Leaves => Err(ReplicaError::Out { node: self.process.node(), version: 0 }),
            Ended::Out(version) => Err(ReplicaError::Out { node: self.process.node(), version }),
        }
    }

    /// Before callers go elsewhere, somebody else leads: so they are held for a moment and not for an
    /// election.
    fn hand_over(&self, member: &Member<M>) {
        let (tell, told) = std::sync::mpsc::channel();
        if member.orders.try_send(Order::HandOver(tell)).is_ok() {
            // If nobody can, the others find out that this one has ended.
            let _ = told.recv_timeout(member::HAND_OVER);
        }
    }

    /// Binds the service's endpoint: that offers this replica as one that is in step.
    fn become_instance(&self) -> dvs_abi::Result<Port> {
        let (dc, service) = (self.plan.seats.dc, self.plan.seats.service);
        if !self.process.is_alone() {
            let (name, kind, rule) = (self.plan.name.clone(), ServiceKind::Active, self.plan.rule);
            let declared = ServicePlan { name, kind, rule, nodes: Vec::new() };
            self.process.system().declare(dc, service.slot(), &declared)?;
        }
        self.process.bind(dc, service)
    }
}

impl<M: Service> Drop for Replica<M> {
    fn drop(&mut self) {
        // The one that watches ends then, if nothing else has ended it.
        self.answers.end(Ended::Asked);
        self.carrier.close();
        self.senders.join();
        // Its thread ends when nobody can give it orders any more.
        self.member = None;
        for thread in self.threads.drain(..) {
            // One that panicked has told so on standard error.
            let _ = thread.join();
        }
    }
}

/// The latest list of a service's replicas that is kept beside a log, or known to a replica that runs.
///
/// # Errors
/// What is kept is none, or this process cannot call.
pub fn known_list(
    process: &Process,
    (dc, service): (DcId, Endpoint),
    store: &Path,
) -> Result<Option<List>, ReplicaError> {
    let kept = kept::read(store).map_err(|e| folder(&kept::file(store), &e))?;
    let port = process.bind(dc, Endpoint::NONE).map_err(endpoint("a free endpoint"))?;
    let seats = (0..REPLICA_SEATS_MAX).map(|seat| seat_of(service, seat));
    // One that does not answer may be asked when this one runs.
    let said = seats.filter_map(|at| ask_list(&port, at, KNOWN_WITHIN).ok().flatten());
    Ok(kept.into_iter().chain(said).max_by_key(List::version))
}

fn find_list(process: &Process, plan: &Plan) -> Result<List, ReplicaError> {
    let known = known_list(process, (plan.seats.dc, plan.seats.service), &plan.store)?;
    let known = known.into_iter().chain(plan.known.clone()).max_by_key(List::version);
    // Of the first one, what the replicas say is not taken for granted: they may disagree.
    let first = List::founding(plan.seats.nodes());
    Ok(known.filter(|list| list.version() > 0).unwrap_or(first))
}

/// Keeps the list. The log of a replica that was taken out meanwhile, and is to be one again, is put aside.
fn keep_list(plan: &Plan, list: &List, me: NodeId) -> Result<(), ReplicaError> {
    let refused = |e: std::io::Error| folder(&kept::file(&plan.store), &e);
    let kept = kept::read(&plan.store).map_err(refused)?;
    let kept = kept.unwrap_or_else(|| List::founding(plan.seats.nodes()));
    let since = |list: &List| list.sitter_of(me).map(|s| s.since);
    if since(&kept) != since(list) {
        kept::put_aside(&plan.store).map_err(|e| folder(&plan.store, &e))?;
    }
    if list.version() == 0 {
        return Ok(());
    }
    kept::write(&plan.store, list).map_err(refused)
}

fn folder(path: &Path, error: &std::io::Error) -> ReplicaError {
    ReplicaError::Folder { path: path.to_owned(), what: error.to_string() }
}

fn make_folder(store: &Path) -> Result<(), ReplicaError> {
    let Some(parent) = store.parent() else { return Ok(()) };
    std::fs::create_dir_all(parent).map_err(|e| folder(parent, &e))
}

/// Where the servers' slots of a container end.
fn first_user(process: &Process, dc: DcId) -> Result<i32, ReplicaError> {
    if process.is_alone() {
        return Ok(SYSPROCS_DEFAULT - TASKS_MAX);
    }
    let info = process.system().dc_info(dc).map_err(endpoint("the container"))?;
    Ok(info.sysprocs - info.tasks)
}

/// The group of a service's replicas.
fn group_of(seats: &Seats) -> GroupId {
    // Zero is the control plane's.
    GroupId(1 << 48 | u64::from(seats.dc.0) << 32 | seats.service.slot() as u32 as u64)
}

fn open(plan: &Plan, node: NodeId) -> Result<Store, ReplicaError> {
    let (path, group) = (&plan.store, group_of(&plan.seats));
    let store = if path.exists() { Store::open(path, group, node) } else { Store::create(path, group, node) };
    Ok(store?)
}
