//! Whether a replica keeps up, so that its node's callers come to it, or has fallen behind and says so.
//!
//! ```text
//!                 behind what is decided, or its member stands still,
//!                 while a leader is heard, for REPLICA_BEHIND_NS
//!   in step ─────────────────────────────────────────────────────────► out of step
//!      ▲                                                                    │
//!      └────────────────────────────────────────────────────────────────────┘
//!                 near what is decided, for REPLICA_NEAR_NS
//! ```
//! Why: callers go to the replica of their own node. What they read there waits until it has done all that
//! was decided before, and what they change until its disk lets it think: behind a slow disk or processor
//! that is long, while the others serve.
//!
//! *Whoever hears no leader keeps quiet*: nobody is ahead of it as far as it knows, and by the rule of the
//! service it may be the only one that its callers have. *Whoever leads* is behind nobody. *A process that
//! was stopped* and goes on is given the time to catch up: what it did not do meanwhile it could not have
//! done. The two bounds lie apart, so that one that is just fast enough does not come and go.

use dvs_abi::limits::{
    REPLICA_BEHIND_ENTRIES, REPLICA_BEHIND_NS, REPLICA_HEARD_NS, REPLICA_NEAR_ENTRIES, REPLICA_NEAR_NS,
};

/// What is known of a replica. Times are ns of one clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Seen {
    /// When one that leads was heard last, as far as letters arrive; zero: never.
    pub heard: u64,
    /// When the member looked at itself last.
    pub looked: u64,
    /// By that look, it leads,
    pub leads: bool,
    /// so much is decided as far as it knows,
    pub decided: u64,
    /// and so much is done here.
    pub applied: u64,
}

/// The pace of one replica.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Pace {
    out: bool,
    /// Since when it looks as if the other were true.
    since: Option<u64>,
    /// The last look,
    last: u64,
    /// and since when there was no gap between looks: before it, the process stood still.
    runs: u64,
}

impl Pace {
    /// Takes a look; whether the replica is out of step.
    pub fn look(&mut self, seen: &Seen, now: u64) -> bool {
        if now.saturating_sub(self.last) > REPLICA_BEHIND_NS / 2 {
            (self.runs, self.since) = (now, None);
        }
        self.last = now;
        let other = if self.out { near(seen, now) } else { self.behind(seen, now) };
        let long = if self.out { REPLICA_NEAR_NS } else { REPLICA_BEHIND_NS };
        match (other, self.since) {
            (None, _) => self.since = None,
            (Some(since), before) => {
                let since = before.unwrap_or(since);
                self.since = Some(since);
                if now.saturating_sub(since) >= long {
                    (self.out, self.since) = (!self.out, None);
                }
            }
        }
        self.out
    }

    /// Since when it is behind, if it is.
    fn behind(&self, seen: &Seen, now: u64) -> Option<u64> {
        if seen.heard == 0 || now.saturating_sub(seen.heard) > REPLICA_HEARD_NS {
            return None;
        }
        let looked = seen.looked.max(self.runs);
        if now.saturating_sub(looked) >= REPLICA_BEHIND_NS {
            // It may lead no more, and not know it: somebody who does was heard since.
            return (seen.heard > seen.looked).then_some(looked);
        }
        let far = seen.decided.saturating_sub(seen.applied) > REPLICA_BEHIND_ENTRIES;
        (far && !seen.leads).then_some(now)
    }
}

