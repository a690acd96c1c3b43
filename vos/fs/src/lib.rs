//! The file server: POSIX files for a distributed container, reached by its calls.
//!
//! ```text
//!  a program ── library ([`client`]) ──┐  calls of the container   ┌──────────┐      ┌─ Volume ── a disk
//!  a program ── kernel ── mount ───────┴──────────────────────────►│ [`server`] │────►│
//!                                                                  └──────────┘      └─ a folder of the host
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`backend`] | what keeps files, as a trait |
//! | [`volume`] | files on a disk, safe from crashes |
//! | [`server`] | takes requests and does them on a back end |
//! | [`client`], `path` | makes them; paths without a kernel |
//! | [`locks`] | who has which bytes of a file |
#![forbid(unsafe_code)]

pub mod backend;
pub mod client;
pub mod locks;
mod path;
pub mod server;
pub mod volume;

pub use backend::{Backend, Name};
pub use client::Client;
pub use server::Server;
pub use volume::Volume;
