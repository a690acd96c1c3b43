//! Requests and answers of the key/value service. Pure.
//!
//! They are carried by [`dvs_replica::client`]: a request that changes something is a call, one that does not
//! is a query. Variants are never reordered or removed: they stand in logs.

use dvs::limits::{KV_KEY_BYTES_MAX, KV_VALUE_BYTES_MAX};
use serde::{Deserialize, Serialize};

/// Where the service is unless it is said otherwise. Its replicas have the slots behind it.
pub const SERVICE: dvs::Endpoint = dvs::Endpoint::new(0, 15);

/// What is asked.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    /// Sets a key.
    Put {
        /// Which.
        key: &'a [u8],
        /// To what.
        value: &'a [u8],
        /// Only if it has this version; zero for a key that is not there.
        when: Option<u64>,
    },
    /// Removes a key.
    Delete {
        /// Which.
        key: &'a [u8],
        /// Only if it has this version.
        when: Option<u64>,
    },
    /// A query: the value of a key.
    Get {
        /// Which.
        key: &'a [u8],
    },
    /// A query: keys in order.
    List {
        /// They begin with this,
        prefix: &'a [u8],
        /// and come after this one, if there is one.
        after: Option<&'a [u8]>,
        /// So many at most.
        limit: u32,
        /// With their values.
        values: bool,
    },
    /// A query: how much is in the store.
    Info,
}

/// What is answered.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The key has this version now.
    Put(u64),
    /// It was removed; or there was none.
    Deleted(bool),
    /// It has another version (zero: it is not there), and was left as it is.
    Conflict(u64),
    /// Version and value; nothing if there is no such key.
    Value(Option<(u64, Vec<u8>)>),
    /// Pairs of a list, and whether there are more.
    Page(Vec<Pair>, bool),
    /// What is in the store.
    Info(Info),
    /// The store is full; nothing was changed.
    Full,
    /// The request makes no sense, or key or value is too long.
    Malformed,
}

/// A pair of a list.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Pair {
    /// The key.
    pub key: Vec<u8>,
    /// Its version.
    pub version: u64,
    /// Bytes of its value.
    pub bytes: u32,
    /// The value, if it was asked for.
    pub value: Option<Vec<u8>>,
}

/// How much is in a store.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Info {
    /// Keys.
    pub keys: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Changes made so far; the version of what was changed last.
    pub revision: u64,
}

impl<'a> Request<'a> {
    /// As it is sent.
    ///
    /// ```
    /// use dvs_kv::protocol::Request;
    /// let bytes = Request::Get { key: b"colour" }.encode();
    /// assert_eq!(Request::decode(&bytes), Some(Request::Get { key: b"colour" }));
    /// assert_eq!(Request::decode(b"?"), None);
    /// ```
    pub fn encode(&self) -> Vec<u8> {
        // Plain data into memory cannot fail.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Reads a request; nothing if it is none, or a key or value is too long or the key empty.
    pub fn decode(bytes: &'a [u8]) -> Option<Request<'a>> {
        match postcard::take_from_bytes(bytes) {
            Ok((request, [])) => Some(request).filter(Request::fits),
            _ => None,
        }
    }

    /// Whether its keys and values are no longer than they may be.
    pub fn fits(&self) -> bool {
        let good = |key: &[u8]| !key.is_empty() && key.len() <= KV_KEY_BYTES_MAX;
        match self {
            Request::Put { key, value, .. } => good(key) && value.len() <= KV_VALUE_BYTES_MAX,
            Request::Delete { key, .. } | Request::Get { key } => good(key),
            Request::List { prefix, after, .. } => {
                prefix.len() <= KV_KEY_BYTES_MAX && after.is_none_or(|a| a.len() <= KV_KEY_BYTES_MAX)
            }
            Request::Info => true,
        }
    }
}

impl Answer {
    /// As it is sent.
    pub fn encode(&self) -> Vec<u8> {
        // Plain data into memory cannot fail.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Reads an answer.
    pub fn decode(bytes: &[u8]) -> Option<Answer> {
        match postcard::take_from_bytes(bytes) {
            Ok((answer, [])) => Some(answer),
            _ => None,
        }
    }
}
