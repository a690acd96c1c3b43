//! What a program links: bound endpoints with plain synchronous calls.
#![forbid(unsafe_code)]

pub mod bell;
pub mod host;
pub mod lane;
pub mod link;
pub mod sync;

pub use dvs_kern::control;
