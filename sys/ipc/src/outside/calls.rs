//! Calls through lanes.

use super::lanes::{Lanes, Use, Withheld};
use super::{Attempt, Cancelled, Outside, ask};
use crate::control::{Answer, Duty, Request};
use crate::lane::{Cancel, GrantList, Outcome, Progress, Refused, Taken};
use crate::port::Port;
use crate::port::call::{SHUT_NS, SHUT_TRIES};
use crate::process::{Core, Held};
use crate::wait::Wait;
use dvs_abi::limits::{COPY_GRACE_NS, NOW_GRACE_LOCAL_NS, NOW_GRACE_REMOTE_NS, RECALL_GRACE_NS};
use dvs_abi::{
    Call, CallSet, Code, Deadline, Effect, Endpoint, Error, Grant, Kind, Message, Result, Timeout,
};
use dvs_kern::rendezvous::{Client, Ix, LaneKey};
use std::sync::atomic::{Ordering, fence};

/// One attempt of a send or sendrec to an endpoint elsewhere. The table is locked on entry.
pub(crate) fn exchange<W: Wait>(
    port: &Port<W>,
    core: Held<'_>,
    kind: Kind,
    dst: Endpoint,
    m: &mut Message,
    grants: &[Grant],
    until: Deadline,
) -> Result<Attempt> {
    let shared = port.process().shared();
    let Some(o) = shared.outside() else { return Err(Error::early(Code::DSTDIED).at(dst)) };
    if kind == Kind::Send && matches!(core.table.slot(port.ix()).client(dst), Some(Client::Lane(..))) {
        m.set_kind(Kind::Reply);
        return reply(port, core, dst, m, Timeout::Forever).map(|()| Attempt::Over);
    }
    o.alive()?;
    let mut core = core;
    let mut lanes = o.lanes();
    let Some(lane) = lanes.to(port.ix(), dst) else {
        drop(lanes);
        core.release();
        open_lane(port, o, dst, until)?;
        return Ok(Attempt::Repeat);
    };
    let remote = match o.post(&core, &mut lanes, port.ix(), lane, kind, m, grants) {
        Ok(remote) => remote,
        Err(Refused::Closed) => {
            // Nothing was done: the daemon says what became of the destination.
            drop(lanes);
            core.release();
            return Ok(if o.drop_lane(lane) { Attempt::Repeat } else { Attempt::Shut });
        }
        Err(r) => return Err(Error::early(r.code()).at(dst)),
    };
    core.table.call_lane(port.ix(), dst, kind);
    let phase = core.table.slot(port.ix()).phase();
    let clear = core.out.is_empty();
    if !clear {
        // What else there is to do may need the lanes.
        drop(lanes);
        core.release();
        lanes = o.lanes();
    } else {
        drop(core);
    }
    lanes.tell_peer(&*o.host, lane);
    drop(lanes);
    o.board.sent(port.board(), remote);
    if until != Deadline::NOW {
        return port.await_end(dst, m, until, phase);
    }
    let grace = if remote { NOW_GRACE_REMOTE_NS } else { NOW_GRACE_LOCAL_NS };
    let soon = Deadline::from_ns(port.now().saturating_add(grace));
    port.await_end(dst, m, soon, phase).map_err(|mut e| {
        if e.code == Code::TIMEDOUT {
            e.code = Code::AGAIN;
        }
        e
    })
}

fn open_lane<W: Wait>(port: &Port<W>, o: &Outside, dst: Endpoint, until: Deadline) -> Result<()> {
    // Without time the daemon still opens the lane if it can at once; only its answer is waited for.
    let remaining = if until == Deadline::NOW { 0 } else { until.remaining(port.now()) };
    let request =
        Request::OpenLane { dc: port.dc().0, from: port.endpoint().raw(), to: dst.raw(), remaining };
    let wait = if until == Deadline::NOW { Deadline::NEVER } else { until };
    let lane = ask::Purpose::Lane(port.ix(), dst);
    let answer = match ask::ask_for(port.process(), port.home(), request, wait, lane) {
        // Bound in this very process, and the daemon knew it before our table did: it is entered any moment
        // now.
        Err(e) if e.code == Code::LCLPROC => {
            let soon = Deadline::from_ns(port.now().saturating_add(ENTER_NS));
            port.home().wait(port.process().shared(), soon);
            return Ok(());
        }
        other => other?,
    };
    // It was entered when the answer was read; it may be closed again, and its memory gone.
    match answer {
        Answer::Lane { link, .. } if o.lanes().shore(link).is_some() => Ok(()),
        Answer::Lane { .. } => Err(Error::early(Code::DSTDIED).at(dst)),
        _ => Err(Error::early(Code::BADREQUEST).at(dst)),
    }
}

