//! Asking the daemon, and what is built of it: binding, unbinding, watching.

use super::lanes::Use;
use super::{Channel, Outside};
use crate::control::{self, Answer, BindKind, FromDaemon, Numbered, Request};
use crate::port::Port;
use crate::process::Process;
use crate::wait::{Kick, Wait, Wake};
use dvs_abi::{Code, DcId, Deadline, Effect, Endpoint, Error, NodeId, Result};
use dvs_kern::rendezvous::{Ix, Shape, Slot};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A request under way.
pub(super) enum Pending {
    /// Whom to wake, and what it is for.
    Waits(Arc<dyn Wake>, Purpose),
    /// What was answered.
    Answered(Result<Answer>),
}

/// What a request is for, as far as it decides how its answer is handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// Nothing in particular.
    Any,
    /// The daemon writes into memory of ours: after the deadline it is withdrawn, and its answer still waited
    /// for, because only then nothing more is written.
    Memory,
    /// A lane from this endpoint to that one: entered as soon as the answer is read.
    Lane(Ix, Endpoint),
    /// An endpoint of ours: entered as soon as the answer is read, because the next record may be a lane to
    /// it.
    Binding,
}

/// Reads the answer to the first record.
pub(super) fn welcome(channel: &dyn Channel) -> Result<NodeId> {
    let (bytes, _) = channel.receive().ok_or(Error::early(Code::DVSINIT))?;
    match control::decode(&bytes)? {
        FromDaemon::Reply { result: Ok(Answer::Welcome { node, .. }), .. } => Ok(NodeId(node)),
        FromDaemon::Reply { result: Err(e), .. } => Err(e.into()),
        _ => Err(Error::early(Code::VERSION)),
    }
}

/// Asks the daemon and waits for its answer at home, at most until the deadline (then the request is
/// withdrawn).
///
/// # Errors
/// What the daemon answers; `DVSINIT` when there is none (any more); `TIMEDOUT`.
pub(crate) fn ask<W: Wait>(process: &Process, home: &W, request: Request, until: Deadline) -> Result<Answer> {
    ask_for(process, home, request, until, Purpose::Any)
}

/// The same for [`Purpose::Memory`].
pub(crate) fn ask_to_the_end<W: Wait>(
    process: &Process,
    home: &W,
    request: Request,
    until: Deadline,
) -> Result<Answer> {
    ask_for(process, home, request, until, Purpose::Memory)
}

/// The same for any purpose.
pub(super) fn ask_for<W: Wait>(
    process: &Process,
    home: &W,
    request: Request,
    mut until: Deadline,
    purpose: Purpose,
) -> Result<Answer> {
    let shared = process.shared();
    let o = shared.outside().ok_or(Error::early(Code::DVSINIT))?;
    o.alive()?;
    let id = o.requests.fetch_add(1, Ordering::Relaxed) + 1;
    o.pending().insert(id, Pending::Waits(home.waker(), purpose));
    let bytes = control::encode(&Numbered { id, request });
    let sent = bytes.and_then(|bytes| send_until(process, home, o, &bytes, until));
    o.unsent.send(&*o.channel);
    let result = match sent {
        Err(e) => Err(e),
        Ok(()) => loop {
            if let Some(Pending::Answered(_)) = o.pending().get(&id) {
                break Ok(());
            }
            if let Err(e) = o.alive() {
                break Err(e);
            }
            // One second at a time: the end of the daemon is noticed even if its news and our wait crossed.
            let soon = Deadline::from_ns(shared.host().now().saturating_add(1_000_000_000));
            home.wait(shared, until.min(soon));
            if until.passed(shared.host().now()) && !o.answered(id) {
                o.tell_soon(Request::Withdraw { id });
                if purpose != Purpose::Memory {
                    break Err(Error::early(Code::TIMEDOUT));
                }
                until = Deadline::NEVER;
            }
        },
    };
    let answer = o.pending().remove(&id);
    // The flag may have been raised for the call this request is part of: whoever waits next looks first.
    home.waker().set();
    match (answer, result) {
        (Some(Pending::Answered(a)), _) => a,
        (_, Err(e)) => Err(e),
        _ => Err(Error::early(Code::DVSINIT)),
    }
}

