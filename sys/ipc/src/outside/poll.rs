//! Who looks at the doorbell, and what it brings.

use super::Outside;
use super::lanes::{Lanes, Use, key};
use crate::bell::{Pending, Spun, Waited, bits};
use crate::lane::Progress;
use crate::link::Link;
use crate::process::{Core, Shared};
use crate::wait::{Wake, Why};
use dvs_abi::{Call, Code, DcId, Deadline, Effect, Endpoint, Kind};
use dvs_kern::rendezvous::{Cmd, Ix, LaneKey};
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

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

    /// A thread is about to sleep on its own: it takes over the polling when the one that polls stops. False
    /// when that has just stopped and may not have seen it: then it must not sleep.
    pub(crate) fn add_sleeper(&self, sleeper: &Arc<dyn Wake>) -> bool {
        let Some(o) = self.outside() else { return true };
        o.sleepers.add(sleeper);
        // Dekker with `Turn::stop`: it lets go of the doorbell and then counts the sleepers.
        fence(Ordering::SeqCst);
        if !matches!(o.bell.try_lock(), Err(TryLockError::WouldBlock)) {
            o.sleepers.remove(sleeper);
            return false;
        }
        true
    }

    /// It sleeps no more.
    pub(crate) fn remove_sleeper(&self, sleeper: &Arc<dyn Wake>) {
        if let Some(o) = self.outside() {
            o.sleepers.remove(sleeper);
        }
    }
}

/// Threads that sleep on their own while another polls.
#[derive(Default)]
pub(super) struct Sleepers {
    all: Mutex<Vec<Arc<dyn Wake>>>,
    /// How many, so that the process with one thread asks no lock.
    count: AtomicUsize,
}

impl Sleepers {
    fn all(&self) -> MutexGuard<'_, Vec<Arc<dyn Wake>>> {
        self.all.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn add(&self, sleeper: &Arc<dyn Wake>) {
        let mut all = self.all();
        all.push(sleeper.clone());
        self.count.store(all.len(), Ordering::Relaxed);
    }

    fn remove(&self, sleeper: &Arc<dyn Wake>) {
        let mut all = self.all();
        if let Some(at) = all.iter().position(|w| Arc::ptr_eq(w, sleeper)) {
            all.swap_remove(at);
        }
        self.count.store(all.len(), Ordering::Relaxed);
    }

    fn last(&self) -> Option<Arc<dyn Wake>> {
        if self.count.load(Ordering::Relaxed) == 0 { None } else { self.all().last().cloned() }
    }
}

