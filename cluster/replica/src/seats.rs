//! Who is a replica of a service, and at which endpoints replicas find each other.
//!
//! ```text
//! slot S        the service: every replica binds it on its node, callers call the one of their node
//! slot S+1      replica of the first node of the list
//! slot S+2      replica of the second node
//!  …            up to REPLICA_SEATS_MAX
//! ```
//! The order of the list is the same everywhere. A place in it is a *seat*.

use dvs_abi::limits::REPLICA_SEATS_MAX;
use dvs_abi::{DcId, Endpoint, NodeId};

/// The replicas of a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seats {
    /// The container.
    pub dc: DcId,
    /// Where the service is called.
    pub service: Endpoint,
    nodes: Vec<NodeId>,
}

/// Why a list of nodes is none.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum SeatsError {
    /// Nobody is in it.
    #[error("a service needs at least one replica")]
    Nobody,
    /// Too many are.
    #[error("a service has at most {REPLICA_SEATS_MAX} replicas")]
    TooMany,
    /// One is in it twice.
    #[error("{0} is in the list twice")]
    Twice(NodeId),
}

impl Seats {
    /// The seats of a service, in the order of the list.
    ///
    /// ```
    /// use dvs_abi::{DcId, Endpoint, NodeId};
    /// use dvs_replica::seats::Seats;
    /// let seats = Seats::new(DcId(0), Endpoint::new(0, 9), &[NodeId(4), NodeId(2)])?;
    /// assert_eq!(seats.of(NodeId(2)), Some(1));
    /// assert_eq!(seats.at(1), Endpoint::new(0, 11));
    /// assert!(Seats::new(DcId(0), Endpoint::new(0, 9), &[NodeId(4), NodeId(4)]).is_err());
    /// # Ok::<(), dvs_replica::seats::SeatsError>(())
    /// ```
    ///
    /// # Errors
    /// The list is empty, too long, or has a node twice.
    pub fn new(dc: DcId, service: Endpoint, nodes: &[NodeId]) -> Result<Seats, SeatsError> {
        if nodes.is_empty() {
            return Err(SeatsError::Nobody);
        }
        if nodes.len() > REPLICA_SEATS_MAX {
            return Err(SeatsError::TooMany);
        }
        match nodes.iter().enumerate().find(|(i, n)| nodes[..*i].contains(n)) {
            Some((_, twice)) => Err(SeatsError::Twice(*twice)),
            None => Ok(Seats { dc, service, nodes: nodes.to_vec() }),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// The node of a seat.
    pub fn node(&self, seat: usize) -> Option<NodeId> {
        self.nodes.get(seat).copied()
    }

    /// The seat of a node.
    pub fn of(&self, node: NodeId) -> Option<usize> {
        self.nodes.iter().position(|n| *n == node)
    }

    /// Where the replica of a seat is called by the others.
    pub fn at(&self, seat: usize) -> Endpoint {
        seat_of(self.service, seat)
    }

    /// The nodes, in order.
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }
}

/// Where the replica of a seat is, of a service at `service`.
pub fn seat_of(service: Endpoint, seat: usize) -> Endpoint {
    Endpoint::new(service.generation(), service.slot() + 1 + seat as i32)
}
