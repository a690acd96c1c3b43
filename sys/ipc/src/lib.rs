//! What a program links: bound endpoints with plain synchronous calls.
//!
//! | module | what |
//! |---|---|
//! | [`port`] | a bound endpoint and its calls |
//! | [`process`] | the endpoints of one process, stand-alone or attached to a daemon |
//! | [`wait`] | the traits behind which a home (thread, coroutine, …) is hidden |
//! | [`coroutine`] | a first scheduler of stackful coroutines |
//! | [`lane`], [`link`], [`bell`] | shared memory between two sessions |
//! | [`outside`] | the session: lanes in use, what they bring, what the daemon says |
//! | [`copy`] | copies through grants |
//! | [`control`] | records between a session and its daemon (of `dvs-kern`) |
//! | [`system`] | calls about the system: binding others, rights, containers, moves |
//! | [`host`], [`sync`] | what is asked of the operating system |
#![forbid(unsafe_code)]

#[cfg(not(loom))]
mod alone;
pub mod bell;
#[cfg(not(loom))]
pub mod copy;
#[cfg(not(loom))]
pub mod coroutine;
pub mod host;
pub mod lane;
pub mod link;
#[cfg(not(loom))]
mod lock;
#[cfg(not(loom))]
pub mod mover;
#[cfg(not(loom))]
pub mod outside;
#[cfg(not(loom))]
pub mod port;
#[cfg(not(loom))]
pub mod process;
pub mod sync;
#[cfg(not(loom))]
pub mod system;
#[cfg(not(loom))]
pub mod testing;
#[cfg(not(loom))]
pub mod wait;

#[cfg(not(loom))]
pub use port::{Lend, Port};
#[cfg(not(loom))]
pub use process::Process;
#[cfg(not(loom))]
pub use system::{DcPlan, ServicePlan, System};

pub use dvs_kern::control;
