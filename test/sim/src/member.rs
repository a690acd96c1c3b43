//! A member of a replicated log ([`dvs_log`]) on a simulated node: the real one, with its store, on the
//! node's clock, disk and network.
//!
//! ```text
//!   hear, ask ──► Member: a runtime whose clock is the node's ──► journal: write, sync, send, tell
//!                    ▲ turn: runs until nothing is to be done           │ up to the next sync
//!                    └────── synced ◄── Effects::sync ◄─────────────────┤
//!                                                                       ▼
//!                                                     disk of the node, messages, Out::Tell
//! ```
//! The member's runtime is one of this thread alone, whose time stands still while it runs and is set by the
//! node's clock before. So a node that stands still finds all its timers late, and equal seeds do the same.
//! While its disk is at work it does nothing else, as the member of a daemon, which writes in its own thread.

mod platter;
mod quiet;

use crate::actor::Effects;
use crate::disk::Write;
use dvs_abi::NodeId;
use dvs_log::{GroupId, LogError, Machine, Node, Role, Store, StoreError, Timing};
use platter::{Outlet, Step};
use quiet::Quiet;
use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// How often a member looks at its timers, ns of its node's clock: the owner calls [`Member::turn`] then.
pub const LOOK_NS: u64 = 5_000_000;

/// What is asked of a member; each is answered by [`Out::Done`] with the number it was asked with.
#[derive(Clone, Debug)]
pub enum Ask {
    /// To found the group, unless it belongs to one.
    Found,
    /// To have a command done.
    Propose(Vec<u8>, Duration),
    /// The same, if it leads.
    ProposeHere(Vec<u8>, Duration),
    /// To wait until it has done all that was answered before.
    Barrier(Duration),
    /// To have a majority confirm that it leads, and to do all that was decided then.
    Confirm(Duration),
    /// To give a node a role.
    Admit(NodeId, Role, Duration),
    /// To take a snapshot.
    Snapshot,
}

/// What an owner does with the log beyond an [`Ask`].
type Work<M> = Box<dyn FnOnce(Node<M>) -> Pin<Box<dyn Future<Output = Vec<u8>> + Send>>>;

/// What waits for a turn.
enum Order<M> {
    Ask(Ask),
    Work(Work<M>),
}

/// What comes of a member.
#[derive(Debug)]
pub enum Out<E> {
    /// To be carried to a member on another node.
    Send(NodeId, Vec<u8>),
    /// Its machine said so.
    Tell(E),
    /// What was asked for was done, with this answer of the machine if it gave one; or was not.
    Done(u64, Result<Vec<u8>, LogError>),
}

/// What the journal carries besides what is written and sent.
#[derive(Debug)]
enum Said<E> {
    /// By the machine.
    Machine(E),
    /// The answer to what was asked.
    Done(u64, Result<Vec<u8>, LogError>),
}

/// The way from a machine to the owner of its member.
#[derive(Debug)]
pub struct Voice<E>(Outlet<Said<E>>);

impl<E> Voice<E> {
    /// Tells the owner, after all the member did before.
    pub fn tell(&self, event: E) {
        self.0.tell(Said::Machine(event));
    }
}

/// A member.
pub struct Member<M, E> {
    runtime: Runtime,
    node: Node<M>,
    outlet: Outlet<Said<E>>,
    quiet: Quiet,
    /// What its clock shows.
    now: u64,
    inbox: Vec<(NodeId, Vec<u8>)>,
    orders: Vec<(u64, Order<M>)>,
    /// Numbers of syncs begin with this, to tell members of one node from each other.
    tag: u64,
    syncs: u64,
    /// Its disk is at work.
    syncing: Option<u64>,
    leader: Option<NodeId>,
}

impl<M, E> fmt::Debug for Member<M, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Member {{ now: {}, syncing: {:?} }}", self.now, self.syncing)
    }
}

