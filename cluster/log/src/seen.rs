//! Questions whose effect may come only once, by number: a message that a network doubled is recognised.

use dvs_abi::NodeId;
use dvs_abi::limits::{LOG_ASKED_MAX, NODES_MAX};
use std::collections::{BTreeMap, BTreeSet};

/// The latest numbers of each asker. One that is older than all that are remembered counts as seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    latest: BTreeMap<NodeId, BTreeSet<u64>>,
}

impl Seen {
    /// Whether this is the first time.
    pub fn first_time(&mut self, from: NodeId, number: u64) -> bool {
        if usize::from(from.0) >= NODES_MAX {
            return false;
        }
        let latest = self.latest.entry(from).or_default();
        let full = latest.len() >= LOG_ASKED_MAX;
        if full && latest.first().is_some_and(|oldest| number < *oldest) || !latest.insert(number) {
            return false;
        }
        if full {
            latest.pop_first();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_counts_once_and_memory_is_bounded() {
        let (mut seen, many) = (Seen::default(), 3 * LOG_ASKED_MAX as u64);
        for number in 1..many {
            assert!(seen.first_time(NodeId(1), 2 * number) && !seen.first_time(NodeId(1), 2 * number));
            assert!(seen.first_time(NodeId(2), 2 * number));
        }
        assert!(!seen.first_time(NodeId(1), 2), "too old to be known");
        assert!(seen.first_time(NodeId(1), 2 * many - 3), "late, but new");
        assert!(seen.latest[&NodeId(1)].len() <= LOG_ASKED_MAX);
        assert!(!seen.first_time(NodeId(NODES_MAX as u16), 1));
    }
}
