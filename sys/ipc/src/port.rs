//! A bound endpoint as a program holds it: plain calls that block.
//!
//! Every call is described in `docs/reference/calls`; here stands what each does and when it fails. A port is
//! owned by one thread or coroutine at a time, as a descriptor of the reference system is by one task.
//!
//! | file | subject |
//! |---|---|
//! | here | what a port is and remembers, its checks; notify, copies |
//! | `call`, `receive`, `answer` | the calls that send, that take, that end what was taken |
//! | `wait` | how every wait of these ends |

mod answer;
pub(crate) mod call;
mod receive;
mod wait;

use crate::control::Duty;
use crate::outside;
use crate::process::{Held, Process, Shared};
use crate::wait::{ThreadWait, Wait, Why};
use dvs_abi::{Access, Call, Code, DcId, Deadline, Effect, Endpoint, Error, Grant, Result, Timeout};
use dvs_kern::rendezvous::{Client, Ix, Target};
use std::cell::Cell;

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

    /// What this endpoint may answer at this moment: everything, unless it is an instance of a service that
    /// its node may not serve now. Answers that may not go out wait inside; an instance of rule *reads* asks
    /// before it changes anything.
    pub fn duty(&self) -> Duty {
        let core = self.shared().lock();
        self.shared().outside().map_or(Duty::Full, |o| o.duty(&core, self.ix))
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

    /// Checks that the caller may use `call`.
    fn check(&self, core: &Held<'_>, call: Call) -> Result<()> {
        let s = core.table.slot(self.ix);
        if s.binding() != self.binding || !s.is_bound() {
            return Err(Error::early(Code::NOTBIND));
        }
        if let Some(code) = s.ended {
            return Err(Error::early(code));
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

    /// The same for a call that may wait: also that nobody wants it stopped.
    fn check_waiting(&self, core: &mut Held<'_>, call: Call) -> Result<()> {
        self.check(core, call)?;
        match self.shared().take_stop(core, self.ix) {
            Some(why) => Err(Error::early(why)),
            None => Ok(()),
        }
    }

    /// Takes what [`Process::stop`] left for the next call of this endpoint, so that the call is made after
    /// all.
    pub fn take_stop(&self) -> Option<Code> {
        self.shared().take_stop(&mut self.shared().lock(), self.ix)
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
        let slot = core.table.slot(self.ix);
        let bound = slot.is_bound() && slot.binding() == self.binding;
        let (ended, instance) = (slot.ended.is_some(), slot.instance.is_some());
        if bound {
            let _ = self.shared().take_stop(&mut core, self.ix);
            let c = &mut *core;
            c.table.unbind(self.ix, false, &mut c.out);
        }
        core.release();
        outside::unbind(self, bound, ended, instance);
    }
}
