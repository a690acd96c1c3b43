//! The pairs: what every replica holds. Pure; the same requests give the same state and answers everywhere.

use crate::protocol::{Answer, Info, Pair, Request};
use dvs::limits::{KV_KEY_BYTES_MAX, KV_PAGE_MAX, KV_STORE_BYTES_MAX, KV_VALUE_BYTES_MAX};
use dvs_replica::active::Server;
use dvs_replica::bytes::Bytes;
use dvs_replica::call::Caller;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Bound;

/// What a pair costs beside its bytes.
const PAIR_COST: usize = 64;
/// Bytes of values in one page: a page of the smallest and one value of the largest kind fit an answer.
const PAGE_BYTES: usize = KV_VALUE_BYTES_MAX / 2;

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
struct Value {
    version: u64,
    bytes: Bytes,
}

/// The pairs in order.
///
/// ```
/// use dvs_kv::protocol::{Answer, Request};
/// use dvs_kv::store::Store;
/// let mut store = Store::default();
/// let put = |when| Request::Put { key: b"colour", value: b"blue", when };
/// assert_eq!(store.change(&put(Some(0))), Answer::Put(1));
/// assert_eq!(store.change(&put(Some(0))), Answer::Conflict(1));
/// assert_eq!(store.look(&Request::Get { key: b"colour" }), Answer::Value(Some((1, b"blue".to_vec()))));
/// ```
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Store {
    pairs: BTreeMap<Vec<u8>, Value>,
    revision: u64,
    bytes: usize,
}

/// A state of a store, with its version.
#[derive(Deserialize)]
enum Image {
    V1(Store),
}

/// The same to be written.
#[derive(Serialize)]
enum ImageOf<'a> {
    V1(&'a Store),
}

impl Store {
    /// Does what changes something.
    pub fn change(&mut self, request: &Request<'_>) -> Answer {
        match *request {
            Request::Put { key, value, when } => self.put(key, value, when),
            Request::Delete { key, when } => self.delete(key, when),
            _ => self.look(request),
        }
    }

    fn version(&self, key: &[u8]) -> u64 {
        self.pairs.get(key).map_or(0, |v| v.version)
    }

    fn put(&mut self, key: &[u8], value: &[u8], when: Option<u64>) -> Answer {
        let version = self.version(key);
        if when.is_some_and(|w| w != version) {
            return Answer::Conflict(version);
        }
        let before = self.pairs.get(key).map_or(0, |v| cost(key, &v.bytes.0));
        let bytes = self.bytes - before + cost(key, value);
        if bytes > KV_STORE_BYTES_MAX {
            return Answer::Full;
        }
        (self.bytes, self.revision) = (bytes, self.revision + 1);
        self.pairs.insert(key.to_vec(), Value { version: self.revision, bytes: Bytes(value.to_vec()) });
        Answer::Put(self.revision)
    }

    fn delete(&mut self, key: &[u8], when: Option<u64>) -> Answer {
        let version = self.version(key);
        if when.is_some_and(|w| w != version) {
            return Answer::Conflict(version);
        }
        let Some(value) = self.pairs.remove(key) else { return Answer::Deleted(false) };
        self.bytes -= cost(key, &value.bytes.0);
        self.revision += 1;
        Answer::Deleted(true)
    }

    /// Bytes of keys and values, with what each pair costs beside them.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// Version of the last change.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Version and value of a key.
    pub(crate) fn pair(&self, key: &[u8]) -> Option<(u64, &[u8])> {
        self.pairs.get(key).map(|v| (v.version, v.bytes.0.as_slice()))
    }

    /// The keys behind one, or all, in order.
    pub(crate) fn keys_after(&self, key: Option<&[u8]>) -> impl Iterator<Item = &[u8]> {
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.pairs.range::<[u8], _>((from, Bound::Unbounded)).map(|(key, _)| key.as_slice())
    }

    /// Takes over what another store says of a key, and of its last change; false if that cannot be.
    pub(crate) fn adopt(&mut self, key: &[u8], pair: Option<(u64, &[u8])>, revision: u64) -> bool {
        let before = self.pairs.remove(key).map_or(0, |v| cost(key, &v.bytes.0));
        self.bytes -= before;
        self.revision = self.revision.max(revision);
        let Some((version, value)) = pair else { return true };
        let bytes = self.bytes + cost(key, value);
        let good = !key.is_empty() && key.len() <= KV_KEY_BYTES_MAX && value.len() <= KV_VALUE_BYTES_MAX;
        if !good || bytes > KV_STORE_BYTES_MAX || version > self.revision {
            return false;
        }
        self.bytes = bytes;
        self.pairs.insert(key.to_vec(), Value { version, bytes: Bytes(value.to_vec()) });
        true
    }

