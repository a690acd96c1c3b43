//! What a machine that is not of the system says to a node of it, and the answer.
//!
//! ```text
//! machine that wants to join            node
//!   KNOCK   ──────────────────────────▶   versions, and what its people have given it to say
//!           ◀────────────────────────── KNOCKED (the version chosen, the answer) or REFUSE (why)
//!   the connection is over
//! ```
//!
//! The payload is the control plane's; here it is bytes. As with greetings, the layout up to the payload
//! never changes between versions, and what newer versions append behind it is skipped.

use crate::cut::Cut;
use crate::encode::bound;
use crate::error::WireError;
use crate::greeting::{put_versions, versions};
use crate::handshake::Versions;
use dvs_abi::limits::KNOCK_BYTES_MAX;
use std::fmt;

/// A knock, or its answer.
///
/// ```
/// use dvs_wire::{Knock, SessionFrame, VERSIONS};
/// let knock = Knock::new(VERSIONS, b"let me in".to_vec()).unwrap();
/// let mut out = Vec::new();
/// SessionFrame::Knock(knock.clone()).encode(&mut out);
/// assert_eq!(SessionFrame::decode(&out), Ok(SessionFrame::Knock(knock)));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Knock {
    versions: Versions,
    payload: Vec<u8>,
}

/// What it says is a secret.
impl fmt::Debug for Knock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Knock({}, {} bytes)", self.versions, self.payload.len())
    }
}

impl Knock {
    /// A knock with the versions offered, or its answer with the one chosen, twice.
    ///
    /// # Errors
    /// More than [`KNOCK_BYTES_MAX`] bytes of payload.
    pub fn new(versions: Versions, payload: Vec<u8>) -> Result<Self, WireError> {
        bound("KNOCK bytes", KNOCK_BYTES_MAX, payload.len())?;
        Ok(Knock { versions, payload })
    }

    /// What the speaker speaks.
    pub const fn versions(&self) -> Versions {
        self.versions
    }

    /// What it says.
    pub fn into_payload(self) -> Vec<u8> {
        self.payload
    }

    /// Everything behind the kind.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_versions(out, self.versions);
        out.extend_from_slice(&(self.payload.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.payload);
    }

    pub(crate) fn read(cut: &mut Cut<'_>) -> Result<Self, WireError> {
        let versions = versions(cut)?;
        let length = cut.u32("KNOCK bytes")? as usize;
        bound("KNOCK bytes", KNOCK_BYTES_MAX, length)?;
        Knock::new(versions, cut.take("KNOCK bytes", length)?.to_vec())
    }
}
