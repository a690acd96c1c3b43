//! A process: the table of its endpoints, its lock, and who wakes whom.
//!
//! All endpoints of a process share one [`Rendezvous`] table under one lock that is held for some ten
//! nanoseconds a call. What decides is in the table; this file carries out what it says: it sets the flags of
//! those whose wait ended while the lock is held, and ends their sleep after it was released.

use crate::host::Host;
use crate::lock::{Guard, Lock};
use crate::outside::Outside;
use crate::port::Port;
use crate::wait::{Kick, Place, ThreadWait, Wait, Wake};
use dvs_abi::limits::{PROCS_DEFAULT, SYSPROCS_DEFAULT, TASKS_MAX};
use dvs_abi::{DcId, Endpoint, Error, NodeId, Privileges, Result};
use dvs_kern::rendezvous::{Cmd, Ix, Rendezvous, Shape, Slot};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The shape of a container unless it is created with another.
pub const DEFAULT_SHAPE: Shape = Shape { tasks: TASKS_MAX, procs: PROCS_DEFAULT, sysprocs: SYSPROCS_DEFAULT };

/// What all endpoints of a process share.
pub struct Shared {
    host: Arc<dyn Host>,
    core: Lock<Core>,
    outside: Option<Outside>,
    /// How many endpoints have a stop before them; changes under the lock only.
    stops: AtomicUsize,
    /// Tells this process from others that had its endpoints before.
    life: u64,
}

/// The part under the lock.
pub(crate) struct Core {
    pub table: Rendezvous,
    pub out: Vec<Cmd>,
    pub calls: u64,
    homes: Vec<Home>,
}

/// Where the calls of an endpoint wait.
struct Home {
    place: Place,
    wake: Arc<dyn Wake>,
}

/// The lock, held. Released by [`Held::release`], which then ends the sleeps of those the table woke.
pub(crate) struct Held<'a> {
    core: Guard<'a, Core>,
    shared: &'a Shared,
}

impl std::ops::Deref for Held<'_> {
    type Target = Core;
    fn deref(&self) -> &Core {
        &self.core
    }
}

impl std::ops::DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Core {
        &mut self.core
    }
}

impl Held<'_> {
    /// Lets go of the lock and has `ix` look again at whatever it waits for.
    pub fn rouse(self, ix: Ix) {
        let wake = self.core.homes[ix as usize].wake.clone();
        let kick = wake.set();
        let shared = self.shared;
        self.release();
        match kick {
            Kick::No => {}
            Kick::Sleeps => wake.kick(),
            Kick::Polls => shared.nudge(),
        }
    }
}

impl Core {
    /// Enters a descriptor and whom to wake for it.
    pub fn enter(&mut self, slot: Slot, wake: Arc<dyn Wake>) -> Result<Ix, dvs_abi::Code> {
        let ix = self.table.bind(slot)?;
        let home = Home { place: wake.place(), wake };
        match self.homes.get_mut(ix as usize) {
            Some(h) => *h = home,
            None => self.homes.push(home),
        }
        Ok(ix)
    }

    /// A number for the next call; grows, never zero.
    #[inline]
    pub fn next_call(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }
}

impl Held<'_> {
    /// Carries out what the table said and lets go of the lock.
    #[inline]
    pub fn release(mut self) {
        let core = &mut *self.core;
        match core.out[..] {
            [] => {}
            [Cmd::Wake(ix)] => {
                core.out.clear();
                self.release_waking(ix);
            }
            _ => self.carry_out(),
        }
    }

    /// The same when the table ended the wait of one endpoint and said so otherwise: nearly always, one call
    /// ends the wait of one other, and that one is a neighbour of the caller (whose home is `near`).
    #[inline]
    pub fn release_handing(mut self, ix: Ix, near: &impl Wait) {
        let core = &mut *self.core;
        if !core.out.is_empty() || !near.hand_over(core.homes[ix as usize].place, &mut core.table, ix) {
            self.release_waking(ix);
        }
    }

    #[cold]
    fn release_waking(mut self, ix: Ix) {
        let core = &mut *self.core;
        if !core.out.is_empty() {
            core.out.push(Cmd::Wake(ix));
            return self.carry_out();
        }
        match core.homes[ix as usize].wake.deliver(&mut core.table, ix) {
            Kick::No => {}
            kick => self.end_sleep(ix, kick),
        }
    }

    #[cold]
    fn end_sleep(self, ix: Ix, kick: Kick) {
        let shared = self.shared;
        if kick == Kick::Polls {
            drop(self);
            return shared.nudge();
        }
        let wake = self.core.homes[ix as usize].wake.clone();
        drop(self);
        wake.kick();
    }

    #[cold]
    fn carry_out(mut self) {
        let mut kicks: Vec<Arc<dyn Wake>> = Vec::new();
        let mut rings = false;
        let core = &mut *self.core;
        for cmd in core.out.drain(..) {
            match cmd {
                Cmd::Wake(ix) => match core.homes[ix as usize].wake.deliver(&mut core.table, ix) {
                    Kick::No => {}
                    Kick::Sleeps => kicks.push(core.homes[ix as usize].wake.clone()),
                    Kick::Polls => rings = true,
                },
                Cmd::Refuse(lane, seq, code, effect) => {
                    if let Some(outside) = &self.shared.outside {
                        outside.refuse(lane, seq, &Error::new(code, effect));
                    }
                }
            }
        }
        let shared = self.shared;
        drop(self);
        if rings {
            shared.nudge();
        }
        for k in kicks {
            k.kick();
        }
    }
}