impl Outside {
    #[allow(clippy::too_many_arguments)]
    fn post(
        &self,
        core: &Core,
        lanes: &mut Lanes,
        ix: Ix,
        lane: LaneKey,
        kind: Kind,
        m: &mut Message,
        grants: &[Grant],
    ) -> Result<bool, Refused> {
        let dc = core.table.slot(ix).dc;
        m.set_place(dc, self.node);
        let (remote, epoch) = match lanes.get(lane) {
            Some(&Use::Out { remote, epoch, closed: None, .. }) => (remote, epoch),
            _ => return Err(Refused::Closed),
        };
        m.set_epoch(epoch);
        let seq = lanes.with_lane(lane, |l| l.post(kind, m, grants)).ok_or(Refused::Closed)??;
        lanes.begin(ix, lane, seq);
        Ok(remote)
    }

    /// Forgets a lane that turned out to be closed; whether the daemon had said so.
    pub(super) fn drop_lane(&self, key: LaneKey) -> bool {
        let closed = {
            let mut lanes = self.lanes();
            let told = matches!(lanes.get(key), Some(Use::Out { closed: Some(_), .. }));
            if told {
                lanes.remove(key);
            } else if let Some(Use::Out { .. }) = lanes.get(key) {
                // The daemon has not told yet: the lane is out of use until it does.
                lanes.remove(key);
                lanes.enter(key, Use::Dead);
            }
            told
        };
        if closed {
            let (link, lane) = super::lanes::parts(key);
            self.tell_soon(Request::FreeLane { link, lane });
        }
        closed
    }

    /// Cancels the call of `ix` through a lane, if it is in one, with this reason.
    pub(crate) fn cancel(&self, core: &mut Core, ix: Ix, why: &Error) -> Cancelled {
        let mut lanes = self.lanes();
        let Some((key, seq)) = lanes.current(ix) else { return Cancelled::Effect(None) };
        match lanes.with_lane(key, |l| l.cancel(seq)) {
            Some(Cancel::NotTaken) => {
                lanes.end(ix);
                Cancelled::Effect(Some(Effect::No))
            }
            Some(Cancel::Taken) => {
                lanes.end(ix);
                lanes.tell_peer(&*self.host, key);
                Cancelled::Effect(Some(Effect::Unknown))
            }
            Some(Cancel::Copying) => {
                lanes.leave(ix, why);
                Cancelled::Later(COPY_GRACE_NS)
            }
            Some(Cancel::Recalled) => {
                if lanes.leave(ix, why) {
                    lanes.tell_peer(&*self.host, key);
                }
                Cancelled::Later(RECALL_GRACE_NS)
            }
            Some(Cancel::Done(_)) => {
                drop(lanes);
                core.table.lane_progress(ix, &mut core.out);
                Cancelled::Later(0)
            }
            None => {
                lanes.end(ix);
                Cancelled::Effect(Some(Effect::Unknown))
            }
        }
    }

    /// Why the call of `ix` is to be left, if that was begun and could not be done at once.
    pub(crate) fn leaving(&self, ix: Ix) -> Option<Error> {
        self.lanes().leaving(ix).cloned()
    }

    /// Leaves a call whose callee has been copying for longer than a copy may take, or whose message was not
    /// given back in time.
    pub(crate) fn abandon(&self, ix: Ix) {
        let mut lanes = self.lanes();
        let Some((key, seq)) = lanes.current(ix) else { return };
        if lanes.with_lane(key, |l| l.abandon(seq)) != Some(true) {
            lanes.with_lane(key, |l| l.close());
        }
        lanes.tell_peer(&*self.host, key);
        lanes.end(ix);
    }
}

