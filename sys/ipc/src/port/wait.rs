//! The end of a wait: awaited, found, or left at a deadline.

use super::Port;
use crate::outside::{self, Attempt};
use crate::process::Held;
use crate::wait::{Wait, Why};
use dvs_abi::limits::{COPY_GRACE_NS, DEADLOCK_AGAIN_FACTOR, DEADLOCK_CHECK_NS};
use dvs_abi::{Code, Deadline, Effect, Endpoint, Error, Message, Result};
use dvs_kern::rendezvous::{Outcome, Phase, Plain};

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

impl<W: Wait> Port<W> {
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
            Outcome::LaneProgress => outside::collect(self, dst, m, until),
            Outcome::FromLane(..) => Err(Error::early(Code::BADREQUEST).at(dst)),
        }
    }

    /// The ordinary end of an ordinary wait: without a deadline, brought by a neighbour. `None`: it is over
    /// or not, see [`Port::wait_outcome`].
    #[inline]
    pub(super) fn wait_plain(&self, m: &mut Message, until: Deadline) -> Option<Plain> {
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
    pub(super) fn wait_outcome(&self, m: &mut Message, until: Deadline, phase: Phase) -> Result<Outcome> {
        let Some(o) = self.shared().outside() else { return self.wait_end(m, until, None, None) };
        // The one look at the clock of an ordinary wait.
        let now = self.now();
        o.waits(self.board, self.endpoint, phase, now, m.call());
        let check = phase.waits_for().map(|_| (m.call(), now));
        if self.shared().has_stops() {
            // It may be ours, and come between the checks of this call and its wait.
            self.why.set(Some(Why::Set));
        }
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
            let asked = self.asked_to_leave(&mut core, check.map(|(call, _)| call));
            let endless = until == Deadline::NEVER && soon == Deadline::NEVER;
            if why == Why::Set && endless && asked.is_none() {
                continue;
            }
            let now = self.now();
            if soon.passed(now) {
                pause = pause.saturating_mul(DEADLOCK_AGAIN_FACTOR);
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

    /// Why somebody else wants the present wait to end. `call`: its number, if it can be part of a circle.
    fn asked_to_leave(&self, core: &mut Held<'_>, call: Option<u64>) -> Option<Error> {
        if let Some(e) = self.shared().outside().and_then(|o| o.leaving(self.ix)) {
            return Some(e);
        }
        if let Some(code) = self.shared().take_stop(core, self.ix) {
            return Some(Error::early(code));
        }
        core.table.slot(self.ix).circle.as_ref()?;
        let (of, cycle) = core.table.slot_mut(self.ix).circle.take()?;
        // That of an earlier call is broken already.
        (call == Some(of)).then(|| Error::deadlock(cycle))
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
}
