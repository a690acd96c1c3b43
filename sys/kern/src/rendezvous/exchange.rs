//! Sending, receiving, answering, relaying, giving up.

use super::slot::Entry;
use super::{Client, Cmd, Filter, Ix, LaneKey, Outcome, Party, Phase, Rendezvous, Slot, Step};
use dvs_abi::{Code, Effect, Endpoint, Error, Grant, Kind, Message};

/// What a receive found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    /// The message was copied out.
    Message,
    /// A message waits in this lane; the driver takes it, and receives again if it is gone.
    InLane(LaneKey, u64),
}

impl Rendezvous {
    /// A message (`Kind::Send`) or request (`Kind::Request`) from `me` to an endpoint of this process.
    ///
    /// A plain message to a caller that awaits my answer is that answer.
    ///
    /// # Errors
    /// `LOCKED` with the circle when waiting would close one; `AGAIN` when it would wait and `block` is
    /// false.
    #[inline]
    pub fn send(
        &mut self,
        me: Ix,
        dst: Ix,
        message: &Message,
        grants: &[Grant],
        block: bool,
        out: &mut Vec<Cmd>,
    ) -> Result<Step<()>, Error> {
        let kind = message.kind().unwrap_or_default();
        let source = self.slots[me as usize].endpoint;
        let to = self.slots[dst as usize].endpoint;
        if kind == Kind::Send && self.answer(me, dst, message, |_| {}) {
            out.push(Cmd::Wake(dst));
            return Ok(Step::Done(()));
        }
        if kind == Kind::Request && self.call_waiting(me, dst, message, grants, |_| {}) {
            out.push(Cmd::Wake(dst));
            return Ok(Step::Wait);
        }
        let d = &mut self.slots[dst as usize];
        if kind != Kind::Request && d.accepts(source) {
            *d.mailbox = *message;
            self.end(dst, Outcome::Message, out);
            return Ok(Step::Done(()));
        }
        if !block {
            return Err(Error::early(Code::AGAIN).at(to));
        }
        if let Some(cycle) = self.circle(me, to) {
            return Err(Error::deadlock(cycle).at(to));
        }
        let s = self.lend(me, grants);
        s.request = *message;
        s.phase = if kind == Kind::Send { Phase::Sending(to) } else { Phase::Calling(to) };
        self.slots[dst as usize].queue.push_back(Entry { source, party: Party::Local(me), kind });
        Ok(Step::Wait)
    }

    /// The commonest case of [`Rendezvous::send`] alone: a request to an endpoint that waits for it. False,
    /// and nothing done, in every other. The driver wakes the endpoint, as after [`Cmd::Wake`].
    ///
    /// `address` writes the header of what is delivered: after the copy, as a copy of words just written
    /// would wait for them.
    #[inline]
    pub fn call_waiting(
        &mut self,
        me: Ix,
        dst: Ix,
        request: &Message,
        grants: &[Grant],
        address: impl FnOnce(&mut Message),
    ) -> bool {
        let source = self.slots[me as usize].endpoint;
        let d = &mut self.slots[dst as usize];
        if !d.accepts(source) {
            return false;
        }
        *d.mailbox = *request;
        address(&mut d.mailbox);
        d.end(Outcome::Message);
        d.clients.insert_local(source, me);
        let to = d.endpoint;
        self.lend(me, grants).phase = Phase::Awaiting(to);
        true
    }

    /// The commonest case of [`Rendezvous::receive`] alone: from anybody, and nothing is there. False, and
    /// nothing done, in every other.
    #[inline]
    pub fn waits_for_any(&mut self, me: Ix, filter: Filter) -> bool {
        let s = &mut self.slots[me as usize];
        let straight = !matches!(filter, Filter::From(_))
            && !s.woken
            && !s.frozen
            && s.notices.is_empty()
            && s.queue.is_empty();
        if straight {
            s.phase = Phase::Receiving(filter);
        }
        straight
    }

    #[inline]
    fn lend(&mut self, me: Ix, grants: &[Grant]) -> &mut Slot {
        let s = &mut self.slots[me as usize];
        s.grants.clear();
        if !grants.is_empty() {
            s.grants.extend_from_slice(grants);
        }
        s
    }