/// Collects the end of the call through a lane in which the port is.
pub(crate) fn collect<W: Wait>(
    port: &Port<W>,
    dst: Endpoint,
    m: &mut Message,
    until: Deadline,
) -> Result<Attempt> {
    let Some(o) = port.process().shared().outside() else { return Err(Error::early(Code::DVSINIT)) };
    hear_why_closed(port, o, until);
    let (outcome, closed, key, leaving) = {
        let mut lanes = o.lanes();
        let Some((key, seq)) = lanes.current(port.ix()) else {
            return Err(Error::new(Code::IO, Effect::Unknown).at(dst));
        };
        let outcome = lanes.with_lane(key, |l| l.collect(seq, m)).unwrap_or(Outcome::Broken);
        let leaving = lanes.leaving(port.ix()).cloned();
        lanes.end(port.ix());
        let closed = match lanes.get(key) {
            Some(Use::Out { closed, .. }) => *closed,
            _ => None,
        };
        (outcome, closed, key, leaving)
    };
    let gone = closed.is_some() || matches!(outcome, Outcome::Closed(_) | Outcome::Broken);
    if gone {
        o.drop_lane(key);
    }
    match outcome {
        Outcome::Consumed => Ok(Attempt::Over),
        Outcome::Replied => {
            m.set_route(dst, port.endpoint());
            Ok(Attempt::Over)
        }
        Outcome::Redirected(to) => {
            may_relay(port, o, key, dst, until)?;
            Ok(Attempt::Redirected(to))
        }
        Outcome::Failed(Code::MIGRATE, Effect::No) => Ok(Attempt::Moved),
        Outcome::Failed(Code::STALE, effect) => again(effect, Attempt::Moved, leaving, dst),
        Outcome::Failed(code, effect) => Err(Error::new(code, effect).at(dst)),
        Outcome::Closed(effect) => match (closed, effect) {
            (Some(Code::MIGRATE), Effect::No) => Ok(Attempt::Repeat),
            (Some(Code::STALE), effect) => again(effect, Attempt::Repeat, leaving, dst),
            // The peer read it first: the daemon says what became of the destination.
            (None, Effect::No) => Ok(Attempt::Shut),
            (Some(c), e) if c != Code::DSTDIED => Err(Error::new(c, e).at(dst)),
            (_, Effect::No) => Err(Error::early(Code::DSTDIED).at(dst)),
            (_, e) => Err(Error::new(Code::SRCDIED, e).at(dst)),
        },
        Outcome::Pending | Outcome::Broken => Err(Error::new(Code::IO, Effect::Unknown).at(dst)),
    }
}

/// A lane is closed for both sides, by whichever the daemon told first. Of a call that had been taken up the
/// other side has to hear why before anything can be said of its end, unless its time is over: others may
/// know it.
fn hear_why_closed<W: Wait>(port: &Port<W>, o: &Outside, until: Deadline) {
    for _ in 0..SHUT_TRIES {
        let untold = {
            let lanes = o.lanes();
            lanes.current(port.ix()).is_some_and(|(key, seq)| {
                let progress = lanes.with_lane(key, |l| l.progress(seq));
                matches!(progress, Some(Progress::Closed(effect)) if effect != Effect::No)
                    && matches!(lanes.get(key), Some(Use::Out { closed: None, .. }))
            })
        };
        if !untold || until.passed(port.now()) {
            return;
        }
        let soon = Deadline::from_ns(port.now().saturating_add(SHUT_NS));
        port.home().wait(port.process().shared(), soon);
    }
}

/// A call whose instance of the service is gone: others know what it had taken up, so it is sent again. Not
/// one that its caller wants to leave.
fn again(effect: Effect, untaken: Attempt, leaving: Option<Error>, dst: Endpoint) -> Result<Attempt> {
    match (leaving, effect) {
        (Some(why), effect) => Err(Error { effect, ..why.at(dst) }),
        (None, Effect::No) => Ok(untaken),
        (None, _) => Ok(Attempt::Again),
    }
}

