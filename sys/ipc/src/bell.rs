//! The doorbell: one word a session sleeps on, whoever may call it.
//!
//! # Why
//! A server with a thousand clients sleeps on one futex, and a client that finds it awake makes no system
//! call.
//!
//! # Picture
//! ```text
//! bell page: written by every linked peer          status page: written by the owner only, sealed
//!   word 0    futex word, low 32 bits:               word 0   1 = the owner sleeps (or is about to),
//!             0..31 links 0..31, 31 = see below               + 2 = a deputy watches, see there
//!   8..24     bitmap of links 31..1024
//!   32        flags: control socket, own process
//! ```
//!
//! # No lost wake-up
//! Ringer and owner each write one word and then read the other's (Dekker):
//! ```text
//! ringer                          owner
//!   bell |= bit                     sleeping = 1
//!   fence(SeqCst)      (R)          fence(SeqCst)      (W)
//!   if sleeping: futex_wake         if bell == 0: futex_wait(bell == 0)
//!                                   sleeping = 0
//! ```
//! The two fences have one order. If R comes first, the owner's read after W sees the bit and it does not
//! sleep. If W comes first, the ringer's read after R sees `sleeping` and it wakes; the kernel compares the
//! word again under the lock `futex_wake` takes, so the wake finds either a sleeper or an owner that saw the
//! bit. Without the fences both reads could be served before either write: each would think the other will
//! see it.
//!
//! # Peers are hostile
//! Bits set for nothing cost the owner a look. Erased bits could hide another peer's ring: therefore every so
//! often the owner is told to look at all links ([`Waited::Recheck`]). The sleeping flag cannot be forged, as
//! peers map that page read-only; a ringer never skips the wake because bits were set before, as those may be
//! forged.

mod deputy;
mod glance;
mod manners;
mod pending;
mod recheck;
mod ringer;
mod spin;

pub use deputy::Deputy;
pub use glance::Glance;
pub use manners::Manners;
pub use pending::{Pending, bits};
pub use ringer::Ringer;
pub use spin::SpinPolicy;

use crate::host::{Host, Memory, Wake};
use crate::sync::{AtomicU64, Ordering, fence, relax};
use dvs_abi::Deadline;
use dvs_abi::limits::SPIN_NS;
use pending::OVERFLOW_WORDS;
use recheck::Recheck;
use std::sync::Arc;

/// Words of the bell page that are used.
pub const BELL_WORDS: usize = 33;
/// Words of the status page that are used.
pub const STATUS_WORDS: usize = 1;
/// Bytes of either.
pub const BELL_BYTES: usize = 4096;

const OVERFLOW: usize = 8;
const FLAGS: usize = 32;
/// Bit of the futex word: see the overflow bitmap and the flags.
const MORE: u64 = 1 << 31;
const FUTEX_BITS: u64 = 0xffff_ffff;
/// In the status word: the owner sleeps (or is about to); another thread of it watches in its place.
const SLEEPS: u64 = 1;
const WATCHED: u64 = 2;
const CONTROL: u64 = 1;
const OWN: u64 = 2;
/// Rounds of a spin between two looks at the clock.
const SPIN_ROUNDS: u32 = 16;
/// How long a spin keeps the core for itself; then it lets others run between two looks.
const SPIN_ALONE_NS: u64 = 2_000;
/// How many times as long a spin may last by what others run meanwhile.
const SPIN_CROWDED: u64 = 8;
/// Yields before sleeping: the scheduler may pick us again at once.
const YIELDS: u32 = 4;
/// Waits that found the bell rung before the clock is asked whether a re-check is due.
const BUSY_WAITS: u32 = 256;

const _: () = assert!(OVERFLOW + OVERFLOW_WORDS <= FLAGS && FLAGS < BELL_WORDS);

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waited {
    /// Look at these.
    Rung(Pending),
    /// Look at everything: all links' ready words and lanes in use, and the control socket.
    Recheck,
    /// The deadline passed.
    TimedOut,
    /// A signal handler ran.
    Interrupted,
}

