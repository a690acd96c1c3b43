//! To be filled.
#![forbid(unsafe_code)]

pub mod bell;
pub mod host;
pub mod lane;
pub mod link;
pub mod sync;
