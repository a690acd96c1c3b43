//! A bound endpoint as a program holds it: plain calls that block.
//!
//! Every call is described in `docs/reference/calls`; here stands what each does and when it fails. A port is
//! owned by one thread or coroutine at a time, as a descriptor of the reference system is by one task.
//!
//! long because: every call a program makes is here, and they share their waits.

use crate::outside::{self, Attempt};
use crate::process::{Held, Process, Shared};
use crate::wait::{ThreadWait, Wait, Why};
use dvs_abi::limits::{
    COPY_GRACE_NS, DEADLOCK_AGAIN_MAX_NS, DEADLOCK_CHECK_NS, GRANTS_PER_CALL, WAIT_CHAIN_MAX,
};
use dvs_abi::{
    Access, Call, Code, DcId, Deadline, Effect, Endpoint, Error, Grant, Kind, Message, Result, Timeout,
};
use dvs_kern::rendezvous::{Client, Filter, Ix, Outcome, Phase, Plain, Received, Step, Target};
use std::cell::Cell;

/// How long to wait for the daemon to say what became of a peer that closed its lane.
const SHUT_NS: u64 = 200_000;
/// How long to wait before a call whose destination has moved is made a third time; then twice as long
/// each time,
const MOVED_NS: u64 = 200_000;
/// so often: up to 13 ms.
const MOVED_DOUBLINGS: u32 = 6;
/// How often; after that the peer is as good as dead.
const SHUT_TRIES: usize = 64;

/// Memory lent to the callee for the time of one call.
#[derive(Debug)]
pub enum Lend<'a> {
    /// The callee may copy out of it.
    Read(&'a [u8]),
    /// The callee may copy into it (and out of it).
    Write(&'a mut [u8]),
}

impl Lend<'_> {
    /// The grant as it travels.
    pub fn grant(&self) -> Grant {
        match self {
            Lend::Read(b) => {
                Grant { address: b.as_ptr() as u64, length: b.len() as u64, access: Access::Read }
            }
            Lend::Write(b) => {
                Grant { address: b.as_ptr() as u64, length: b.len() as u64, access: Access::ReadWrite }
            }
        }
    }
}

/// Why a call is being left, and when it is left whatever holds it.
struct Leaving {
    why: Error,
    at: Deadline,
}

/// What became of leaving a call.
enum Left {
    /// It is over, with this error.
    Over(Error),
    /// Something holds it: its outcome is there, memory is being copied, or another node gives the message
    /// back. For so long at most, ns.
    Not(u64),
}

/// A bound endpoint.
///
/// ```
/// # use std::sync::Arc;
/// # fn host() -> Arc<dyn dvs_ipc::host::Host> { Arc::new(dvs_ipc::testing::TestHost::default()) }
/// use dvs_abi::{DcId, Endpoint, Message, Timeout};
/// use dvs_ipc::Process;
/// let process = Process::alone(host());
/// let (dc, server) = (DcId(0), Endpoint::new(0, 1));
/// let port = process.bind(dc, server)?;
/// let client = std::thread::spawn({
///     let process = process.clone();
///     move || {
///         let me = process.bind(dc, Endpoint::NONE)?;
///         let mut m = Message::new(20);
///         me.sendrec(server, &mut m, Timeout::Forever)?;
///         Ok::<_, dvs_abi::Error>(m.mtype())
///     }
/// });
/// let mut m = Message::default();
/// port.receive(Endpoint::ANY, &mut m, Timeout::Forever)?;
/// m.set_mtype(m.mtype() + 1);
/// port.reply(m.source(), &mut m, Timeout::Forever)?;
/// assert_eq!(client.join().unwrap()?, 21);
/// # Ok::<_, dvs_abi::Error>(())
/// ```
pub struct Port<W: Wait = ThreadWait> {
    process: Process,
    ix: Ix,
    /// [`Slot::binding`](dvs_kern::rendezvous::Slot::binding): when the endpoint moved away, its index may be
    /// another's.
    binding: u64,
    dc: DcId,
    endpoint: Endpoint,
    home: W,
    /// Its record on the session's board.
    board: u32,
    /// Deadline of the request received last and not answered: calls made meanwhile inherit it.
    serving: Cell<(Endpoint, Deadline)>,
    sends: Cell<Checked>,
    receives: Cell<Checked>,
    replies: Cell<Checked>,
    /// How the wait that [`Port::wait_plain`] began has ended, until somebody looks what came of it.
    why: Cell<Option<Why>>,
    /// Whether the program knows that the daemon is gone.
    told: Cell<bool>,
}

