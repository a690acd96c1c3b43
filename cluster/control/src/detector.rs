//! Whether another node is alive, judged by when its heartbeats arrive (Hayashibara and others, *The φ
//! accrual failure detector*, 2004).
//!
//! A fixed time-out is too long for a quiet network and too short for a busy one. So the gaps between
//! arrivals are observed, and the longer the present silence is compared with them the more suspicious the
//! node: φ = 1 means that such a silence is seen once in ten gaps, φ = 8 once in a hundred million. Gaps are
//! taken to be spread as a logistic distribution of the observed mean and deviation, whose tail is easily
//! computed.
//!
//! ```text
//!  heard ─► gap ─► mean, deviation (the last gaps count most)
//!                       │
//!  now ─► silence ──────┴─► φ ─► above SUSPECT_PHI: suspected; the leader ends its lease, and once that is
//!                                over, has it declared lost
//! ```
//! A node that was itself stopped for a while (its process, its machine) has heard nothing either, and that
//! says nothing about the others: whoever finds that its own clock jumped calls [`Detector::forgive`].

/// Above it a node is suspected.
pub const SUSPECT_PHI: f64 = 8.0;
/// How much of the average the latest gap makes up.
const WEIGHT: f64 = 0.1;
/// Gaps are taken to deviate by this part of the mean at least: a network that was quiet so far need not stay
/// so.
const DEVIATION_LEAST: f64 = 0.25;
/// Deviation of a logistic distribution of scale 1: π / √3.
const SCALE: f64 = 1.813_799_364_234_217_8;

/// What is known of the arrivals of one node's heartbeats.
#[derive(Clone, Copy, Debug)]
pub struct Detector {
    last: u64,
    /// Mean gap and mean square of the deviation from it, in ns.
    mean: f64,
    variance: f64,
    /// The longest gap that is observed as one: a longer one was a failure, no habit.
    gap_max: f64,
}

impl Detector {
    /// Of a node that is first heard `now` and says that it sends every `period_ns`.
    pub fn new(now: u64, period_ns: u64) -> Self {
        let mean = period_ns.max(1) as f64;
        let deviation = mean / 2.0;
        Detector { last: now, mean, variance: deviation * deviation, gap_max: 20.0 * mean }
    }

    /// A heartbeat, or anything else of the node, came.
    pub fn heard(&mut self, now: u64) {
        let gap = now.saturating_sub(self.last) as f64;
        self.last = self.last.max(now);
        if gap > self.gap_max {
            return;
        }
        let off = gap - self.mean;
        self.mean += WEIGHT * off;
        self.variance = (1.0 - WEIGHT) * (self.variance + WEIGHT * off * off);
    }

    /// This node itself did not run for a while that has just ended: all begin anew.
    pub fn forgive(&mut self, now: u64) {
        self.last = self.last.max(now);
    }

    /// How suspicious its silence is: −log₁₀ of the chance of a gap longer than it.
    ///
    /// ```
    /// use dvs_control::detector::{Detector, SUSPECT_PHI};
    /// const MS: u64 = 1_000_000;
    /// let mut d = Detector::new(0, 100 * MS);
    /// (1..=50).for_each(|n| d.heard(n * 100 * MS));
    /// assert!(d.phi(5_100 * MS) < 1.0, "as usual");
    /// assert!(d.phi(6_000 * MS) > SUSPECT_PHI, "a second of silence");
    /// ```
    pub fn phi(&self, now: u64) -> f64 {
        let silence = now.saturating_sub(self.last) as f64;
        let x = (silence - self.mean) / self.scale();
        // The chance is 1 / (1 + eˣ); for large x that is e⁻ˣ, of which the first form knows nothing any
        // more.
        if x > 30.0 { x * std::f64::consts::LOG10_E } else { x.exp().ln_1p() * std::f64::consts::LOG10_E }
    }

    fn scale(&self) -> f64 {
        self.variance.sqrt().max(DEVIATION_LEAST * self.mean) / SCALE
    }

    /// When it becomes suspected if nothing is heard of it until then.
    pub fn suspected_at(&self) -> u64 {
        // The inverse of `phi`; 1 is lost against 10⁸.
        let x = SUSPECT_PHI * std::f64::consts::LN_10;
        self.last.saturating_add((self.mean + x * self.scale()).max(0.0) as u64)
    }

    /// Whether it is suspected.
    pub fn suspects(&self, now: u64) -> bool {
        now >= self.suspected_at()
    }
}

#[cfg(test)]
mod tests {
    use super::{Detector, SUSPECT_PHI};

    const MS: u64 = 1_000_000;

    /// Heartbeats every 100 ms, each late by what `late` says, in ms; the detector and when it heard last.
    fn beats(n: u64, mut late: impl FnMut(u64) -> u64) -> (Detector, u64) {
        let (mut d, mut last) = (Detector::new(0, 100 * MS), 0);
        for i in 1..=n {
            last = i * 100 * MS + late(i) * MS;
            assert!(!d.suspects(last), "beat {i}");
            d.heard(last);
        }
        (d, last)
    }

    #[test]
    fn a_quiet_network_suspects_soon_and_a_shaky_one_later() {
        let (quiet, at_quiet) = beats(200, |_| 0);
        let (shaky, at_shaky) = beats(200, |i| i * 7919 % 90);
        let soon = quiet.suspected_at() - at_quiet;
        let later = shaky.suspected_at() - at_shaky;
        assert!((200 * MS..700 * MS).contains(&soon), "{soon}");
        assert!(later > soon && later < 1_500 * MS, "{later}");
    }

    #[test]
    fn suspicion_grows_with_silence_and_ends_with_a_sign_of_life() {
        let (mut d, last) = beats(50, |i| i % 3);
        let phis: Vec<f64> = (0..100).map(|n| d.phi(last + n * 20 * MS)).collect();
        assert!(phis.is_sorted() && phis[0] < 1.0 && phis[99] > SUSPECT_PHI, "{phis:?}");
        let at = d.suspected_at();
        assert!((d.phi(at) - SUSPECT_PHI).abs() < 0.01 && !d.suspects(at - MS) && d.suspects(at));
        d.heard(at + 10_000 * MS);
        assert!(!d.suspects(at + 10_100 * MS));
        assert!(d.suspected_at() - (at + 10_000 * MS) < 1_000 * MS, "a long silence is no habit");
    }

    #[test]
    fn who_was_stopped_itself_suspects_nobody_for_it() {
        let (mut d, last) = beats(50, |_| 0);
        let now = last + 30_000 * MS;
        assert!(d.suspects(now));
        d.forgive(now);
        assert!(!d.suspects(now + 150 * MS) && d.suspects(now + 2_000 * MS));
    }

    #[test]
    fn clocks_that_stand_or_go_back_do_no_harm() {
        let mut d = Detector::new(5 * MS, 0);
        for now in [5 * MS, 5 * MS, 0, u64::MAX, 3] {
            d.heard(now);
            assert!(d.phi(now).is_finite() && d.phi(u64::MAX).is_finite());
        }
        assert!(d.suspected_at() >= 5 * MS);
    }
}
