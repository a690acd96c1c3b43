//! Callers that are owed an answer.
//!
//! Most servers answer a caller before they receive the next: then there is one, and it stands in a field of
//! its own that costs no hashing. The others are in a map, so that a server with thousands of deferred
//! answers finds each in the same time.

use super::Ix;
use super::slot::Client;
use dvs_abi::Endpoint;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The callers of one endpoint whose requests were consumed and not answered.
#[derive(Debug)]
pub(super) struct Clients {
    /// `NONE` when there is none.
    first: Endpoint,
    /// What belongs to `first`. (Plain fields, not an `Option` of a pair nor a [`Client`]: those would be put
    /// together on the stack in small pieces and copied in a large one, for which the processor has to wait.)
    kind: Sort,
    number: u32,
    seq: u64,
    rest: HashMap<Endpoint, Client, BuildHasherDefault<EndpointHasher>>,
}

/// Which sort of [`Client`] the first is.
#[derive(Clone, Copy, Debug)]
enum Sort {
    Local,
    Lane,
}

impl Default for Clients {
    fn default() -> Self {
        Clients { first: Endpoint::NONE, kind: Sort::Local, number: 0, seq: 0, rest: HashMap::default() }
    }
}

impl Clients {
    /// Enters a caller; an earlier request of the same caller is replaced.
    #[inline]
    pub fn insert(&mut self, source: Endpoint, client: Client) {
        if self.first == source || (self.first == Endpoint::NONE && self.rest.is_empty()) {
            self.set_first(source, client);
        } else {
            self.insert_more(source, client);
        }
    }

    /// [`Clients::insert`] of a caller of this process.
    #[inline]
    pub fn insert_local(&mut self, source: Endpoint, ix: Ix) {
        if self.first == source || (self.first == Endpoint::NONE && self.rest.is_empty()) {
            self.first = source;
            self.kind = Sort::Local;
            self.number = ix;
        } else {
            self.insert_more(source, Client::Local(ix));
        }
    }

    #[inline]
    fn set_first(&mut self, source: Endpoint, client: Client) {
        self.first = source;
        (self.kind, self.number, self.seq) = match client {
            Client::Local(ix) => (Sort::Local, ix, 0),
            Client::Lane(lane, seq) => (Sort::Lane, lane, seq),
        };
    }

    #[inline]
    fn first_client(&self) -> Client {
        match self.kind {
            Sort::Local => Client::Local(self.number),
            Sort::Lane => Client::Lane(self.number, self.seq),
        }
    }

    #[cold]
    fn insert_more(&mut self, source: Endpoint, client: Client) {
        // It may be in the map and nowhere else.
        if self.first == Endpoint::NONE && !self.rest.contains_key(&source) {
            self.set_first(source, client);
        } else {
            self.rest.insert(source, client);
        }
    }

    /// Forgets a caller.
    #[inline]
    pub fn remove(&mut self, source: &Endpoint) -> Option<Client> {
        if self.first == *source && *source != Endpoint::NONE {
            self.first = Endpoint::NONE;
            return Some(self.first_client());
        }
        if self.rest.is_empty() { None } else { self.rest.remove(source) }
    }

    /// The caller with this endpoint.
    #[inline]
    pub fn get(&self, source: &Endpoint) -> Option<Client> {
        if self.first == *source && *source != Endpoint::NONE {
            return Some(self.first_client());
        }
        self.rest.get(source).copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rest.len() + usize::from(self.first != Endpoint::NONE)
    }

    /// All of them, in no order.
    pub fn into_iter(self) -> impl Iterator<Item = (Endpoint, Client)> {
        let first = (self.first != Endpoint::NONE).then(|| (self.first, self.first_client()));
        first.into_iter().chain(self.rest)
    }
}

/// Hashes the 32 bits of an endpoint. Endpoints are given out by the system, not chosen by an attacker who
/// could make them collide, so one multiplication is hash enough.
#[derive(Default)]
struct EndpointHasher(u64);

impl Hasher for EndpointHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.write_i32(i32::from(*b));
        }
    }

    fn write_i32(&mut self, n: i32) {
        // Fibonacci hashing: the high bits, which the table uses for its tags, depend on all of `n`.
        self.0 = (self.0.rotate_left(5) ^ n as u32 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }
}

#[cfg(test)]
mod tests {
    use super::{Client, Clients};
    use dvs_abi::Endpoint;

    #[test]
    fn a_caller_is_there_once_wherever_it_stands() {
        let e = |slot| Endpoint::new(0, slot);
        let mut c = Clients::default();
        for slot in 1..4 {
            c.insert(e(slot), Client::Local(slot as u32));
        }
        assert_eq!(c.remove(&e(1)), Some(Client::Local(1)));
        c.insert(e(2), Client::Lane(7, 9));
        assert_eq!((c.len(), c.get(&e(2))), (2, Some(Client::Lane(7, 9))));
        c.insert(e(1), Client::Local(1));
        assert_eq!(c.remove(&e(2)), Some(Client::Lane(7, 9)));
        assert_eq!((c.remove(&e(2)), c.get(&e(2))), (None, None));
        let mut left: Vec<_> = c.into_iter().map(|(e, _)| e.slot()).collect();
        left.sort_unstable();
        assert_eq!(left, [1, 3]);
    }
}
