//! Stands in for the endpoints of another node: node-to-node sessions with batching, credit and resumption.
//!
//! ```text
//!  router ──▶ Peers ──▶ Node ──▶ Peer (pure)                     one a node
//!    ▲          │        │        ├─ Session  who is whom, up / broken / dead, when to dial
//!    │          │        │        └─ Stream x2  Outbox: numbers, credit, what to send again
//!    │          │        │                      Inbox: what was received, when to acknowledge
//!    │          │        └─ Conn x2   socket and TLS          one reader and one sender thread each
//!    └─ Handler ◀─────── reader       decrypt, cut records, deliver frames
//!          ▲
//!          └─ knock ◀─ Greeter ◀─ Listener     who dials: one of the nodes, or a machine nobody knows
//! ```
//!
//! A machine that wants to join calls [`fn@knock`]: one question to one node, whose key it has been given.
//! The node there hears it by [`Handler::knock`] and gives an [`Answer`] when it has one; to be known from
//! then on is [`Peers::admit`]. [`door`] says how often strangers are heard.
//!
//! [`peer`], [`session`], [`stream`], [`outbox`], [`squeeze`] and [`door`] are pure: they take events and the
//! time and return what to do, and a seeded simulation drives exactly that code through cuts, delays and
//! restarts (`tests/session.rs`). [`driver`], `conn` and [`tls`] do the input and output with plain threads.
#![forbid(unsafe_code)]

mod answer;
mod conn;
mod crypt;
pub mod door;
pub mod driver;
mod greet;
pub mod knock;
mod listen;
mod node;
pub mod outbox;
pub mod peer;
mod polling;
mod reader;
pub mod records;
pub mod route;
pub mod session;
pub mod squeeze;
pub mod stream;
mod table;
pub mod tls;
mod writer;

pub use answer::{Answer, AnswerError, Pending, Verdict};
pub use driver::{Config, Handler, NodeAddress, Peers, StartError, Stats, Wait};
pub use dvs_wire::{DataFrame, Frame, Grants, StreamClass};
pub use knock::{KnockError, knock};
pub use outbox::SendError;
pub use session::{DownReason, State, Timing};
pub use tls::{Fingerprint, NodeKey, Security};
