//! Bytes to frames. Bounds first, then meaning; nothing is allocated except a bounded deadlock cycle.

use crate::cut::Cut;
use crate::encode::{
    FLAG_LAST, FRAME_HEAD_BYTES, bound, check_copy, check_dc, check_message, check_node, code_of, effect_of,
    fault_of,
};
use crate::error::WireError;
use crate::frame::{Frame, Grants, KIND_NAMES};
use dvs_abi::limits::{
    BULK_FRAME_BYTES_MAX, CONTROL_BYTES_MAX, COPY_CHUNK_BYTES, GRANTS_PER_CALL, HEADER_BYTES, MESSAGE_BYTES,
    WAIT_CHAIN_MAX,
};
use dvs_abi::{Access, DcId, Endpoint, Error, Grant, Message, NodeId};

/// The frames of a batch, one after the other; ends after the first error.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
}

impl<'a> Frames<'a> {
    /// The frames in `payload`.
    pub const fn new(payload: &'a [u8]) -> Self {
        Frames { bytes: payload }
    }

    /// Cuts the next frame's bytes off without looking into it.
    fn cut(&mut self) -> Result<&'a [u8], WireError> {
        let length = Cut::new(self.bytes).u32("frame length")? as usize;
        if length < FRAME_HEAD_BYTES {
            return Err(WireError::BadValue { what: "frame length", value: length as u64 });
        }
        bound("frame length", BULK_FRAME_BYTES_MAX, length)?;
        let mut cut = Cut::new(self.bytes);
        let frame = cut.take("frame", length)?;
        self.bytes = cut.rest();
        Ok(frame)
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let frame = self.cut().and_then(Frame::decode);
        if frame.is_err() {
            self.bytes = &[];
        }
        Some(frame)
    }
}

impl<'a> Frame<'a> {
    /// The frame in `bytes`, header included, nothing after it.
    fn decode(bytes: &'a [u8]) -> Result<Frame<'a>, WireError> {
        let mut cut = Cut::new(bytes);
        cut.take("frame header", 4)?;
        let (kind, flags) = (cut.u8("kind")?, cut.u8("flags")?);
        let dc = cut.u16("container")?;
        let name = match KIND_NAMES.get(usize::from(kind)) {
            Some(name) if kind != 0 => name,
            _ => return Err(WireError::UnknownKind(kind)),
        };
        if (flags != 0 && kind != 1 && kind != 10) || (dc != 0 && kind != 7) {
            return Err(WireError::BadValue { what: "flags", value: u64::from(flags) | u64::from(dc) << 16 });
        }
        let frame = Self::fields(kind, flags, dc, &mut cut)?;
        cut.end(name)?;
        Ok(frame)
    }

    fn fields(kind: u8, flags: u8, dc: u16, cut: &mut Cut<'a>) -> Result<Frame<'a>, WireError> {
        Ok(match kind {
            1 => {
                let call = cut.u64("call")?;
                let grants = grants(cut, usize::from(flags))?;
                Frame::Call { call, msg: message(cut)?, grants }
            }
            2 => Frame::Consumed { call: cut.u64("call")? },
            3 => Frame::Reply { call: cut.u64("call")?, msg: message(cut)? },
            4 => {
                let call = cut.u64("call")?;
                let error = error(cut)?.ok_or(WireError::BadValue { what: "error code", value: 0 })?;
                Frame::Failed { call, error }
            }
            5 => {
                let (call, to) = (cut.u64("call")?, endpoint(cut)?);
                zero(cut.u32("reserved")?)?;
                Frame::Redirect { call, to, msg: message(cut)? }
            }
            6 => Frame::Cancel { call: cut.u64("call")? },
            7 => {
                check_dc(dc)?;
                let (source, destination) = (endpoint(cut)?, endpoint(cut)?);
                let (value, timestamp) = (cut.u64("value")?, cut.u64("timestamp")?);
                Frame::Notify { dc: DcId(dc), source, destination, value, timestamp }
            }
            8 | 9 => {
                let (copy, call) = (cut.u64("copy")?, cut.u64("call")?);
                let (address, length) = (cut.u64("address")?, cut.u64("length")?);
                check_copy(length)?;
                if kind == 8 {
                    Frame::CopyRead { copy, call, address, length }
                } else {
                    Frame::CopyWrite { copy, call, address, length }
                }
            }
            10 => data(flags, cut)?,
            11 => {
                let (copy, length) = (cut.u64("copy")?, cut.u64("length")?);
                Frame::CopyDone { copy, length, error: error(cut)? }
            }
            12 => copy_relay(cut)?,
            13 => {
                bound("CONTROL bytes", CONTROL_BYTES_MAX, cut.left())?;
                Frame::Control { bytes: cut.rest() }
            }
            14 => {
                let (call, effect) = (cut.u64("call")?, cut.u8("effect")?);
                let reserved = cut.take("reserved", 7)?;
                zero(u32::from(reserved.iter().any(|b| *b != 0)))?;
                Frame::Withdrawn { call, effect: effect_of(effect)? }
            }
            15 => {
                let (copy, call) = (cut.u64("copy")?, cut.u64("call")?);
                let (address, length) = (cut.u64("address")?, cut.u64("length")?);
                check_copy(length)?;
                Frame::CopyFrom { copy, call, address, length, node: node(cut)? }
            }
            _ => return Err(WireError::UnknownKind(kind)),
        })
    }
}

fn data<'a>(flags: u8, cut: &mut Cut<'a>) -> Result<Frame<'a>, WireError> {
    if flags & !FLAG_LAST != 0 {
        return Err(WireError::BadValue { what: "flags", value: flags.into() });
    }
    let (copy, offset) = (cut.u64("copy")?, cut.u64("offset")?);
    bound("DATA bytes", COPY_CHUNK_BYTES, cut.left())?;
    Ok(Frame::Data { copy, offset, last: flags & FLAG_LAST != 0, bytes: cut.rest() })
}

