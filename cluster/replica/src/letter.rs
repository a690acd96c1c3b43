//! Letters between replicas and how several travel in one parcel. Pure.
//!
//! ```text
//! parcel   letter | letter | …
//! letter   kind (1) | length (4, little-endian) | bytes
//! ```
//! What arrives is hostile until it is unpacked; nothing here panics or allocates more than arrived.

use dvs_abi::limits::LOG_MESSAGE_BYTES_MAX;
use std::borrow::Cow;

const HEAD_BYTES: usize = 5;

/// One letter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Letter {
    /// A message of the log.
    Log(Vec<u8>),
    /// The sender belongs to no group: it is new, or has lost its disk. It waits to be taken in. The number
    /// is that of its life: drawn at its start; the other, the latest term in which it was asked whether it
    /// is fresh still.
    Fresh(u64, u64),
    /// The sender leads the group and takes the receiver in: in the life of this number it may take part.
    Welcome(u64),
    /// The sender leads in this term, and has heard that the receiver is fresh. That may be long ago.
    Prove(u64),
}

impl Letter {
    fn kind(&self) -> u8 {
        match self {
            Letter::Log(_) => 0,
            Letter::Fresh(..) => 1,
            Letter::Welcome(_) => 2,
            Letter::Prove(_) => 3,
        }
    }

    fn body(&self) -> Cow<'_, [u8]> {
        match self {
            Letter::Log(bytes) => Cow::Borrowed(bytes),
            Letter::Fresh(life, term) => Cow::Owned([life.to_le_bytes(), term.to_le_bytes()].concat()),
            Letter::Welcome(number) | Letter::Prove(number) => Cow::Owned(number.to_le_bytes().to_vec()),
        }
    }

    /// Bytes it takes in a parcel.
    pub fn weight(&self) -> usize {
        HEAD_BYTES + self.body().len()
    }

    /// Puts it at the end of a parcel.
    ///
    /// ```
    /// use dvs_replica::letter::{Letter, unpack};
    /// let mut parcel = Vec::new();
    /// Letter::Fresh(5, 1).pack(&mut parcel);
    /// Letter::Log(vec![7]).pack(&mut parcel);
    /// assert_eq!(unpack(&parcel), Some(vec![Letter::Fresh(5, 1), Letter::Log(vec![7])]));
    /// assert_eq!(unpack(&parcel[..6]), None);
    /// ```
    pub fn pack(&self, parcel: &mut Vec<u8>) {
        let body = self.body();
        parcel.push(self.kind());
        parcel.extend_from_slice(&(body.len() as u32).to_le_bytes());
        parcel.extend_from_slice(&body);
    }
}

/// The letters of a parcel; nothing if it is torn or holds what is no letter.
pub fn unpack(mut parcel: &[u8]) -> Option<Vec<Letter>> {
    let mut letters = Vec::new();
    while !parcel.is_empty() {
        let (head, rest) = parcel.split_at_checked(HEAD_BYTES)?;
        let length = u32::from_le_bytes(head[1..].try_into().ok()?) as usize;
        let (body, rest) = rest.split_at_checked(length)?;
        letters.push(match (head[0], body) {
            (0, body) if body.len() <= LOG_MESSAGE_BYTES_MAX => Letter::Log(body.to_vec()),
            (1, body) => {
                let (life, term) = body.split_at_checked(8)?;
                Letter::Fresh(number(life)?, number(term)?)
            }
            (2, life) => Letter::Welcome(number(life)?),
            (3, term) => Letter::Prove(number(term)?),
            _ => return None,
        });
        parcel = rest;
    }
    Some(letters)
}

fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    proptest! {
        #[test]
        fn any_bytes_are_letters_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(letters) = unpack(&bytes) {
                let mut again = Vec::new();
                letters.iter().for_each(|l| l.pack(&mut again));
                assert_eq!(again, bytes);
                assert_eq!(letters.iter().map(Letter::weight).sum::<usize>(), bytes.len());
            }
        }
    }
}
