//! The control thread: reads what the daemon says and carries it in.

use super::ask::slot_of;
use super::lanes::{Peer, Shore, Use, key};
use super::{Channel, Mapped, Outside};
use crate::bell::Ringer;
use crate::control::{self, Answer, Event, FromDaemon, Request};
use crate::link::Side;
use crate::process::{Held, Shared};
use crate::wait::{Kick, Wake};
use dvs_abi::limits::NOTICES_RECORD_MAX;
use dvs_abi::{Call, CallSet, Code, DcId, Endpoint, Error};
use dvs_kern::rendezvous::Ix;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Weak};

/// Reads records until the daemon or the process ends.
pub(super) fn run(channel: &dyn Channel, shared: &Weak<Shared>) {
    while let Some((bytes, memories)) = channel.receive() {
        let Some(shared) = shared.upgrade() else { return };
        let Some(o) = shared.outside() else { return };
        match control::decode(&bytes) {
            Ok(FromDaemon::Reply { id, result }) => {
                if let (Ok(answer), Some(wake)) = (&result, o.binder(id)) {
                    shared.enter_bound(answer, wake);
                }
                let woken = o.answer(id, result.map_err(Error::from));
                shared.carry(woken);
            }
            // What was said before is carried in by now.
            Ok(FromDaemon::Event(Event::Mark { mark })) => o.tell_later(Request::Heard { mark }),
            Ok(FromDaemon::Event(event)) => o.event(&shared, event, memories),
            // A daemon that writes nonsense is a broken one: end the session.
            Err(_) => break,
        }
        o.unsent.send(channel);
    }
    if let Some(shared) = shared.upgrade() {
        shared.daemon_ended();
    }
}

impl Shared {
    /// Enters what the daemon bound here before its next record is read: that may be a lane to it.
    fn enter_bound(&self, answer: &Answer, wake: Arc<dyn Wake>) {
        let (Some(slot), Some(o)) = (slot_of(answer), self.outside()) else { return };
        let (dc, endpoint) = (slot.dc, slot.endpoint);
        let mut core = self.lock();
        // Without a place the endpoint is missing from the table, and whoever asked for it gives it back.
        if let Ok(ix) = core.enter(slot, wake) {
            // Whoever waited for it to be bound may have been given a lane before this answer.
            o.entered(&mut core, dc, endpoint, ix);
        }
        core.release();
    }

    fn carry(&self, woken: impl IntoIterator<Item = (Kick, Arc<dyn Wake>)>) {
        for (kick, wake) in woken {
            match kick {
                Kick::No => {}
                Kick::Sleeps => wake.kick(),
                Kick::Polls => self.nudge(),
            }
        }
    }

    /// Every wait that depends on the outside ends with `DVSINIT`.
    fn daemon_ended(&self) {
        let Some(o) = self.outside() else { return };
        o.ended.store(true, Ordering::Release);
        let mut core = self.lock();
        {
            let mut lanes = o.lanes();
            for k in lanes.keys() {
                // Each side ends its own calls: closing the lanes of those who call here would tell them that
                // this process died, before they hear of the daemon.
                if let Some(Use::Out { closed, .. }) = lanes.get_mut(k) {
                    *closed = Some(Code::DVSINIT);
                    lanes.with_lane(k, |l| l.close());
                }
            }
        }
        o.look_at_all(&mut core);
        let all: Vec<_> = core.table.iter().map(|(ix, _)| ix).collect();
        for ix in all {
            let c = &mut *core;
            // Asking for it to be changed makes ports check again, and learn of the end.
            let _ = c.table.slot_mut(ix);
            if matches!(c.table.slot(ix).phase(), dvs_kern::rendezvous::Phase::Receiving(_)) {
                c.table.interrupt(ix, Code::DVSINIT, None, &mut c.out);
            }
        }
        core.release();
        let woken = o.fail_pending();
        self.carry(woken);
    }
}

impl Outside {
    /// Sends a record that has no answer, now or as soon as there is room. The control thread never waits for
    /// that: the daemon reads nothing from a session that does not read what it was told.
    fn tell_later(&self, request: Request) {
        self.unsent.add(request);
    }

