//! Servers that survive their node: what they do goes through a log that several nodes have on their disks.
//!
//! | | active ([`active`]) | passive ([`passive`]) |
//! |---|---|---|
//! | the log has | requests | what requests changed |
//! | a server has to be | deterministic: same requests, same state | able to say what a request would change |
//! | may look at clock, chance, files | no | yes, while it plans |
//!
//! ```text
//!  call ─► first time? ─► log ─► done on every replica, answer kept ─► reply
//!            │ again, after its instance was lost
//!            └──────────► log ─► the duplicate table has its answer ─► the same reply
//! ```
//! A call that was taken by an instance that is gone is sent again; it was done, or it was not, and nobody
//! outside knows. The
//! [`duplicates`] table, which is part of the replicated state, does: so each call is done once and answered.
//!
//! | module | subject |
//! |---|---|
//! | [`call`] | a call as it stands in the log |
//! | [`duplicates`] | the last answer of each caller |
//! | [`active`], [`passive`] | the two ways, as state machines over a log |
#![forbid(unsafe_code)]

pub mod active;
pub mod call;
pub mod duplicates;
pub mod passive;
