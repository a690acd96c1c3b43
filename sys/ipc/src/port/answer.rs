//! What becomes of a request that was taken: reply, relay.

use super::{Checked, Port};
use crate::outside;
use crate::process::Held;
use crate::wait::Wait;
use dvs_abi::{Call, Code, Endpoint, Error, Kind, Message, Result, Timeout};
use dvs_kern::rendezvous::{Client, Target};

impl<W: Wait> Port<W> {
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
            (Client::Lane(lane, seq), _) => outside::redirect(self, core, client, lane, seq, dst, m),
            (Client::Local(ix), target) => {
                let done = match target {
                    Target::Here(to) => c.table.relay(self.ix, ix, to, m, &mut c.out),
                    Target::Elsewhere if self.shared().outside().is_some() => {
                        c.table.relay_out(self.ix, ix, dst, m, &mut c.out)
                    }
                    Target::Elsewhere => Err(Code::DSTDIED),
                };
                core.release();
                done.map_err(|code| Error::early(code).at(dst))
            }
        };
        // One that was refused still waits for this endpoint.
        if done.is_ok() && self.serving.get().0 == client {
            self.detach();
        }
        done
    }
}
