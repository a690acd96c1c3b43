//! Calls that wait for a destination: send, sendrec. A call is attempted until it is over: its destination
//! may move, relay it, or have closed its lane a moment ago.

use super::{Checked, Lend, Port};
use crate::outside::{self, Attempt};
use crate::process::Held;
use crate::wait::Wait;
use dvs_abi::limits::{GRANTS_PER_CALL, WAIT_CHAIN_MAX};
use dvs_abi::{Access, Call, Code, Deadline, Effect, Endpoint, Error, Grant, Kind, Message, Result, Timeout};
use dvs_kern::rendezvous::{Phase, Step, Target};

/// How long to wait for the daemon to say what became of a peer that closed its lane, at a time,
pub(crate) const SHUT_NS: u64 = 200_000;
/// and how often: a second on a busy machine. After that the peer is as good as dead.
pub(crate) const SHUT_TRIES: usize = 5_000;
/// How long to wait before a call whose destination has moved is made a third time; then twice as long
/// each time,
const MOVED_NS: u64 = 200_000;
/// so often: up to 13 ms.
const MOVED_DOUBLINGS: u32 = 6;

impl<W: Wait> Port<W> {
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
        // The number of a call that was sent and lost: it may have been done.
        let mut again = None;
        loop {
            match attempt.map_err(|e| unsure(e, again.is_some()))? {
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
                Attempt::Again => {
                    again = again.or(Some(m.call()));
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
            let effect = if hops > 0 || again.is_some() { Effect::Unknown } else { Effect::No };
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
            attempt = self.attempt_as(self.look(), again, call, kind, dst, m, grants, until);
        }
    }

    /// Lets time pass; whoever rings meanwhile is looked at.
    fn pause(&self, until: Deadline) {
        while !until.passed(self.now()) {
            self.home.wait(self.shared(), until);
        }
    }

    /// The first attempt of a call.
    #[allow(clippy::too_many_arguments)]
    fn attempt(
        &self,
        core: Held<'_>,
        call: Call,
        kind: Kind,
        dst: Endpoint,
        m: &mut Message,
        grants: &[Grant],
        until: Deadline,
    ) -> Result<Attempt> {
        self.attempt_as(core, None, call, kind, dst, m, grants, until)
    }

    /// One attempt of a call, of whatever kind and wherever its destination is; `again`: its number, if it
    /// was sent before and may have been done.
    #[allow(clippy::too_many_arguments)]
    fn attempt_as(
        &self,
        mut core: Held<'_>,
        again: Option<u64>,
        call: Call,
        kind: Kind,
        dst: Endpoint,
        m: &mut Message,
        grants: &[Grant],
        until: Deadline,
    ) -> Result<Attempt> {
        let target = match self.sends.get().known(&core, call, dst) {
            Some(target) => target,
            None => self.find_target(&mut core, call, dst)?,
        };
        self.address(again.unwrap_or_else(|| core.next_call()), kind, dst, m, until);
        if again.is_some() {
            m.set_again(true);
        }
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
        m.set_again(false);
        m.set_call(call);
        m.set_epoch(0);
        m.set_binding(self.shared().life());
        m.set_deadline(until);
    }

    #[cold]
    fn find_target(&self, core: &mut Held<'_>, call: Call, dst: Endpoint) -> Result<Target> {
        self.check_waiting(core, call)?;
        let target = core.table.target(self.ix, dst).map_err(|c| Error::early(c).at(dst))?;
        self.sends.set(Checked::new(core, call, dst, target));
        Ok(target)
    }
}

/// What is not done by an attempt may have been done by one before.
fn unsure(e: Error, again: bool) -> Error {
    if again && e.effect == Effect::No { Error { effect: Effect::Unknown, ..e } } else { e }
}