/// Whether `callee`, which wants this call to go on elsewhere, may send it there in our name. Its own library
/// has looked, but it need not be a library of ours. The daemon is asked once a lane.
fn may_relay<W: Wait>(
    port: &Port<W>,
    o: &Outside,
    key: LaneKey,
    callee: Endpoint,
    until: Deadline,
) -> Result<()> {
    if let Some(Use::Out { relays: true, .. }) = o.lanes().get(key) {
        return Ok(());
    }
    let request = Request::GetPriv { dc: port.dc().0, endpoint: callee.raw() };
    let code = match ask(port.process(), port.home(), request, until) {
        Ok(Answer::Privileges(p)) if CallSet(p.calls).has(Call::Relay) => None,
        Err(e) if matches!(e.code, Code::TIMEDOUT | Code::DVSINIT) => Some(e.code),
        _ => Some(Code::BADREQUEST),
    };
    if let Some(code) = code {
        return Err(Error::new(code, Effect::Unknown).at(callee));
    }
    if let Some(Use::Out { relays, to, .. }) = o.lanes().get_mut(key)
        && *to == callee
    {
        *relays = true;
    }
    Ok(())
}

/// Takes the message of call `seq` out of a lane; false when it is gone.
pub(crate) fn take<W: Wait>(port: &Port<W>, key: LaneKey, seq: u64, m: &mut Message) -> bool {
    let Some(o) = port.process().shared().outside() else { return false };
    let mut core = port.process().shared().lock();
    let mut list = GrantList::default();
    let source = {
        let mut lanes = o.lanes();
        let Some(&Use::In { from, ix, peer, .. }) = lanes.get(key) else { return false };
        if ix != port.ix() {
            return false;
        }
        match lanes.with_lane(key, |l| l.take(seq, m, &mut list)) {
            Some(Taken::Yes) => {}
            Some(Taken::Malformed) => {
                lanes.tell_peer(&*o.host, key);
                return false;
            }
            _ => return false,
        }
        if m.kind() == Some(Kind::Request) {
            if let Some(Use::In { taken, grants, .. }) = lanes.get_mut(key) {
                (*taken, *grants) = (seq, list);
            }
        } else {
            lanes.tell_peer(&*o.host, key);
        }
        // What comes from another node has it from that node's daemon.
        if !peer.remote {
            m.set_binding(peer.binding);
        }
        from
    };
    m.set_route(source, port.endpoint());
    m.set_place(port.dc(), m.node());
    if m.kind() == Some(Kind::Request) {
        core.table.owe(port.ix(), source, key, seq);
    }
    core.release();
    true
}

/// Answers a caller elsewhere.
pub(crate) fn reply<W: Wait>(
    port: &Port<W>,
    mut core: Held<'_>,
    dst: Endpoint,
    m: &mut Message,
    _timeout: Timeout,
) -> Result<()> {
    let none = Error::early(Code::PROCSTS).at(dst);
    let Some(o) = port.process().shared().outside() else { return Err(none) };
    let Some(Client::Lane(key, seq)) = core.table.slot(port.ix()).client(dst) else { return Err(none) };
    m.set_place(port.dc(), o.node);
    core.table.settle(port.ix(), dst);
    if !o.may_answer(&core, port.ix()) {
        return withhold(o, core, Withheld { ix: port.ix(), key, seq, on: None, message: *m });
    }
    core.release();
    let lanes = o.lanes();
    match lanes.with_lane(key, |l| l.reply(seq, m)) {
        Some(Ok(())) => {
            lanes.tell_peer(&*o.host, key);
            Ok(())
        }
        _ => Err(none),
    }
}

/// Keeps an answer of an instance whose node's lease is over: nobody knows whether another one serves by now.
/// It goes out if the lease comes back before the daemon has closed the lane. Under the lock of the table, as
/// that is told so under it.
#[cold]
fn withhold(o: &Outside, core: Held<'_>, answer: Withheld) -> Result<()> {
    o.lanes().withhold(answer);
    core.release();
    Ok(())
}

