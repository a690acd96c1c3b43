//! Bytes that are written and read as a whole. What serde does for a `Vec<u8>` is the same on the disk and on
//! the wire, byte by byte: for a state of a hundred megabytes that takes a noticeable time.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The bytes.
///
/// ```
/// use dvs_replica::bytes::Bytes;
/// let bytes = postcard::to_stdvec(&Bytes(vec![1, 2])).unwrap();
/// assert_eq!(bytes, postcard::to_stdvec(&vec![1_u8, 2]).unwrap());
/// assert_eq!(postcard::from_bytes(&bytes), Ok(Bytes(vec![1, 2])));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_bytes(Whole)
    }
}

struct Whole;

impl Visitor<'_> for Whole {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes(bytes.to_vec()))
    }
}