    fn event(&self, shared: &Shared, event: Event, memories: Vec<Mapped>) {
        let mut core = shared.lock();
        match event {
            Event::Link { link, side, bell_link, .. } => self.link(link, side, bell_link, memories),
            Event::LaneOpened { link, lane, dc, from, to, remote, may, peer_pid, binding } => {
                let (k, to, from) = (key(link, lane), Endpoint::from_raw(to), Endpoint::from_raw(from));
                let dc = DcId(dc);
                let peer = Peer { remote, pid: peer_pid, may: CallSet(may), binding };
                let mut lanes = self.lanes();
                if let Some(ix) = core.table.find(dc, to) {
                    lanes.enter(k, Use::incoming(ix, from, peer));
                    self.lane_news(&mut core, &mut lanes, k);
                } else {
                    lanes.enter(k, Use::Early { dc, to, from, peer });
                }
            }
            Event::LaneClosed { link, lane, code } => self.lane_closed(&mut core, link, lane, code),
            Event::LinkClosed { link } => self.lanes().remove_shore(link),
            Event::Gone { dc, endpoint } => {
                let gone = (dc, endpoint);
                self.watched.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&gone);
                let c = &mut *core;
                c.table.gone(DcId(dc), Endpoint::from_raw(endpoint), &mut c.out);
            }
            Event::DcEnded { dc } => {
                let all: Vec<_> =
                    core.table.iter().filter(|(_, s)| s.dc == DcId(dc)).map(|(ix, _)| ix).collect();
                for ix in all {
                    shared.interrupt_held(&mut core, ix, Code::DCNOTRUN);
                    core.table.slot_mut(ix).ended = Some(Code::DCNOTRUN);
                }
            }
            Event::LeasedAgain => self.release_withheld(&core, None),
            Event::Closing => {}
            other => self.endpoint_event(shared, &mut core, other),
        }
        core.release();
    }

    fn link(&self, link: u16, side: u8, bell_link: u16, memories: Vec<Mapped>) {
        let mut m = memories.into_iter();
        let (Some(Mapped::Memory(memory)), Some(Mapped::Memory(bell)), Some(status)) =
            (m.next(), m.next(), m.next())
        else {
            return;
        };
        let status = match status {
            Mapped::View(v) => v,
            Mapped::Memory(m) => m,
        };
        let side = if side == 0 { Side::A } else { Side::B };
        if let Some(ringer) = Ringer::new(bell, status) {
            self.lanes().add_shore(link, Shore { memory, side, ringer, bell_link });
        }
    }

    /// The other end of a lane is gone, or it may not be used any more.
    fn lane_closed(&self, core: &mut Held<'_>, link: u16, lane: u8, code: i32) {
        let k = key(link, lane);
        let code = Code::from_i32(code).unwrap_or(Code::DSTDIED);
        let mut lanes = self.lanes();
        lanes.with_lane(k, |l| l.close());
        match lanes.get(k) {
            Some(&Use::Out { ix, seq, .. }) => {
                if let Some(Use::Out { closed, .. }) = lanes.get_mut(k) {
                    *closed = Some(code);
                }
                if seq != 0 {
                    // The caller collects the end of its call and then gives the lane back.
                    drop(lanes);
                    let c = &mut **core;
                    c.table.lane_progress(ix, &mut c.out);
                    return;
                }
            }
            Some(&Use::In { ix, from, peer: Peer { may, .. }, .. }) => {
                // Dekker with a notifier that finds the lane closed after it wrote.
                fence(Ordering::SeqCst);
                let late =
                    lanes.with_lane(k, |l| l.take_notice()).flatten().filter(|_| may.has(Call::Notify));
                let slot = core.table.slot(ix);
                if let Some(value) = late.filter(|_| !slot.is_bound() && code == Code::MIGRATE) {
                    let (dc, endpoint) = (slot.dc, slot.endpoint);
                    self.carry(dc, endpoint, &[(from.raw(), value, self.host.now())]);
                }
                core.table.lane_closed(ix, from, k);
                if code == Code::DSTDIED {
                    // Its pending notifications end with it (facts §2.10), and who receives from it alone
                    // learns it.
                    let dc = core.table.slot(ix).dc;
                    let c = &mut **core;
                    c.table.gone(dc, from, &mut c.out);
                }
            }
            Some(Use::Early { .. } | Use::Dead) | None => {}
        }
        lanes.remove(k);
        drop(lanes);
        self.tell_later(Request::FreeLane { link, lane });
    }

    /// What an endpoint was notified of and has not received: from its table and from its lanes.
    fn notices_of(&self, core: &Held<'_>, ix: Ix) -> Vec<(i32, u64, u64)> {
        let pending = core.table.pending(ix).map(|(source, value, at)| (source.raw(), value, at));
        let mut all: Vec<_> = pending.collect();
        let (lanes, now) = (self.lanes(), self.host.now());
        for k in lanes.of(ix) {
            if let Some(&Use::In { from, peer, .. }) = lanes.get(k)
                && peer.may.has(Call::Notify)
                && let Some(value) = lanes.with_lane(k, |l| l.take_notice()).flatten()
            {
                all.push((from.raw(), value, now));
            }
        }
        all
    }

    /// Hands notifications of an endpoint that moved away back to the daemon.
    fn carry(&self, dc: DcId, endpoint: Endpoint, notices: &[(i32, u64, u64)]) {
        for part in notices.chunks(NOTICES_RECORD_MAX) {
            self.tell(Request::CarryNotices { dc: dc.0, endpoint: endpoint.raw(), notices: part.to_vec() });
        }
    }

    fn endpoint_event(&self, shared: &Shared, core: &mut Held<'_>, event: Event) {
        let (dc, endpoint) = match &event {
            Event::Unbind { dc, endpoint }
            | Event::Withdrawn { dc, endpoint }
            | Event::Wakeup { dc, endpoint }
            | Event::Freeze { dc, endpoint }
            | Event::Thaw { dc, endpoint }
            | Event::Moved { dc, endpoint }
            | Event::Instance { dc, endpoint, .. }
            | Event::Privileges { dc, endpoint, .. }
            | Event::Deadlock { dc, endpoint, .. }
            | Event::Ended { dc, to: endpoint, .. }
            | Event::Notice { dc, endpoint, .. } => (DcId(*dc), Endpoint::from_raw(*endpoint)),
            _ => return,
        };
        let Some(ix) = core.table.find(dc, endpoint) else { return };
        match event {
            Event::Unbind { .. } => {
                shared.stop_held(core, ix, Code::SHUTDOWN);
            }
            Event::Withdrawn { .. } => {
                shared.interrupt_held(core, ix, Code::NOTBIND);
                core.table.slot_mut(ix).ended = Some(Code::NOTBIND);
            }
            Event::Wakeup { .. } => {
                let c = &mut **core;
                // PROCRUN only says that the wake-up is remembered.
                let _ = c.table.wakeup(ix, &mut c.out);
            }
            Event::Freeze { .. } => core.table.slot_mut(ix).frozen = true,
            Event::Thaw { .. } => {
                core.table.slot_mut(ix).frozen = false;
                let c = &mut **core;
                c.table.look_again(ix, &mut c.out);
            }
            Event::Instance { may, after, .. } => {
                core.table.slot_mut(ix).instance = Some((may, after));
                self.release_withheld(core, Some(ix));
            }
            Event::Moved { .. } => {
                shared.interrupt_held(core, ix, Code::RMTPROC);
                let notices = self.notices_of(core, ix);
                self.carry(dc, endpoint, &notices);
                let c = &mut **core;
                c.table.unbind(ix, true, &mut c.out);
            }
            Event::Privileges { privileges, .. } => {
                if let Some(p) = privileges.privileges() {
                    core.table.slot_mut(ix).privileges = p;
                }
            }
            Event::Deadlock { call, cycle, .. } => {
                let cycle: Vec<_> = cycle.into_iter().map(Endpoint::from_raw).collect();
                shared.break_circle(core, ix, call, cycle);
            }
            Event::Ended { from, mtype, code, .. } => {
                let c = &mut **core;
                // One too many is not told: whoever let so many pile up does not look.
                let _ = c.table.warn(ix, Endpoint::from_raw(from), mtype, code, &mut c.out);
            }
            Event::Notice { source, value, timestamp, .. } => {
                let c = &mut **core;
                // OVERRUN only says that one was pending already.
                let _ = c.table.notice(ix, Endpoint::from_raw(source), value, timestamp, &mut c.out);
            }
            _ => {}
        }
    }
}