impl<M: Machine, E: Send + fmt::Debug + 'static> Member<M, E> {
    /// Starts the member of a node: with a new store if the node's disk has none. Numbers of its syncs have
    /// `tag` in their upper half.
    ///
    /// # Errors
    /// The store cannot be opened, or the runtime.
    pub fn start<N>(
        tag: u32,
        group: GroupId,
        timing: Timing,
        fx: &mut Effects<'_, N>,
        machine: impl FnOnce(Voice<E>) -> M,
    ) -> Result<Self, LogError> {
        let (file, mark) = (format!("log-{}", group.0), format!("log-{}-made", group.0));
        let made = !fx.disk().read(&mark).is_empty();
        if !made {
            // Nobody has heard of it, whatever there is.
            fx.disk().truncate(&file, 0);
        }
        let outlet = Outlet::new(&file, fx.disk().read(&file).to_vec(), fx.disk().free());
        let quiet = Quiet::default();
        let parks = quiet.clone();
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .on_thread_park(move || parks.parks())
            .build()
            .map_err(|e| LogError::Refused(e.to_string()))?;
        dvs_log::seed_lots(fx.random().next());
        let path = Path::new(&file);
        let opened = match made {
            true => Store::open_on(outlet.clone(), path, group, fx.me()),
            false => Store::create_on(outlet.clone(), path, group, fx.me()),
        };
        let store = opened.inspect_err(|_| flush(&outlet, fx))?;
        if !made {
            outlet.step(Step::Write(Write::Replace(mark, vec![1])));
            outlet.step(Step::Sync);
        }
        let machine = machine(Voice(outlet.clone()));
        let node = runtime.block_on(Node::open(store, machine, outlet.clone(), timing))?;
        let (tag, now) = (u64::from(tag) << 32, fx.now());
        let (inbox, orders) = (Vec::new(), Vec::new());
        Ok(Member {
            runtime,
            node,
            outlet,
            quiet,
            now,
            inbox,
            orders,
            tag,
            syncs: 0,
            syncing: None,
            leader: None,
        })
    }

    /// A message from the member of another node.
    pub fn hear(&mut self, from: NodeId, bytes: Vec<u8>) {
        self.inbox.push((from, bytes));
    }

    /// Asks for something.
    pub fn ask(&mut self, number: u64, ask: Ask) {
        self.orders.push((number, Order::Ask(ask)));
    }

    /// Has something done with the member of the group, on its own time; what it gives is the answer.
    pub fn work_on<F: Future<Output = Vec<u8>> + Send + 'static>(
        &mut self,
        number: u64,
        work: impl FnOnce(Node<M>) -> F + 'static,
    ) {
        let work: Work<M> = Box::new(|node| Box::pin(work(node)));
        self.orders.push((number, Order::Work(work)));
    }

    /// The member of the group, to make of it what works on it.
    pub fn node(&self) -> Node<M> {
        self.node.clone()
    }

    /// Who leads, as far as it knows.
    pub fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// The members, as far as it knows.
    pub fn members(&self) -> Vec<(NodeId, Role)> {
        self.node.status().members
    }

    /// How many entries the snapshot here covers.
    pub fn snapshot(&self) -> u64 {
        self.node.status().snapshot
    }

    /// Looks at its machine.
    pub fn read<T>(&self, look: impl FnOnce(&M) -> T) -> T {
        self.node.read(look)
    }

    /// Why it has ended, if it has.
    pub fn failure(&self) -> Option<LogError> {
        self.node.failure()
    }

    /// Whether its disk is full: the only thing that may end it.
    pub fn is_full(error: &LogError) -> bool {
        matches!(error, LogError::Store { error: StoreError::DiskFull(_), .. })
    }

    /// Something was asked for or heard that no turn has seen yet, and it could.
    pub fn waits(&self) -> bool {
        self.syncing.is_none() && !(self.orders.is_empty() && self.inbox.is_empty())
    }

    /// Lets it do what is to be done now; what comes of it. Nothing while its disk is at work.
    pub fn turn<N>(&mut self, fx: &mut Effects<'_, N>) -> Vec<Out<E>> {
        let mut out = Vec::new();
        self.release(fx, &mut out);
        if self.syncing.is_none() {
            self.work(fx);
            self.release(fx, &mut out);
        }
        out
    }

    /// A sync of this node is over; what comes of that if it was this member's. To be followed by a turn.
    pub fn synced(&mut self, id: u64) {
        self.syncing.take_if(|waits| *waits == id);
    }

    fn work<N>(&mut self, fx: &mut Effects<'_, N>) {
        dvs_log::seed_lots(fx.random().next());
        self.outlet.set_free(fx.disk().free());
        let passed = fx.now().saturating_sub(self.now);
        self.now = fx.now();
        let (inbox, orders) = (std::mem::take(&mut self.inbox), std::mem::take(&mut self.orders));
        self.quiet.begin();
        let (node, outlet, quiet) = (&self.node, &self.outlet, self.quiet.clone());
        self.runtime.block_on(async move {
            if passed > 0 {
                tokio::time::advance(Duration::from_nanos(passed)).await;
            }
            for (from, bytes) in inbox {
                node.receive(from, &bytes);
            }
            for (number, order) in orders {
                let (node, outlet) = (node.clone(), outlet.clone());
                match order {
                    Order::Ask(ask) => drop(tokio::spawn(async move {
                        let result = perform(&node, ask).await;
                        outlet.tell(Said::Done(number, result));
                    })),
                    Order::Work(work) => {
                        let work = work(node);
                        tokio::spawn(async move { outlet.tell(Said::Done(number, Ok(work.await))) });
                    }
                }
            }
            quiet.await;
        });
    }

    /// What it did up to the next sync.
    fn release<N>(&mut self, fx: &mut Effects<'_, N>, out: &mut Vec<Out<E>>) {
        while self.syncing.is_none() {
            match self.outlet.next() {
                None => {
                    self.leader = self.node.leader();
                    return;
                }
                Some(Step::Write(write)) => fx.disk().write(write),
                Some(Step::Sync) => {
                    self.syncs += 1;
                    self.syncing = Some(self.tag | self.syncs);
                    fx.sync(self.tag | self.syncs);
                }
                Some(Step::Send(to, bytes)) => out.push(Out::Send(to, bytes)),
                Some(Step::Tell(Said::Machine(event))) => out.push(Out::Tell(event)),
                Some(Step::Tell(Said::Done(number, result))) => out.push(Out::Done(number, result)),
            }
        }
    }
}

