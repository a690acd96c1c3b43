//! Moves: a service's instance gives its state to one on another node, which takes its place. The phases are
//! pure; [`Host`] carries them out for a server that implements [`HandOver`].
//!
//! ```text
//!   source                               log                               target
//!     │ prepare ──────────────────────────────────────────────────────────► │ starts, serves nobody
//!     │ ◄────────────────────────────────────────────────────────── ready ──│
//!     │ round 1, 2, … (what changed since; callers are served all the while)►│
//!     │ Move ──────────────► Held: callers wait                              │
//!     │ the rest, and what was pending ────────────────────────────────────► │ has all
//!     │                        │ ◄───────────────────────────────── Arrive ──│
//!     │ ends ◄── Placed at the target, or at the source again ──────► serves │ or forgets
//! ```
//! Until `Move` is in the log nothing has happened that anybody else could see. From then on the log alone
//! decides: the source serves again only when it says that the service is at the source, the target only when
//! it says that it is at the target. So there is one instance that serves, or none, whoever crashes and
//! whatever is lost. A move has a deadline, which is in the log as well: whoever applies an entry after it
//! undoes the move.
//!
//! | module | subject |
//! |---|---|
//! | [`source`] | where it moves from: leads |
//! | [`target`] | where it moves to |
//! | [`preflight`] | what would hinder it, asked before |
//! | [`server`] | what a server that can move has to be able to do |
//! | [`host`] | runs one; `leave` and `come` carry out source and target, `gate` parks the thread that serves |
//! | [`letter`] | what the two programs say to each other |
#![forbid(unsafe_code)]

mod come;
mod gate;
pub mod host;
mod leave;
pub mod letter;
pub mod preflight;
pub mod server;
pub mod source;
pub mod target;

pub use host::{Ended, Host, Manner, News};
pub use server::HandOver;

use dvs_control::epoch::Epoch;

/// What the two sides tell each other about one move; lost when the link is cut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// Source: start an instance that serves nobody yet.
    Prepare,
    /// Target: there is one.
    Ready,
    /// Target: there will be none.
    Refused(String),
    /// Source: a part of the state goes with it.
    State {
        /// From 1 up, without a gap.
        round: u32,
        /// Of this part.
        bytes: u64,
        /// With it all of the state is there: callers wait, and nothing comes after it. The move in the log,
        /// which the target names when it arrives.
        last: Option<Epoch>,
    },
    /// Target: it has this round.
    Has {
        /// Which.
        round: u32,
    },
    /// Source: the move is off.
    Forget,
}
