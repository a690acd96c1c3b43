//! What a program that moves a service asks its daemon. Who moves and why is `dvs-migrate`'s.

use crate::control::{Answer, Request};
use crate::outside::{ask, bind_by};
use crate::port::Port;
use crate::process::Process;
use crate::wait::Wait;
use dvs_abi::{Code, DcId, Deadline, Endpoint, Error, NodeId, Result, Timeout};
pub use dvs_kern::mover::{MovePhase, MoverAnswer, MoverAsk, MoverReport};

/// The moves of the service at one slot, as one thread of its program sees them.
pub struct Mover<'a, W: Wait> {
    process: &'a Process,
    home: &'a W,
    dc: DcId,
    slot: i32,
}

impl<W: Wait> Port<W> {
    /// The moves of the service at `slot` of this endpoint's container; this endpoint is the one that sends
    /// or takes its state.
    pub fn mover(&self, slot: i32) -> Mover<'_, W> {
        Mover { process: self.process(), home: self.home(), dc: self.dc(), slot }
    }
}

impl<W: Wait> Mover<'_, W> {
    /// Asks; see [`MoverAsk`] for what is answered.
    ///
    /// # Errors
    /// `BADPROC`: no service is declared there. `PROCSTS`: it is none of the kind that moves so. `NOTBIND`:
    /// the instance is not in this session. `PRIVILEGES`. `TIMEDOUT`: nobody wanted anything; ask again. Of
    /// what the log decides, its code; effect unknown if it could not be asked.
    pub fn ask(&self, ask_it: MoverAsk) -> Result<MoverAnswer> {
        let request = Request::Mover { dc: self.dc.0, slot: self.slot, ask: ask_it };
        match ask(self.process, self.home, request, Deadline::NEVER)? {
            Answer::Mover(answer) => Ok(answer),
            // What is only done has no other answer.
            Answer::Done => Ok(MoverAnswer::On),
            _ => Err(Error::early(Code::BADREQUEST)),
        }
    }

    /// Where the service is, once that was decided later than in the epoch `after`; the epoch of that.
    ///
    /// # Errors
    /// `TIMEDOUT`; `DSTDIED`: it is no service any more; else as [`Mover::ask`].
    pub fn place(&self, after: u64, timeout: Timeout) -> Result<(Option<NodeId>, u64)> {
        let now = self.process.shared().host().now();
        let remaining = Deadline::after(now, timeout).remaining(now);
        match self.ask(MoverAsk::Place { after, remaining })? {
            MoverAnswer::At { node, epoch } => Ok((node.map(NodeId), epoch)),
            _ => Err(Error::early(Code::BADREQUEST)),
        }
    }

    /// This process has all of a service that moves here, by this number of the move: binds it as the
    /// instance, when the log says that it is.
    ///
    /// # Errors
    /// `STALE`: the move is over. `SLOTUSED`, `BUSY`: another program has the slot on this node. Else as
    /// [`Mover::ask`].
    pub fn arrive<H: Wait>(&self, home: H, number: u64) -> Result<Port<H>> {
        let (dc, slot) = (self.dc.0, self.slot);
        let request = |board| Request::Mover { dc, slot, ask: MoverAsk::Arrive { number, board } };
        bind_by(self.process, home, request, Deadline::NEVER)
    }

    /// The service.
    pub fn service(&self) -> Endpoint {
        Endpoint::new(0, self.slot)
    }
}
