//! A call as it stands in the log, and what it is answered.

use dvs_abi::{DcId, Endpoint};
use serde::{Deserialize, Serialize};

/// Who calls: one endpoint, of one generation, of one process.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Caller {
    /// Its container.
    pub dc: DcId,
    /// Its endpoint.
    pub endpoint: Endpoint,
    /// The binding of the endpoint: two that follow each other at the same endpoint have different ones.
    pub binding: u64,
}

/// Which call of its caller: these rise, and a caller has one call under way.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallName {
    /// Whose.
    pub caller: Caller,
    /// Greater than those of all its calls before.
    pub number: u64,
    /// It may be in the log already: an earlier instance took it, or its entry is put there once more.
    pub again: bool,
}

/// What a call came to.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Done {
    /// The server's answer, now or when the call was there first.
    Answer(Vec<u8>),
    /// It is sent again by a caller that was forgotten: whether it was done is not known any more.
    Unknown,
    /// It is older than a call of the same caller that was done: nobody waits for it.
    Late,
    /// What it was planned on has changed meanwhile: it is to be planned anew. (Passive servers.)
    Replan,
    /// The entry of the log makes no sense.
    Malformed,
    /// Parts of it are missing: all are to be sent anew. (Large requests.)
    Incomplete,
}

impl Done {
    /// As it leaves the state machine.
    pub fn encode(&self) -> Vec<u8> {
        // Plain data into memory cannot fail.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// What [`Done::encode`] gave; anything else is malformed.
    pub fn decode(bytes: &[u8]) -> Done {
        postcard::from_bytes(bytes).unwrap_or(Done::Malformed)
    }
}
