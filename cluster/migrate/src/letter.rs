//! What the two programs of a move say to each other, as it stands in a message. Pure.
//!
//! ```text
//! type      words                                            then
//! 0x6d01    version of the letters, version of the state     prepare ──► ready or refused
//! 0x6d02    round, length, flags: 1 the round ends,          part (lent) ──► has or refused
//!           2 it is the last; number of the move
//! 0x6d03                                                      forget ──► has
//! 0x6d11                                                      ready
//! 0x6d12    round                                             has
//! 0x6d13    text                                              refused
//! ```

use dvs_abi::Message;
use dvs_abi::limits::{INLINE_BYTES, MOVE_PART_BYTES};

/// The version of these letters.
const VERSION: u64 = 1;
const PREPARE: i32 = 0x6d01;
const PART: i32 = 0x6d02;
const FORGET: i32 = 0x6d03;
const READY: i32 = 0x6d11;
const HAS: i32 = 0x6d12;
const REFUSED: i32 = 0x6d13;
/// A server may put a little more into a part than it was asked for.
const PART_SLACK: usize = MOVE_PART_BYTES + (2 << 20);

/// What the source says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Letter {
    /// Somebody is to be there, for a state of this version.
    Prepare {
        /// Of the state.
        version: u32,
    },
    /// A part of the state, lent.
    Part {
        /// From 1 up.
        round: u32,
        /// Bytes lent.
        length: usize,
        /// The round ends with it.
        ends: bool,
        /// So does the state: the number of the move.
        last: Option<u64>,
    },
    /// It is off.
    Forget,
}

/// What the target answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Receipt {
    /// It is there.
    Ready,
    /// It has that part.
    Has {
        /// Of this round.
        round: u32,
    },
    /// It does not take it over, and why.
    Refused(String),
}

impl Letter {
    /// Writes it.
    pub fn encode(&self) -> Message {
        match *self {
            Letter::Prepare { version } => {
                let mut m = Message::new(PREPARE);
                m.set_word(0, VERSION);
                m.set_word(1, u64::from(version));
                m
            }
            Letter::Part { round, length, ends, last } => {
                let mut m = Message::new(PART);
                m.set_word(0, u64::from(round));
                m.set_word(1, length as u64);
                m.set_word(2, u64::from(ends) | u64::from(last.is_some()) << 1);
                m.set_word(3, last.unwrap_or(0));
                m
            }
            Letter::Forget => Message::new(FORGET),
        }
    }

    /// Reads it; nothing if it is none of these.
    pub fn decode(m: &Message) -> Option<Letter> {
        match m.mtype() {
            PREPARE if m.word(0) == VERSION => {
                Some(Letter::Prepare { version: u32::try_from(m.word(1)).ok()? })
            }
            PART => {
                let length = usize::try_from(m.word(1)).ok().filter(|n| *n <= PART_SLACK)?;
                let (ends, last) = (m.word(2) & 1 != 0, (m.word(2) & 2 != 0).then_some(m.word(3)));
                let round = u32::try_from(m.word(0)).ok()?;
                (m.word(2) <= 3).then_some(Letter::Part { round, length, ends, last })
            }
            FORGET => Some(Letter::Forget),
            _ => None,
        }
    }
}

impl Receipt {
    /// Writes it.
    pub fn encode(&self) -> Message {
        match self {
            Receipt::Ready => Message::new(READY),
            Receipt::Has { round } => {
                let mut m = Message::new(HAS);
                m.set_word(0, u64::from(*round));
                m
            }
            Receipt::Refused(why) => {
                let mut m = Message::new(REFUSED);
                let mut end = why.len().min(INLINE_BYTES);
                while !why.is_char_boundary(end) {
                    end -= 1;
                }
                // It was cut to what fits.
                let _ = m.set_bytes(&why.as_bytes()[..end]);
                m
            }
        }
    }

    /// Reads it; nothing if it is none of these.
    pub fn decode(m: &Message) -> Option<Receipt> {
        match m.mtype() {
            READY => Some(Receipt::Ready),
            HAS => Some(Receipt::Has { round: u32::try_from(m.word(0)).ok()? }),
            REFUSED => Some(Receipt::Refused(String::from_utf8_lossy(m.bytes()).into_owned())),
            _ => None,
        }
    }
}

/// Whether what a server wrote as a part can be sent.
pub fn fits(part: &[u8]) -> bool {
    part.len() <= PART_SLACK
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn letters_and_receipts_come_back() {
        for letter in [
            Letter::Prepare { version: 7 },
            Letter::Part { round: 3, length: 9, ends: true, last: Some(u64::MAX) },
            Letter::Part { round: 1, length: MOVE_PART_BYTES, ends: false, last: None },
            Letter::Forget,
        ] {
            assert_eq!(Letter::decode(&letter.encode()), Some(letter));
        }
        for receipt in [Receipt::Ready, Receipt::Has { round: 4 }, Receipt::Refused("no".into())] {
            assert_eq!(Receipt::decode(&receipt.encode()), Some(receipt));
        }
        let long = Receipt::Refused("ü".repeat(200));
        assert!(matches!(Receipt::decode(&long.encode()), Some(Receipt::Refused(text)) if text.len() == 192));
    }

    proptest! {
        #[test]
        fn no_message_is_a_surprise(
            t in 0x6d00..0x6d20,
            bytes in proptest::collection::vec(any::<u8>(), 0..=192),
        ) {
            let mut m = Message::new(t);
            m.set_bytes(&bytes).expect("short enough");
            let _ = (Letter::decode(&m), Receipt::decode(&m));
        }
    }
}
