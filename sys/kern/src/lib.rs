//! One node's tables and rules, and the rendezvous used inside one process. Pure: no clock, socket, thread or
//! randomness; what decides takes the state and an event and says what must be done.
#![forbid(unsafe_code)]

pub mod control;
pub mod mover;
pub mod node;
pub mod rendezvous;
pub mod slots;
