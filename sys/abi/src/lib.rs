//! What both sides of a call agree on: identifiers, message, calls, errors, limits.
//!
//! This crate depends on nothing of ours and everything of ours may depend on it. It holds values only:
//! no table, no clock, no input or output. The numbers are those of the reference system where it has them
//! (`facts` §1, §2, §9 in the comments), so that programs ported from it keep their constants.
//!
//! | module | what |
//! |---|---|
//! | [`id`] | nodes, containers, endpoints with their generation |
//! | [`message`] | the 256-byte message and its header |
//! | [`call`] | call numbers and the set of calls a descriptor may use |
//! | [`error`] | error codes, whose fault, and whether the effect happened |
//! | [`grant`] | memory lent to the callee for the time of a call |
//! | [`deadline`] | points in time on the node's clock |
//! | [`privilege`] | who may call whom |
//! | [`limits`] | every bound of the system, with its reason |
#![forbid(unsafe_code)]

#[cfg(not(target_endian = "little"))]
compile_error!(
    "messages are defined as little-endian words; big-endian hosts need a byte-swapping message module"
);

pub mod call;
pub mod deadline;
pub mod error;
pub mod grant;
pub mod id;
pub mod limits;
pub mod message;
pub mod privilege;

pub use call::{Call, CallSet};
pub use deadline::{Deadline, Timeout};
pub use error::{Code, Effect, Error, Fault, Result};
pub use grant::{Access, Grant};
pub use id::{DcId, Endpoint, NodeId};
pub use message::{Kind, Message};
pub use privilege::{Level, Privileges};
