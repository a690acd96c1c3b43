//! Large requests on their way through the log: an entry holds a part.
//!
//! ```text
//!  part at 0 ─► part at n ─► … ─► whole ─► the request is done as any other
//! ```
//! A caller has one call under way, so it has one request in parts. A part that does not continue what is
//! there is refused: the sender begins anew. It is part of the replicated state, and bounded: beyond the
//! bound, the request that was begun longest ago is dropped, on every replica the same.

use crate::call::{CallName, Caller};
use dvs_abi::limits::{REPLICA_PARTS_BYTES_MAX, REPLICA_REQUEST_BYTES_MAX};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
struct Begun {
    number: u64,
    /// When, in requests begun.
    at: u64,
    bytes: Vec<u8>,
}

/// The requests of which some parts have come.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Parts {
    begun: BTreeMap<Caller, Begun>,
    count: u64,
    bytes: usize,
}

impl Parts {
    /// Takes in a part that begins at byte `at` of its request; whether it fits what is there.
    pub fn add(&mut self, name: &CallName, at: u32, part: &[u8]) -> bool {
        if at == 0 {
            self.drop_of(&name.caller);
            self.count += 1;
            let begun = Begun { number: name.number, at: self.count, bytes: Vec::new() };
            self.begun.insert(name.caller, begun);
        }
        let Some(begun) = self.begun.get_mut(&name.caller).filter(|b| b.number == name.number) else {
            return false;
        };
        let (have, end) = (begun.bytes.len(), at as usize + part.len());
        if end <= have {
            // The same part once more.
            return begun.bytes.get(at as usize..end) == Some(part);
        }
        if at as usize != have || end > REPLICA_REQUEST_BYTES_MAX {
            return false;
        }
        begun.bytes.extend_from_slice(part);
        self.bytes += part.len();
        while self.bytes > REPLICA_PARTS_BYTES_MAX {
            let Some(oldest) = self.begun.iter().min_by_key(|(_, b)| b.at).map(|(c, _)| *c) else { break };
            self.drop_of(&oldest);
        }
        self.begun.contains_key(&name.caller)
    }

    /// The whole request, if all its parts are there.
    pub fn take(&mut self, name: &CallName, total: u32) -> Option<Vec<u8>> {
        let begun = self.begun.get(&name.caller)?;
        if begun.number != name.number || begun.bytes.len() != total as usize {
            return None;
        }
        self.drop_of(&name.caller)
    }

    /// Forgets what came of a caller; gives it.
    pub fn drop_of(&mut self, caller: &Caller) -> Option<Vec<u8>> {
        let begun = self.begun.remove(caller)?;
        self.bytes -= begun.bytes.len();
        Some(begun.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dvs_abi::{DcId, Endpoint};

    fn name(caller: i32, number: u64) -> CallName {
        let caller = Caller { dc: DcId(0), endpoint: Endpoint::new(1, caller), binding: 1 };
        CallName { caller, number, again: false }
    }

    #[test]
    fn parts_in_order_make_the_request_and_others_do_not() {
        let mut parts = Parts::default();
        assert!(parts.add(&name(1, 1), 0, b"abc"));
        assert!(!parts.add(&name(1, 1), 4, b"e"), "one is missing");
        assert!(!parts.add(&name(1, 2), 3, b"d"), "of another call");
        assert!(parts.add(&name(1, 1), 3, b"de"));
        assert!(parts.add(&name(1, 1), 3, b"de"), "twice is once");
        assert!(!parts.add(&name(1, 1), 3, b"xx"));
        assert_eq!(parts.take(&name(1, 1), 6), None);
        assert_eq!(parts.take(&name(1, 1), 5), Some(b"abcde".to_vec()));
        assert_eq!(parts, Parts { count: 1, ..Parts::default() });
    }

    #[test]
    fn what_was_begun_longest_ago_is_dropped_first() {
        let mut parts = Parts::default();
        let part = vec![0; 1 << 20];
        let fit = (REPLICA_PARTS_BYTES_MAX >> 20) as i32;
        assert!((0..=fit).all(|n| parts.add(&name(n, 1), 0, &part)));
        assert!(parts.bytes <= REPLICA_PARTS_BYTES_MAX);
        assert_eq!(parts.take(&name(0, 1), 1 << 20), None);
        assert!(parts.take(&name(1, 1), 1 << 20).is_some());
        assert!(!parts.add(&name(5, 1), 1 << 20, &part), "a request is bounded as well");
    }
}
