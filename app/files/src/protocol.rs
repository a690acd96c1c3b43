//! Requests and answers of the file service, as they stand in a message. Pure.
//!
//! ```text
//! request   type 0x4601   version (1) | operation (postcard) | 0 | text        text inline
//!                         version (1) | operation (postcard) | 1               text is the second range lent
//! answer    type 0x4602   version (1) | Ok(answer) or Err(refusal) (postcard)
//! lent      first range: the data (may be empty); second range: the text that has no room inline
//! ```
//!
//! The *text* is the path; some operations have a second string behind it, whose length they name. Every
//! request may be made twice with the same result, so a caller that learns `effect unknown` just asks again.

use crate::entry::{Finish, Hash, Meta, Stamp};
use crate::error::Refusal;
use crate::path::RelPath;
use dvs::Message;
use dvs::limits::{FILES_PATH_BYTES_MAX, INLINE_BYTES};
use serde::{Deserialize, Serialize};

/// The version spoken here.
pub const VERSION: u8 = 1;
/// Type of a request.
pub const REQUEST: i32 = 0x4601;
/// Type of an answer.
pub const ANSWER: i32 = 0x4602;
/// Bytes of a text: a path and one more.
pub const TEXT_BYTES_MAX: usize = 2 * FILES_PATH_BYTES_MAX;

/// What is asked. `Data` means: by the first range lent.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Is the service there, and how does it serve?
    Hello,
    /// What is known of the path; `Answer::Meta(None)` when there is nothing.
    Stat,
    /// Names of a folder after the name behind the path, into Data.
    List {
        /// Bytes of that name.
        after: u16,
    },
    /// Bytes of a file into Data.
    Read {
        /// From here on.
        offset: u64,
        /// So many at most.
        length: u32,
        /// The file must still be this.
        stamp: Stamp,
    },
    /// Digests of blocks of a file (or of its unfinished copy), into Data.
    Hashes {
        /// First block.
        first: u64,
        /// Blocks.
        count: u32,
        /// Of the unfinished copy.
        part: bool,
    },
    /// Data into the unfinished copy.
    Write {
        /// From here on.
        offset: u64,
        /// So many bytes.
        length: u32,
        /// Digest of them.
        hash: Hash,
    },
    /// Data is the whole file: written aside, then put in place.
    Put {
        /// So many bytes.
        length: u32,
        /// Digest of them.
        hash: Hash,
        /// Permissions and time.
        finish: Finish,
    },
    /// The unfinished copy is complete and takes its place.
    Commit {
        /// Bytes it must have.
        size: u64,
        /// Permissions and time.
        finish: Finish,
    },
    /// The unfinished copy is not wanted any more.
    Discard,
    /// A folder.
    MakeFolder,
    /// A symbolic link at the path to the string behind it.
    Link {
        /// Bytes of that string.
        target: u16,
    },
    /// Where a symbolic link leads, into Data.
    ReadLink,
    /// Permissions and time of a folder, once all is in it.
    Settle {
        /// Permissions and time.
        finish: Finish,
    },
    /// All that was written is to be on disk.
    Sync,
}

/// What is answered.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The service.
    Hello {
        /// Bytes of a block.
        block: u32,
        /// Whether it only reads.
        read_only: bool,
    },
    /// What is known of the path.
    Meta(Option<Meta>),
    /// A page of a folder.
    Page {
        /// Names on it.
        count: u32,
        /// Bytes it takes.
        bytes: u32,
        /// Whether there are more.
        more: bool,
    },
    /// Bytes read.
    Data {
        /// So many.
        length: u32,
        /// Digest of them.
        hash: Hash,
    },
    /// Digests.
    Hashes {
        /// So many; fewer than asked where the file ends.
        count: u32,
    },
    /// Bytes of a link's target.
    Target(u32),
    /// It was done.
    Done,
}

/// The text of a request as its message says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Text<'a> {
    /// These bytes.
    Inline(&'a [u8]),
    /// What was lent as second range.
    Lent,
}

/// Writes a request; whether the text has to be lent.
pub fn encode_request(op: &Op, text: &[u8]) -> (Message, bool) {
    let mut m = Message::new(REQUEST);
    let room = m.inline_mut();
    room[0] = VERSION;
    let used = 1 + postcard::to_slice(op, &mut room[1..]).map_or(0, |b| b.len());
    debug_assert!(used > 1 && used < INLINE_BYTES, "an operation has a fixed bound, see the test");
    let lent = used + 1 + text.len() > INLINE_BYTES;
    room[used] = u8::from(lent);
    let mut end = used + 1;
    if !lent {
        room[end..end + text.len()].copy_from_slice(text);
        end += text.len();
    }
    m.set_len(end);
    (m, lent)
}