fn copy_relay<'a>(cut: &mut Cut<'a>) -> Result<Frame<'a>, WireError> {
    let (copy, call) = (cut.u64("copy")?, cut.u64("call")?);
    let (address, length) = (cut.u64("address")?, cut.u64("length")?);
    check_copy(length)?;
    let to_node = node(cut)?;
    let (to_call, to_address) = (cut.u64("call")?, cut.u64("address")?);
    Ok(Frame::CopyRelay { copy, call, address, length, to_node, to_call, to_address })
}

fn node(cut: &mut Cut<'_>) -> Result<NodeId, WireError> {
    let value = cut.u64("node")?;
    let node = u16::try_from(value).map_err(|_| WireError::BadValue { what: "node", value })?;
    check_node(node)?;
    Ok(NodeId(node))
}

fn endpoint(cut: &mut Cut<'_>) -> Result<Endpoint, WireError> {
    Ok(Endpoint::from_raw(cut.i32("endpoint")?))
}

fn zero(value: u32) -> Result<(), WireError> {
    if value == 0 { Ok(()) } else { Err(WireError::BadValue { what: "reserved", value: value.into() }) }
}

/// The last field of its frame: the header, then as many inline bytes as the header says, no more.
fn message(cut: &mut Cut<'_>) -> Result<Message, WireError> {
    let mut all = [0; MESSAGE_BYTES];
    let used = cut.left();
    let limit = all.len();
    let room = all.get_mut(..used).ok_or(WireError::TooLong { what: "message", limit, got: used })?;
    room.copy_from_slice(cut.rest());
    if used < HEADER_BYTES {
        return Err(WireError::Short { what: "message header", need: HEADER_BYTES, got: used });
    }
    let msg = Message::from_bytes(&all).ok_or(WireError::BadValue { what: "message", value: 0 })?;
    check_message(&msg)?;
    if msg.len() != used - HEADER_BYTES {
        return Err(WireError::BadValue { what: "inline length", value: msg.len() as u64 });
    }
    Ok(msg)
}

fn grants(cut: &mut Cut<'_>, n: usize) -> Result<Grants, WireError> {
    bound("grants", GRANTS_PER_CALL, n)?;
    let mut all = [Grant { address: 0, length: 0, access: Access::Read }; GRANTS_PER_CALL];
    for grant in &mut all[..n] {
        let (address, length, access) = (cut.u64("grant")?, cut.u64("grant")?, cut.u64("access")?);
        let known = u8::try_from(access).ok().and_then(Access::from_u8);
        *grant = Grant {
            address,
            length,
            access: known.ok_or(WireError::BadValue { what: "access", value: access })?,
        };
    }
    Grants::new(&all[..n]).ok_or(WireError::BadValue { what: "grants", value: n as u64 })
}

/// The last field of its frame.
fn error(cut: &mut Cut<'_>) -> Result<Option<Error>, WireError> {
    let code = cut.i32("error code")?;
    let peer = endpoint(cut)?;
    let (fault, effect, n) = (cut.u8("fault")?, cut.u8("effect")?, cut.u8("cycle")?);
    zero(u32::from(cut.u8("reserved")?) | cut.u32("reserved")?)?;
    if code == 0 {
        zero(peer.raw() as u32 | u32::from(fault) | u32::from(effect) | u32::from(n))?;
        return Ok(None);
    }
    let mut e = Error::new(code_of(code)?, effect_of(effect)?).at(peer);
    e.fault = fault_of(fault)?;
    bound("cycle", WAIT_CHAIN_MAX, usize::from(n))?;
    if n > 0 {
        e.cycle = Some((0..n).map(|_| endpoint(cut)).collect::<Result<_, _>>()?);
    }
    Ok(Some(e))
}
