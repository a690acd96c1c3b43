//! A member of a group, for threads: calls that block. The member itself runs on a thread of its own, with a
//! runtime that nobody else sees.
//!
//! ```text
//!   caller's thread ── order ──► [ member's thread: Node ] ── answer ──► caller's thread
//!   carrier         ── message ─►          │
//!                                          └── Network::send
//! ```

use crate::error::LogError;
use crate::machine::Machine;
use crate::network::Network;
use crate::node::Node;
use crate::status::{Role, Status};
use crate::store::Store;
use crate::timing::Timing;
use dvs_abi::limits::{LOG_ASKED_MAX, LOG_WAITING_MAX};
use dvs_abi::{Effect, NodeId};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A member of a group. It ends with [`Group::shutdown`] or when it is dropped.
///
/// ```
/// use dvs_log::{Group, GroupId, Machine, Network, Store, Timing};
/// use dvs_abi::NodeId;
/// use std::time::Duration;
///
/// struct Count(u64);
/// impl Machine for Count {
///     fn apply(&mut self, _: u64, _: &[u8]) -> Vec<u8> {
///         self.0 += 1;
///         self.0.to_le_bytes().to_vec()
///     }
///     fn snapshot(&self) -> Vec<u8> {
///         self.0.to_le_bytes().to_vec()
///     }
///     fn restore(&mut self, s: &[u8]) -> Result<(), String> {
///         self.0 = u64::from_le_bytes(s.try_into().map_err(|_| "eight bytes are a count")?);
///         Ok(())
///     }
/// }
/// struct Alone;
/// impl Network for Alone {
///     fn send(&self, _: NodeId, _: Vec<u8>) {}
/// }
///
/// let folder = tempfile::tempdir()?;
/// let store = Store::create(&folder.path().join("control.log"), GroupId(0), NodeId(0))?;
/// let group = Group::open(store, Count(0), Alone, Timing::default())?;
/// group.found()?;
/// let answer = group.propose(b"one more".to_vec(), Duration::from_secs(10))?;
/// assert_eq!(answer, 1u64.to_le_bytes());
/// assert_eq!(group.read(|count| count.0), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Group<M> {
    node: Node<M>,
    orders: Option<mpsc::Sender<Work>>,
    messages: mpsc::Sender<(NodeId, Vec<u8>)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl<M: Machine> Group<M> {
    /// Opens the member whose store this is; see [`Node::open`].
    ///
    /// # Errors
    /// As [`Node::open`]; or if the system has no thread left.
    pub fn open(store: Store, machine: M, network: impl Network, timing: Timing) -> Result<Self, LogError> {
        let (orders, mut work) = mpsc::channel::<Work>(LOG_WAITING_MAX);
        let (messages, mut arriving) = mpsc::channel::<(NodeId, Vec<u8>)>(LOG_ASKED_MAX);
        let (tell, told) = oneshot::channel();
        let refused = |e: std::io::Error| LogError::Refused(format!("the thread of a member: {e}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(refused)?;
        let run = move || {
            runtime.block_on(async move {
                let opened = Node::open(store, machine, network, timing).await;
                let node = opened.as_ref().ok().cloned();
                // Whoever opens it waits.
                let _ = tell.send(opened);
                let Some(node) = node else { return };
                loop {
                    tokio::select! {
                        Some((from, bytes)) = arriving.recv() => node.receive(from, &bytes),
                        order = work.recv() => match order {
                            Some(order) => drop(tokio::spawn(order)),
                            None => break,
                        },
                    }
                }
                node.shutdown().await;
            });
        };
        let thread = std::thread::Builder::new().name("dvs-log".to_owned()).spawn(run).map_err(refused)?;
        let node = told.blocking_recv().unwrap_or(Err(LogError::Stopped(Effect::No)))?;
        Ok(Group { node, orders: Some(orders), messages, thread: Mutex::new(Some(thread)) })
    }

    /// Founds the group: this node is its only member. Does nothing if it belongs to one already.
    ///
    /// # Errors
    /// As [`Node::found`].
    pub fn found(&self) -> Result<(), LogError> {
        self.order(Effect::Unknown, |node| async move { node.found().await })
    }

    /// Has a command done by every member and returns the answer; see [`Node::propose`].
    ///
    /// # Errors
    /// As [`Node::propose`].
    pub fn propose(&self, command: Vec<u8>, within: Duration) -> Result<Vec<u8>, LogError> {
        self.order(Effect::Unknown, move |node| async move { node.propose(command, within).await })
    }

    /// Returns when this member has done all that was answered before; see [`Node::read_barrier`].
    ///
    /// # Errors
    /// As [`Node::read_barrier`].
    pub fn read_barrier(&self, within: Duration) -> Result<(), LogError> {
        self.order(Effect::No, move |node| async move { node.read_barrier(within).await })
    }

    /// Has a command done if this member leads; see [`Node::propose_here`].
    ///
    /// # Errors
    /// As [`Node::propose_here`].
    pub fn propose_here(&self, command: Vec<u8>, within: Duration) -> Result<Vec<u8>, LogError> {
        self.order(Effect::Unknown, move |node| async move { node.propose_here(command, within).await })
    }

    /// Has a majority confirm that this member leads; see [`Node::confirm`].
    ///
    /// # Errors
    /// As [`Node::confirm`].
    pub fn confirm(&self, within: Duration) -> Result<u64, LogError> {
        self.order(Effect::No, move |node| async move { node.confirm(within).await })
    }

    /// Looks at the machine of this member; see [`Node::read`].
    pub fn read<T>(&self, look: impl FnOnce(&M) -> T) -> T {
        self.node.read(look)
    }

    /// Makes a node a member or gives it another role; see [`Node::admit`].
    ///
    /// # Errors
    /// As [`Node::admit`].
    pub fn admit(&self, node: NodeId, role: Role, within: Duration) -> Result<(), LogError> {
        self.order(Effect::Unknown, move |here| async move { here.admit(node, role, within).await })
    }

    /// Takes a node out of the group; see [`Node::remove`].
    ///
    /// # Errors
    /// As [`Node::remove`].
    pub fn remove(&self, node: NodeId, within: Duration) -> Result<(), LogError> {
        self.order(Effect::Unknown, move |here| async move { here.remove(node, within).await })
    }

    /// Has another member lead, if this one does; see [`Node::hand_over`].
    pub fn hand_over(&self, within: Duration) -> bool {
        self.order(Effect::No, move |here| async move { Ok(here.hand_over(within).await) }).unwrap_or(false)
    }

    /// Takes in a message from another member, from any thread and without waiting; see [`Node::receive`].
    pub fn receive(&self, from: NodeId, message: Vec<u8>) {
        // A member that is behind loses some, as a network does.
        let _ = self.messages.try_send((from, message));
    }

    /// What this member knows of its group.
    pub fn status(&self) -> Status {
        self.node.status()
    }

    /// Why this member takes part no more, if it does not: its disk is full or damaged. It is of no use
    /// until it is opened anew.
    pub fn failure(&self) -> Option<LogError> {
        self.node.failure()
    }

    /// Who leads, as far as this member knows.
    pub fn leader(&self) -> Option<NodeId> {
        self.node.leader()
    }

    /// The members, as far as this one knows.
    pub fn members(&self) -> Vec<(NodeId, Role)> {
        self.status().members
    }

    /// Waits until `holds`; nothing if it did not in time.
    pub fn wait(
        &self,
        holds: impl Fn(&Status) -> bool + Send + Sync + 'static,
        within: Duration,
    ) -> Option<Status> {
        let look = move |node: Node<M>| async move { Ok(node.wait(holds, within).await) };
        self.order(Effect::No, look).ok().flatten()
    }

    /// Takes a snapshot now.
    ///
    /// # Errors
    /// If the member has stopped.
    pub fn snapshot(&self) -> Result<(), LogError> {
        self.order(Effect::No, |node| async move { node.snapshot().await })
    }

    /// Ends this member while others still hold it: whoever waits for it is told that it has stopped.
    pub fn halt(&self) {
        // It has stopped already, then.
        let _ = self.order(Effect::No, |node| async move {
            node.shutdown().await;
            Ok(())
        });
    }

    /// Ends this member and returns when it has; the store may be opened again when the group is dropped.
    pub fn shutdown(self) {
        drop(self);
    }

    /// Runs something on the member's thread; `effect` is what is known of it if that thread ends in between.
    fn order<T, F>(&self, effect: Effect, work: impl FnOnce(Node<M>) -> F) -> Result<T, LogError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, LogError>> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let doing = work(self.node.clone());
        let order: Work = Box::pin(async move { drop(tell.send(doing.await)) });
        let orders = self.orders.as_ref().ok_or(LogError::Stopped(Effect::No))?;
        orders.try_send(order).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => LogError::Full,
            mpsc::error::TrySendError::Closed(_) => LogError::Stopped(Effect::No),
        })?;
        told.blocking_recv().unwrap_or(Err(LogError::Stopped(effect)))
    }
}

impl<M> Drop for Group<M> {
    fn drop(&mut self) {
        self.orders = None;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A thread that panicked has told so on standard error.
        let _ = thread.map(JoinHandle::join);
    }
}
