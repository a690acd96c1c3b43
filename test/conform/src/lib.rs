//! The conformance suite of M3-IPC: scripts over actors, the same for every place an endpoint can live.
//!
//! | module | what |
//! |---|---|
//! | [`act`], [`seen`], [`word`] | what an actor is told and what it saw, as values and as lines of text |
//! | [`calls`] | the calls of the library under test, as one trait |
//! | [`actor`] | performs acts over calls |
//! | [`world`] | actors at sites, proofs of blocking, faults, watchdog |
//! | [`scenarios`] | the scripts and their table |
//!
//! A home (`world::Home`) says where actors live. `DEVIATIONS.md` names every scenario that asks for
//! something else than the reference system does, and why.
#![forbid(unsafe_code)]

pub mod act;
pub mod actor;
pub mod calls;
pub mod homes;
pub mod ported;
pub mod run;
pub mod say;
pub mod scenarios;
pub mod seen;
pub mod word;
pub mod world;
