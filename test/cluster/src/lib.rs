//! Failure and hostility, with real daemons and real processes.
//!
//! | module | what |
//! |---|---|
//! | [`node`] | a daemon as a process in a folder of its own, killed and started again |
//! | [`net`] | several of them, joined through forwarders that cut, stall and delay |
//! | [`lab`] | several of them, each in a network namespace of its own, on a switch that cuts, loses and
//! delays |
//! | [`crew`] | servers and clients on all of their nodes, started again when their node fails |
//! | [`measure`] | what a process holds: descriptors, shared memory, resident memory, processor time |
//! | [`actor`] | a helper process and how it is told to end |
//! | [`journal`] | what servers consumed and how clients' calls ended, so that it outlives a `kill -9` |
//! | [`judge`] | compares the two: nothing lost, nothing twice, nobody hung |
//! | [`roles`] | the honest helper processes |
//! | [`raw`] | a session by hand, record by record |
//! | [`hostile`] | the dishonest ones |
//! | [`kv`] | replicas of the key/value service, and clients that note what they saw |
//! | [`witness`] | such clients on all machines of a lab, while something happens to these |
//! | [`moves`] | a movable server that can be stopped in any phase of its move, and its callers |
//! | [`rng`] | seeded chance |
//!
//! The helper processes are the program `cluster-actor`, the daemon is `cluster-daemon` (the same code `dvsd`
//! runs).
#![forbid(unsafe_code)]

pub mod actor;
pub mod crew;
pub mod held;
pub mod hostile;
pub mod journal;
pub mod judge;
pub mod kv;
pub mod lab;
pub mod lease;
pub mod measure;
pub mod moves;
pub mod net;
pub mod node;
pub mod passive;
pub mod raw;
pub mod rng;
pub mod roles;
pub mod witness;

use dvs::{DcId, Endpoint, Timeout};
use std::time::Duration;

/// The container of all tests.
pub const DC: DcId = DcId(3);
/// Only a hang reaches it.
pub const WATCHDOG_NS: u64 = 60_000_000_000;
/// The same as a time-out.
pub const WATCHDOG: Timeout = Timeout::After(Duration::from_nanos(WATCHDOG_NS));

/// Server number `n`.
pub const fn server(n: usize) -> Endpoint {
    Endpoint::new(0, n as i32)
}
