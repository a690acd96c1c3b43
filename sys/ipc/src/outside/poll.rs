//! Who looks at the doorbell, and what it brings.

use super::Outside;
use super::lanes::{Use, key};
use crate::bell::{Spun, Waited, bits};
use crate::lane::Progress;
use crate::link::Link;
use crate::process::{Core, Shared};
use crate::wait::{Wake, Why};
use dvs_abi::{Call, Code, DcId, Deadline, Effect, Endpoint, Kind};
use dvs_kern::rendezvous::{Ix, LaneKey};
use std::sync::{Arc, MutexGuard};

/// The right to wait on the doorbell: one thread of the process at a time has it.
pub(crate) struct Turn<'a> {
    shared: &'a Shared,
    outside: &'a Outside,
    bell: MutexGuard<'a, (crate::bell::Bell, crate::bell::SpinPolicy)>,
}

impl Shared {
    /// The right to poll, unless another thread has it or there is no session.
    pub(crate) fn take_polling(&self) -> Option<Turn<'_>> {
        let outside = self.outside()?;
        let bell = outside.bell.try_lock().ok()?;
        Some(Turn { shared: self, outside, bell })
    }

    /// Wakes the thread that polls.
    pub(crate) fn nudge(&self) {
        if let Some(o) = self.outside() {
            o.own_ringer.ring_own(&*o.host);
        }
    }

    /// A thread sleeps on its own: it takes over the polling when the one that polls stops.
    pub(crate) fn add_sleeper(&self, sleeper: &Arc<dyn Wake>) {
        if let Some(o) = self.outside() {
            let mut s = o.sleepers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            s.push(sleeper.clone());
        }
    }

    /// It sleeps no more.
    pub(crate) fn remove_sleeper(&self, sleeper: &Arc<dyn Wake>) {
        if let Some(o) = self.outside() {
            let mut s = o.sleepers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some(at) = s.iter().position(|w| Arc::ptr_eq(w, sleeper)) {
                s.swap_remove(at);
            }
        }
    }
}

impl Turn<'_> {
    /// Waits on the doorbell and brings in what it says, until `done` or the deadline.
    pub fn poll(mut self, deadline: Deadline, done: &dyn Fn() -> bool) -> Why {
        let host = &*self.outside.host;
        let mut last_link = self.outside.lanes().last_link();
        loop {
            if done() {
                return self.stop(Why::Set);
            }
            let (bell, policy) = &mut *self.bell;
            let peer = last_link.and_then(|l| self.outside.lanes().peer_cpu(l));
            let spin = policy.spin_ns(peer, host.cpu());
            let waited = bell.wait(host, deadline, spin);
            match bell.spun() {
                Spun::Hit => policy.on_result(true),
                Spun::Miss => policy.on_result(false),
                Spun::Not => {}
            }
            match waited {
                Waited::Rung(pending) => {
                    let mut core = self.shared.lock();
                    for link in pending.links() {
                        self.outside.link_news(&mut core, link as u16);
                        last_link = Some(link as u16);
                    }
                    core.release();
                }
                Waited::Recheck => {
                    let mut core = self.shared.lock();
                    self.outside.look_at_all(&mut core);
                    core.release();
                }
                Waited::TimedOut => return self.stop(Why::TimedOut),
                Waited::Interrupted => return self.stop(Why::Interrupted),
            }
        }
    }

    /// Lets go of the doorbell and wakes a sleeper to take it over.
    fn stop(self, why: Why) -> Why {
        let outside = self.outside;
        drop(self);
        let next = {
            let s = outside.sleepers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            s.last().cloned()
        };
        if let Some(next) = next {
            next.set();
            next.kick();
        }
        why
    }
}

impl Outside {
    /// Brings in what has rung, without waiting; does nothing when another thread polls.
    pub(crate) fn look(&self, core: &mut Core) {
        let Ok(mut bell) = self.bell.try_lock() else { return };
        let pending = bell.0.poll();
        drop(bell);
        if !pending.is_empty() {
            for link in pending.links() {
                self.link_news(core, link as u16);
            }
        }
    }

    fn link_news(&self, core: &mut Core, link: u16) {
        let ready = {
            let mut lanes = self.lanes();
            lanes.set_last_link(link);
            match lanes.shore(link) {
                Some(s) => Link::new(s.memory.words()).map_or(0, |l| l.take_ready(s.side)),
                None => 0,
            }
        };
        for lane in bits(ready) {
            self.lane_news(core, key(link, lane as u8));
        }
    }

    /// Looks at every lane, whatever the bell says: a hostile peer may have erased what others rang.
    pub(super) fn look_at_all(&self, core: &mut Core) {
        let keys = self.lanes().keys();
        for k in keys {
            self.lane_news(core, k);
        }
    }

    /// An endpoint was entered into the table: what came to it before is brought in.
    pub(crate) fn entered(&self, core: &mut Core, dc: DcId, endpoint: Endpoint, ix: Ix) {
        let early = self.lanes().adopt(dc, endpoint, ix);
        for key in early {
            self.lane_news(core, key);
        }
    }

    /// Looks at one lane and tells the table what is new.
    pub(super) fn lane_news(&self, core: &mut Core, key: LaneKey) {
        let used = self.lanes().get(key);
        match used {
            Some(Use::Out { ix, seq, .. }) if seq != 0 => self.call_news(core, key, ix, seq),
            Some(Use::In { .. }) => self.incoming(core, key),
            // Unknown: whoever reads its `LaneOpened` looks at it.
            _ => {}
        }
    }

    fn call_news(&self, core: &mut Core, key: LaneKey, ix: u32, seq: u64) {
        match self.lanes().with_lane(key, |l| l.progress(seq)) {
            Some(Progress::Posted) => {}
            Some(Progress::Taken) => core.table.lane_consumed(ix),
            _ => core.table.lane_progress(ix, &mut core.out),
        }
    }

    fn incoming(&self, core: &mut Core, key: LaneKey) {
        let Some(Use::In { ix, from, may, seen, .. }) = self.lanes().get(key) else { return };
        let (notice, call) =
            self.lanes().with_lane(key, |l| (l.take_notice(), l.peek())).unwrap_or((None, None));
        if let Some(value) = notice
            && may.has(Call::Notify)
        {
            // The notifier may be the one whose answer our endpoint awaits: see how far that call is.
            let current = self.lanes().current(ix);
            if let Some((k, seq)) = current {
                self.call_news(core, k, ix, seq);
            }
            let now = self.host.now();
            // OVERRUN only says that one was pending already.
            let _ = core.table.notice(ix, from, value, now, &mut core.out);
        }
        let Some((seq, kind)) = call else { return };
        if seq == seen {
            return;
        }
        if let Some(Use::In { seen, .. }) = self.lanes().get_mut(key) {
            *seen = seq;
        }
        let call = if kind == Kind::Request { Call::Sendrec } else { Call::Send };
        if !may.has(call) {
            let e = dvs_abi::Error::new(Code::BADCALL, Effect::No);
            self.refuse(key, seq, &e);
            return;
        }
        if core.table.arrive(ix, from, key, seq, kind, &mut core.out).is_err() {
            self.lanes().with_lane(key, |l| l.close());
        }
    }
}