impl Turn<'_> {
    /// Waits on the doorbell and brings in what it says, until `done` or the deadline. `now` is what the
    /// clock said just before, if it was looked at. `looks` is called when
    /// the wait on the bell is over: from then on to the next `done` nobody has to ring for what concerns
    /// this thread.
    pub fn poll(
        mut self,
        deadline: Deadline,
        mut now: Option<u64>,
        done: &dyn Fn() -> bool,
        looks: &dyn Fn(),
    ) -> Why {
        let host = &*self.outside.host;
        loop {
            if done() {
                return self.stop(Why::Set);
            }
            let (bell, policy) = &mut *self.bell;
            let (peer, cpu) = (self.outside.lanes().last_peer_cpu(), host.cpu());
            if peer == Some(cpu) {
                bell.give_way(host, now);
            }
            now = None;
            let spin = policy.spin_ns(peer, cpu);
            let waited = bell.wait(host, deadline, spin);
            looks();
            match bell.spun() {
                Spun::Hit => policy.on_result(true),
                Spun::Miss => policy.on_result(false),
                Spun::Not => {}
            }
            match waited {
                Waited::Rung(pending) => {
                    let mut core = self.shared.lock();
                    self.outside.news(&mut core, &pending);
                    self.outside.all_brought(self.outside.glance.taken());
                    core.release();
                }
                Waited::Recheck => {
                    let mut core = self.shared.lock();
                    self.outside.look_at_all(&mut core);
                    self.outside.all_brought(self.outside.glance.taken());
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
        fence(Ordering::SeqCst);
        if let Some(next) = outside.sleepers.last() {
            next.set();
            next.kick();
        }
        why
    }
}

impl Outside {
    /// Brings in what has rung, without waiting. True when a lane has rung whose opening the control thread
    /// has not read yet.
    pub(crate) fn look(&self, core: &mut Core) -> bool {
        // Nearly always there is nothing, and no lock is needed to see that.
        if self.glance.unseen(self.brought.load(Ordering::Relaxed)) {
            self.look_closely(core);
        }
        self.puzzled.load(Ordering::Relaxed) != self.caught_up.load(Ordering::Relaxed)
    }

    fn look_closely(&self, core: &mut Core) {
        match self.bell.try_lock() {
            Ok(mut bell) => {
                let pending = bell.0.poll();
                let taken = self.glance.taken();
                drop(bell);
                if !pending.is_empty() {
                    self.news(core, &pending);
                    self.all_brought(taken);
                }
            }
            // Another thread waits on the bell, and may have taken from it what it will bring in only when
            // we let go of the table.
            Err(_) => self.look_at_ready(core),
        }
    }

    /// What was `taken` from the bell, as read by whoever had it, is in the table, whose lock is held.
    fn all_brought(&self, taken: u64) {
        self.brought.fetch_max(taken, Ordering::Relaxed);
    }

    /// Looks at every lane that says that there is news, whatever the bell says.
    #[cold]
    fn look_at_ready(&self, core: &mut Core) {
        let mut lanes = self.lanes();
        for link in lanes.links() {
            self.link_news(core, &mut lanes, link);
        }
    }

    /// How many times an unknown lane has rung.
    pub(super) fn puzzled_times(&self) -> u64 {
        self.puzzled.load(Ordering::Relaxed)
    }

    /// The daemon's word of all those was read.
    pub(super) fn caught_up(&self, puzzled: u64) {
        self.caught_up.fetch_max(puzzled, Ordering::Relaxed);
    }

    fn news(&self, core: &mut Core, pending: &Pending) {
        let mut lanes = self.lanes();
        for link in pending.links() {
            self.link_news(core, &mut lanes, link as u16);
        }
    }

    fn link_news(&self, core: &mut Core, lanes: &mut Lanes, link: u16) {
        lanes.set_last_link(link);
        let ready = match lanes.shore(link) {
            Some(s) => Link::new(s.memory.words()).map_or(0, |l| l.take_ready(s.side)),
            None => {
                self.puzzled(lanes, key(link, 0));
                0
            }
        };
        for lane in bits(ready) {
            self.lane_news(core, lanes, key(link, lane as u8));
        }
    }

    /// Looks at every lane, whatever the bell says: a hostile peer may have erased what others rang.
    pub(super) fn look_at_all(&self, core: &mut Core) {
        let mut lanes = self.lanes();
        for k in lanes.keys() {
            self.lane_news(core, &mut lanes, k);
        }
    }

    /// An endpoint was entered into the table: what came to it before is brought in.
    pub(crate) fn entered(&self, core: &mut Core, dc: DcId, endpoint: Endpoint, ix: Ix) {
        let mut lanes = self.lanes();
        for key in lanes.adopt(dc, endpoint, ix) {
            self.lane_news(core, &mut lanes, key);
        }
    }

    /// Looks at one lane and tells the table what is new.
    pub(super) fn lane_news(&self, core: &mut Core, lanes: &mut Lanes, key: LaneKey) {
        match lanes.get(key) {
            Some(&Use::Out { ix, seq, .. }) if seq != 0 => call_news(core, lanes, key, ix, seq),
            Some(Use::In { .. }) => self.incoming(core, lanes, key),
            // Unknown: whoever reads its `LaneOpened` looks at it.
            None => self.puzzled(lanes, key),
            _ => {}
        }
    }

    /// Remembers that a lane rang that is not known; once, or a peer that rings for nothing would have us ask
    /// the daemon for ever.
    fn puzzled(&self, lanes: &mut Lanes, key: LaneKey) {
        if lanes.puzzles(key) {
            self.puzzled.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn incoming(&self, core: &mut Core, lanes: &mut Lanes, key: LaneKey) {
        let (notice, call) = lanes.with_lane(key, |l| (l.take_notice(), l.peek())).unwrap_or((None, None));
        let Some(Use::In { ix, from, peer, seen, .. }) = lanes.get_mut(key) else { return };
        let (ix, from, may) = (*ix, *from, peer.may);
        let call = call.filter(|(seq, _)| *seq != *seen);
        if let Some((seq, _)) = call {
            *seen = seq;
        }
        if let Some(value) = notice
            && may.has(Call::Notify)
        {
            // The notifier may be the one whose answer our endpoint awaits: see how far that call is.
            if let Some((k, seq)) = lanes.current(ix) {
                call_news(core, lanes, k, ix, seq);
            }
            let now = self.host.now();
            // OVERRUN only says that one was pending already.
            let _ = core.table.notice(ix, from, value, now, &mut core.out);
        }
        let Some((seq, kind)) = call else { return };
        let call = if kind == Kind::Request { Call::Sendrec } else { Call::Send };
        if !may.has(call) {
            if lanes.with_lane(key, |l| l.fail(seq, Code::BADCALL, Effect::No).is_ok()) == Some(true) {
                lanes.tell_peer(&*self.host, key);
            }
            return;
        }
        if core.table.arrive(ix, from, key, seq, kind, &mut core.out).is_err() {
            lanes.with_lane(key, |l| l.close());
        }
    }
}

fn call_news(core: &mut Core, lanes: &Lanes, key: LaneKey, ix: Ix, seq: u64) {
    match lanes.with_lane(key, |l| l.progress(seq)) {
        Some(Progress::Posted) => {}
        Some(Progress::Taken) => core.table.lane_consumed(ix),
        // Whoever leaves it finds out how.
        Some(Progress::Released) => core.out.push(Cmd::Wake(ix)),
        _ => core.table.lane_progress(ix, &mut core.out),
    }
}