impl Shared {
    #[inline]
    pub(crate) fn lock(&self) -> Held<'_> {
        // A panic while the lock is held is a bug of this crate; the table stays consistent call by call, so
        // the other endpoints go on.
        Held { core: self.core.lock(), shared: self }
    }

    /// The operating system.
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }

    /// What its calls within itself say of who calls: [`Message::binding`](dvs_abi::Message::binding).
    #[inline]
    pub(crate) fn life(&self) -> u64 {
        self.life
    }

    /// The session with the node's daemon, if the process has one.
    pub(crate) fn outside(&self) -> Option<&Outside> {
        self.outside.as_ref()
    }
}

/// A process that owns endpoints. Cheap to clone.
///
/// A *stand-alone* process has no daemon: its endpoints reach each other and nobody else.
#[derive(Clone)]
pub struct Process {
    shared: Arc<Shared>,
}

impl Process {
    /// A stand-alone process.
    pub fn alone(host: Arc<dyn Host>) -> Self {
        Process::new(host, None)
    }

    pub(crate) fn new(host: Arc<dyn Host>, outside: Option<Outside>) -> Self {
        let core =
            Core { table: Rendezvous::new(), out: Vec::with_capacity(16), calls: 0, homes: Vec::new() };
        let life = RandomState::new().hash_one(std::process::id());
        let stops = AtomicUsize::new(0);
        Process { shared: Arc::new(Shared { host, core: Lock::new(core), outside, stops, life }) }
    }

    /// What its endpoints share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The node of this process; node 0 when it stands alone.
    pub fn node(&self) -> NodeId {
        self.shared.outside().map_or(NodeId(0), Outside::node)
    }

    /// Binds an endpoint to the calling thread.
    ///
    /// # Errors
    /// See [`Process::bind_in`].
    pub fn bind(&self, dc: DcId, endpoint: Endpoint) -> Result<Port<ThreadWait>> {
        self.bind_in(ThreadWait::new(&self.shared.host), dc, endpoint)
    }

    /// Binds an endpoint whose calls block in the given home. `NONE` takes any free user slot.
    ///
    /// # Errors
    /// `SLOTUSED`, `RANGE`, `NOSPC`; with a daemon also `BADDCID`, `DCNOTRUN`, `NODCNODE`.
    pub fn bind_in<W: Wait>(&self, home: W, dc: DcId, endpoint: Endpoint) -> Result<Port<W>> {
        match self.shared.outside() {
            Some(_) => crate::outside::bind(self, home, dc, endpoint),
            None => {
                // Found and taken under one lock: several threads may look for a free slot.
                let core = self.shared.lock();
                let endpoint = match endpoint {
                    Endpoint::NONE => free_user_slot(&core, dc)?,
                    e => e,
                };
                let p = Privileges::at_bind(endpoint.slot(), DEFAULT_SHAPE.tasks, DEFAULT_SHAPE.sysprocs);
                self.enter(core, home, Slot::new(dc, endpoint, DEFAULT_SHAPE, p), 0)
            }
        }
    }

    /// Enters a descriptor into the table and makes the port of it.
    fn enter<W: Wait>(&self, mut core: Held<'_>, home: W, slot: Slot, board: u32) -> Result<Port<W>> {
        let (dc, endpoint) = (slot.dc, slot.endpoint);
        let ix = core.enter(slot, home.waker()).map_err(|c| Error::early(c).at(endpoint))?;
        let binding = core.table.slot(ix).binding();
        core.release();
        Ok(Port::new(self.clone(), (ix, binding), dc, endpoint, home, board))
    }