    /// Answers what changes nothing.
    pub fn look(&self, request: &Request<'_>) -> Answer {
        match *request {
            Request::Get { key } => {
                Answer::Value(self.pairs.get(key).map(|v| (v.version, v.bytes.0.clone())))
            }
            Request::List { prefix, after, limit, values } => self.list(prefix, after, limit, values),
            Request::Info => {
                let (keys, bytes) = (self.pairs.len() as u64, self.bytes as u64);
                Answer::Info(Info { keys, bytes, revision: self.revision })
            }
            Request::Put { .. } | Request::Delete { .. } => Answer::Malformed,
        }
    }

    fn list(&self, prefix: &[u8], after: Option<&[u8]>, limit: u32, values: bool) -> Answer {
        let from = match after.filter(|a| *a >= prefix) {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(prefix),
        };
        let limit = limit.clamp(1, KV_PAGE_MAX) as usize;
        let (mut page, mut bytes) = (Vec::new(), 0);
        let mut found = self.pairs.range::<[u8], _>((from, Bound::Unbounded));
        loop {
            let Some((key, value)) = found.next().filter(|(key, _)| key.starts_with(prefix)) else {
                return Answer::Page(page, false);
            };
            bytes += key.len() + if values { value.bytes.0.len() } else { 0 };
            if page.len() == limit || bytes > PAGE_BYTES && !page.is_empty() {
                return Answer::Page(page, true);
            }
            page.push(Pair {
                key: key.clone(),
                version: value.version,
                bytes: value.bytes.0.len() as u32,
                value: values.then(|| value.bytes.0.clone()),
            });
        }
    }
}

fn cost(key: &[u8], value: &[u8]) -> usize {
    key.len() + value.len() + PAIR_COST
}

impl Server for Store {
    fn request(&mut self, _: &Caller, request: &[u8]) -> Vec<u8> {
        Request::decode(request).map_or(Answer::Malformed, |r| self.change(&r)).encode()
    }

    fn query(&self, request: &[u8]) -> Option<Vec<u8>> {
        match Request::decode(request) {
            Some(Request::Put { .. } | Request::Delete { .. }) => None,
            Some(request) => Some(self.look(&request).encode()),
            None => Some(Answer::Malformed.encode()),
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        // Plain data into memory cannot fail.
        postcard::to_stdvec(&ImageOf::V1(self)).unwrap_or_default()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let Image::V1(store) = postcard::from_bytes(snapshot).map_err(|e| format!("the pairs: {e}"))?;
        *self = store;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Request<'a> {
        Request::Put { key, value, when: None }
    }

    #[test]
    fn lists_go_page_by_page_through_a_prefix() {
        let mut store = Store::default();
        for key in ["a", "b1", "b2", "b3", "b4", "b5", "c"] {
            store.change(&put(key.as_bytes(), b"v"));
        }
        let (mut after, mut seen) = (None::<Vec<u8>>, Vec::new());
        loop {
            let list = Request::List { prefix: b"b", after: after.as_deref(), limit: 2, values: true };
            let Answer::Page(page, more) = store.look(&list) else { panic!() };
            assert!(page.iter().all(|p| p.value.as_deref() == Some(b"v")));
            seen.extend(page.into_iter().map(|p| String::from_utf8(p.key).unwrap()));
            after = seen.last().map(|k| k.clone().into_bytes());
            if !more {
                break;
            }
        }
        assert_eq!(seen, ["b1", "b2", "b3", "b4", "b5"]);
    }

    #[test]
    fn a_full_store_says_so_and_a_removed_pair_makes_room() {
        let mut store = Store::default();
        let value = vec![1; KV_VALUE_BYTES_MAX];
        let mut n = 0_u32;
        while store.change(&put(&n.to_be_bytes(), &value)) != Answer::Full {
            n += 1;
        }
        assert!(n > 200 && store.bytes <= KV_STORE_BYTES_MAX);
        assert_eq!(store.change(&Request::Delete { key: &[0; 4], when: None }), Answer::Deleted(true));
        assert!(matches!(store.change(&put(b"last", &value)), Answer::Put(_)));
    }

    #[test]
    fn a_store_comes_back_from_its_snapshot() {
        let mut store = Store::default();
        store.change(&put(b"a", b"1"));
        store.change(&put(b"b", b"2"));
        store.change(&Request::Delete { key: b"a", when: Some(1) });
        let mut other = Store::default();
        other.restore(&store.snapshot()).unwrap();
        assert_eq!(other, store);
        assert!(other.restore(b"nonsense").is_err());
        assert_eq!(other, store);
    }

    proptest! {
        #[test]
        fn any_request_is_answered(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut store = Store::default();
            let caller = Caller { dc: dvs::DcId(0), endpoint: dvs::Endpoint::NONE, binding: 0 };
            assert!(Answer::decode(&store.request(&caller, &bytes)).is_some());
            let _ = store.query(&bytes);
        }
    }
}