/// What a store wrote that could not be opened is on the disk, too.
fn flush<N, E>(outlet: &Outlet<Said<E>>, fx: &mut Effects<'_, N>) {
    while let Some(step) = outlet.next() {
        if let Step::Write(write) = step {
            fx.disk().write(write);
        }
    }
}

async fn perform<M: Machine>(node: &Node<M>, ask: Ask) -> Result<Vec<u8>, LogError> {
    let nothing = |()| Vec::new();
    match ask {
        Ask::Found => node.found().await.map(nothing),
        Ask::Propose(command, within) => node.propose(command, within).await,
        Ask::ProposeHere(command, within) => node.propose_here(command, within).await,
        Ask::Barrier(within) => node.read_barrier(within).await.map(nothing),
        Ask::Confirm(within) => {
            let decided = node.confirm(within).await?;
            let done = node.wait(|s| s.applied >= decided, within).await;
            done.filter(|s| s.applied >= decided).map(|_| Vec::new()).ok_or(LogError::NoQuorum)
        }
        Ask::Admit(other, role, within) => node.admit(other, role, within).await.map(nothing),
        Ask::Snapshot => node.snapshot().await.map(nothing),
    }
}

/// How long one change of the members takes at most.
const STEP: Duration = Duration::from_secs(5);

/// The next step towards a group of `all`, of which `goal` have a vote.
pub fn next_step(members: &[(NodeId, Role)], all: &[NodeId], goal: &[NodeId]) -> Option<Ask> {
    let wanted = |node: &NodeId| if goal.contains(node) { Role::Voter } else { Role::Learner };
    let lacks = all.iter().find(|node| !members.contains(&(**node, wanted(node))));
    lacks.map(|node| Ask::Admit(*node, wanted(node), STEP))
}
