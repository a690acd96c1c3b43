//! Identifiers. An endpoint carries its generation, so that a reused slot is a different endpoint and a
//! restarted peer can never be mistaken for the old one.

use crate::limits::{GENERATION_SIZE, TASKS_MAX};
use core::fmt;
use serde::{Deserialize, Serialize};

/// One machine (or network namespace) running the daemon; an index into the node list, `0..NODES_MAX`.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct NodeId(pub u16);

/// A distributed container, `0..DCS_MAX`.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct DcId(pub u16);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl fmt::Display for DcId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dc{}", self.0)
    }
}

/// Who sends and receives: a slot number and the slot's generation in one 32-bit value (facts §1.4).
///
/// `value = generation * GENERATION_SIZE + slot`. Slots below zero are tasks, small ones servers, the rest
/// user processes. Three values inside generation 0 are reserved: [`Endpoint::ANY`], [`Endpoint::NONE`] and
/// [`Endpoint::SELF`].
///
/// ```
/// use dvs_abi::Endpoint;
/// let e = Endpoint::new(3, 29);
/// assert_eq!((e.generation(), e.slot()), (3, 29));
/// assert_ne!(e, Endpoint::new(4, 29)); // the slot was used again: another endpoint
/// assert_eq!(Endpoint::from_raw(-2).slot(), -2);
/// ```
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint(i32);

impl Endpoint {
    /// Any source; legal only as the source of a receive.
    pub const ANY: Endpoint = Endpoint(0x7ace);
    /// No endpoint; marks empty fields.
    pub const NONE: Endpoint = Endpoint(0x6ace);
    /// The caller; legal in copies, waits for binding and as the source of a notification.
    pub const SELF: Endpoint = Endpoint(0x8ace);
    /// Pseudo-source of hardware notifications; cannot be a destination.
    pub const HARDWARE: Endpoint = Endpoint(-1);
    /// The system task of node 0; that of node `n` is slot `-2 - n`.
    pub const SYSTEM: Endpoint = Endpoint(-2);

    /// The endpoint of `slot` in `generation`. Values outside the table wrap; check with
    /// [`Endpoint::in_table`].
    pub const fn new(generation: u32, slot: i32) -> Self {
        Endpoint((generation as i32).wrapping_mul(GENERATION_SIZE).wrapping_add(slot))
    }

    /// An endpoint from the number programs exchange.
    pub const fn from_raw(raw: i32) -> Self {
        Endpoint(raw)
    }

    /// The number programs exchange.
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// The slot number, negative for tasks.
    pub const fn slot(self) -> i32 {
        (self.0.wrapping_add(TASKS_MAX)).rem_euclid(GENERATION_SIZE) - TASKS_MAX
    }

    /// How often the slot had been used before.
    pub const fn generation(self) -> u32 {
        (self.0.wrapping_add(TASKS_MAX)).div_euclid(GENERATION_SIZE) as u32
    }

    /// Whether this is one of the reserved values rather than an endpoint.
    pub const fn is_reserved(self) -> bool {
        self.0 == Self::ANY.0 || self.0 == Self::NONE.0 || self.0 == Self::SELF.0
    }

    /// Whether the slot lies in a table of `tasks` negative and `procs` other slots.
    pub const fn in_table(self, tasks: i32, procs: i32) -> bool {
        let slot = self.slot();
        !self.is_reserved() && self.0 >= -tasks && slot >= -tasks && slot < procs
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Endpoint::ANY => f.write_str("ANY"),
            Endpoint::NONE => f.write_str("NONE"),
            Endpoint::SELF => f.write_str("SELF"),
            e if e.generation() == 0 => write!(f, "{}", e.slot()),
            e => write!(f, "{}.g{}", e.slot(), e.generation()),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_and_slot_come_back() {
        for generation in [0, 1, 2, 60_000] {
            for slot in [-34, -2, -1, 0, 1, 29, 220, 16_000] {
                let e = Endpoint::new(generation, slot);
                assert_eq!((e.generation(), e.slot()), (generation, slot));
            }
        }
    }

    #[test]
    fn reserved_values_are_in_no_table() {
        for e in [Endpoint::ANY, Endpoint::NONE, Endpoint::SELF] {
            assert!(e.is_reserved() && !e.in_table(TASKS_MAX, crate::limits::PROCS_MAX));
        }
    }
}