/// What the checks of the last call of a kind found. Programs call the same few peers again and again: as
/// long as nothing was bound, unbound or changed in the table meanwhile, the checks would find the same.
#[derive(Clone, Copy)]
struct Checked {
    /// [`Rendezvous::stamp`](dvs_kern::rendezvous::Rendezvous::stamp) then; zero for never.
    stamp: u64,
    call: Call,
    peer: Endpoint,
    /// Where the peer is; of a receive, the endpoint itself.
    target: Target,
}

impl Checked {
    const NOTHING: Checked =
        Checked { stamp: 0, call: Call::Send, peer: Endpoint::NONE, target: Target::Elsewhere };

    fn new(core: &Held<'_>, call: Call, peer: Endpoint, target: Target) -> Self {
        Checked { stamp: core.table.stamp(), call, peer, target }
    }

    #[inline]
    fn known(self, core: &Held<'_>, call: Call, peer: Endpoint) -> Option<Target> {
        (self.stamp == core.table.stamp() && self.peer == peer && self.call == call).then_some(self.target)
    }
}

impl<W: Wait> Port<W> {
    pub(crate) fn new(
        process: Process,
        (ix, binding): (Ix, u64),
        dc: DcId,
        endpoint: Endpoint,
        home: W,
        board: u32,
    ) -> Self {
        Port {
            process,
            ix,
            binding,
            dc,
            endpoint,
            home,
            board,
            serving: Cell::new((Endpoint::NONE, Deadline::NEVER)),
            sends: Cell::new(Checked::NOTHING),
            receives: Cell::new(Checked::NOTHING),
            replies: Cell::new(Checked::NOTHING),
            told: Cell::new(false),
            why: Cell::new(None),
        }
    }

    /// Its identifier.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// Its container.
    pub fn dc(&self) -> DcId {
        self.dc
    }

