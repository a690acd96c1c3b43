//! A page of a directory's names, as it stands in lent memory.
//!
//! ```text
//! length (2, LE) | Entry (postcard) | name        for each, without gaps
//! ```

use super::{Attr, FileKind, Ino};
use serde::{Deserialize, Serialize};

/// A name of a directory, all but the name itself.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The file.
    pub ino: Ino,
    /// What it is.
    pub kind: FileKind,
    /// Its position: where to go on after it.
    pub position: u64,
    /// What is known of it, if asked for.
    pub attr: Option<Attr>,
}

/// Longest head of an entry, bytes; a name is behind it.
const HEAD_BYTES_MAX: usize = 192;

/// Adds an entry to a page of at most so many bytes; whether it had room.
pub fn push(page: &mut Vec<u8>, room: usize, entry: &Entry, name: &[u8]) -> bool {
    let mut head = [0; HEAD_BYTES_MAX];
    let Ok(head) = postcard::to_slice(entry, &mut head) else { return false };
    let Ok(length) = u16::try_from(head.len() + name.len()) else { return false };
    if page.len() + 2 + usize::from(length) > room {
        return false;
    }
    page.extend_from_slice(&length.to_le_bytes());
    page.extend_from_slice(head);
    page.extend_from_slice(name);
    true
}

/// The entries of a page; one that is damaged ends it.
pub fn entries(page: &[u8]) -> impl Iterator<Item = (Entry, &[u8])> {
    let mut rest = page;
    std::iter::from_fn(move || {
        let (length, more) = rest.split_at_checked(2)?;
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        let (entry, more) = more.split_at_checked(length)?;
        rest = more;
        postcard::take_from_bytes(entry).ok()
    })
}
