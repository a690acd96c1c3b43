//! How a reader waits for its socket (pure): it polls while traffic flows and blocks when nothing comes.
//!
//! Waking a thread that sleeps in a read costs tens of microseconds when it crosses cores, ten times what a
//! message costs otherwise; so after traffic a reader polls for [`MESSAGE_POLL_NS`] before it blocks. While
//! it polls it lets others run: the program that is going to answer may wait for this very core. What those
//! run does not count as polling. A yield that cost a time slice stops the yields for a while ([`Manners`]),
//! and polling that found nothing several times in a row pauses for a growing number of reads, so that a peer
//! that takes longer anyway is not paid for.

use dvs_ipc::bell::Manners;
use dvs_ipc::host::SLICE_NS;

/// How long to poll for messages before blocking; a little more than a round trip to a neighbour that is
/// awake.
pub(crate) const MESSAGE_POLL_NS: u64 = 50_000;
/// How long to poll for bulk: the other node needs so long to make a chunk, and waking us for each would cost
/// it as much.
pub(crate) const BULK_POLL_NS: u64 = 50_000;
/// Only if something for a program came so recently: what nodes tell each other by themselves, ten times a
/// second and more, is not worth a core.
pub(crate) const LATELY_NS: u64 = 10_000_000;
/// How long a poll keeps the core for itself; then it lets others run between two looks.
const ALONE_NS: u64 = 2_000;
/// How long to poll where others cannot be let run.
const BLIND_NS: u64 = 10_000;
/// How many times as long a poll may last by what others run meanwhile.
const CROWDED: u64 = 100;
/// Polls in vain before polling pauses, and the longest pause in reads.
const MISSES: u32 = 4;
const PAUSE_MAX: u32 = 256;

/// What to do after a look that found nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// Look again.
    Look,
    /// Let others run, say so with [`Polling::gave`], look again.
    Yield,
    /// Block.
    Block,
}

/// The state of one reader.
#[derive(Debug)]
pub(crate) struct Polling {
    poll_ns: u64,
    misses: u32,
    pause: u32,
    next_pause: u32,
    manners: Manners,
    alone: u64,
    blind: u64,
    until: u64,
    last: u64,
}

impl Polling {
    /// Polls for `poll_ns` before blocking.
    pub(crate) fn new(poll_ns: u64) -> Self {
        Polling {
            poll_ns,
            misses: 0,
            pause: 0,
            next_pause: 0,
            manners: Manners::default(),
            alone: 0,
            blind: 0,
            until: 0,
            last: 0,
        }
    }

    /// Nothing was there at `now`: whether to poll or to block at once.
    pub(crate) fn begin(&mut self, now: u64) -> bool {
        if self.pause > 0 {
            self.pause -= 1;
            return false;
        }
        (self.alone, self.blind) = (now + ALONE_NS, now + BLIND_NS);
        (self.until, self.last) = (now + self.poll_ns, now + CROWDED * self.poll_ns);
        true
    }

    /// A look found something.
    pub(crate) fn found(&mut self) {
        (self.misses, self.next_pause) = (0, 0);
    }

    /// A look at `now` found nothing.
    pub(crate) fn next(&mut self, now: u64) -> Next {
        if now >= self.until {
            return self.miss();
        }
        if !self.manners.may(now) {
            // Somebody wants the core and keeps it when it is given way: polling is kept short.
            return if now >= self.blind { self.miss() } else { Next::Look };
        }
        if now > self.alone || self.manners.crowded() { Next::Yield } else { Next::Look }
    }

    fn miss(&mut self) -> Next {
        self.misses += 1;
        if self.misses >= MISSES {
            self.next_pause = (self.next_pause * 2).clamp(8, PAUSE_MAX);
            (self.misses, self.pause) = (0, self.next_pause);
        }
        Next::Block
    }

    /// A yield lasted from `before` to `after`.
    pub(crate) fn gave(&mut self, before: u64, after: u64) {
        if self.manners.gave(before, after, SLICE_NS) {
            self.until = (self.until + (after - before)).min(self.last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ALONE_NS, BLIND_NS, CROWDED, MESSAGE_POLL_NS as POLL_NS, MISSES, Next, PAUSE_MAX, Polling};

    /// Polls in vain, each yield taking `yield_ns`; how long it took and how often it yielded.
    fn in_vain(p: &mut Polling, mut now: u64, yield_ns: u64) -> Option<(u64, u64)> {
        let (start, mut yields) = (now, 0);
        if !p.begin(now) {
            return None;
        }
        loop {
            now += 300;
            match p.next(now) {
                Next::Look => {}
                Next::Yield => {
                    p.gave(now, now + yield_ns);
                    (now, yields) = (now + yield_ns, yields + 1);
                }
                Next::Block => return Some((now - start, yields)),
            }
        }
    }

    #[test]
    fn it_keeps_the_core_shortly_and_what_others_run_does_not_count() {
        let mut p = Polling::new(POLL_NS);
        p.begin(0);
        assert_eq!((p.next(ALONE_NS - 1), p.next(ALONE_NS + 1)), (Next::Look, Next::Yield));
        let (alone, yields) = in_vain(&mut Polling::new(POLL_NS), 0, 200).unwrap();
        assert!((POLL_NS..2 * POLL_NS).contains(&alone) && yields > 10, "{alone} {yields}");
        let (crowded, _) = in_vain(&mut Polling::new(POLL_NS), 0, 5_000).unwrap();
        assert!(crowded > 10 * POLL_NS && crowded < (CROWDED + 1) * POLL_NS, "{crowded}");
    }

    #[test]
    fn a_lost_time_slice_stops_the_yields() {
        let mut p = Polling::new(POLL_NS);
        p.begin(0);
        p.gave(3_000, 3_003_000);
        assert!(p.begin(3_010_000) && p.next(3_013_000) == Next::Look);
        assert_eq!(p.next(3_010_000 + BLIND_NS), Next::Block);
    }

    #[test]
    fn polling_in_vain_pauses_ever_longer_until_something_comes() {
        let mut p = Polling::new(POLL_NS);
        let mut polls = 0;
        for n in 0..10_000 {
            polls += u32::from(in_vain(&mut p, n * 1_000_000, 200).is_some());
        }
        assert!((10_000 / PAUSE_MAX..400).contains(&polls), "{polls}");
        p.found();
        p.pause = 0;
        let polls = (0..MISSES + 1).filter(|n| in_vain(&mut p, u64::from(*n), 200).is_some()).count();
        assert_eq!(polls, MISSES as usize);
    }
}
