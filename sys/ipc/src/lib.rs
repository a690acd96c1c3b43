//! What a program links: bound endpoints with plain synchronous calls.
#![forbid(unsafe_code)]

pub use dvs_kern::control;
