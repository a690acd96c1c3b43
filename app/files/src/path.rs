//! A path below a served folder, checked once: what cannot be written down as a [`RelPath`] never reaches the
//! disk.
//!
//! Paths are bytes, as Linux has them. A leading slash is the served folder itself. `..` is refused rather
//! than resolved: what it means depends on links, and nobody needs it here.

use crate::error::Refusal;
use dvs::limits::FILES_PATH_BYTES_MAX;

/// Longest name in a folder.
pub const NAME_BYTES_MAX: usize = 255;
/// What the name of an unfinished file ends in.
pub const PART_SUFFIX: &[u8] = b".dvs-part";

/// Names joined by `/`, none of them empty, `.` or `..`; empty for the served folder.
///
/// ```
/// use dvs_files::{Refusal, RelPath};
/// let p = RelPath::parse(b"/lib//./a.so").unwrap();
/// assert_eq!(p.bytes(), b"lib/a.so");
/// assert_eq!(p.split(), Some((RelPath::parse(b"lib").unwrap(), &b"a.so"[..])));
/// assert_eq!(RelPath::parse(b"lib/../../etc"), Err(Refusal::Escape));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct RelPath(Vec<u8>);

impl RelPath {
    /// Checks bytes from anywhere.
    ///
    /// # Errors
    /// `Escape` for `..`, `BadPath` for a zero byte or what is too long.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > FILES_PATH_BYTES_MAX {
            return Err(Refusal::BadPath);
        }
        let mut out = Vec::with_capacity(bytes.len());
        for name in bytes.split(|b| *b == b'/') {
            match name {
                b"" | b"." => continue,
                b".." => return Err(Refusal::Escape),
                name if name.len() > NAME_BYTES_MAX || name.contains(&0) => return Err(Refusal::BadPath),
                name => {
                    if !out.is_empty() {
                        out.push(b'/');
                    }
                    out.extend_from_slice(name);
                }
            }
        }
        Ok(RelPath(out))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the served folder itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path `more` below this one.
    ///
    /// # Errors
    /// As [`RelPath::parse`].
    pub fn join(&self, more: &[u8]) -> Result<Self, Refusal> {
        let mut whole = self.0.clone();
        whole.push(b'/');
        whole.extend_from_slice(more);
        RelPath::parse(&whole)
    }

    /// The folder it is in, and its name there; `None` for the served folder.
    pub fn split(&self) -> Option<(RelPath, &[u8])> {
        match self.0.iter().rposition(|b| *b == b'/') {
            Some(i) => Some((RelPath(self.0[..i].to_vec()), &self.0[i + 1..])),
            None if self.is_root() => None,
            None => Some((RelPath::default(), &self.0)),
        }
    }
}

/// Whether a name may stand in a folder's list.
pub fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
        && name.len() <= NAME_BYTES_MAX
        && !name.contains(&b'/')
        && !name.contains(&0)
}

/// The name of the unfinished file beside `name`: `.NAME.dvs-part`, with a digest where that would be too
/// long.
///
/// ```
/// assert_eq!(dvs_files::path::part_name(b"a.so"), b".a.so.dvs-part");
/// assert_eq!(dvs_files::path::part_name(&[b'x'; 255]).len(), 246);
/// ```
pub fn part_name(name: &[u8]) -> Vec<u8> {
    let mut out = vec![b'.'];
    if name.len() + 1 + PART_SUFFIX.len() <= NAME_BYTES_MAX {
        out.extend_from_slice(name);
    } else {
        out.extend_from_slice(&name[..219]);
        out.push(b'.');
        out.extend_from_slice(&blake3::hash(name).to_hex().as_bytes()[..16]);
    }
    out.extend_from_slice(PART_SUFFIX);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    proptest! {
        #[test]
        fn what_is_parsed_stays_below(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(p) = RelPath::parse(&bytes) {
                assert!(p.is_root() || p.bytes().split(|b| *b == b'/').all(is_name));
                assert_eq!(RelPath::parse(p.bytes()), Ok(p));
            }
        }

        #[test]
        fn a_part_has_a_usable_name(name in proptest::collection::vec(1u8..255, 1..=255)) {
            let name: Vec<u8> = name.into_iter().map(|b| if b == b'/' { b'_' } else { b }).collect();
            assert!(is_name(&part_name(&name)));
        }
    }

    #[test]
    fn zero_bytes_long_names_and_long_paths_are_refused() {
        assert_eq!(RelPath::parse(b"a\0b"), Err(Refusal::BadPath));
        assert_eq!(RelPath::parse(&[b'a'; 256]), Err(Refusal::BadPath));
        assert_eq!(RelPath::parse(&vec![b'/'; 5000]), Err(Refusal::BadPath));
        assert_eq!(RelPath::parse(b"..").map(|_| ()), Err(Refusal::Escape));
    }
}
