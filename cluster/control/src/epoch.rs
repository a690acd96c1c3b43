//! The number that rises with every change of a place or role.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The place in the log of the command that made the change, or a little more if that command made several.
/// Of one thing (a node's incarnations, a service's places) no two changes have the same, and a later one has
/// a greater. Zero is before every change.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}
