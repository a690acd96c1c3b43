//! The calls for C programs. `include/dvs.h` is the reference; it is kept in step by `tests/header.rs`.
//!
//! # Why
//! Programs written for the reference system are in C. They keep their calls, constants and error numbers;
//! what changes is that an endpoint is a handle.
//!
//! # Rules of every function
//! - Zero or positive is success, negative an error of facts §9. What more an error says (fault, effect,
//!   peer,
//!   circle) is kept for the calling thread until its next call: [`error`].
//! - A handle is used by one thread at a time; a null handle or pointer is `INVAL`, never a crash.
//! - A panic of the library ends in `IO`, it does not unwind into C.

mod args;
pub mod calls;
pub mod cluster;
pub mod error;
pub mod handle;
pub mod system;
