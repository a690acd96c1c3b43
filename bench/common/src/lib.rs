//! What every measured program shares.
//!
//! A measured program prints **one number** per run and ends. Whoever compares (the driver) runs ours and the
//! peer in turn, so that both see the same machine. A number comes about like this:
//!
//! ```text
//!             parent (unpinned, waits)
//!            /                        \
//!   serve ADDR ── READY addr ─>        client pingpong|many addr ── number ─>
//! ```
//!
//! Server and clients are processes of their own, started anew for each run: no state survives from one run
//! to the next, and between two machines (network namespaces) each is started on its side. No process
//! outlives its parent.
#![forbid(unsafe_code)]

mod ask;
mod batch;
mod child;
mod clock;
mod pair;
mod peer;
mod place;

pub use ask::Ask;
pub use batch::time_batch;
pub use child::{Child, Side, net_address};
pub use clock::{cpu_ns_of, monotonic_ns};
pub use pair::ready;
pub use peer::{Op, Peer, Reach, Solo, main};
pub use place::Place;

/// Bytes of payload in a request and in its answer, the same for every peer. Ours carries them inline in its
/// message of fixed size.
pub const PAYLOAD_BYTES: usize = 64;
