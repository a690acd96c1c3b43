//! Replicated services in a world: the real machines of `dvs-replica` with their duplicate tables, over the
//! real log, and clients that call them again and again.
//!
//! ```text
//!   n3, n4  clients      each call repeated at the next replica when its own is lost, as the library does
//!     │ Call   ▲ Answer                     (the messages are those of the library, word for word)
//!     ▼        │
//!   n0  n1  n2  replicas      Calls ──► member of a group ──► Active<Store>: the key/value service
//!               └── Log ──┘                              ──► Passive<Bank>: a sum
//! ```
//! The network loses, doubles and mixes messages of the log. Those of clients are lost too, and late, but
//! come to one life of a replica once, as through the session of two nodes.

mod bank;
mod client;
mod group;
mod host;
pub mod invariants;
mod node;
pub mod scenario;
mod wire;

pub use bank::Bank;
pub use host::Host;
pub use node::Node;
pub use wire::{Note, Op, Packet, Service};

use dvs_abi::NodeId;

/// Nodes with a replica of each service.
pub const REPLICAS: u16 = 3;
/// Nodes with clients.
pub const CLIENTS: u16 = 2;

pub(crate) const MS: u64 = 1_000_000;

fn everybody() -> Vec<NodeId> {
    (0..REPLICAS).map(NodeId).collect()
}
