//! Frames to bytes. Layouts: `docs/reference/wire.md`.

use crate::error::WireError;
use crate::frame::{Frame, Grants};
use dvs_abi::limits::{
    CONTROL_BYTES_MAX, COPY_BYTES_MAX, COPY_CHUNK_BYTES, DCS_MAX, HEADER_BYTES, NODES_MAX, WAIT_CHAIN_MAX,
};
use dvs_abi::{Code, Effect, Error, Fault, Message};

/// Bytes of a frame's header: length (4), kind (1), flags (1), container (2).
pub(crate) const FRAME_HEAD_BYTES: usize = 8;

pub(crate) const FLAG_LAST: u8 = 1;

impl Frame<'_> {
    /// Appends the frame to `out`.
    ///
    /// # Errors
    /// A payload above its bound, or a message no receiver would accept; `out` is then as it was.
    ///
    /// ```
    /// use dvs_wire::{Frame, Frames};
    /// let mut bytes = Vec::new();
    /// Frame::Consumed { call: 7 }.encode(&mut bytes).unwrap();
    /// Frame::Cancel { call: 8 }.encode(&mut bytes).unwrap();
    /// let frames: Vec<_> = Frames::new(&bytes).collect::<Result<_, _>>().unwrap();
    /// assert_eq!(frames, [Frame::Consumed { call: 7 }, Frame::Cancel { call: 8 }]);
    /// ```
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        self.check()?;
        let start = out.len();
        let (flags, dc) = match self {
            Frame::Call { grants, .. } => (grants.as_slice().len() as u8, 0),
            Frame::Data { last, .. } => (if *last { FLAG_LAST } else { 0 }, 0),
            Frame::Notify { dc, .. } => (0, dc.0),
            _ => (0, 0),
        };
        let mut head = [0; FRAME_HEAD_BYTES];
        head[4] = self.kind();
        head[5] = flags;
        head[6..].copy_from_slice(&dc.to_le_bytes());
        out.extend_from_slice(&head);
        self.body(out);
        let length = (out.len() - start) as u32;
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    /// The bytes [`Frame::encode`] appends, at most; for deciding whether a batch has room.
    pub fn size_hint(&self) -> usize {
        match self {
            Frame::Data { bytes, .. } => FRAME_HEAD_BYTES + 16 + bytes.len(),
            Frame::Control { bytes } => FRAME_HEAD_BYTES + bytes.len(),
            _ => 512,
        }
    }

    fn check(&self) -> Result<(), WireError> {
        match self {
            Frame::Data { bytes, .. } => bound("DATA bytes", COPY_CHUNK_BYTES, bytes.len()),
            Frame::Control { bytes } => bound("CONTROL bytes", CONTROL_BYTES_MAX, bytes.len()),
            Frame::Call { msg, .. } | Frame::Reply { msg, .. } | Frame::Redirect { msg, .. } => {
                check_message(msg)
            }
            Frame::Notify { dc, .. } => check_dc(dc.0),
            Frame::CopyRead { length, .. } | Frame::CopyWrite { length, .. } => check_copy(*length),
            Frame::CopyRelay { length, to_node, .. } => check_copy(*length).and(check_node(to_node.0)),
            Frame::CopyFrom { length, node, .. } => check_copy(*length).and(check_node(node.0)),
            Frame::Failed { error, .. } | Frame::CopyDone { error: Some(error), .. } => {
                bound("cycle", WAIT_CHAIN_MAX, error.cycle.as_ref().map_or(0, |c| c.len()))
            }
            _ => Ok(()),
        }
    }

    fn body(&self, out: &mut Vec<u8>) {
        match self {
            Frame::Call { call, msg, grants } => {
                put(out, &[*call]);
                put_grants(out, grants);
                put_message(out, msg);
            }
            Frame::Consumed { call } | Frame::Cancel { call } => put(out, &[*call]),
            Frame::Reply { call, msg } => {
                put(out, &[*call]);
                put_message(out, msg);
            }
            Frame::Failed { call, error } => {
                put(out, &[*call]);
                put_error(out, Some(error));
            }
            Frame::Redirect { call, to, msg } => {
                put(out, &[*call, u64::from(to.raw() as u32)]);
                put_message(out, msg);
            }
            Frame::Notify { source, destination, value, timestamp, .. } => {
                let route = u64::from(source.raw() as u32) | u64::from(destination.raw() as u32) << 32;
                put(out, &[route, *value, *timestamp]);
            }
            Frame::CopyRead { copy, call, address, length }
            | Frame::CopyWrite { copy, call, address, length } => {
                put(out, &[*copy, *call, *address, *length]);
            }
            Frame::Data { copy, offset, bytes, .. } => {
                put(out, &[*copy, *offset]);
                out.extend_from_slice(bytes);
            }
            Frame::CopyDone { copy, length, error } => {
                put(out, &[*copy, *length]);
                put_error(out, error.as_ref());
            }
            Frame::CopyRelay { copy, call, address, length, to_node, to_call, to_address } => {
                put(out, &[*copy, *call, *address, *length, u64::from(to_node.0), *to_call, *to_address]);
            }
            Frame::CopyFrom { copy, call, address, length, node } => {
                put(out, &[*copy, *call, *address, *length, u64::from(node.0)]);
            }
            Frame::Control { bytes } => out.extend_from_slice(bytes),
            Frame::Withdrawn { call, effect } => put(out, &[*call, effect_number(*effect).into()]),
        }
    }
}

