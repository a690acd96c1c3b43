//! Copies between a server and the memory its callers lent.
//!
//! The rule is one: a range is reached only if one grant of a caller that awaits *this* endpoint's answer
//! covers it with the right access. While bytes move, the caller cannot leave its call (facts §2.0: a
//! time-out waits for the end of a copy), so the memory it lent stays lent; long copies are cut into chunks
//! between which it can.

use crate::control::{CopyPart, Request};
use crate::host::Space;
use crate::lane::CopyEnd;
use crate::outside::{Outside, ask_to_the_end};
use crate::port::Port;
use crate::wait::Wait;
use dvs_abi::limits::{COPY_BYTES_MAX, COPY_HOLD_BYTES};
use dvs_abi::{Access, Call, Code, Effect, Endpoint, Error, Grant, Result};
use dvs_kern::rendezvous::{Client, Ix, LaneKey};

/// One side of a copy.
#[derive(Clone, Copy)]
enum Place {
    Own,
    Here(Ix),
    Lane { key: LaneKey, seq: u64, pid: u32, remote: bool },
}

/// Copies between this endpoint's own memory (`SELF`) and a client's.
pub(crate) fn copy<W: Wait>(
    port: &Port<W>,
    src: (Endpoint, u64),
    dst: (Endpoint, u64),
    length: u64,
) -> Result<()> {
    if length > COPY_BYTES_MAX {
        return Err(Error::early(Code::RANGE));
    }
    let from = place(port, src, length, Access::Read)?;
    let to = place(port, dst, length, Access::Write)?;
    if length == 0 {
        return Ok(());
    }
    let remote = |p: &Place| matches!(p, Place::Lane { remote: true, .. });
    let far = remote(&from) || remote(&to);
    let done = if far {
        let part = |p: Place, address| match p {
            Place::Lane { key, seq, .. } => {
                let (link, lane) = crate::outside::parts(key);
                CopyPart::Client { link, lane, seq, address }
            }
            Place::Own | Place::Here(_) => CopyPart::Own { address },
        };
        let request = Request::Copy { from: part(from, src.1), to: part(to, dst.1), length };
        ask_to_the_end(port.process(), port.home(), request, port.inherited()).map(|_| ())
    } else {
        near(port, (from, src), (to, dst), length)
    };
    if let Some(o) = port.process().shared().outside() {
        o.copied(port.board(), far);
    }
    done
}

/// The checks of a copy a third endpoint orders (facts §2.12), then the copy.
pub(crate) fn third_party<W: Wait>(
    port: &Port<W>,
    src: (Endpoint, u64),
    dst: (Endpoint, u64),
    length: u64,
) -> Result<()> {
    let own = |e: Endpoint| if e == port.endpoint() { Endpoint::SELF } else { e };
    let (src, dst) = ((own(src.0), src.1), (own(dst.0), dst.1));
    {
        let core = port.process().shared().lock();
        let s = core.table.slot(port.ix());
        s.may(Call::Vcopy).map_err(Error::early)?;
        if !s.is_system() {
            return Err(Error::early(Code::TRAPDENIED));
        }
    }
    for e in [src.0, dst.0] {
        if e == Endpoint::ANY || e == Endpoint::NONE || src.0 == dst.0 {
            return Err(Error::early(Code::ENDPOINT).at(e));
        }
        if e == Endpoint::HARDWARE {
            return Err(Error::early(Code::BADDEST).at(e));
        }
    }
    if src.0 == Endpoint::SELF || dst.0 == Endpoint::SELF {
        // Own memory by bare address would let safe code read and write anything: it is named by a slice
        // instead.
        return Err(Error::early(Code::INVAL));
    }
    copy(port, src, dst, length)
}

/// Where a side is, checked against what it lent.
fn place<W: Wait>(port: &Port<W>, side: (Endpoint, u64), length: u64, wanted: Access) -> Result<Place> {
    if side.0 == Endpoint::SELF {
        return Ok(Place::Own);
    }
    let core = port.process().shared().lock();
    let at = |code| Error::early(code).at(side.0);
    let slot = core.table.slot(port.ix());
    if !side.0.in_table(slot.shape.tasks, slot.shape.procs) {
        return Err(at(Code::RANGE));
    }
    let (place, grants) = match slot.client(side.0) {
        None => return Err(at(Code::PROCSTS)),
        Some(Client::Local(ix)) => (Place::Here(ix), core.table.slot(ix).grants().to_vec()),
        Some(Client::Lane(key, seq)) => {
            let o = port.process().shared().outside().ok_or(at(Code::PROCSTS))?;
            let (pid, remote) = o.peer(key).ok_or(at(Code::SRCDIED))?;
            (Place::Lane { key, seq, pid, remote }, o.grants(key, seq))
        }
    };
    if grants.iter().any(|g: &Grant| g.covers(side.1, length, wanted)) {
        Ok(place)
    } else {
        Err(at(Code::FAULT))
    }
}

/// A copy within the node, in chunks during which both callers are held in their calls.
fn near<W: Wait>(
    port: &Port<W>,
    from: (Place, (Endpoint, u64)),
    to: (Place, (Endpoint, u64)),
    length: u64,
) -> Result<()> {
    let host = port.process().shared().host();
    let mut done = 0;
    while done < length {
        let n = (length - done).min(COPY_HOLD_BYTES);
        let effect = if done == 0 { Effect::No } else { Effect::Unknown };
        hold(port, from.0).map_err(|c| Error::new(c, effect).at(from.1.0))?;
        let copied = hold(port, to.0).map_err(|c| Error::new(c, effect).at(to.1.0)).and_then(|()| {
            let copied = host.copy(space(from.0), from.1.1 + done, space(to.0), to.1.1 + done, n);
            release(port, to.0);
            copied.map_err(|c| Error::new(c, Effect::Unknown))
        });
        release(port, from.0);
        copied?;
        done += n;
    }
    Ok(())
}

fn space(p: Place) -> Space {
    match p {
        Place::Own | Place::Here(_) => Space::Own,
        Place::Lane { pid, .. } => Space::Pid(pid),
    }
}

fn hold<W: Wait>(port: &Port<W>, p: Place) -> Result<(), Code> {
    match p {
        Place::Own => Ok(()),
        Place::Here(ix) => port.process().shared().lock().table.begin_copy(port.ix(), ix),
        Place::Lane { key, seq, .. } => {
            outside(port).and_then(|o| o.begin_copy(key, seq)).ok_or(Code::SRCDIED)
        }
    }
}

fn release<W: Wait>(port: &Port<W>, p: Place) {
    match p {
        Place::Own => {}
        Place::Here(ix) => {
            let mut core = port.process().shared().lock();
            core.table.end_copy(ix);
            // It may have wanted to leave meanwhile: it looks again.
            core.rouse(ix);
        }
        Place::Lane { key, seq, .. } => {
            if let Some(o) = outside(port) {
                o.end_copy(key, seq);
            }
        }
    }
}

fn outside<W: Wait>(port: &Port<W>) -> Option<&Outside> {
    port.process().shared().outside()
}

impl Outside {
    fn begin_copy(&self, key: LaneKey, seq: u64) -> Option<()> {
        self.with_lane(key, |l| l.begin_copy(seq).ok())?
    }

    fn end_copy(&self, key: LaneKey, seq: u64) {
        if self.with_lane(key, |l| l.end_copy(seq)) == Some(Ok(CopyEnd::CallerLeaves)) {
            self.tell_peer(key);
        }
    }
}
