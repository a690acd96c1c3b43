//! Session frames: the greeting that opens a connection, refusals, knocks and heartbeats.
//!
//! ```text
//! dialer (lower node id)                acceptor
//!   HELLO  ───────────────────────────▶   who I am, whom I think you are, what I received
//!          ◀─────────────────────────── WELCOME (the same fields) or REFUSE (why)
//!   records ◀────────────────────────▶ records, from the first frame the other has not received
//! ```
//!
//! The layout of a greeting's first 96 bytes never changes between versions, so that two programs of any
//! age can at least tell each other that they do not understand each other; what newer versions append is
//! skipped.

use crate::cut::Cut;
use crate::encode::{bound, check_node};
use crate::error::WireError;
use crate::handshake::Versions;
use crate::knock::Knock;
use dvs_abi::NodeId;
use dvs_abi::limits::FRAME_BYTES_MAX;

/// "DVSw" read as a little-endian number.
pub const MAGIC: u32 = u32::from_le_bytes(*b"DVSw");
/// Longest text of a refusal.
pub const REFUSAL_TEXT_MAX: usize = 512;
/// Longest greeting, whatever newer versions append.
pub const GREETING_BYTES_MAX: usize = 1024;

/// Which of the two connections between a pair of nodes this is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum StreamClass {
    /// Messages and all that is small.
    Message = 0,
    /// Chunks of copies.
    Bulk = 1,
}

impl StreamClass {
    /// Both.
    pub const ALL: [StreamClass; 2] = [StreamClass::Message, StreamClass::Bulk];
}

/// One side of a session: a new one starts with each start of the daemon (`boot`, random) and with each
/// time it gave the session up (`life`). All zero is nobody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    /// Random number of this run of the daemon, never zero.
    pub boot: u128,
    /// How often this run has given up a session with the other node.
    pub life: u64,
}

impl Identity {
    /// Nobody.
    pub const NOBODY: Identity = Identity { boot: 0, life: 0 };

    /// Whether this is nobody.
    pub const fn is_nobody(self) -> bool {
        self.boot == 0
    }
}

/// What HELLO and WELCOME say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Greeting {
    /// Versions offered; in WELCOME the chosen one twice.
    pub versions: Versions,
    /// Who speaks.
    pub node: NodeId,
    /// Which connection this is.
    pub class: StreamClass,
    /// The speaker's side of the session.
    pub from: Identity,
    /// The listener's side as the speaker knows it; nobody when it has no session.
    pub to: Identity,
    /// Features the speaker has, one bit each; none is defined yet, unknown bits are ignored.
    pub features: u64,
    /// Number of the last frame the speaker received on this stream of this session.
    pub received: u64,
    /// Which system the speaker is a node of: numbers of nodes mean something in one system only.
    pub system: u128,
}

/// Why a connection is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum RefusalReason {
    /// No common version.
    Version = 1,
    /// The dialer is not in the acceptor's node list, is not who it says, or is a node of another system.
    Unknown = 2,
    /// The wrong side dialed: the lower node id dials.
    Direction = 3,
    /// The dialer speaks of a session that the acceptor has given up; it must start anew.
    Stale = 4,
    /// A knock: too many machines knock, or this one too often.
    Busy = 5,
    /// A knock: it was not let in, or nobody answers.
    Closed = 6,
}

impl RefusalReason {
    /// Every reason.
    pub const ALL: [RefusalReason; 6] = [
        RefusalReason::Version,
        RefusalReason::Unknown,
        RefusalReason::Direction,
        RefusalReason::Stale,
        RefusalReason::Busy,
        RefusalReason::Closed,
    ];
}

/// A refusal, with the versions of the side that refuses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Why.
    pub reason: RefusalReason,
    /// What the refusing side speaks.
    pub versions: Versions,
    /// The refusing side's run; 0 when it does not say.
    pub boot: u128,
    /// One sentence for a person; at most [`REFUSAL_TEXT_MAX`] bytes, more is cut.
    pub text: String,
}

/// A frame about the connection itself; it has no number and is never re-sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SessionFrame {
    /// Opens a connection.
    Hello(Greeting),
    /// Accepts it.
    Welcome(Greeting),
    /// Refuses it; the connection is closed after it.
    Refuse(Refusal),
    /// From a machine that wants to join, in place of HELLO: see [`Knock`].
    Knock(Knock),
    /// The answer to a knock; the connection is closed after it.
    Knocked(Knock),
    /// Are you there? The time is the asker's, in ns.
    Ping(u64),
    /// Yes; with the asker's time.
    Pong(u64),
}

const HELLO: u8 = 32;
const WELCOME: u8 = 33;
const REFUSE: u8 = 34;
const PING: u8 = 35;
const PONG: u8 = 36;
const KNOCK: u8 = 37;
const KNOCKED: u8 = 38;