fn put(out: &mut Vec<u8>, words: &[u64]) {
    for w in words {
        out.extend_from_slice(&w.to_le_bytes());
    }
}

fn put_message(out: &mut Vec<u8>, msg: &Message) {
    out.extend_from_slice(&msg.as_bytes()[..HEADER_BYTES + msg.len()]);
}

fn put_grants(out: &mut Vec<u8>, grants: &Grants) {
    for g in grants.as_slice() {
        put(out, &[g.address, g.length, g.access as u64]);
    }
}

/// Code (0 = none), peer, fault, effect, length of the cycle, 0; then the cycle.
fn put_error(out: &mut Vec<u8>, error: Option<&Error>) {
    let Some(e) = error else {
        put(out, &[0, 0]);
        return;
    };
    let cycle = e.cycle.as_deref().unwrap_or(&[]);
    out.extend_from_slice(&(e.code as i32).to_le_bytes());
    out.extend_from_slice(&e.peer.raw().to_le_bytes());
    out.extend_from_slice(&[
        fault_number(e.fault),
        effect_number(e.effect),
        cycle.len() as u8,
        0,
        0,
        0,
        0,
        0,
    ]);
    for endpoint in cycle {
        out.extend_from_slice(&endpoint.raw().to_le_bytes());
    }
}

const fn fault_number(fault: Fault) -> u8 {
    match fault {
        Fault::Caller => 0,
        Fault::Peer => 1,
        Fault::System => 2,
        Fault::Nobody => 3,
    }
}

const fn effect_number(effect: Effect) -> u8 {
    match effect {
        Effect::No => 0,
        Effect::Yes => 1,
        Effect::Unknown => 2,
    }
}

pub(crate) fn fault_of(number: u8) -> Result<Fault, WireError> {
    [Fault::Caller, Fault::Peer, Fault::System, Fault::Nobody]
        .get(usize::from(number))
        .copied()
        .ok_or(WireError::BadValue { what: "fault", value: number.into() })
}

pub(crate) fn effect_of(number: u8) -> Result<Effect, WireError> {
    [Effect::No, Effect::Yes, Effect::Unknown]
        .get(usize::from(number))
        .copied()
        .ok_or(WireError::BadValue { what: "effect", value: number.into() })
}

pub(crate) fn code_of(number: i32) -> Result<Code, WireError> {
    Code::from_i32(number).ok_or(WireError::BadValue { what: "error code", value: number as u32 as u64 })
}

pub(crate) const fn bound(what: &'static str, limit: usize, got: usize) -> Result<(), WireError> {
    if got > limit { Err(WireError::TooLong { what, limit, got }) } else { Ok(()) }
}

pub(crate) fn check_copy(length: u64) -> Result<(), WireError> {
    bound("copy length", COPY_BYTES_MAX as usize, usize::try_from(length).unwrap_or(usize::MAX))
}

pub(crate) const fn check_dc(dc: u16) -> Result<(), WireError> {
    if dc as usize >= DCS_MAX {
        Err(WireError::BadValue { what: "container", value: dc as u64 })
    } else {
        Ok(())
    }
}

pub(crate) const fn check_node(node: u16) -> Result<(), WireError> {
    if node as usize >= NODES_MAX {
        Err(WireError::BadValue { what: "node", value: node as u64 })
    } else {
        Ok(())
    }
}

/// Both sides check a message the same way, so what encodes also decodes.
pub(crate) fn check_message(msg: &Message) -> Result<(), WireError> {
    check_dc(msg.dc().0)?;
    check_node(msg.node().0)?;
    let second = msg.words()[1];
    if msg.kind().is_none() {
        return Err(WireError::BadValue { what: "message kind", value: second >> 32 & 0xff });
    }
    bound("inline length", dvs_abi::limits::INLINE_BYTES, (second >> 48) as usize)
}