/// Since when it is near what is decided, if it is.
fn near(seen: &Seen, now: u64) -> Option<u64> {
    let goes_on = now.saturating_sub(seen.looked) < REPLICA_BEHIND_NS;
    let near = seen.leads || seen.decided.saturating_sub(seen.applied) <= REPLICA_NEAR_ENTRIES;
    (goes_on && near).then_some(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: u64 = 50_000_000;

    /// Looks every tick until `end`; when it changed its mind first.
    fn run(pace: &mut Pace, from: u64, end: u64, seen: impl Fn(u64) -> Seen) -> Option<u64> {
        let before = pace.out;
        (from / TICK + 1..=end / TICK).map(|n| n * TICK).find(|now| pace.look(&seen(*now), *now) != before)
    }

    /// A follower that goes on and hears its leader, so many entries behind.
    fn lags(by: u64) -> impl Fn(u64) -> Seen {
        move |now| Seen { heard: now, looked: now, leads: false, decided: 10_000 + by, applied: 10_000 }
    }

    const LONG: u64 = 20 * REPLICA_NEAR_NS;

    #[test]
    fn one_that_is_far_behind_for_long_is_out_and_back_when_it_is_near_for_long() {
        let mut pace = Pace::default();
        assert_eq!(run(&mut pace, 0, LONG, lags(REPLICA_BEHIND_ENTRIES)), None, "that is not far");
        let out = run(&mut pace, LONG, 2 * LONG, lags(REPLICA_BEHIND_ENTRIES + 1)).expect("it is behind");
        assert!((LONG + REPLICA_BEHIND_NS..LONG + REPLICA_BEHIND_NS + 3 * TICK).contains(&out), "{out}");
        assert_eq!(run(&mut pace, out, out + LONG, lags(REPLICA_NEAR_ENTRIES + 1)), None, "that is not near");
        let (from, end) = (out + LONG, out + 2 * LONG);
        let back = run(&mut pace, from, end, lags(REPLICA_NEAR_ENTRIES)).expect("it is near");
        assert!((from + REPLICA_NEAR_NS..from + REPLICA_NEAR_NS + 3 * TICK).contains(&back), "{back}");
    }

    #[test]
    fn a_burst_puts_nobody_out() {
        let mut pace = Pace::default();
        let burst = |now: u64| match now / (REPLICA_BEHIND_NS / 2) % 2 {
            0 => lags(9 * REPLICA_BEHIND_ENTRIES)(now),
            _ => lags(0)(now),
        };
        assert_eq!(run(&mut pace, 0, LONG, burst), None);
    }

    #[test]
    fn who_hears_no_leader_or_leads_keeps_quiet() {
        let far = lags(9 * REPLICA_BEHIND_ENTRIES);
        let alone = |now| Seen { heard: 1, ..far(now) };
        assert_eq!(run(&mut Pace::default(), REPLICA_HEARD_NS, REPLICA_HEARD_NS + LONG, alone), None);
        assert_eq!(run(&mut Pace::default(), 0, LONG, |now| Seen { heard: 0, ..far(now) }), None);
        assert_eq!(run(&mut Pace::default(), 0, LONG, |now| Seen { leads: true, ..far(now) }), None);
    }

    #[test]
    fn one_whose_member_stands_still_while_others_go_on_is_out_also_if_it_led() {
        for leads in [false, true] {
            let mut pace = Pace::default();
            let stands = |now: u64| Seen { looked: LONG.min(now), leads, ..lags(0)(now) };
            let out = run(&mut pace, 0, 2 * LONG, stands).expect("it stands still");
            assert!((LONG + REPLICA_BEHIND_NS..LONG + REPLICA_BEHIND_NS + 3 * TICK).contains(&out), "{out}");
            assert_eq!(run(&mut pace, out, out + LONG, |now| Seen { looked: LONG, ..lags(0)(now) }), None);
            assert!(run(&mut pace, out + LONG, out + 2 * LONG, lags(0)).is_some(), "it goes on");
        }
        let unheard = |now: u64| Seen { looked: LONG.min(now), heard: LONG.min(now), ..lags(0)(now) };
        assert_eq!(run(&mut Pace::default(), 0, 2 * LONG, unheard), None, "nobody is heard");
    }

    #[test]
    fn a_process_that_was_stopped_has_the_time_to_catch_up() {
        let mut pace = Pace::default();
        assert_eq!(run(&mut pace, 0, LONG, lags(0)), None);
        // It hears the leader at once, before its member has looked.
        let woken = 2 * LONG;
        assert!(!pace.look(&Seen { looked: LONG, ..lags(0)(woken) }, woken));
        let far = lags(9 * REPLICA_BEHIND_ENTRIES);
        let out = run(&mut pace, woken, woken + LONG, far).expect("it does not catch up");
        assert!(out >= woken + REPLICA_BEHIND_NS, "{out}");
    }
}