    /// The process it belongs to.
    pub fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) fn ix(&self) -> Ix {
        self.ix
    }

    pub(crate) fn home(&self) -> &W {
        &self.home
    }

    pub(crate) fn board(&self) -> u32 {
        self.board
    }

    fn shared(&self) -> &Shared {
        self.process.shared()
    }

    /// Now on the node's clock, ns: the clock of deadlines and timestamps.
    pub fn now(&self) -> u64 {
        self.shared().host().now()
    }

    /// When a call that may take `timeout` ends: never later than the request being served.
    pub(crate) fn deadline(&self, timeout: Timeout) -> Deadline {
        let own = match timeout {
            Timeout::Forever => Deadline::NEVER,
            Timeout::Now => return Deadline::NOW,
            t => Deadline::after(self.now(), t),
        };
        own.min(self.serving.get().1)
    }

    /// The deadline calls inherit at present: that of the request received last and not answered.
    pub fn inherited(&self) -> Deadline {
        self.serving.get().1
    }

    /// From here on, calls do not inherit the deadline of the request being served (it is answered later by
    /// other means).
    pub fn detach(&self) {
        self.serving.set((Endpoint::NONE, Deadline::NEVER));
    }

    /// Sends a message and waits until it was consumed. To a caller that awaits this endpoint's answer it is
    /// the answer.
    ///
    /// # Errors
    /// `BADDEST`, `RANGE`, `ENDPOINT`, `TRAPDENIED`, `BADCALL`: refused. `DSTDIED`: nobody there, or it ended
    /// before it consumed the message. `AGAIN`, `TIMEDOUT`, `INTR`: not consumed in time. `LOCKED`: a circle
    /// of waits. `NOTCONN`: the node was lost. The error says whether the message was consumed.
    pub fn send(&self, dst: Endpoint, m: &mut Message, timeout: Timeout) -> Result<()> {
        self.exchange(Call::Send, Kind::Send, dst, m, &[], timeout)
    }

    /// Sends a request and waits for the answer, which overwrites `m`.
    ///
    /// # Errors
    /// As [`Port::send`]; `SRCDIED` when the callee ended after it had consumed the request. A notification
    /// from the callee ends the call as if it were the answer.
    pub fn sendrec(&self, dst: Endpoint, m: &mut Message, timeout: Timeout) -> Result<()> {
        self.exchange(Call::Sendrec, Kind::Request, dst, m, &[], timeout)
    }

    /// The same, lending memory to the callee until the call returns.
    ///
    /// # Errors
    /// As [`Port::sendrec`]; `TOOBIG` for more than [`GRANTS_PER_CALL`] ranges.
    pub fn sendrec_with(
        &self,
        dst: Endpoint,
        m: &mut Message,
        lends: &mut [Lend<'_>],
        timeout: Timeout,
    ) -> Result<()> {
        let mut grants = [Grant { address: 0, length: 0, access: Access::Read }; GRANTS_PER_CALL];
        let room = grants.get_mut(..lends.len()).ok_or(Error::early(Code::TOOBIG))?;
        for (g, l) in room.iter_mut().zip(lends.iter()) {
            *g = l.grant();
        }
        let n = lends.len();
        self.exchange(Call::Sendrec, Kind::Request, dst, m, &grants[..n], timeout)
    }

    /// The straight way of a call: a known destination that waits in a receive, and an answer brought by a
    /// neighbour. Whatever is different goes the long way.
    #[inline]
    fn exchange(
        &self,
        call: Call,
        kind: Kind,
        dst: Endpoint,
        m: &mut Message,
        grants: &[Grant],
        timeout: Timeout,
    ) -> Result<()> {
        let mut core = self.look();
        let until = self.deadline(timeout);
        if kind == Kind::Request
            && let Some(Target::Here(ix)) = self.sends.get().known(&core, call, dst)
        {
            let header = |call| move |m: &mut Message| self.address(call, kind, dst, m, until);
            let number = core.next_call();
            if core.table.call_waiting(self.ix, ix, m, grants, header(number)) {
                core.release_handing(ix, &self.home);
                header(number)(m);
                return match self.wait_plain(m, until) {
                    Some(_) => Ok(()),
                    None => self.go_on(
                        self.await_end(dst, m, until, Phase::Awaiting(dst)),
                        call,
                        kind,
                        dst,
                        m,
                        grants,
                        until,
                    ),
                };
            }
        }
        let mut attempt = self.attempt(core, call, kind, dst, m, grants, until);
        if attempt.as_ref().is_err_and(|e| self.may_be_outdated(e)) {
            attempt = self.attempt(self.look(), call, kind, dst, m, grants, until);
        }
        self.go_on(attempt, call, kind, dst, m, grants, until)
    }

    /// Attempts until the call is over.
    #[cold]
    #[allow(clippy::too_many_arguments)]
    fn go_on(
        &self,
        mut attempt: Result<Attempt>,
        call: Call,
        kind: Kind,
        mut dst: Endpoint,
        m: &mut Message,
        grants: &[Grant],
        until: Deadline,
    ) -> Result<()> {
        let (mut hops, mut shut, mut moves) = (0, 0, 0);
        loop {
            match attempt? {
                Attempt::Over => return Ok(()),
                Attempt::Repeat => {}
                Attempt::Moved => {
                    // The first repetition finds the new place, as a rule. If not, its news is on its way, or
                    // two nodes disagree about it: then not at the speed of the network.
                    if moves > 0 {
                        let pause = MOVED_NS << moves.min(MOVED_DOUBLINGS);
                        self.pause(Deadline::from_ns(self.now().saturating_add(pause)).min(until));
                    }
                    moves += 1;
                }
                Attempt::Shut => {
                    shut += 1;
                    let soon = Deadline::from_ns(self.now().saturating_add(SHUT_NS));
                    self.home.wait(self.shared(), soon);
                }
                Attempt::Redirected(to) => {
                    hops += 1;
                    dst = to;
                }
            }
            // A peer that always sends us on, or says "again", does not keep us beyond our deadline.
            let effect = if hops > 0 { Effect::Unknown } else { Effect::No };
            if until != Deadline::NOW && until.passed(self.now()) {
                return Err(Error::new(Code::TIMEDOUT, effect).at(dst));
            }
            if hops > WAIT_CHAIN_MAX {
                return Err(Error::new(Code::BADREQUEST, effect).at(dst));
            }
            if until == Deadline::NOW && moves > 1 {
                return Err(Error::new(Code::AGAIN, effect).at(dst));
            }
            if shut > SHUT_TRIES {
                return Err(Error::new(Code::DSTDIED, effect).at(dst));
            }
            attempt = self.attempt(self.look(), call, kind, dst, m, grants, until);
        }
    }

    /// Lets time pass; whoever rings meanwhile is looked at.
    fn pause(&self, until: Deadline) {
        while !until.passed(self.now()) {
            self.home.wait(self.shared(), until);
        }
    }

    /// One attempt of a call, of whatever kind and wherever its destination is.
    #[allow(clippy::too_many_arguments)]
    fn attempt(
        &self,
        mut core: Held<'_>,
        call: Call,
        kind: Kind,
        dst: Endpoint,
        m: &mut Message,
        grants: &[Grant],
        until: Deadline,
    ) -> Result<Attempt> {
        let target = match self.sends.get().known(&core, call, dst) {
            Some(target) => target,
            None => self.find_target(&core, call, dst)?,
        };
        self.address(core.next_call(), kind, dst, m, until);
        let Target::Here(ix) = target else {
            return outside::exchange(self, core, kind, dst, m, grants, until);
        };
        let c = &mut *core;
        let step = c.table.send(self.ix, ix, m, grants, until != Deadline::NOW, &mut c.out)?;
        let phase = core.table.slot(self.ix).phase();
        core.release();
        match step {
            Step::Done(()) => Ok(Attempt::Over),
            Step::Wait if self.wait_plain(m, until).is_some() => Ok(Attempt::Over),
            Step::Wait => self.await_end(dst, m, until, phase),
        }
    }

    /// Writes what the system writes into a message that is sent.
    #[inline]
    fn address(&self, call: u64, kind: Kind, dst: Endpoint, m: &mut Message, until: Deadline) {
        m.set_route(self.endpoint, dst);
        m.set_kind(kind);
        m.set_call(call);
        m.set_deadline(until);
    }

    /// Takes the lock, after what rang outside was looked at.
    #[inline]
    fn look(&self) -> Held<'_> {
        let mut core = self.shared().lock();
        if let Some(o) = self.shared().outside() {
            o.look(&mut core);
        }
        core
    }

    /// The same for a call that must find what was rung before it, also through lanes of which the daemon's
    /// word was not read yet.
    #[inline]
    fn look_well(&self) -> Held<'_> {
        let mut core = self.shared().lock();
        match self.shared().outside() {
            Some(o) if o.look(&mut core) => {
                core.release();
                outside::catch_up(&self.process, &self.home);
                self.look()
            }
            _ => core,
        }
    }

    /// Takes the lock, and checks that the caller may use `call`.
    fn enter(&self, call: Call) -> Result<Held<'_>> {
        let core = self.look();
        self.check(&core, call)?;
        Ok(core)
    }

    /// Whether a call was refused for want of rights that may have been given meanwhile: whoever gave them
    /// was told so before the news was read here. If so, it is read now.
    #[cold]
    fn may_be_outdated(&self, e: &Error) -> bool {
        let outdated = matches!(e.code, Code::BADCALL | Code::TRAPDENIED)
            && e.effect == Effect::No
            && self.shared().outside().is_some();
        if outdated {
            outside::catch_up(&self.process, &self.home);
        }
        outdated
    }

    #[cold]
    fn find_target(&self, core: &Held<'_>, call: Call, dst: Endpoint) -> Result<Target> {
        self.check(core, call)?;
        let target = core.table.target(self.ix, dst).map_err(|c| Error::early(c).at(dst))?;
        self.sends.set(Checked::new(core, call, dst, target));
        Ok(target)
    }

    /// Checks that the caller may use `call`.
    fn check(&self, core: &Held<'_>, call: Call) -> Result<()> {
        let s = core.table.slot(self.ix);
        if s.binding() != self.binding || !s.is_bound() {
            return Err(Error::early(Code::NOTBIND));
        }
        if s.ended {
            return Err(Error::early(Code::DCNOTRUN));
        }
        // Said once to every port: nobody outside can be heard any more. After that it may still serve its
        // process.
        let receives = matches!(call, Call::Receive | Call::Rcvrqst);
        if receives && self.shared().outside().is_some_and(|o| o.alive().is_err()) && !self.told.replace(true)
        {
            return Err(Error::early(Code::DVSINIT));
        }
        if matches!(call, Call::Rcvrqst | Call::Reply) && !s.is_system() {
            return Err(Error::early(Code::TRAPDENIED));
        }
        s.may(call)?;
        Ok(())
    }

    /// Waits until the call in which this endpoint is (in `phase`) has ended.
    pub(crate) fn await_end(
        &self,
        dst: Endpoint,
        m: &mut Message,
        until: Deadline,
        phase: Phase,
    ) -> Result<Attempt> {
        match self.wait_outcome(m, until, phase)? {
            Outcome::Done | Outcome::Message => Ok(Attempt::Over),
            Outcome::Redirect(to) => Ok(Attempt::Redirected(to)),
            Outcome::Repeat => Ok(Attempt::Repeat),
            Outcome::Failed(e) => Err(e),
            Outcome::LaneProgress => outside::collect(self, dst, m),
            Outcome::FromLane(..) => Err(Error::early(Code::BADREQUEST).at(dst)),
        }
    }

    /// The ordinary end of an ordinary wait: without a deadline, brought by a neighbour. `None`: it is over
    /// or not, see
    /// [`Port::wait_outcome`].
    #[inline]
    fn wait_plain(&self, m: &mut Message, until: Deadline) -> Option<Plain> {
        if until != Deadline::NEVER || self.shared().outside().is_some() {
            return None;
        }
        let why = self.home.wait(self.shared(), until);
        let plain = self.home.collect(self.ix, m);
        if plain.is_none() {
            self.why.set(Some(why));
        }
        plain
    }

    /// Waits for the outcome of the present wait; leaves it at the deadline.
    fn wait_outcome(&self, m: &mut Message, until: Deadline, phase: Phase) -> Result<Outcome> {
        let Some(o) = self.shared().outside() else { return self.wait_end(m, until, None, None) };
        // The one look at the clock of an ordinary wait.
        let now = self.now();
        o.waits(self.board, self.endpoint, phase, now, m.call());
        let check = phase.waits_for().map(|_| (m.call(), now));
        let end = self.wait_end(m, until, Some(now), check);
        o.runs(self.board, self.endpoint);
        end
    }

    /// `began`: what the clock said just before, if it was looked at. `check`: number of the call about which
    /// the daemon is asked, at growing intervals, whether it is part of a circle, and when it began.
    fn wait_end(
        &self,
        m: &mut Message,
        until: Deadline,
        mut began: Option<u64>,
        check: Option<(u64, u64)>,
    ) -> Result<Outcome> {
        let mut leaving: Option<Leaving> = None;
        let mut pause = DEADLOCK_CHECK_NS;
        let mut soon =
            check.map_or(Deadline::NEVER, |(_, began)| Deadline::from_ns(began.saturating_add(pause)));
        loop {
            let ends = leaving.as_ref().map_or(until, |l| l.at).min(soon);
            let why = match (self.why.take(), began.take()) {
                (Some(why), _) => why,
                (None, Some(now)) => self.home.wait_from(self.shared(), ends, now),
                (None, None) => self.home.wait(self.shared(), ends),
            };
            if let Some(plain) = self.home.collect(self.ix, m) {
                return Ok(plain.into());
            }
            let mut core = self.shared().lock();
            if let Some(outcome) = core.table.finish(self.ix, m) {
                core.release();
                return Ok(outcome);
            }
            let slot = core.table.slot(self.ix);
            if !slot.is_bound() || slot.endpoint != self.endpoint {
                // It moved away in the middle of a call, and what had ended the call went with it.
                let effect = if check.is_some() { Effect::Unknown } else { Effect::No };
                return Err(Error::new(Code::RMTPROC, effect));
            }
            let asked = self.shared().outside().and_then(|o| o.leaving(self.ix));
            let endless = until == Deadline::NEVER && soon == Deadline::NEVER;
            if why == Why::Set && endless && asked.is_none() {
                continue;
            }
            let now = self.now();
            if soon.passed(now) {
                pause = (2 * pause).min(DEADLOCK_AGAIN_MAX_NS);
                soon = Deadline::from_ns(now.saturating_add(pause));
                if let (Some((call, _)), Some(o)) = (check, self.shared().outside()) {
                    core.release();
                    o.ask_circle(self.dc, self.endpoint, call);
                    core = self.shared().lock();
                }
            }
            let reason = match (leaving.as_ref(), asked, why) {
                (Some(l), ..) => l.why.clone(),
                (None, Some(e), _) => e,
                (None, None, Why::Interrupted) => Error::early(Code::INTR),
                (None, None, _) if until.passed(now) => Error::early(Code::TIMEDOUT),
                _ => continue,
            };
            let over = leaving.as_ref().is_some_and(|l| l.at.passed(now));
            let left = self.leave(&mut core, &reason, over);
            let outcome = core.table.finish(self.ix, m);
            core.release();
            match (left, outcome) {
                (_, Some(outcome)) => return Ok(outcome),
                (Left::Over(e), None) => return Err(e),
                // Its end wakes us; a callee that never ends it is left all the same.
                (Left::Not(grace), None) if leaving.is_none() || over => {
                    let at = Deadline::from_ns(now.saturating_add(grace));
                    leaving = Some(Leaving { why: reason, at });
                }
                (Left::Not(_), None) => {}
            }
        }
    }

    /// Tries to leave the call; `over` = a callee that holds us is waited for no longer.
    fn leave(&self, core: &mut Held<'_>, why: &Error, over: bool) -> Left {
        let effect = match self.shared().outside() {
            Some(o) => match o.cancel(core, self.ix, why) {
                outside::Cancelled::Effect(e) => e,
                outside::Cancelled::Later(_) if over => {
                    o.abandon(self.ix);
                    Some(Effect::Unknown)
                }
                outside::Cancelled::Later(grace) => return Left::Not(grace),
            },
            None => None,
        };
        match core.table.give_up(self.ix, why.code, effect) {
            Some(e) => Left::Over(Error { cycle: why.cycle.clone(), ..e }),
            // A neighbour copies.
            None => Left::Not(COPY_GRACE_NS),
        }
    }

    /// Receives a message or notification from `src` (or `ANY`): notifications first, then in the order of
    /// arrival.
    ///
    /// # Errors
    /// `SRCDIED`: the one source asked for is not bound or ended. `WOKENUP`, `AGAIN`, `TIMEDOUT`, `INTR`,
    /// `SHUTDOWN`, `LOCKED`, `BADCALL`, `ENDPOINT` (itself), `RANGE`.
    pub fn receive(&self, src: Endpoint, m: &mut Message, timeout: Timeout) -> Result<()> {
        let filter = match src {
            Endpoint::ANY => Filter::Any,
            e => Filter::From(e),
        };
        self.take(Call::Receive, filter, m, timeout)
    }

    /// Receives a message of anybody, no notification. For system processes.
    ///
    /// # Errors
    /// `TRAPDENIED` for a user process, else as [`Port::receive`].
    pub fn rcvrqst(&self, m: &mut Message, timeout: Timeout) -> Result<()> {
        self.take(Call::Rcvrqst, Filter::Requests, m, timeout)
    }

    /// The straight way of a receive: nothing is there, and a neighbour brings a message. Whatever is
    /// different goes the long way.
    #[inline]
    fn take(&self, call: Call, filter: Filter, m: &mut Message, timeout: Timeout) -> Result<()> {
        let mut core = self.look_well();
        let until = self.receive_deadline(timeout);
        if self.receives.get().known(&core, call, filter.source()).is_some()
            && until != Deadline::NOW
            && core.table.waits_for_any(self.ix, filter)
        {
            drop(core);
            return match self.wait_plain(m, until) {
                Some(_) => {
                    self.note_served(m);
                    Ok(())
                }
                None => self.take_more(
                    self.wait_outcome(m, until, Phase::Receiving(filter)),
                    call,
                    filter,
                    m,
                    until,
                ),
            };
        }
        self.take_long(core, call, filter, m, until)
    }

    /// What a wait for a message came to; if it came to nothing, receives again.
    #[cold]
    fn take_more(
        &self,
        outcome: Result<Outcome>,
        call: Call,
        filter: Filter,
        m: &mut Message,
        until: Deadline,
    ) -> Result<()> {
        let complete = match outcome? {
            Outcome::Message | Outcome::Done => true,
            Outcome::FromLane(lane, seq) => outside::take(self, lane, seq, m),
            Outcome::Failed(e) => return Err(e),
            _ => false,
        };
        if complete {
            self.note_served(m);
            return Ok(());
        }
        self.take_long(self.look(), call, filter, m, until)
    }

    fn take_long<'a>(
        &'a self,
        mut core: Held<'a>,
        call: Call,
        filter: Filter,
        m: &mut Message,
        until: Deadline,
    ) -> Result<()> {
        loop {
            if self.receives.get().known(&core, call, filter.source()).is_none()
                && let Err(e) = self.check_receive(&core, call, filter)
            {
                core.release();
                if !self.may_be_outdated(&e) {
                    return Err(e);
                }
                core = self.look();
                self.check_receive(&core, call, filter)?;
            }
            let c = &mut *core;
            let step = c.table.receive(self.ix, filter, m, until != Deadline::NOW, &mut c.out)?;
            core.release();
            let found = match step {
                Step::Done(found) => found,
                Step::Wait => {
                    if let Filter::From(src) = filter
                        && let Err(e) = outside::watch(self, src)
                    {
                        return self.stop_receiving(m, e);
                    }
                    match self.wait_plain(m, until) {
                        Some(_) => Received::Message,
                        None => match self.wait_outcome(m, until, Phase::Receiving(filter))? {
                            Outcome::Message | Outcome::Done => Received::Message,
                            Outcome::FromLane(lane, seq) => Received::InLane(lane, seq),
                            Outcome::Failed(e) => return Err(e),
                            _ => {
                                core = self.look();
                                continue;
                            }
                        },
                    }
                }
            };
            let complete = match found {
                Received::Message => true,
                Received::InLane(lane, seq) => outside::take(self, lane, seq, m),
            };
            if complete {
                self.note_served(m);
                return Ok(());
            }
            core = self.look();
        }
    }

    /// A receive that cannot be told of its source's end does not wait, but keeps what has come already.
    #[cold]
    fn stop_receiving(&self, m: &mut Message, why: Error) -> Result<()> {
        let mut core = self.shared().lock();
        // What it returns is the same error again, or nothing when the end has come already.
        let _ = core.table.give_up(self.ix, why.code, None);
        let outcome =
            self.home.collect(self.ix, m).map(Outcome::from).or_else(|| core.table.finish(self.ix, m));
        drop(core);
        match outcome {
            Some(Outcome::Message) => {
                self.note_served(m);
                Ok(())
            }
            Some(Outcome::Failed(e)) => Err(e),
            _ => Err(why),
        }
    }

    /// A receive is not made on behalf of a caller, so it has only its own deadline.
    fn receive_deadline(&self, timeout: Timeout) -> Deadline {
        match timeout {
            Timeout::Now => Deadline::NOW,
            Timeout::Forever => Deadline::NEVER,
            t => Deadline::after(self.now(), t),
        }
    }

    #[cold]
    fn check_receive(&self, core: &Held<'_>, call: Call, filter: Filter) -> Result<()> {
        self.check(core, call)?;
        if let Filter::From(src) = filter {
            self.check_source(core, src)?;
        }
        self.receives.set(Checked::new(core, call, filter.source(), Target::Here(self.ix)));
        Ok(())
    }

    fn check_source(&self, core: &Held<'_>, src: Endpoint) -> Result<()> {
        let s = core.table.slot(self.ix);
        if src.is_reserved() || !src.in_table(s.shape.tasks, s.shape.procs) {
            return Err(Error::early(Code::RANGE).at(src));
        }
        if src == self.endpoint {
            return Err(Error::early(Code::ENDPOINT).at(src));
        }
        if core.table.find(self.dc, src).is_none() && self.shared().outside().is_none() {
            return Err(Error::early(Code::SRCDIED).at(src));
        }
        Ok(())
    }

    fn note_served(&self, m: &Message) {
        if m.kind() == Some(Kind::Request) {
            self.serving.set((m.source(), m.deadline()));
        }
    }

    /// Answers a caller whose request was consumed.
    ///
    /// # Errors
    /// `PROCSTS`: it does not wait for this endpoint's answer (any more); nothing happens. `TRAPDENIED` for a
    /// user process.
    pub fn reply(&self, dst: Endpoint, m: &mut Message, timeout: Timeout) -> Result<()> {
        // What rang meanwhile is looked at by the next call that may wait.
        let mut core = self.shared().lock();
        let to = match self.replies.get().known(&core, Call::Reply, dst) {
            Some(target) => target,
            None => self.find_client(&core, dst)?,
        };
        let header = |m: &mut Message| {
            m.set_route(self.endpoint, dst);
            m.set_kind(Kind::Reply);
        };
        // No result is kept over the end of this function: a small one, written in pieces and copied in a
        // large one, is what the processor would wait for.
        let served = || {
            if self.serving.get().0 == dst {
                self.detach();
            }
        };
        match to {
            Target::Here(ix) if core.table.answer(self.ix, ix, m, header) => {
                core.release_handing(ix, &self.home);
                header(m);
                served();
                Ok(())
            }
            Target::Here(_) => {
                core.release();
                served();
                Err(Error::early(Code::PROCSTS).at(dst))
            }
            Target::Elsewhere => {
                header(m);
                served();
                outside::reply(self, core, dst, m, timeout)
            }
        }
    }

    #[cold]
    fn find_client(&self, core: &Held<'_>, dst: Endpoint) -> Result<Target> {
        self.check(core, Call::Reply)?;
        self.check_destination(core, dst)?;
        let target = core.table.find(self.dc, dst).map_or(Target::Elsewhere, Target::Here);
        self.replies.set(Checked::new(core, Call::Reply, dst, target));
        Ok(target)
    }

    fn check_destination(&self, core: &Held<'_>, dst: Endpoint) -> Result<()> {
        let s = core.table.slot(self.ix);
        let code = if dst == Endpoint::HARDWARE || dst.is_reserved() {
            Code::BADDEST
        } else if !dst.in_table(s.shape.tasks, s.shape.procs) {
            Code::RANGE
        } else if dst == self.endpoint {
            Code::ENDPOINT
        } else {
            return Ok(());
        };
        Err(Error::early(code).at(dst))
    }

    /// Hands the consumed request of `client` to `dst`, which sees `client` as its source and answers it
    /// directly. Does not block. `m` is what `dst` receives.
    ///
    /// # Errors
    /// `PROCSTS`: the client does not wait for this endpoint's answer. `DSTDIED`: `dst` is not bound; the
    /// client still waits.
    pub fn relay(&self, client: Endpoint, dst: Endpoint, m: &mut Message) -> Result<()> {
        let mut core = self.enter(Call::Relay)?;
        let target = core.table.target(self.ix, dst).map_err(|c| Error::early(c).at(dst))?;
        let owed = core.table.slot(self.ix).client(client).ok_or(Error::early(Code::PROCSTS).at(client))?;
        m.set_route(client, dst);
        m.set_kind(Kind::Request);
        let c = &mut *core;
        let done = match (owed, target) {
            (Client::Local(ix), Target::Here(to)) => c.table.relay(self.ix, ix, to, m, &mut c.out),
            (Client::Local(ix), Target::Elsewhere) => match self.shared().outside() {
                Some(_) => c.table.relay_out(self.ix, ix, dst, m, &mut c.out),
                None => Err(Code::DSTDIED),
            },
            (Client::Lane(lane, seq), _) => {
                return outside::redirect(self, core, client, lane, seq, dst, m);
            }
        };
        core.release();
        if self.serving.get().0 == client {
            self.detach();
        }
        done.map_err(|c| Error::early(c).at(dst))
    }

    /// Notifies `dst`: never waits for it, and several notifications of one source become one.
    ///
    /// # Errors
    /// `TRAPDENIED` when `dst` is a user process, else as the checks of [`Port::send`].
    pub fn notify(&self, dst: Endpoint) -> Result<()> {
        self.notify_value(Endpoint::SELF, dst, 0)
    }

    /// Notifies as another bound endpoint of this process' container (facts §2.10, src_notify). For system
    /// processes.
    ///
    /// # Errors
    /// As [`Port::notify`]; `PRIVILEGES` for a user process that names another source.
    pub fn notify_from(&self, src: Endpoint, dst: Endpoint) -> Result<()> {
        self.notify_value(src, dst, 0)
    }

    /// Notifies with value bits; bits of several notifications from one source are or'ed until they are
    /// received.
    ///
    /// # Errors
    /// As [`Port::notify_from`]; `RANGE` when bit 63 is set.
    pub fn notify_value(&self, src: Endpoint, dst: Endpoint, value: u64) -> Result<()> {
        if value >> 63 != 0 {
            return Err(Error::early(Code::RANGE));
        }
        let mut core = self.enter(Call::Notify)?;
        let s = core.table.slot(self.ix);
        let source = if src == Endpoint::SELF { self.endpoint } else { src };
        if source != self.endpoint && !s.is_system() {
            return Err(Error::early(Code::PRIVILEGES).at(src));
        }
        let target = core.table.target(self.ix, dst).map_err(|c| Error::early(c).at(dst))?;
        if !core.table.slot(self.ix).shape.is_system(dst.slot()) {
            return Err(Error::early(Code::TRAPDENIED).at(dst));
        }
        let now = self.now();
        match target {
            Target::Here(ix) => {
                let c = &mut *core;
                c.table.mark_notifier(self.ix);
                let done = c.table.notice(ix, source, value, now, &mut c.out);
                core.release();
                done.map_err(|c| Error::new(c, Effect::Yes).at(dst))
            }
            Target::Elsewhere => outside::notify(self, core, source, dst, value, now),
        }
    }

    /// Copies out of the memory `src` lent for the call it is in (it awaits this endpoint's answer).
    ///
    /// # Errors
    /// `PROCSTS`: it is in no such call. `FAULT`: the range is not covered by a grant to read, or not mapped.
    /// `SRCDIED`, `NOTCONN`.
    pub fn copy_in(&self, src: Endpoint, address: u64, into: &mut [u8]) -> Result<()> {
        let own = into.as_mut_ptr() as u64;
        crate::copy::copy(self, (src, address), (Endpoint::SELF, own), into.len() as u64)
    }

    /// Copies into the memory `dst` lent for the call it is in.
    ///
    /// # Errors
    /// As [`Port::copy_in`], for a grant to write.
    pub fn copy_out(&self, dst: Endpoint, address: u64, from: &[u8]) -> Result<()> {
        let own = from.as_ptr() as u64;
        crate::copy::copy(self, (Endpoint::SELF, own), (dst, address), from.len() as u64)
    }

    /// Copies between the memories two callers lent to this endpoint.
    ///
    /// # Errors
    /// As [`Port::copy_in`] for each side; `ENDPOINT` when both are the same or one is no endpoint; `RANGE`
    /// for more than `COPY_BYTES_MAX` bytes.
    pub fn vcopy(&self, src: (Endpoint, u64), dst: (Endpoint, u64), bytes: u64) -> Result<()> {
        crate::copy::third_party(self, src, dst, bytes)
    }

    /// What `client` lent for the call it is in.
    pub fn grants_of(&self, client: Endpoint) -> Vec<Grant> {
        let core = self.shared().lock();
        match core.table.slot(self.ix).client(client) {
            Some(Client::Local(ix)) => core.table.slot(ix).grants().to_vec(),
            Some(Client::Lane(lane, seq)) => {
                self.shared().outside().map_or_else(Vec::new, |o| o.grants(lane, seq))
            }
            None => Vec::new(),
        }
    }

    /// Ends the binding: everybody that waits for this endpoint learns it.
    pub fn unbind(self) {}
}

impl<W: Wait> Drop for Port<W> {
    fn drop(&mut self) {
        let mut core = self.shared().lock();
        let c = &mut *core;
        let slot = c.table.slot(self.ix);
        let bound = slot.is_bound() && slot.binding() == self.binding;
        if bound {
            c.table.unbind(self.ix, false, &mut c.out);
        }
        core.release();
        outside::unbind(self, bound);
    }
}