/// Reads a request.
///
/// # Errors
/// `Version`, `BadRequest`.
pub fn decode_request(m: &Message) -> Result<(Op, Text<'_>), Refusal> {
    let (version, rest) = m.bytes().split_first().ok_or(Refusal::BadRequest)?;
    if m.mtype() != REQUEST {
        return Err(Refusal::BadRequest);
    }
    if *version != VERSION {
        return Err(Refusal::Version(VERSION));
    }
    let (op, rest) = postcard::take_from_bytes(rest).map_err(|_| Refusal::BadRequest)?;
    match rest.split_first() {
        Some((0, text)) => Ok((op, Text::Inline(text))),
        Some((1, [])) => Ok((op, Text::Lent)),
        _ => Err(Refusal::BadRequest),
    }
}

/// Splits a text into the path and the string of `second` bytes behind it.
///
/// # Errors
/// `BadRequest` when it is shorter, else as [`RelPath::parse`].
pub fn split_text(text: &[u8], second: u16) -> Result<(RelPath, &[u8]), Refusal> {
    let at = text.len().checked_sub(usize::from(second)).ok_or(Refusal::BadRequest)?;
    Ok((RelPath::parse(&text[..at])?, &text[at..]))
}

/// Writes an answer.
pub fn encode_answer(answer: &Result<Answer, Refusal>) -> Message {
    let mut m = Message::new(ANSWER);
    let room = m.inline_mut();
    room[0] = VERSION;
    let used = 1 + postcard::to_slice(answer, &mut room[1..]).map_or(0, |b| b.len());
    m.set_len(used);
    m
}

/// Reads an answer; `None` when it is none.
pub fn decode_answer(m: &Message) -> Option<Result<Answer, Refusal>> {
    let (version, rest) = m.bytes().split_first()?;
    if m.mtype() != ANSWER || *version != VERSION {
        return None;
    }
    postcard::take_from_bytes(rest).ok().map(|(answer, _): (_, &[u8])| answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    const LONGEST: Stamp = Stamp { size: u64::MAX, mtime: (i64::MIN, u32::MAX), inode: u64::MAX };
    const FINISH: Finish = Finish { mode: u32::MAX, mtime: (i64::MIN, u32::MAX) };

    fn operations() -> Vec<Op> {
        let (offset, length, hash) = (u64::MAX, u32::MAX, [255; 32]);
        vec![
            Op::Hello,
            Op::Stat,
            Op::List { after: u16::MAX },
            Op::Read { offset, length, stamp: LONGEST },
            Op::Hashes { first: u64::MAX, count: u32::MAX, part: true },
            Op::Write { offset, length, hash },
            Op::Put { length, hash, finish: FINISH },
            Op::Commit { size: u64::MAX, finish: FINISH },
            Op::Discard,
            Op::MakeFolder,
            Op::Link { target: u16::MAX },
            Op::ReadLink,
            Op::Settle { finish: FINISH },
            Op::Sync,
        ]
    }

    #[test]
    fn every_operation_comes_back_with_text_inline_or_lent() {
        for op in operations() {
            for length in [0, 1, 50, 91, 190, 4096] {
                let text = vec![b'x'; length];
                let (m, lent) = encode_request(&op, &text);
                let want = if lent { Text::Lent } else { Text::Inline(&text) };
                assert_eq!(decode_request(&m), Ok((op, want)));
                assert_eq!(lent, length > 190 || lent && length > 80, "{op:?} {length}");
            }
        }
    }

    #[test]
    fn another_version_is_told_ours() {
        let (mut m, _) = encode_request(&Op::Hello, b"");
        m.inline_mut()[0] = 9;
        assert_eq!(decode_request(&m), Err(Refusal::Version(VERSION)));
    }

    #[test]
    fn answers_come_back() {
        let meta = Meta {
            kind: crate::FileKind::Other,
            size: u64::MAX,
            mtime: i64::MIN,
            mtime_ns: u32::MAX,
            mode: u32::MAX,
            inode: u64::MAX,
        };
        for a in [
            Ok(Answer::Hello { block: 1, read_only: true }),
            Ok(Answer::Meta(Some(meta))),
            Ok(Answer::Data { length: u32::MAX, hash: [255; 32] }),
            Err(Refusal::Os(-5)),
        ] {
            assert_eq!(decode_answer(&encode_answer(&a)), Some(a));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..=192)) {
            let mut m = Message::new(REQUEST);
            m.set_bytes(&bytes).expect("short enough");
            let _ = decode_answer(&m);
            if let Ok((op, Text::Inline(text))) = decode_request(&m) {
                let _ = split_text(text, 3);
                let (again, _) = encode_request(&op, text);
                assert_eq!(decode_request(&again).expect("ours").0, op);
            }
        }
    }
}
