//! The side that knocks: one question to a node, from a machine that is not of its system yet.
//!
//! ```text
//!  connect ─▶ TLS: the key there is the one expected, ours is shown ─▶ KNOCK ─▶ KNOCKED or REFUSE
//! ```
//! Nothing of the payload is sent before the node has proved that it has the expected key.

use crate::conn::Conn;
use crate::crypt::Crypt;
use crate::reader::{READ_WAIT, broken, say, session_frame};
use crate::records::Records;
use crate::tls::{Fingerprint, NotPinned, Security, TlsError};
use dvs_abi::limits::{FRAME_BYTES_MAX, KNOCK_BYTES_MAX};
use dvs_wire::{Knock, Refusal, RefusalReason, SessionFrame, VERSIONS, Versions};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Why a knock brought nothing. After `Late`, `Closed` and a refusal that says it cannot be decided now, the
/// node may have acted on it, or still will: knock again, with the same key and payload.
#[derive(Debug, thiserror::Error)]
pub enum KnockError {
    /// Nobody there.
    #[error(
        "cannot connect to {address}: {error}; is dvsd running there, and may this machine reach that port?"
    )]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// Somebody else there.
    #[error(
        "the machine at {address} has the key {got}, not {expected}: it is another machine, or its node \
         was set up anew; make a new token on a node of the system"
    )]
    WrongKey {
        /// Where.
        address: SocketAddr,
        /// The key that the token names.
        expected: Fingerprint,
        /// The key there.
        got: Fingerprint,
    },
    /// Another version.
    #[error(
        "no common protocol version: this machine speaks {ours}, the node at {address} {theirs}; \
         install the version of dvs that the system runs"
    )]
    Version {
        /// Where.
        address: SocketAddr,
        /// What this program speaks.
        ours: Versions,
        /// What the node speaks.
        theirs: Versions,
    },
    /// Not now.
    #[error("the node at {address} is busy: {text}")]
    Busy {
        /// Where.
        address: SocketAddr,
        /// What it says.
        text: String,
    },
    /// No.
    #[error("the node at {address} refuses: {text}")]
    Refused {
        /// Where.
        address: SocketAddr,
        /// What it says.
        text: String,
    },
    /// It ended the connection without an answer.
    #[error(
        "what listens at {address} gave no answer ({error}): it is no node, has other security settings \
         than this machine (TLS or none), is of a version that takes in nobody this way, or is overloaded"
    )]
    Closed {
        /// Where.
        address: SocketAddr,
        /// What came instead.
        error: io::Error,
    },
    /// No answer in time.
    #[error(
        "the node at {address} did not answer within {} s; try again, or ask another node",
        .timeout.as_secs_f32()
    )]
    Late {
        /// Where.
        address: SocketAddr,
        /// The time it had.
        timeout: Duration,
    },
    /// More than a knock can hold.
    #[error("a request to join has at most {KNOCK_BYTES_MAX} bytes, this one {0}")]
    TooLong(usize),
    /// Our own key cannot be used.
    #[error(transparent)]
    Key(#[from] TlsError),
}

/// Says `payload` to the node at `address`, which has to have the key `expected`, and returns its answer.
/// Blocks, for `timeout` and a few seconds at most. With [`Security::Plain`] there are no keys, `expected`
/// means nothing, and whoever is on the way can read the payload.
///
/// # Errors
/// See [`KnockError`].
pub fn knock(
    address: SocketAddr,
    security: &Security,
    expected: Fingerprint,
    payload: &[u8],
    timeout: Duration,
) -> Result<Vec<u8>, KnockError> {
    let knock = Knock::new(VERSIONS, payload.to_vec()).map_err(|_| KnockError::TooLong(payload.len()))?;
    let crypt = match security {
        Security::Tls(own) => Some(own.client(expected)?),
        Security::Plain => None,
    };
    let until = Instant::now() + timeout;
    let wait = timeout.max(Duration::from_millis(1));
    let socket =
        TcpStream::connect_timeout(&address, wait).map_err(|error| KnockError::Connect { address, error })?;
    let talk = || {
        let crypt = crypt.map(Crypt::client).transpose().map_err(broken)?;
        let conn = Conn::new(socket, crypt, wait.min(READ_WAIT))?;
        let mut records = Records::new();
        let mut raw = conn.handshake(&mut records, until)?;
        say(&conn, SessionFrame::Knock(knock))?;
        session_frame(&conn, &mut raw, &mut records, FRAME_BYTES_MAX, until)
    };
    match talk() {
        Ok(SessionFrame::Knocked(answer)) => Ok(answer.into_payload()),
        Ok(SessionFrame::Refuse(refusal)) => Err(refused(address, &refusal)),
        Ok(_) => Err(KnockError::Closed { address, error: broken("a frame that is no answer") }),
        Err(error) => Err(failed(address, expected, timeout, error)),
    }
}

fn refused(address: SocketAddr, refusal: &Refusal) -> KnockError {
    // It is shown on a terminal, and without TLS anybody may have said it.
    let text = refusal.text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    match refusal.reason {
        RefusalReason::Version => KnockError::Version { address, ours: VERSIONS, theirs: refusal.versions },
        RefusalReason::Busy => KnockError::Busy { address, text },
        _ => KnockError::Refused { address, text },
    }
}

fn failed(address: SocketAddr, expected: Fingerprint, timeout: Duration, error: io::Error) -> KnockError {
    let pinned = error.get_ref().and_then(|e| e.downcast_ref::<NotPinned>());
    if let Some(NotPinned { got, .. }) = pinned {
        return KnockError::WrongKey { address, expected, got: *got };
    }
    match error.kind() {
        io::ErrorKind::TimedOut => KnockError::Late { address, timeout },
        _ => KnockError::Closed { address, error },
    }
}
