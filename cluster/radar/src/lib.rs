//! RADAR: where the callers of each service go, and which instances may serve, as seen by one node. Pure:
//! what is to be done is returned as commands, carrying them out is the daemon's.
//!
//! ```text
//!   changes of the state ──┐                      ┌─► Freeze, Point, Thaw, End    callers on this node
//!   links to other nodes ──┼─► Radar ──► commands ┼─► Continue, ReadOnly, Stop    the instance on it
//!   its lease, time ───────┘                      └─► Resend, Fail                calls of a lost instance
//! ```
//! Three questions are kept apart. *Where do callers go?* follows from the log alone; every node comes to the
//! same answer, each in its own time, and the epoch tells an old answer from a new one. *Can they go now?*
//! follows from the links: callers of an instance that cannot be reached wait, and do not fail. *May the
//! instance here serve?* follows from the log and the lease: it stops before anybody else begins.
//!
//! | module | subject |
//! |---|---|
//! | [`radar`] | all services of a node: from events to commands |
//! | [`event`], [`command`] | what it is told, and what it says |
//! | `track` | one service: what was commanded, what is to be |
//! | [`choice`] | which instance of an active service a node's callers go to |
//! | [`rule`] | who serves, with a quorum and without |
//! | [`lease`] | how long a node may serve, how long the others wait |
//! | [`vigil`] | when the leader may declare a node lost |
//! | [`leases`] | who has asked, who is silent, who is to be declared lost: once, for each beat of a daemon |
//! | [`links`] | which other nodes are reached, and in which incarnation |
//! | `predecessors` | nodes that may still serve, as they have not heard yet that they must not |
//! | [`gate`] | the other side: carrying out commands once, and refusing old ones |
#![forbid(unsafe_code)]

pub mod choice;
pub mod command;
pub mod event;
pub mod gate;
pub mod lease;
pub mod leases;
pub mod links;
mod predecessors;
pub mod radar;
pub mod rule;
mod track;
pub mod vigil;

pub use command::{Action, Command, Why};
pub use event::Event;
pub use gate::Gate;
pub use lease::{Lease, Terms};
pub use radar::Radar;
pub use rule::Serving;