    fn await_answer(&mut self, caller: Ix, callee: Ix) {
        let to = self.slots[callee as usize].endpoint;
        let s = &mut self.slots[caller as usize];
        s.phase = Phase::Awaiting(to);
        let source = s.endpoint;
        self.slots[callee as usize].clients.insert(source, Client::Local(caller));
    }

    /// `me` has put a call into a lane to `to` and waits for its progress. (Circles over several processes
    /// are the daemon's to find.)
    pub fn call_lane(&mut self, me: Ix, to: Endpoint, kind: Kind) {
        let s = &mut self.slots[me as usize];
        s.phase = if kind == Kind::Send { Phase::Sending(to) } else { Phase::Calling(to) };
    }

    /// The request of `me` in a lane was consumed; the answer is awaited.
    pub fn lane_consumed(&mut self, me: Ix) {
        let s = &mut self.slots[me as usize];
        if let Phase::Calling(to) = s.phase {
            s.phase = Phase::Awaiting(to);
        }
    }

    /// The call of `me` through a lane has come to an end. Does nothing if `me` is in no such call.
    pub fn lane_progress(&mut self, me: Ix, out: &mut Vec<Cmd>) {
        let s = &self.slots[me as usize];
        let in_call = matches!(s.phase, Phase::Sending(_) | Phase::Calling(_) | Phase::Awaiting(_));
        if in_call && s.outcome.is_none() {
            self.end(me, Outcome::LaneProgress, out);
        }
    }

    /// A message has arrived in a lane for `dst`.
    ///
    /// # Errors
    /// `BUSY` when the lane's earlier message still stands in the queue (a peer that does not keep the
    /// protocol); the lane is then to be closed.
    pub fn arrive(
        &mut self,
        dst: Ix,
        source: Endpoint,
        lane: LaneKey,
        seq: u64,
        kind: Kind,
        out: &mut Vec<Cmd>,
    ) -> Result<(), Code> {
        let s = &mut self.slots[dst as usize];
        if let Some(e) = s.queue.iter_mut().find(|e| matches!(e.party, Party::Lane(l, _) if l == lane)) {
            // The caller gave up and called again before we looked: the later call keeps the place.
            e.party = Party::Lane(lane, seq);
            e.kind = kind;
            return Ok(());
        }
        if s.outcome.is_none() && s.accepts(source) {
            self.end(dst, Outcome::FromLane(lane, seq), out);
        } else {
            s.queue.push_back(Entry { source, party: Party::Lane(lane, seq), kind });
        }
        Ok(())
    }

    /// The driver took a request out of a lane for `me`: its caller is owed an answer.
    pub fn owe(&mut self, me: Ix, source: Endpoint, lane: LaneKey, seq: u64) {
        self.slots[me as usize].clients.insert(source, Client::Lane(lane, seq));
    }

    /// Forgets a caller that was owed an answer (it was answered, or it gave up).
    pub fn settle(&mut self, me: Ix, source: Endpoint) -> Option<Client> {
        self.slots[me as usize].clients.remove(&source)
    }

    /// Receives: a wake-up, the pending notification of the lowest slot, the first message in the queue that
    /// the filter takes; or waits.
    ///
    /// # Errors
    /// `WOKENUP`; `AGAIN` when it would wait and `block` is false; `LOCKED` with the circle when the one
    /// source asked for waits, directly or not, for `me`.
    #[inline]
    pub fn receive(
        &mut self,
        me: Ix,
        filter: Filter,
        into: &mut Message,
        block: bool,
        out: &mut Vec<Cmd>,
    ) -> Result<Step<Received>, Error> {
        if let Some(found) = self.receive_now(me, filter, into, out)? {
            return Ok(Step::Done(found));
        }
        if !block {
            return Err(Error::early(Code::AGAIN));
        }
        if let Filter::From(source) = filter {
            if let Some(cycle) = self.circle(me, source) {
                return Err(Error::deadlock(cycle).at(source));
            }
            let dc = self.slots[me as usize].dc;
            if let Some(ix) = self.find(dc, source) {
                self.watch(ix, me);
            }
        }
        self.slots[me as usize].phase = Phase::Receiving(filter);
        Ok(Step::Wait)
    }

