//! The files of a container as a directory of the host, for programs that know nothing of it.
//!
//! ```text
//!  program ── kernel ── /dev/fuse ── threads of this mount ── calls of the container ──► file server
//!                                     each with an endpoint of its own, all of one session
//! ```
//! The kernel caches what it was told; how long, and what programs of several nodes see of each other, says
//! [`Mount`].
#![forbid(unsafe_code)]

mod convert;
mod files;
mod mount;
mod pool;

pub use mount::{Mount, MountError, Options};
