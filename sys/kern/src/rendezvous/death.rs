//! The end of an endpoint: everybody that depends on it learns the truth at once.

use super::{Client, Cmd, Filter, Ix, Outcome, Party, Phase, Rendezvous};
use dvs_abi::{Code, DcId, Effect, Endpoint, Error};

/// Watchers kept before stale ones are thrown out.
const WATCHERS_KEPT: usize = 64;

impl Rendezvous {
    pub(super) fn watch(&mut self, of: Ix, watcher: Ix) {
        let s = &self.slots[of as usize];
        if s.watchers.contains(&watcher) {
            return;
        }
        let endpoint = s.endpoint;
        let mut list = std::mem::take(&mut self.slots[of as usize].watchers);
        if list.len() >= WATCHERS_KEPT {
            list.retain(|&w| self.slots[w as usize].phase == Phase::Receiving(Filter::From(endpoint)));
        }
        list.push(watcher);
        self.slots[of as usize].watchers = list;
    }

    /// Removes an endpoint (facts §2.5.2, cleanup). `moved`: it lives on elsewhere, so those in its queue
    /// repeat their calls instead of failing.
    pub fn unbind(&mut self, ix: Ix, moved: bool, out: &mut Vec<Cmd>) {
        let s = &mut self.slots[ix as usize];
        if !s.bound {
            return;
        }
        s.bound = false;
        // Of an instance the daemon says what becomes of the calls: others may serve them.
        let others = s.instance.is_some() && !moved;
        let (dc, endpoint, tasks) = (s.dc, s.endpoint, s.shape.tasks);
        let queue = std::mem::take(&mut s.queue);
        let clients = std::mem::take(&mut s.clients);
        let watchers = std::mem::take(&mut s.watchers);
        let notified = std::mem::replace(&mut s.has_notified, false);
        let phase = std::mem::take(&mut s.phase);
        s.notices.clear();
        s.warnings.clear();
        s.outcome = None;
        if let Some(at) = usize::try_from(endpoint.slot() + tasks).ok()
            && let Some(place) = self.places.get_mut(dc.0 as usize).and_then(|p| p.get_mut(at))
        {
            *place = 0;
        }
        self.bound -= 1;
        self.changes += 1;
        self.free.push(ix);
        self.leave_everything(ix, dc, endpoint, phase);
        let early = if moved { Code::MIGRATE } else { Code::DSTDIED };
        for e in queue {
            match e.party {
                Party::Local(sender) if moved => self.end(sender, Outcome::Repeat, out),
                Party::Local(sender) => {
                    self.end(sender, Outcome::Failed(Error::early(Code::DSTDIED).at(endpoint)), out);
                }
                Party::Lane(..) if others => {}
                Party::Lane(lane, seq) => {
                    out.push(Cmd::Refuse(lane, seq, early, Effect::No));
                }
                // Nobody waits for it.
                Party::Ended => {}
            }
        }
        let late = Error::new(Code::SRCDIED, Effect::Unknown).at(endpoint);
        for (_, client) in clients.into_iter() {
            match client {
                Client::Local(c) if self.slots[c as usize].phase == Phase::Awaiting(endpoint) => {
                    self.end(c, Outcome::Failed(late.clone()), out);
                }
                Client::Local(_) => {}
                Client::Lane(..) if others => {}
                Client::Lane(lane, seq) => out.push(Cmd::Refuse(lane, seq, late.code, late.effect)),
            }
        }
        for w in watchers {
            self.source_died(w, endpoint, out);
        }
        if notified {
            self.forget_notices(dc, endpoint);
        }
    }

    /// `ix` had been waiting somewhere: it leaves that queue or that list of clients.
    fn leave_everything(&mut self, ix: Ix, dc: DcId, endpoint: Endpoint, phase: Phase) {
        let Some(dst) = phase.waits_for().and_then(|to| self.find(dc, to)) else { return };
        self.leave_queue(ix, dst);
        self.slots[dst as usize].clients.remove(&endpoint);
    }

    fn source_died(&mut self, watcher: Ix, source: Endpoint, out: &mut Vec<Cmd>) {
        let s = &self.slots[watcher as usize];
        if s.bound && s.outcome.is_none() && s.phase == Phase::Receiving(Filter::From(source)) {
            self.end(watcher, Outcome::Failed(Error::early(Code::SRCDIED).at(source)), out);
        }
    }

    fn forget_notices(&mut self, dc: DcId, source: Endpoint) {
        for s in self.slots.iter_mut().filter(|s| s.bound && s.dc == dc) {
            if s.notices.get(&source.slot()).is_some_and(|n| n.source == source) {
                s.notices.remove(&source.slot());
            }
        }
    }

    /// An endpoint elsewhere has ended: who receives from it in particular wakes, what it had notified is
    /// forgotten. Calls through its lanes are ended by the lanes.
    pub fn gone(&mut self, dc: DcId, endpoint: Endpoint, out: &mut Vec<Cmd>) {
        for ix in 0..self.slots.len() as Ix {
            if self.slots[ix as usize].dc == dc {
                self.source_died(ix, endpoint, out);
            }
        }
        self.forget_notices(dc, endpoint);
    }

    /// A lane to `dst` is closed: its message leaves the queue and its caller is no longer owed an answer.
    pub fn lane_closed(&mut self, dst: Ix, source: Endpoint, lane: u32) {
        let s = &mut self.slots[dst as usize];
        s.queue.retain(|e| !matches!(e.party, Party::Lane(l, _) if l == lane));
        if matches!(s.clients.get(&source), Some(Client::Lane(l, _)) if l == lane) {
            s.clients.remove(&source);
        }
    }
}
