//! Requests and answers as they stand in a message. Pure.
//!
//! ```text
//! type      inline bytes
//! 0x4b01    GET      key
//! 0x4b02    SET      length of key (1) | key | value
//! 0x4b03    REMOVE   key
//! 0x4b10    OK       value of GET
//! 0x4b11    NONE     there is no such key
//! 0x4b12    FULL     no room
//! 0x4b13    BAD      not understood
//! ```

use dvs::Message;

/// Bytes of a key.
pub const KEY_BYTES_MAX: usize = 64;
/// Bytes of a value: with the longest key it still fits a message.
pub const VALUE_BYTES_MAX: usize = 120;
const _: () = assert!(1 + KEY_BYTES_MAX + VALUE_BYTES_MAX <= dvs::limits::INLINE_BYTES);

const GET: i32 = 0x4b01;
const SET: i32 = 0x4b02;
const REMOVE: i32 = 0x4b03;
const OK: i32 = 0x4b10;
const NONE: i32 = 0x4b11;
const FULL: i32 = 0x4b12;
const BAD: i32 = 0x4b13;

/// A request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    /// The value of a key.
    Get(&'a [u8]),
    /// Sets a key to a value.
    Set(&'a [u8], &'a [u8]),
    /// Removes a key.
    Remove(&'a [u8]),
}

/// An answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer<'a> {
    /// Done; of a `Get`, the value.
    Ok(&'a [u8]),
    /// There is no such key.
    None,
    /// The store is full.
    Full,
    /// The request was not understood.
    Bad,
}

fn message(mtype: i32, bytes: &[u8]) -> Option<Message> {
    let mut m = Message::new(mtype);
    m.set_bytes(bytes).ok().map(|()| m)
}

/// Writes a request; `None` when key or value are too long or the key is empty.
pub fn encode(request: &Request<'_>) -> Option<Message> {
    let fits = |k: &[u8]| !k.is_empty() && k.len() <= KEY_BYTES_MAX;
    match request {
        Request::Get(k) => message(GET, k).filter(|_| fits(k)),
        Request::Remove(k) => message(REMOVE, k).filter(|_| fits(k)),
        Request::Set(k, v) if fits(k) && v.len() <= VALUE_BYTES_MAX => {
            message(SET, &[&[k.len() as u8][..], k, v].concat())
        }
        Request::Set(..) => None,
    }
}

/// Reads a request.
pub fn decode(m: &Message) -> Option<Request<'_>> {
    let fits = |k: &[u8]| !k.is_empty() && k.len() <= KEY_BYTES_MAX;
    match m.mtype() {
        GET => Some(Request::Get(m.bytes())).filter(|_| fits(m.bytes())),
        REMOVE => Some(Request::Remove(m.bytes())).filter(|_| fits(m.bytes())),
        SET => {
            let (n, rest) = m.bytes().split_first()?;
            let (k, v) = rest.split_at_checked(usize::from(*n))?;
            (fits(k) && v.len() <= VALUE_BYTES_MAX).then_some(Request::Set(k, v))
        }
        _ => None,
    }
}

/// Writes an answer into the message that goes back.
pub fn answer(m: &mut Message, answer: &Answer<'_>) {
    let (mtype, bytes) = match *answer {
        Answer::Ok(v) => (OK, v),
        Answer::None => (NONE, &[][..]),
        Answer::Full => (FULL, &[][..]),
        Answer::Bad => (BAD, &[][..]),
    };
    m.set_mtype(mtype);
    // Values of the store are no longer than a message has room.
    if m.set_bytes(bytes).is_err() {
        m.set_mtype(BAD);
    }
}

/// Reads an answer.
pub fn read_answer(m: &Message) -> Option<Answer<'_>> {
    Some(match m.mtype() {
        OK => Answer::Ok(m.bytes()),
        NONE => Answer::None,
        FULL => Answer::Full,
        BAD => Answer::Bad,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn the_longest_comes_back_and_longer_is_refused() {
        let (k, v) = ([1; KEY_BYTES_MAX], [2; VALUE_BYTES_MAX]);
        let m = encode(&Request::Set(&k, &v)).unwrap();
        assert_eq!(decode(&m), Some(Request::Set(&k, &v)));
        assert_eq!(encode(&Request::Set(&[1; KEY_BYTES_MAX + 1], &v)), None);
        assert_eq!(encode(&Request::Set(&k, &[2; VALUE_BYTES_MAX + 1])), None);
        assert_eq!(encode(&Request::Get(b"")), None);
    }

    proptest! {
        #[test]
        fn any_message_is_a_request_or_not(
            t in 0x4b00..0x4b20,
            bytes in proptest::collection::vec(any::<u8>(), 0..=192),
        ) {
            let mut m = Message::new(t);
            m.set_bytes(&bytes).unwrap();
            let _ = read_answer(&m);
            if let Some(r) = decode(&m) {
                assert_eq!(decode(&encode(&r).unwrap()), Some(r));
            }
        }
    }
}
