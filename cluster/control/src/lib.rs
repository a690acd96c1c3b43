//! What is decided for the whole system, and what follows from it for each node. Pure: the log that puts the
//! decisions in order, and the daemon that carries them out, are elsewhere.
//!
//! | module | subject |
//! |---|---|
//! | [`state`] | the replicated state, and what an entry of the log does to it |
//! | [`command`] | entries of the log, and what their senders are answered |
//! | [`member`], [`container`], [`service`] | what is known of a node, a container, a service |
//! | [`epoch`] | the number that rises with every change of a place or role |
//! | [`pool`] | the user slots of a container, free or leased to nodes: part of the replicated state |
//! | [`slots`] | the slots a node was leased, and when it wants more: each node's own, from its kernel |
//! | [`token`] | what a machine needs to join |
//! | [`detector`] | whether a node is alive, by when its heartbeats arrive |
//! | [`change`] | what follows from a command |
#![forbid(unsafe_code)]

pub mod change;
pub mod command;
pub mod container;
pub mod detector;
pub mod epoch;
pub mod member;
pub mod pool;
pub mod service;
pub mod state;
pub mod token;

pub use dvs_kern::slots;