/// Sends a request, if there is room for it before the deadline: a daemon that was stopped reads nothing, and
/// nobody is to be held by it longer than they said.
fn send_until<W: Wait>(
    process: &Process,
    home: &W,
    o: &Outside,
    bytes: &[u8],
    until: Deadline,
) -> Result<()> {
    if until == Deadline::NEVER {
        return o.channel.send(bytes);
    }
    let (shared, mut pause) = (process.shared(), ROOM_NS);
    while !o.channel.try_send(bytes)? {
        o.alive()?;
        let now = shared.host().now();
        if until.passed(now) {
            return Err(Error::early(Code::TIMEDOUT));
        }
        // Nobody says when there is room.
        home.wait(shared, until.min(Deadline::from_ns(now.saturating_add(pause))));
        pause = (2 * pause).min(ROOM_MAX_NS);
    }
    Ok(())
}

impl Outside {
    fn pending(&self) -> std::sync::MutexGuard<'_, std::collections::HashMap<u64, Pending>> {
        self.pending.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn answered(&self, id: u64) -> bool {
        matches!(self.pending().get(&id), Some(Pending::Answered(_)))
    }

    /// Asks whether the call an endpoint has been blocked in for long is part of a circle; the answer is an
    /// event.
    pub(crate) fn ask_circle(&self, dc: DcId, endpoint: Endpoint, call: u64) {
        self.hint(Request::DeadlockCheck { dc: dc.0, endpoint: endpoint.raw(), call });
    }

    /// The control thread brings an answer; says what must follow.
    pub(super) fn answer(&self, id: u64, result: Result<Answer>) -> Option<(Kick, Arc<dyn Wake>)> {
        let mut pending = self.pending();
        let mut place = pending.get_mut(&id);
        if let Ok(Answer::Lane { link, lane, remote, epoch, .. }) = result {
            let wanted = match &mut place {
                Some(Pending::Waits(_, Purpose::Lane(ix, to))) => Some((*ix, *to)),
                _ => None,
            };
            self.opened((link, lane), remote, epoch, wanted);
        }
        match std::mem::replace(place?, Pending::Answered(result)) {
            Pending::Waits(wake, _) => Some((wake.set(), wake)),
            Pending::Answered(_) => None,
        }
    }

    /// Whom to wake for the endpoint that request `id` was to bind here.
    pub(super) fn binder(&self, id: u64) -> Option<Arc<dyn Wake>> {
        match self.pending().get(&id) {
            Some(Pending::Waits(wake, Purpose::Binding)) => Some(wake.clone()),
            _ => None,
        }
    }

    /// Enters a lane of ours before the daemon's next word about it is read; one that nobody waits for any
    /// more is kept out of use until the daemon closes it.
    fn opened(&self, (link, lane): (u16, u8), remote: bool, epoch: u64, wanted: Option<(Ix, Endpoint)>) {
        let key = super::lanes::key(link, lane);
        let mut lanes = self.lanes();
        match wanted {
            Some((ix, to)) if lanes.shore(link).is_some() => {
                lanes.enter(key, Use::Out { ix, to, remote, epoch, seq: 0, closed: None, relays: false });
            }
            _ if lanes.get(key).is_none() => lanes.enter(key, Use::Dead),
            _ => {}
        }
    }

    /// The daemon is gone: everybody that asked is told.
    pub(super) fn fail_pending(&self) -> Vec<(Kick, Arc<dyn Wake>)> {
        let ids: Vec<u64> = self.pending().keys().copied().collect();
        ids.into_iter()
            .filter(|id| !self.answered(*id))
            .filter_map(|id| self.answer(id, Err(Error::new(Code::DVSINIT, Effect::Unknown))))
            .collect()
    }
}

/// Binds an endpoint through the daemon.
pub(crate) fn bind<W: Wait>(process: &Process, home: W, dc: DcId, endpoint: Endpoint) -> Result<Port<W>> {
    let request = |board| Request::Bind {
        kind: BindKind::Own,
        dc: dc.0,
        endpoint: endpoint.raw(),
        pid: 0,
        node: 0,
        name: String::new(),
        board,
    };
    bind_by(process, home, request, Deadline::NEVER)
}

