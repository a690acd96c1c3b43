//! Servers that survive their node: what they do goes through a log that several nodes have on their disks.
//!
//! | | active ([`active`]) | passive ([`passive`]) |
//! |---|---|---|
//! | the log has | requests | what requests changed |
//! | a server has to be | deterministic: same requests, same state | able to say what a request would change |
//! | may look at clock, chance, files | no | yes, while it plans |
//!
//! ```text
//!  call ─► first time? ─► log ─► done on every replica, answer kept ─► reply
//!            │ again, after its instance was lost
//!            └──────────► log ─► the duplicate table has its answer ─► the same reply
//! ```
//! A call that was taken by an instance that is gone is sent again; it was done, or it was not, and nobody
//! outside knows. The
//! [`duplicates`] table, which is part of the replicated state, does: so each call is done once and answered.
//!
//! ```text
//!  node 0                     node 1                     node 2
//!  callers ─► replica ◄─────► replica ◄────────────────► replica ◄─ callers
//!             log, state      log, state    letters      log, state
//! ```
//! Every replica takes the calls of its node; the one that leads has them logged.
//!
//! | module | subject |
//! |---|---|
//! | [`call`] | a call as it stands in the log |
//! | [`duplicates`] | the last answer of each caller |
//! | [`parts`] | requests larger than an entry of the log |
//! | [`active`], [`passive`] | the two ways, as state machines over a log |
//! | [`bytes`](mod@bytes) | large values in states |
//! | [`seats`] | who founds a service's replicas, and at which endpoints they find each other |
//! | [`list`], [`listed`] | who is a replica now: decided by the group, beside the server's state |
//! | [`letter`], [`wire`] | what is said between replicas, and by callers |
//! | [`service`] | what a replica does with a request, whichever way |
//! | [`carrier`], [`outbox`] | letters as calls of the container |
//! | [`calls`] | what a replica does with the calls it has taken up |
//! | [`kept`] | the list, beside the log |
//! | `pace`, `pulse` | whether a replica keeps up; it says so when it does not |
//! | [`member`], [`reception`], [`replica`] | the threads of a replica |
//! | [`client`] | calls that are repeated at another replica when theirs is lost |
//! | [`crew`] | changing who is a replica |
//!
//! Up to [`wire`] everything is pure.
#![forbid(unsafe_code)]

pub mod active;
pub mod answers;
pub mod bytes;
pub mod call;
pub mod calls;
pub mod carrier;
pub mod client;
pub mod crew;
mod desk;
pub mod duplicates;
mod enrol;
pub mod kept;
pub mod letter;
pub mod list;
pub mod listed;
pub mod member;
pub mod outbox;
mod pace;
pub mod parts;
pub mod passive;
mod pulse;
pub mod reception;
pub mod replica;
pub mod seats;
mod senders;
pub mod service;
pub mod wire;

pub use active::Active;
pub use client::{CallError, Client};
pub use passive::Passive;
pub use replica::{Plan, Replica, ReplicaError};
pub use seats::Seats;
