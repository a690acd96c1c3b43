//! When to give way to whoever else could run on this core (pure).
//!
//! If the peer shares our core, the cheapest way to let it run is to yield: neither side sleeps, so neither
//! has to be woken, and a round trip costs two system calls instead of four. But a yield beside a program
//! that only computes hands that program a whole time slice, milliseconds, where the kernel lets a woken
//! sleeper run ahead of it. So the time each yield took is watched. (Peers that serve in turn take some
//! microseconds each, so with sixty of them a yield may well take half a millisecond; a program that only
//! computes takes the slice the system gives.) One that cost a slice is followed by a
//! pause in which we sleep at once, [`PAUSE`] times as long as the slice; and twice that if yields were not
//! fine for as long as the last pause was, and so on: a neighbour that computes now and then stops the yields
//! for a moment, one that always does costs a sixtieth of the time.

/// How many times as long as the lost slice no yield is tried: at first, and at most.
const PAUSE: u64 = 4;
const PAUSE_MAX: u64 = 64;
/// A yield that took longer let somebody else run.
const OTHERS_NS: u64 = 800;

/// Decides from what past yields cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manners {
    /// When the last pause ends, and how long it is.
    again: u64,
    pause: u64,
    factor: u64,
    crowded: bool,
}

impl Manners {
    /// Whether to yield.
    pub const fn may(self, now: u64) -> bool {
        now >= self.again
    }

    /// Whether the last yield let somebody else run: then the next one may be made at once.
    pub const fn crowded(self) -> bool {
        self.crowded
    }

    /// How long a yield took, and a slice is; says whether somebody else ran.
    pub fn gave(&mut self, before: u64, after: u64, slice: u64) -> bool {
        let lost = after.saturating_sub(before);
        if lost > slice {
            let fine = before.saturating_sub(self.again) > self.pause;
            self.factor = if fine { PAUSE } else { (self.factor * 2).clamp(PAUSE, PAUSE_MAX) };
            self.pause = lost.saturating_mul(self.factor);
            self.again = after.saturating_add(self.pause);
        }
        self.crowded = lost > OTHERS_NS;
        self.crowded
    }
}

#[cfg(test)]
mod tests {
    use super::Manners;

    const SLICE: u64 = 1_400_000;
    /// A program that computes is stopped by a tick of the clock.
    const TAKEN: u64 = 3_000_000;

    /// Yields for ten seconds beside a neighbour that wants a slice every `period`; the time lost, and
    /// without yields.
    fn beside(period: u64) -> (u64, u64) {
        let (mut m, mut now, mut lost, mut paused, mut wants) = (Manners::default(), period, 0, 0, 0);
        while now < 10_000_000_000 {
            now += 2_000;
            if !m.may(now) {
                paused += 2_000;
            } else if now >= wants {
                assert!(m.gave(now, now + TAKEN, SLICE));
                now += TAKEN;
                lost += TAKEN;
                wants = now + period;
            }
        }
        (lost, paused)
    }

    #[test]
    fn a_busy_neighbour_costs_little_and_an_idle_one_stops_little() {
        let (lost, _) = beside(0);
        assert!(lost > 0 && lost < 10_000_000_000 / 50, "{lost}");
        let (_, paused) = beside(250_000_000);
        assert!(paused < 10_000_000_000 / 8, "{paused}");
    }

    #[test]
    fn many_peers_in_turn_are_no_busy_neighbour() {
        let mut m = Manners::default();
        assert!(m.gave(0, SLICE, SLICE) && m.may(SLICE) && m.crowded());
        assert!(!m.gave(SLICE, SLICE + 300, SLICE) && !m.crowded());
    }
}