    /// Ends a blocked call of `endpoint` with `why` (a cancellation, a shutdown). Says whether there was one:
    /// an endpoint that works between two calls is not reached, see [`Process::stop`].
    pub fn interrupt(&self, dc: DcId, endpoint: Endpoint, why: dvs_abi::Code) -> bool {
        let mut core = self.shared.lock();
        let Some(ix) = core.table.find(dc, endpoint) else { return false };
        let done = self.shared.interrupt_held(&mut core, ix, why);
        core.release();
        done
    }

    /// Ends the blocked call of `endpoint` with `why`; if it is in none, its next `send`, `sendrec`,
    /// `receive` or `rcvrqst` ends so. Says whether the endpoint is bound in this process. Of two stops that
    /// wait for one call, the later counts.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # fn host() -> Arc<dyn dvs_ipc::host::Host> { Arc::new(dvs_ipc::testing::TestHost::default()) }
    /// use dvs_abi::{Code, DcId, Endpoint, Message, Timeout};
    /// let process = dvs_ipc::Process::alone(host());
    /// let port = process.bind(DcId(0), Endpoint::new(0, 1))?;
    /// assert!(process.stop(DcId(0), port.endpoint(), Code::SHUTDOWN));
    /// let e = port.receive(Endpoint::ANY, &mut Message::default(), Timeout::Forever).unwrap_err();
    /// assert_eq!(e.code, Code::SHUTDOWN);
    /// # Ok::<_, dvs_abi::Error>(())
    /// ```
    pub fn stop(&self, dc: DcId, endpoint: Endpoint, why: dvs_abi::Code) -> bool {
        let mut core = self.shared.lock();
        let Some(ix) = core.table.find(dc, endpoint) else { return false };
        self.shared.stop_held(&mut core, ix, why);
        core.release();
        true
    }
}

impl Shared {
    /// Ends what `ix` waits in, or else its next call that may wait.
    pub(crate) fn stop_held(&self, core: &mut Held<'_>, ix: Ix, why: dvs_abi::Code) {
        // Asking for the slot to be changed makes whoever remembers what its checks found check again.
        if !self.interrupt_held(core, ix, why) && core.table.slot_mut(ix).stopped.replace(why).is_none() {
            self.stops.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes the stop that `ix` has before it. One that came before a wait is seen by whoever waits: both
    /// take the lock first.
    #[inline]
    pub(crate) fn take_stop(&self, core: &mut Held<'_>, ix: Ix) -> Option<dvs_abi::Code> {
        if self.stops.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let why = core.table.slot_mut(ix).stopped.take()?;
        self.stops.fetch_sub(1, Ordering::Relaxed);
        Some(why)
    }

    /// Whether some endpoint has a stop before it.
    #[inline]
    pub(crate) fn has_stops(&self) -> bool {
        self.stops.load(Ordering::Relaxed) > 0
    }

    /// Ends whatever `ix` waits in; a call through a lane is cancelled there first.
    pub(crate) fn interrupt_held(&self, core: &mut Held<'_>, ix: Ix, why: dvs_abi::Code) -> bool {
        let effect = match self.outside() {
            Some(o) => match o.cancel(core, ix, &Error::early(why)) {
                crate::outside::Cancelled::Effect(e) => e,
                crate::outside::Cancelled::Later(_) => return self.leaves(core, ix),
            },
            None => None,
        };
        let core = &mut **core;
        core.table.interrupt(ix, why, effect, &mut core.out)
    }

    /// The call with this number closes a circle: whoever waits in it, if it is still that one, leaves it.
    pub(crate) fn break_circle(&self, core: &mut Held<'_>, ix: Ix, call: u64, cycle: Vec<Endpoint>) {
        core.table.slot_mut(ix).circle = Some((call, cycle));
        core.out.push(Cmd::Wake(ix));
    }

    /// The call of `ix` could not be left at once: whoever waits in it goes on leaving. Says whether there is
    /// one.
    fn leaves(&self, core: &mut Held<'_>, ix: Ix) -> bool {
        let leaves = self.outside().is_some_and(|o| o.leaving(ix).is_some());
        if leaves {
            core.out.push(Cmd::Wake(ix));
        }
        leaves
    }
}

fn free_user_slot(core: &Held<'_>, dc: DcId) -> Result<Endpoint> {
    let first = DEFAULT_SHAPE.sysprocs - DEFAULT_SHAPE.tasks;
    (first..DEFAULT_SHAPE.procs)
        .map(|slot| Endpoint::new(0, slot))
        .find(|e| core.table.find(dc, *e).is_none())
        .ok_or(Error::early(dvs_abi::Code::NOSPC))
}
