//! The node daemon: brokers and supervises; messages do not pass through it.
//!
//! ```text
//!  programs ── session socket ──►┌────────────┐
//!  dvs      ── admin socket ────►│ Daemon     │── channel ──► proxy ── peers (other nodes)
//!  pidfds, timers ──────────────►│  Node      │◄─ channel ──┘
//!                                └────────────┘
//! ```
//!
//! One thread waits for all descriptors and carries out what [`dvs_kern::node::Node`] decides; the state
//! machine has no socket, and this crate has no rule. Everything read from a socket is bounded and validated;
//! a session that breaks the protocol or does not read is dropped and hurts only itself.
//!
//! | module | what |
//! |---|---|
//! | [`config`] | the configuration file |
//! | [`paths`] | where sockets and locks are |
//! | [`daemon`] | the loop |
//! | [`admin`], [`client`] | what the command line asks, and how |
//! | [`mod@serve`] | a daemon from its configuration to its end |
//! | [`cluster`] | this node as one of a system: its part of the replicated state |
//! | [`proxy`] | the door to the other nodes |
//! | `programs` | programs started for `dvs run` |
//! | [`log`] | events in memory and on standard error |
#![forbid(unsafe_code)]

pub mod admin;
mod boards;
pub mod client;
pub mod cluster;
pub mod config;
mod conn;
pub mod daemon;
mod desk;
pub mod log;
mod moves;
pub mod paths;
mod programs;
pub mod proxy;
pub mod serve;
mod shared;
mod watch;

pub use config::Config;
pub use daemon::Daemon;
pub use serve::{fingerprint, serve};
