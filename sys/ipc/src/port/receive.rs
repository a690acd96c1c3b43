//! Calls that take messages: receive, rcvrqst.

use super::{Checked, Port};
use crate::outside;
use crate::process::Held;
use crate::wait::Wait;
use dvs_abi::{Call, Code, Deadline, Endpoint, Error, Kind, Message, Result, Timeout};
use dvs_kern::rendezvous::{Filter, Outcome, Phase, Received, Step, Target};

impl<W: Wait> Port<W> {
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
            Outcome::Failed(e) => return Err(self.heard(e)),
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
                && let Err(e) = self.check_receive(&mut core, call, filter)
            {
                core.release();
                if !self.may_be_outdated(&e) {
                    return Err(e);
                }
                core = self.look();
                self.check_receive(&mut core, call, filter)?;
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
                            Outcome::Failed(e) => return Err(self.heard(e)),
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

    /// A receive that ended because the daemon did has told the program so.
    fn heard(&self, e: Error) -> Error {
        if e.code == Code::DVSINIT {
            self.told.set(true);
        }
        e
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
    fn check_receive(&self, core: &mut Held<'_>, call: Call, filter: Filter) -> Result<()> {
        self.check_waiting(core, call)?;
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
}
