//! Replicated logs: what a group of nodes has agreed on, in one order, on the disks of a majority.
//!
//! ```text
//!   propose ──► [ Node ] ── entry ──► logs of a majority, synced ──► Machine::apply on every node ──► answer
//!                  ▲  │
//!      messages of │  ▼ Network::send
//!         the other members
//! ```
//! The control plane and every replicated server are a [`Machine`] over such a log. This is the one crate
//! that knows the consensus library and the store below it; nothing of theirs is to be seen from outside.
//!
//! | module | subject |
//! |---|---|
//! | [`machine`] | what is replicated: the trait its owner implements |
//! | [`network`] | how members reach each other: the trait its carrier implements |
//! | [`store`] | log, vote and snapshot on disk, in one file |
//! | [`disk`] | the file below a store, as a trait, for tests and simulators |
//! | [`seed_lots`], [`Ram`] | what makes a run repeatable, with tokio's paused clock |
//! | [`node`] | a member, for programs that are asynchronous |
//! | [`group`] | the same with calls that block, on a thread of its own |
//! | [`error`] | what goes wrong, and whether the command was done |
//! What a user has to keep to: the sender a [`Network`] names is authentic, and it doubles no message over a
//! restart of its receiver; all members have the same [`Timing`]; a [`Machine`] is pure and does not panic; a
//! store is never copied or put back; only what [`LogError::effect`] says was not done is proposed again.
#![forbid(unsafe_code)]

mod apply;
mod batch;
pub mod disk;
mod election;
pub mod error;
pub mod group;
#[doc(hidden)]
pub mod hostile;
mod link;
pub mod machine;
mod members;
mod message;
pub mod network;
mod news;
pub mod node;
mod post;
mod ram;
mod record;
mod runtime;
mod seen;
mod serve;
pub mod status;
pub mod store;
mod timing;
mod types;

pub use disk::Disk;
pub use error::{LogError, StoreError};
pub use group::Group;
pub use machine::Machine;
pub use message::from_leader;
pub use network::Network;
pub use node::Node;
pub use ram::Ram;
pub use runtime::seed_lots;
pub use status::{Role, Status};
pub use store::{GroupId, Store};
pub use timing::Timing;
