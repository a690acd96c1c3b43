//! The whole cluster in a world: each daemon runs the rules of its node ([`dvs_kern::node::Node`]) and RADAR
//! ([`dvs_radar::Radar`]) over its copy of the replicated state, as the real daemon does, with clients,
//! servers and programs that come and go.
//!
//! ```text
//!    clients, servers, programs        of one node: they bind, call, answer, are killed
//!        │ Request   ▲ Reply, Tell
//!        ▼           │
//!      Node ◄── Route ── Radar         the real rules
//!        │  ▲              ▲
//!  Decide│  │Decided,      │ Applied, Granted, Link
//!        ▼  │Container…    │
//!      clerk ──► order ──► entries     the log (a stand-in decides the order, as in [`crate::control`])
//!        │
//!     lines to the other nodes         the real router and sessions, over the faulty network
//! ```
//! | file | subject |
//! |---|---|
//! | [`daemon`] | follows the log, begins, is lost and begins anew: as `dvsd` does it |
//! | `clerk` | one command after the other into the log, each until it is answered |
//! | `rules` | what the rules command, carried out |
//! | `people`, `calls` | programs of one node, and their calls |
//! | `lanes` | the memory they share with each other and with the router |
//! | `hosts`, `leaves`, `comes` | programs that keep a number and hand it over, with the real phases of a move |
//! | [`moves`] | what daemons have to do with that |
//! | `lines`, `line` | the real sessions of two nodes, driven as the proxy's threads do |
//! | [`cable`] | what is under them: connections, as TCP makes them |
//! | [`store`] | what the servers keep |
//! | [`scenario`] | one run |

pub mod cable;
mod calls;
mod clerk;
mod comes;
pub mod daemon;
mod hosts;
pub mod invariants;
mod lanes;
mod leaves;
mod line;
mod lines;
pub mod moves;
mod people;
mod rules;
pub mod scenario;
pub mod store;
pub mod wire;

/// A node of this world.
pub type Node = crate::node::Node<daemon::Daemon>;
