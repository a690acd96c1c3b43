//! The seeded world: state machines of several nodes in one process, their network, disks and clocks, and all
//! that may go wrong with them, decided by one number.
//!
//! | module | subject |
//! |---|---|
//! | [`World`] | time, events, nodes; runs and heals |
//! | [`Actor`], [`Effects`] | a node: hears what happens, says what it wants done |
//! | [`Faults`] | what goes wrong, and how often |
//! | [`Disk`] | what survives a loss of power |
//! | [`Invariant`], [`View`], [`Violation`] | what must always be so |
//! | [`History`], [`check_linear`], [`Model`] | what clients saw, and whether it can be explained |
//! | [`member`] | a member of a replicated log: real consensus on a simulated node |
//! | [`Trace`] | what happened, and one number over it |
//! | [`control`] | the control plane of the system itself, simulated |
//! | [`cluster`] | the same with the rules of each node, RADAR, clients and servers |
//! | [`council`] | both over real consensus instead of a stand-in |
//! | [`replica`] | replicated services over the real log, and clients whose histories are judged |
//! | [`invariants`] | what must always be so there, one file each |
#![forbid(unsafe_code)]

mod actor;
mod clock;
pub mod cluster;
pub mod control;
pub mod council;
mod disk;
mod faults;
mod history;
mod invariant;
pub mod invariants;
mod linear;
pub mod lives;
pub mod member;
mod model;
mod network;
pub mod node;
mod random;
pub mod replica;
mod trace;
mod world;

#[doc = include_str!("../../../docs/guide/simulator.md")]
pub mod guide {}

pub use actor::{Actor, Effects};
pub use disk::{Disk, DiskFull};
pub use faults::Faults;
pub use history::{Call, End, History};
pub use invariant::{Invariant, View, Violation};
pub use linear::{NotLinear, STEPS_MAX, check_linear};
pub use model::{Counter, Map, Model, Number, Register, Set};
pub use random::Random;
pub use trace::{Sink, TRACE_LINES_MAX, Trace};
pub use world::{DISK_BYTES, EVENTS_MAX, World};
