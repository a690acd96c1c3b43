//! What holds for the whole system since it was founded.

use dvs_abi::limits::NODE_LEASE_NS;
use serde::{Deserialize, Serialize};

/// The rules of a system: every node goes by the same.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Tells this system from every other: made up by its founder.
    pub system: u128,
    /// How long a node that is not heard of may still serve, ns; so long the others wait before they do
    /// without it.
    pub lease_ns: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Rules { system: 0, lease_ns: NODE_LEASE_NS }
    }
}