impl SessionFrame {
    /// Appends the frame to `out`.
    ///
    /// ```
    /// use dvs_wire::SessionFrame;
    /// let mut out = Vec::new();
    /// SessionFrame::Ping(5).encode(&mut out);
    /// assert_eq!(SessionFrame::decode(&out), Ok(SessionFrame::Ping(5)));
    /// ```
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC.to_le_bytes());
        match self {
            SessionFrame::Hello(g) => put_greeting(out, HELLO, g),
            SessionFrame::Welcome(g) => put_greeting(out, WELCOME, g),
            SessionFrame::Refuse(r) => {
                out.extend_from_slice(&[REFUSE, r.reason as u8, 0, 0]);
                put_versions(out, r.versions);
                out.extend_from_slice(&r.boot.to_le_bytes());
                let mut end = r.text.len().min(REFUSAL_TEXT_MAX);
                while !r.text.is_char_boundary(end) {
                    end -= 1;
                }
                out.extend_from_slice(&r.text.as_bytes()[..end]);
            }
            SessionFrame::Knock(k) => put_knock(out, KNOCK, k),
            SessionFrame::Knocked(k) => put_knock(out, KNOCKED, k),
            SessionFrame::Ping(t) | SessionFrame::Pong(t) => {
                out.extend_from_slice(&[
                    if matches!(self, SessionFrame::Ping(_)) { PING } else { PONG },
                    0,
                    0,
                    0,
                ]);
                out.extend_from_slice(&t.to_le_bytes());
            }
        }
    }

    /// The frame in `bytes`.
    ///
    /// # Errors
    /// Whatever is wrong with it; [`WireError::Magic`] when the other side speaks something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut cut = Cut::new(bytes);
        match cut.u32("magic")? {
            MAGIC => {}
            other => return Err(WireError::Magic(other)),
        }
        let (kind, reason) = (cut.u8("kind")?, cut.u8("reason")?);
        let limit = if matches!(kind, KNOCK | KNOCKED) { FRAME_BYTES_MAX } else { GREETING_BYTES_MAX };
        bound("session frame", limit, bytes.len())?;
        cut.take("reserved", 2)?;
        Ok(match kind {
            HELLO => SessionFrame::Hello(greeting(&mut cut)?),
            WELCOME => SessionFrame::Welcome(greeting(&mut cut)?),
            REFUSE => SessionFrame::Refuse(refusal(reason, &mut cut)?),
            PING | PONG => {
                let t = cut.u64("time")?;
                cut.end("heartbeat")?;
                if kind == PING { SessionFrame::Ping(t) } else { SessionFrame::Pong(t) }
            }
            KNOCK => SessionFrame::Knock(Knock::read(&mut cut)?),
            KNOCKED => SessionFrame::Knocked(Knock::read(&mut cut)?),
            _ => return Err(WireError::UnknownKind(kind)),
        })
    }
}

fn put_knock(out: &mut Vec<u8>, kind: u8, knock: &Knock) {
    out.extend_from_slice(&[kind, 0, 0, 0]);
    knock.put(out);
}

pub(crate) fn put_versions(out: &mut Vec<u8>, versions: Versions) {
    out.extend_from_slice(&versions.min.to_le_bytes());
    out.extend_from_slice(&versions.max.to_le_bytes());
}

fn put_greeting(out: &mut Vec<u8>, kind: u8, g: &Greeting) {
    out.extend_from_slice(&[kind, 0, 0, 0]);
    put_versions(out, g.versions);
    out.extend_from_slice(&g.node.0.to_le_bytes());
    out.extend_from_slice(&[g.class as u8, 0]);
    for who in [g.from, g.to] {
        out.extend_from_slice(&who.boot.to_le_bytes());
        out.extend_from_slice(&who.life.to_le_bytes());
    }
    out.extend_from_slice(&g.features.to_le_bytes());
    out.extend_from_slice(&g.received.to_le_bytes());
    out.extend_from_slice(&g.system.to_le_bytes());
}

pub(crate) fn versions(cut: &mut Cut<'_>) -> Result<Versions, WireError> {
    Ok(Versions { min: cut.u16("version")?, max: cut.u16("version")? })
}

/// Newer versions append fields; they are skipped.
fn greeting(cut: &mut Cut<'_>) -> Result<Greeting, WireError> {
    let versions = versions(cut)?;
    let node = cut.u16("node")?;
    check_node(node)?;
    let class = match cut.u8("class")? {
        0 => StreamClass::Message,
        1 => StreamClass::Bulk,
        n => return Err(WireError::BadValue { what: "class", value: n.into() }),
    };
    cut.u8("reserved")?;
    let from = Identity { boot: cut.u128("boot")?, life: cut.u64("life")? };
    let to = Identity { boot: cut.u128("boot")?, life: cut.u64("life")? };
    if from.is_nobody() {
        return Err(WireError::BadValue { what: "boot", value: 0 });
    }
    let (features, received) = (cut.u64("features")?, cut.u64("received")?);
    let system = cut.u128("system")?;
    Ok(Greeting { versions, node: NodeId(node), class, from, to, features, received, system })
}

fn refusal(reason: u8, cut: &mut Cut<'_>) -> Result<Refusal, WireError> {
    let known = RefusalReason::ALL.into_iter().find(|r| *r as u8 == reason);
    let reason = known.ok_or(WireError::BadValue { what: "reason", value: reason.into() })?;
    let (versions, boot) = (versions(cut)?, cut.u128("boot")?);
    bound("refusal text", REFUSAL_TEXT_MAX, cut.left())?;
    let text = String::from_utf8_lossy(cut.rest()).into_owned();
    Ok(Refusal { reason, versions, boot, text })
}