    #[inline]
    fn receive_now(
        &mut self,
        me: Ix,
        filter: Filter,
        into: &mut Message,
        out: &mut Vec<Cmd>,
    ) -> Result<Option<Received>, Error> {
        let s = &mut self.slots[me as usize];
        if s.woken && !matches!(filter, Filter::From(_)) {
            s.woken = false;
            return Err(Error::early(Code::WOKENUP));
        }
        if s.frozen {
            return Ok(None);
        }
        if !s.notices.is_empty() && self.take_notice(me, filter, into) {
            return Ok(Some(Received::Message));
        }
        let s = &mut self.slots[me as usize];
        let Some(at) = s.queue.iter().position(|e| filter.takes(e.source)) else {
            return Ok(None);
        };
        let Some(entry) = s.queue.remove(at) else { return Ok(None) };
        s.noticed.clear();
        match entry.party {
            Party::Lane(lane, seq) => Ok(Some(Received::InLane(lane, seq))),
            Party::Ended => {
                self.take_warning(me, entry.source, into);
                Ok(Some(Received::Message))
            }
            Party::Local(sender) => {
                *into = self.slots[sender as usize].request;
                match entry.kind {
                    Kind::Request => self.await_answer(sender, me),
                    _ => self.end(sender, Outcome::Done, out),
                }
                Ok(Some(Received::Message))
            }
        }
    }

    /// After a thaw, or when the driver found a lane empty: looks again whether a waiting receiver has
    /// anything.
    pub fn look_again(&mut self, me: Ix, out: &mut Vec<Cmd>) {
        let s = &self.slots[me as usize];
        let Phase::Receiving(filter) = s.phase else { return };
        if s.outcome.is_some() || s.frozen {
            return;
        }
        let mut into = Message::default();
        let outcome = match self.receive_now(me, filter, &mut into, out) {
            Ok(None) => return,
            Ok(Some(Received::Message)) => {
                *self.slots[me as usize].mailbox = into;
                Outcome::Message
            }
            Ok(Some(Received::InLane(lane, seq))) => Outcome::FromLane(lane, seq),
            Err(e) => Outcome::Failed(e),
        };
        self.end(me, outcome, out);
    }

    /// Answers a caller of this process if it awaits `me`'s answer; then the driver wakes it, as after
    /// [`Cmd::Wake`]. `address` as with [`Rendezvous::call_waiting`].
    #[inline]
    pub fn answer(&mut self, me: Ix, dst: Ix, message: &Message, address: impl FnOnce(&mut Message)) -> bool {
        let mine = self.slots[me as usize].endpoint;
        let s = &mut self.slots[dst as usize];
        if s.phase != Phase::Awaiting(mine) || s.outcome.is_some() {
            return false;
        }
        *s.mailbox = *message;
        address(&mut s.mailbox);
        s.end(Outcome::Message);
        let source = s.endpoint;
        self.slots[me as usize].clients.remove(&source);
        true
    }

    /// Answers a caller of this process. Never blocks.
    ///
    /// # Errors
    /// `PROCSTS` when it does not await `me`'s answer.
    #[inline]
    pub fn reply(&mut self, me: Ix, dst: Ix, message: &Message, out: &mut Vec<Cmd>) -> Result<(), Code> {
        if !self.answer(me, dst, message, |_| {}) {
            return Err(Code::PROCSTS);
        }
        out.push(Cmd::Wake(dst));
        Ok(())
    }

    /// Hands the consumed request of a local `client` to `dst` of this process: `dst` sees `client` as the
    /// source and answers it directly.
    ///
    /// # Errors
    /// `PROCSTS` when the client does not await `me`'s answer.
    pub fn relay(
        &mut self,
        me: Ix,
        client: Ix,
        dst: Ix,
        message: &Message,
        out: &mut Vec<Cmd>,
    ) -> Result<(), Code> {
        let mine = self.slots[me as usize].endpoint;
        let to = self.slots[dst as usize].endpoint;
        let source = self.slots[client as usize].endpoint;
        if self.slots[client as usize].phase != Phase::Awaiting(mine) || client == dst {
            return Err(Code::PROCSTS);
        }
        self.slots[me as usize].clients.remove(&source);
        let mut m = *message;
        m.set_route(source, to);
        m.set_kind(Kind::Request);
        if self.slots[dst as usize].accepts(source) {
            *self.slots[dst as usize].mailbox = m;
            self.end(dst, Outcome::Message, out);
            self.await_answer(client, dst);
        } else {
            let s = &mut self.slots[client as usize];
            s.request = m;
            s.phase = Phase::Calling(to);
            self.slots[dst as usize].queue.push_back(Entry {
                source,
                party: Party::Local(client),
                kind: Kind::Request,
            });
        }
        Ok(())
    }

