//! What the server keeps: a map with a bound. Pure.

use crate::protocol::{Answer, Request};
use std::collections::HashMap;

/// Keys of one server: with the longest keys and values some 20 MiB.
pub const KEYS_MAX: usize = 65_536;

/// Keys and values.
#[derive(Default)]
pub struct Store {
    map: HashMap<Vec<u8>, Vec<u8>>,
}

impl Store {
    /// Does what a request asks.
    ///
    /// ```
    /// use dvs_kv_example::{Store, protocol::{Answer, Request}};
    /// let mut s = Store::default();
    /// assert_eq!(s.serve(&Request::Set(b"k", b"v")), Answer::Ok(b""));
    /// assert_eq!(s.serve(&Request::Get(b"k")), Answer::Ok(b"v"));
    /// assert_eq!(s.serve(&Request::Remove(b"k")), Answer::Ok(b""));
    /// assert_eq!(s.serve(&Request::Get(b"k")), Answer::None);
    /// ```
    pub fn serve(&mut self, request: &Request<'_>) -> Answer<'_> {
        match *request {
            Request::Get(k) => self.map.get(k).map_or(Answer::None, |v| Answer::Ok(v)),
            Request::Remove(k) => self.map.remove(k).map_or(Answer::None, |_| Answer::Ok(&[])),
            Request::Set(k, v) => {
                if let Some(old) = self.map.get_mut(k) {
                    v.clone_into(old);
                } else if self.map.len() < KEYS_MAX {
                    self.map.insert(k.to_vec(), v.to_vec());
                } else {
                    return Answer::Full;
                }
                Answer::Ok(&[])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_store_says_so_and_still_serves_what_it_has() {
        let mut s = Store::default();
        for i in 0..KEYS_MAX as u32 {
            assert_eq!(s.serve(&Request::Set(&i.to_le_bytes(), b"1")), Answer::Ok(b""));
        }
        assert_eq!(s.serve(&Request::Set(b"one more", b"1")), Answer::Full);
        assert_eq!(s.serve(&Request::Set(&1u32.to_le_bytes(), b"2")), Answer::Ok(b""));
        assert_eq!(s.serve(&Request::Get(&1u32.to_le_bytes())), Answer::Ok(b"2"));
    }
}