impl Outside {
    /// What an endpoint of ours may answer at this moment; everything, unless it is an instance of a service.
    #[inline]
    pub(crate) fn duty(&self, core: &Core, ix: Ix) -> Duty {
        match core.table.slot(ix).instance {
            None | Some((Duty::Full, Duty::Full)) => Duty::Full,
            // The clock is looked at by instances only.
            Some((may, after)) => {
                if self.host.now() < self.board.lease() {
                    may
                } else {
                    after
                }
            }
        }
    }

    #[inline]
    fn may_answer(&self, core: &Core, ix: Ix) -> bool {
        self.duty(core, ix) != Duty::Stopped
    }

    /// Lets out what was withheld, as far as it may go now.
    pub(super) fn release_withheld(&self, core: &Core, of: Option<Ix>) {
        let mut lanes = self.lanes();
        for answer in lanes.take_withheld(of) {
            if !self.may_answer(core, answer.ix) {
                lanes.withhold(answer);
                continue;
            }
            let Withheld { key, seq, on, message, .. } = answer;
            let sent = lanes.with_lane(key, |l| match on {
                None => l.reply(seq, &message),
                Some(to) => l.redirect(seq, to, &message),
            });
            // A caller that went away waits for nothing.
            if let Some(Ok(())) = sent {
                lanes.tell_peer(&*self.host, key);
            }
        }
    }
}

/// Hands a request from a lane on: the caller's own library sends it to `dst`.
pub(crate) fn redirect<W: Wait>(
    port: &Port<W>,
    mut core: Held<'_>,
    client: Endpoint,
    key: LaneKey,
    seq: u64,
    dst: Endpoint,
    m: &Message,
) -> Result<()> {
    let none = Error::early(Code::PROCSTS).at(client);
    let Some(o) = port.process().shared().outside() else { return Err(none) };
    core.table.settle(port.ix(), client);
    if !o.may_answer(&core, port.ix()) {
        return withhold(o, core, Withheld { ix: port.ix(), key, seq, on: Some(dst), message: *m });
    }
    core.release();
    let lanes = o.lanes();
    match lanes.with_lane(key, |l| l.redirect(seq, dst, m)) {
        Some(Ok(())) => {
            lanes.tell_peer(&*o.host, key);
            Ok(())
        }
        _ => Err(none),
    }
}

/// Notifies an endpoint elsewhere.
pub(crate) fn notify<W: Wait>(
    port: &Port<W>,
    core: Held<'_>,
    source: Endpoint,
    dst: Endpoint,
    value: u64,
    now: u64,
) -> Result<()> {
    let Some(o) = port.process().shared().outside() else { return Err(Error::early(Code::DSTDIED).at(dst)) };
    o.alive()?;
    core.release();
    if source != port.endpoint() {
        let request = Request::Notice {
            dc: port.dc().0,
            source: source.raw(),
            from: port.endpoint().raw(),
            endpoint: dst.raw(),
            value,
            timestamp: now,
        };
        return ask(port.process(), port.home(), request, Deadline::NEVER).map(|_| ());
    }
    let mut value = value;
    for _ in 0..NOTIFY_TRIES {
        let lane = o.lanes().to(port.ix(), dst);
        let Some(lane) = lane else {
            open_lane(port, o, dst, Deadline::NEVER)?;
            continue;
        };
        let lanes = o.lanes();
        let open = lanes.with_lane(lane, |l| {
            if l.state().closed() {
                return false;
            }
            l.notify(value);
            // Dekker with whoever closes it and then takes the last notice out.
            fence(Ordering::SeqCst);
            let left = if l.state().closed() { l.take_notice() } else { None };
            value |= left.unwrap_or_default();
            left.is_none()
        });
        if open == Some(true) {
            lanes.tell_peer(&*o.host, lane);
            return Ok(());
        }
        drop(lanes);
        o.drop_lane(lane);
    }
    Err(Error::early(Code::DSTDIED).at(dst))
}

/// Between two looks whether a binding of this process was entered.
const ENTER_NS: u64 = 200_000;
/// Lanes that may turn out closed in a row before a notification is given up.
const NOTIFY_TRIES: usize = 4;