    /// Hands the consumed request of a local `client` to an endpoint elsewhere: the client's own driver sends
    /// it there.
    ///
    /// # Errors
    /// `PROCSTS` when the client does not await `me`'s answer.
    pub fn relay_out(
        &mut self,
        me: Ix,
        client: Ix,
        dst: Endpoint,
        message: &Message,
        out: &mut Vec<Cmd>,
    ) -> Result<(), Code> {
        let mine = self.slots[me as usize].endpoint;
        let s = &mut self.slots[client as usize];
        if s.phase != Phase::Awaiting(mine) || s.outcome.is_some() {
            return Err(Code::PROCSTS);
        }
        *s.mailbox = *message;
        let source = s.endpoint;
        self.slots[me as usize].clients.remove(&source);
        self.end(client, Outcome::Redirect(dst), out);
        Ok(())
    }

    /// `me` leaves its wait (deadline, signal, cancellation) with `why`, unless the outcome is there already
    /// or a copy is going on; then nothing happens and the driver fetches the outcome, now or after the copy.
    /// The wait of a call through a lane is left only after the lane itself was cancelled, with what the lane
    /// said about the effect.
    pub fn give_up(&mut self, me: Ix, why: Code, lane_effect: Option<Effect>) -> Option<Error> {
        let s = &self.slots[me as usize];
        if s.outcome.is_some() || s.copying {
            return None;
        }
        let (dc, source, phase) = (s.dc, s.endpoint, s.phase);
        let effect = match phase {
            Phase::Idle => return None,
            Phase::Receiving(_) => Effect::No,
            Phase::Sending(to) | Phase::Calling(to) => {
                if let Some(dst) = self.find(dc, to) {
                    self.leave_queue(me, dst);
                }
                lane_effect.unwrap_or(Effect::No)
            }
            Phase::Awaiting(to) => {
                if let Some(dst) = self.find(dc, to) {
                    self.slots[dst as usize].clients.remove(&source);
                }
                lane_effect.unwrap_or(Effect::Unknown)
            }
        };
        self.slots[me as usize].phase = Phase::Idle;
        Some(Error::new(why, effect).at(phase.waits_for().unwrap_or(Endpoint::NONE)))
    }

    /// Begins a copy from or to the memory of a local client: until [`Rendezvous::end_copy`] it cannot leave
    /// its call.
    ///
    /// # Errors
    /// `PROCSTS` when the client does not await `me`'s answer, `BUSY` when a copy is going on.
    pub fn begin_copy(&mut self, me: Ix, client: Ix) -> Result<(), Code> {
        let mine = self.slots[me as usize].endpoint;
        let s = &mut self.slots[client as usize];
        if s.phase != Phase::Awaiting(mine) || s.outcome.is_some() {
            return Err(Code::PROCSTS);
        }
        if s.copying {
            return Err(Code::BUSY);
        }
        s.copying = true;
        Ok(())
    }

    /// Ends a copy.
    pub fn end_copy(&mut self, client: Ix) {
        self.slots[client as usize].copying = false;
    }

    /// Releases an endpoint blocked in receive(ANY) or rcvrqst, or makes its next one return at once.
    ///
    /// # Errors
    /// `PROCRUN` when it was not waiting: the wake-up is remembered.
    pub fn wakeup(&mut self, dst: Ix, out: &mut Vec<Cmd>) -> Result<(), Code> {
        let s = &mut self.slots[dst as usize];
        if s.outcome.is_none() && matches!(s.phase, Phase::Receiving(Filter::Any | Filter::Requests)) {
            self.end(dst, Outcome::Failed(Error::early(Code::WOKENUP)), out);
            return Ok(());
        }
        s.woken = true;
        Err(Code::PROCRUN)
    }

    /// Ends whatever wait `me` is in with an error (shutdown, end of the container). Calls through lanes are
    /// cancelled by the driver before.
    pub fn interrupt(&mut self, me: Ix, why: Code, lane_effect: Option<Effect>, out: &mut Vec<Cmd>) -> bool {
        match self.give_up(me, why, lane_effect) {
            Some(e) => {
                self.end(me, Outcome::Failed(e), out);
                true
            }
            None => false,
        }
    }
}