/// Binds an endpoint by whatever request leads to it.
pub(crate) fn bind_by<W: Wait>(
    process: &Process,
    home: W,
    request: impl FnOnce(u32) -> Request,
    until: Deadline,
) -> Result<Port<W>> {
    let o = process.shared().outside().ok_or(Error::early(Code::DVSINIT))?;
    let board = o.board.take().ok_or(Error::early(Code::NOSPC))?;
    let bound = ask_for(process, &home, request(board), until, Purpose::Binding);
    let port = bound.and_then(|answer| {
        let slot = slot_of(&answer).ok_or(Error::early(Code::BADREQUEST))?;
        // The control thread entered it, unless the table had no place.
        let place = {
            let core = process.shared().lock();
            let ix = core.table.find(slot.dc, slot.endpoint);
            // Not one that is over, and whose port is still held.
            let ix = ix.filter(|ix| core.table.slot(*ix).ended.is_none());
            ix.map(|ix| (ix, core.table.slot(ix).binding()))
        };
        match place {
            Some(place) => Ok(Port::new(process.clone(), place, slot.dc, slot.endpoint, home, board)),
            None => {
                o.tell(Request::Unbind { dc: slot.dc.0, endpoint: slot.endpoint.raw(), remaining: 0 });
                Err(Error::early(Code::NOSPC).at(slot.endpoint))
            }
        }
    });
    if port.is_err() {
        o.board.give(board);
    }
    port
}

/// The descriptor of an answer that something is bound.
pub(super) fn slot_of(answer: &Answer) -> Option<Slot> {
    let Answer::Bound { dc, endpoint, tasks, procs, sysprocs, privileges, .. } = answer else { return None };
    let shape = Shape { tasks: *tasks, procs: *procs, sysprocs: *sysprocs };
    Some(Slot::new(DcId(*dc), Endpoint::from_raw(*endpoint), shape, privileges.privileges()?))
}

/// Waits until the control thread has read what the daemon wrote before now. A peer may ring through a lane
/// before the news of that lane is read here; the answer to a request is behind them.
pub(crate) fn catch_up<W: Wait>(process: &Process, home: &W) {
    let Some(o) = process.shared().outside() else { return };
    let puzzled = o.puzzled_times();
    let until = Deadline::from_ns(process.shared().host().now().saturating_add(CATCH_UP_NS));
    // Without an answer it is as if the peer had rung later; a daemon that is stuck is not asked again for
    // it.
    let _ = ask(process, home, Request::DvsInfo, until);
    o.caught_up(puzzled);
}

/// The port is dropped: if its binding was not over, its lanes go out of use and the daemon forgets it;
/// unless it has `ended` for the daemon already, to which its name may mean another one by now. Lanes to the
/// `instance` of a service the daemon closes, as it alone knows whether others serve the calls in them.
pub(crate) fn unbind<W: Wait>(port: &Port<W>, bound: bool, ended: bool, instance: bool) {
    let Some(o) = port.process().shared().outside() else { return };
    if !bound {
        // Moved away: its index, its lanes and its name may be another's by now.
        return o.board.give(port.board());
    }
    {
        let mut lanes = o.lanes();
        for key in lanes.of(port.ix()) {
            if !(instance && matches!(lanes.get(key), Some(super::lanes::Use::In { .. }))) {
                lanes.with_lane(key, |l| l.close());
                lanes.tell_peer(&*o.host, key);
            }
            lanes.remove(key);
            lanes.enter(key, super::lanes::Use::Dead);
        }
    }
    if !ended {
        o.tell(Request::Unbind { dc: port.dc().0, endpoint: port.endpoint().raw(), remaining: 0 });
    }
    o.board.give(port.board());
}

/// Has the daemon tell when `source` ends, if it is not of this process.
pub(crate) fn watch<W: Wait>(port: &Port<W>, source: Endpoint) -> Result<()> {
    let Some(o) = port.process().shared().outside() else { return Ok(()) };
    if port.process().shared().lock().table.find(port.dc(), source).is_some() {
        return Ok(());
    }
    let key = (port.dc().0, source.raw());
    let mut watched = o.watched.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if watched.contains_key(&key) {
        return Ok(());
    }
    watched.insert(key, ());
    drop(watched);
    let request = Request::Watch { dc: port.dc().0, endpoint: source.raw() };
    let done = ask(port.process(), port.home(), request, Deadline::NEVER);
    if let Err(e) = done {
        o.watched.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&key);
        let mut core = port.process().shared().lock();
        // The wait the port had begun is over; a message that came meanwhile counts more than the error.
        let left = core.table.give_up(port.ix(), e.code, None);
        core.release();
        if left.is_some() {
            return Err(e.at(source));
        }
    }
    Ok(())
}

/// How long to wait for the daemon's news at most: it comes within microseconds, but the thread that reads it
/// may have to wait for a processor.
const CATCH_UP_NS: u64 = 200_000_000;

/// So soon is looked whether there is room in the socket again, and then at twice the time, for thousands may
/// wait for it.
const ROOM_NS: u64 = 1_000_000;
const ROOM_MAX_NS: u64 = 100_000_000;
