//! What travels between two nodes' daemons: frames, the records they are packed in, and the greeting that
//! opens a connection. Pure: bytes in, values out; no socket, clock or chance.
//!
//! ```text
//! connection  = greeting record (HELLO / WELCOME / REFUSE), then records
//!             | knock record KNOCK, answered by KNOCKED / REFUSE, and no more
//! record      = header 24 B: length, flags, ack, number of the first frame | payload (plain or LZ4)
//! payload     = frame, frame, frame, ...   (a batch is frames back to back)
//! frame       = header 8 B: length, kind, flags, container | body
//! ```
//!
//! Sequence numbers stand once a record and count its frames, so a frame costs eight bytes; the
//! acknowledgement of the other direction rides in the same header, so it costs no frame at all.
//! `docs/reference/wire.md` gives every layout to the byte.
//!
//! Every byte read here comes from a machine on the network. The decoder copies nothing it has not bounded,
//! never panics, and an error names the field that is wrong.
#![forbid(unsafe_code)]

mod cut;
mod data;
mod decode;
mod encode;
pub mod error;
pub mod frame;
pub mod greeting;
pub mod handshake;
pub mod knock;
pub mod record;

pub use data::DataFrame;
pub use decode::Frames;
pub use error::WireError;
pub use frame::{Frame, Grants, KIND_NAMES};
pub use greeting::{Greeting, Identity, Refusal, RefusalReason, SessionFrame, StreamClass};
pub use handshake::{VERSIONS, VersionMismatch, Versions};
pub use knock::Knock;
pub use record::{RECORD_HEAD_BYTES, RECORD_PAYLOAD_MAX, RecordHead};
