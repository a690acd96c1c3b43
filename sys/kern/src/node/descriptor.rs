//! One entry of a container's table: an endpoint and what is known of it.

use super::event::SessionId;
use super::link::LinkKey;
use super::notices::HeldNotice;
use crate::control::BindKind;
use dvs_abi::{Endpoint, NodeId, Privileges};
use std::collections::BTreeSet;

/// A bound endpoint.
#[derive(Clone, Debug)]
pub struct Descriptor {
    /// Its value, generation included.
    pub endpoint: Endpoint,
    /// How it is bound, as seen from this node.
    pub kind: BindKind,
    /// Where it runs (of a backup: where its primary runs).
    pub node: NodeId,
    /// Its process (0 when unknown; of a backup: the standby's).
    pub pid: u32,
    /// Its session, once its process has one.
    pub session: Option<SessionId>,
    /// Its session knows that it is bound and may use it.
    pub claimed: bool,
    /// Its session bound it itself (and so knows of it even while it is a standby).
    pub own: bool,
    /// Record of the session's board it keeps its state in.
    pub board: u32,
    /// Name of the program.
    pub name: String,
    /// Rights.
    pub privileges: Privileges,
    /// It is that of a declared service, which is here also when nobody serves.
    pub service: bool,
    /// A move has begun; of a service: callers wait.
    pub moving: bool,
    /// The move that brought it to its present node was committed by another node.
    pub moved: bool,
    /// Its process ended while it was being moved: the move decides whether it goes on.
    pub dead: bool,
    /// Somebody asked it to unbind: its end is no news for whom it may concern.
    pub asked: bool,
    /// Another node said that it has the slot too; when this one ends, the others are asked again.
    pub contested: bool,
    /// Somebody registered it here by hand (not only the directory).
    pub declared: bool,
    /// Nodes with an instance (replicas).
    pub instances: u32,
    /// Lanes from and to it.
    pub lanes: BTreeSet<(LinkKey, u8)>,
    /// Sessions to be told of its end.
    pub watchers: BTreeSet<SessionId>,
    /// Notifications for it that wait until its place is settled.
    pub held: Vec<HeldNotice>,
}

impl Descriptor {
    /// Whether its process is on this node and it may be used here.
    pub fn is_local(&self) -> bool {
        matches!(self.kind, BindKind::Own | BindKind::Local | BindKind::Replica | BindKind::UserMode)
    }

    /// Whether messages to it leave the node.
    pub fn is_remote(&self) -> bool {
        !self.is_local()
    }

    /// The session that takes messages for it, if it is ready to.
    pub fn receiver(&self) -> Option<SessionId> {
        if self.is_local() && self.claimed { self.session } else { None }
    }
}
