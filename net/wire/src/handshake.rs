//! Version negotiation: each side offers a range, the highest common version is spoken.

use core::fmt;

/// The versions this program speaks.
pub const VERSIONS: Versions = Versions { min: 1, max: 1 };

/// A range of protocol versions, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Versions {
    /// The oldest.
    pub min: u16,
    /// The newest.
    pub max: u16,
}

impl Versions {
    /// The highest version in both ranges. Both sides compute the same.
    ///
    /// # Errors
    /// [`VersionMismatch`] when the ranges do not meet or `theirs` is upside down.
    ///
    /// ```
    /// use dvs_wire::Versions;
    /// let ours = Versions { min: 2, max: 5 };
    /// assert_eq!(ours.common(Versions { min: 1, max: 3 }), Ok(3));
    /// let e = ours.common(Versions { min: 6, max: 9 }).unwrap_err();
    /// assert_eq!(e.to_string(), "no common protocol version: this node speaks 2 to 5, the other 6 to 9");
    /// ```
    pub const fn common(self, theirs: Versions) -> Result<u16, VersionMismatch> {
        let low = if self.min > theirs.min { self.min } else { theirs.min };
        let high = if self.max < theirs.max { self.max } else { theirs.max };
        if low <= high && theirs.min <= theirs.max && self.min <= self.max {
            Ok(high)
        } else {
            Err(VersionMismatch { ours: self, theirs })
        }
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.min, self.max)
    }
}

/// Two nodes have no version in common; the error names both ranges.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no common protocol version: this node speaks {ours}, the other {theirs}")]
pub struct VersionMismatch {
    /// The versions of the node that says so.
    pub ours: Versions,
    /// The versions of the other.
    pub theirs: Versions,
}