/// Whether and how the last wait spun, for [`SpinPolicy`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Spun {
    /// It did not spin: it was rung already, or was told not to.
    #[default]
    Not,
    /// The ring came while it spun.
    Hit,
    /// It went to sleep after the spin.
    Miss,
}

/// The owner's end of its doorbell. One thread at a time waits.
pub struct Bell {
    bell: Arc<dyn Memory>,
    status: Arc<dyn Memory>,
    glance: Glance,
    recheck: Recheck,
    busy: u32,
    spun: Spun,
    manners: Manners,
}

impl Bell {
    /// The bell in these pages; `None` if one is too short.
    pub fn new(bell: Arc<dyn Memory>, status: Arc<dyn Memory>) -> Option<Self> {
        let fits = bell.words().len() >= BELL_WORDS && status.words().len() >= STATUS_WORDS;
        fits.then(|| Bell {
            glance: Glance::new(bell.clone()),
            bell,
            status,
            recheck: Recheck::new(),
            busy: 0,
            spun: Spun::Not,
            manners: Manners::default(),
        })
    }

    /// A ringer for one's own bell, for other threads of this process.
    pub fn ringer(&self) -> Ringer {
        Ringer::own(self.bell.clone(), self.status.clone())
    }

    /// What other threads of this process ask whether something is on its way.
    pub fn glance(&self) -> Glance {
        self.glance.clone()
    }

    /// For another thread of this process that looks at the bell while the owner sleeps.
    pub fn deputy(&self) -> Deputy {
        Deputy::new(self.bell.clone(), self.status.clone())
    }

    /// A deputy took rings: the next look at everything is as near as if the owner had taken them.
    pub fn rung_elsewhere(&mut self, host: &dyn Host) {
        self.recheck.rung(|| host.now());
    }

    /// What has rung, without waiting; empty when nothing has.
    pub fn poll(&mut self) -> Pending {
        if !self.is_rung() {
            return Pending::default();
        }
        self.glance.takes();
        take(self.bell.words())
    }

    /// Waits until something rings: first spinning for `spin_ns`, then asleep.
    ///
    /// With [`Deadline::NOW`] it does not block. A wait that ends by a ring reads no clock, but for the spin.
    pub fn wait(&mut self, host: &dyn Host, deadline: Deadline, spin_ns: u64) -> Waited {
        self.spun = Spun::Not;
        if self.is_rung() {
            self.busy = (self.busy + 1) % BUSY_WAITS;
            return if self.busy == 0 { self.rung_at(host.now()) } else { Waited::Rung(self.poll()) };
        }
        if deadline == Deadline::NOW {
            return Waited::TimedOut;
        }
        if spin_ns > 0 {
            let now = host.now();
            let now = self.spin(host, now, spin_ns, deadline);
            if self.is_rung() {
                return self.rung_at(now);
            }
        }
        loop {
            // A time that has passed already ends the sleep at once, so that neither is overlooked.
            let due = self.recheck.due(|| host.now());
            let wake = self.sleep(host, deadline.min(Deadline::from_ns(due)));
            if self.is_rung() {
                self.recheck.rung(|| host.now());
                return Waited::Rung(self.poll());
            }
            if wake == Wake::Interrupted {
                return Waited::Interrupted;
            }
            let now = host.now();
            if deadline.passed(now) {
                return Waited::TimedOut;
            }
            if self.recheck.fires(now) {
                return Waited::Recheck;
            }
        }
    }

    /// How the last wait spun.
    pub fn spun(&self) -> Spun {
        self.spun
    }

    /// Takes what has rung, unless a re-check is due, which looks at everything anyway.
    fn rung_at(&mut self, now: u64) -> Waited {
        let fires = self.recheck.fires(now);
        self.recheck.rung(|| now);
        let pending = self.poll();
        if fires { Waited::Recheck } else { Waited::Rung(pending) }
    }

    /// Lets others run on this core, for when the peer shares it; whether something has rung. Call it before
    /// [`Bell::wait`]. Does nothing for a while after it found the core wanted by somebody who keeps it.
    /// `now` is what the clock said just before, if it was looked at.
    pub fn give_way(&mut self, host: &dyn Host, now: Option<u64>) -> bool {
        if self.is_rung() {
            return true;
        }
        let mut before = now.unwrap_or_else(|| host.now());
        for _ in 0..YIELDS {
            if !self.manners.may(before) {
                break;
            }
            host.give_way();
            let after = host.now();
            self.manners.gave(before, after, host.slice());
            if self.is_rung() {
                return true;
            }
            before = after;
        }
        false
    }

    /// Spins until something rings, for `spin_ns` of our own time or to the deadline; gives back the time.
    fn spin(&mut self, host: &dyn Host, mut now: u64, spin_ns: u64, deadline: Deadline) -> u64 {
        let word = &self.bell.words()[0];
        let alone = now.saturating_add(SPIN_ALONE_NS);
        let mut until = deadline.min(Deadline::from_ns(now.saturating_add(spin_ns)));
        // Where we may not yield, a long spin would keep the core from somebody who wants it.
        let blind = now.saturating_add(SPIN_NS);
        let last = now.saturating_add(spin_ns.saturating_mul(SPIN_CROWDED));
        self.spun = Spun::Miss;
        while !until.passed(now) {
            for _ in 0..SPIN_ROUNDS {
                if rung(word) {
                    self.spun = Spun::Hit;
                    return now;
                }
                relax();
            }
            if (now > alone || self.manners.crowded()) && self.manners.may(now) {
                // The one that will ring, or whoever it serves first, may wait for this core. What others run
                // is not our spin.
                host.give_way();
                let after = host.now();
                if self.manners.gave(now, after, host.slice()) && until.ns() < last {
                    until = deadline.min(Deadline::from_ns(until.ns().saturating_add(after - now)));
                }
                now = after;
            } else {
                now = host.now();
                if now > blind && !self.manners.may(now) {
                    break;
                }
            }
        }
        now
    }

    fn is_rung(&self) -> bool {
        rung(&self.bell.words()[0])
    }

    /// The owner's half of the argument above.
    fn sleep(&self, host: &dyn Host, until: Deadline) -> Wake {
        let (word, sleeping) = (&self.bell.words()[0], &self.status.words()[0]);
        sleeping.fetch_or(SLEEPS, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let wake = if rung(word) { Wake::Changed } else { host.futex_wait(word, 0, until, true) };
        sleeping.fetch_and(!SLEEPS, Ordering::Relaxed);
        wake
    }
}

/// Whether the futex word says anything; its upper half, which nobody honest writes, does not count.
fn rung(word: &AtomicU64) -> bool {
    word.load(Ordering::Relaxed) & FUTEX_BITS != 0
}

/// Takes what has rung.
fn take(bell: &[AtomicU64]) -> Pending {
    let mut pending = Pending::default();
    if !rung(&bell[0]) {
        return pending;
    }
    let word = bell[0].swap(0, Ordering::AcqRel);
    pending.direct = (word & (MORE - 1)) as u32;
    pending.more = word & MORE != 0;
    if pending.more {
        for (into, from) in pending.overflow.iter_mut().zip(&bell[OVERFLOW..FLAGS]) {
            if from.load(Ordering::Relaxed) != 0 {
                *into = from.swap(0, Ordering::Acquire);
            }
        }
        let flags = bell[FLAGS].swap(0, Ordering::Acquire);
        pending.control = flags & CONTROL != 0;
        pending.own = flags & OWN != 0;
    }
    pending
}

#[cfg(all(test, not(loom)))]
mod tests;
