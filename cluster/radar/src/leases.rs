//! Whether this node still counts as one of the system, and, when it leads, which others do.
//!
//! ```text
//!   every BEAT_NS:  node ── Ask{sent} ──► leader ── confirm ──► a majority: it still leads
//!                   node ◄── Grant{sent, upto} ────────┘
//! ```
//! The rules about time are [`crate::Lease`], which RADAR keeps, and [`crate::vigil::Vigil`]; whether
//! a node is silent is
//! [`dvs_control::detector::Detector`]. This is what is between them: who has asked, and when somebody has to
//! be declared lost. A leader that did not run for a while forgives everybody, and what it decides it decides
//! as the leader it was (in its own log): if it has been succeeded, nobody hears of it. Whom it has judged it
//! grants nothing more, even if it hears of it again: what it has put into the log may be decided much later.

use crate::lease::Terms;
use crate::vigil::Vigil;
use dvs_abi::NodeId;
use dvs_control::detector::Detector;
use dvs_control::epoch::Epoch;
use std::collections::BTreeMap;

/// Between two signs of life.
pub const BEAT_NS: u64 = 100_000_000;
/// A loop that comes so late did not run.
const STOPPED_NS: u64 = 5 * BEAT_NS;
/// Questions are confirmed together, and one confirmation is under way at a time; a node asks again.
const ASKS_MAX: usize = 4 * dvs_abi::limits::NODES_MAX;

/// A question: whose, and when it was asked by its asker's clock.
pub type Ask = (NodeId, u64);

/// What is known of leases here.
#[derive(Clone, Debug)]
pub struct Leases {
    me: NodeId,
    terms: Terms,
    vigil: Option<Vigil>,
    /// By node, and the incarnation that is watched.
    detectors: BTreeMap<NodeId, (Epoch, Detector)>,
    /// Said to be lost, in this incarnation, since this node leads. It may be in the log and not decided yet.
    judged: BTreeMap<NodeId, Epoch>,
    asks: Vec<Ask>,
    confirming: Option<Vec<Ask>>,
    last_beat: u64,
}

/// What is to be done at a beat.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Ask the leader.
    pub ask: Option<NodeId>,
    /// Have a majority confirm that this node leads.
    pub confirm: bool,
    /// These have been silent until their leases were over; said at each beat until that is decided.
    pub lost: Vec<NodeId>,
}

impl Leases {
    /// Of a daemon that has just started.
    pub fn new(me: NodeId, terms: Terms, now: u64) -> Self {
        Leases {
            me,
            terms,
            vigil: None,
            detectors: BTreeMap::new(),
            judged: BTreeMap::new(),
            asks: Vec::new(),
            confirming: None,
            last_beat: now,
        }
    }

    /// What all have agreed on: known once the state is.
    pub fn agreed(&mut self, terms: Terms) {
        self.terms = terms;
    }

    /// When the next beat is due.
    pub fn next_beat(&self) -> u64 {
        self.last_beat + BEAT_NS
    }

    /// Time for a beat: `leader` as this node knows it, `up` = the others that are up, and in
    /// which incarnation: one that has just begun has as long to ask for its lease as if it had one.
    pub fn beat(&mut self, leader: Option<NodeId>, up: &[(NodeId, Epoch)], now: u64) -> Beat {
        let stopped = now.saturating_sub(self.last_beat) > STOPPED_NS;
        self.last_beat = now;
        let mut beat = Beat::default();
        if leader != Some(self.me) {
            self.vigil = None;
            self.detectors.clear();
            if leader.is_some() {
                // Another term has begun since: what is left of this one in the log is decided, or dropped,
                // before anything is granted. Hearing from no majority for a while is none.
                self.judged.clear();
            }
            self.asks.clear();
            beat.ask = leader;
            return beat;
        }
        let terms = self.terms;
        let vigil = self.vigil.get_or_insert_with(|| Vigil::new(terms, now));
        self.detectors.retain(|n, (incarnation, _)| up.contains(&(*n, *incarnation)));
        self.judged.retain(|n, incarnation| up.contains(&(*n, *incarnation)));
        for (node, incarnation) in up {
            let (_, detector) = self.detectors.entry(*node).or_insert_with(|| {
                vigil.granted(*node, now);
                (*incarnation, Detector::new(now, BEAT_NS))
            });
            if self.judged.contains_key(node) {
                beat.lost.push(*node);
            } else if stopped {
                detector.forgive(now);
            } else if detector.suspects(now) && vigil.over(*node, now) {
                self.judged.insert(*node, *incarnation);
                beat.lost.push(*node);
            }
        }
        self.asked((self.me, now), now);
        beat.confirm = self.confirming.is_none();
        if beat.confirm {
            self.confirming = Some(std::mem::take(&mut self.asks));
        }
        beat
    }

    /// A node that is up has asked, or this one has.
    pub fn asked(&mut self, ask: Ask, now: u64) {
        if self.judged.contains_key(&ask.0) {
            return;
        }
        if let Some((_, detector)) = self.detectors.get_mut(&ask.0) {
            detector.heard(now);
        }
        if self.vigil.is_some() && self.asks.len() < ASKS_MAX {
            self.asks.push(ask);
        }
    }

    /// A majority has confirmed that this node leads, later than what is confirmed was asked, or has not.
    /// Gives back who is to be granted what they asked.
    pub fn confirmed(&mut self, confirmed: bool, now: u64) -> Vec<Ask> {
        let mut asks = self.confirming.take().unwrap_or_default();
        asks.retain(|(node, _)| !self.judged.contains_key(node));
        let (true, Some(vigil)) = (confirmed, self.vigil.as_mut()) else { return Vec::new() };
        asks.iter().for_each(|(node, _)| vigil.granted(*node, now));
        asks
    }

    /// The others that this node, which leads, has not heard of for long.
    pub fn suspected(&self, now: u64) -> Vec<NodeId> {
        self.detectors.iter().filter(|(_, (_, d))| d.suspects(now)).map(|(n, _)| *n).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{BEAT_NS, Leases};
    use crate::lease::Terms;
    use dvs_abi::NodeId;
    use dvs_control::epoch::Epoch;

    const ME: NodeId = NodeId(0);
    const OTHER: NodeId = NodeId(1);

    /// A leader that beats from 1 s on, heard of by the other at every beat until `silent`.
    fn run(silent: u64, until: u64, skip: impl Fn(u64) -> bool) -> Option<u64> {
        let mut l = Leases::new(ME, Terms::default(), 0);
        let mut lost = None;
        for beat in 1..until {
            let now = beat * BEAT_NS;
            if skip(beat) {
                continue;
            }
            if beat < silent {
                l.asked((OTHER, now), now);
            }
            let b = l.beat(Some(ME), &[(OTHER, Epoch(1))], now);
            if !b.lost.is_empty() && lost.is_none() {
                lost = Some(beat);
            }
            if b.confirm {
                l.confirmed(true, now);
            }
            assert!(b.ask.is_none());
        }
        lost
    }

    #[test]
    fn a_silent_node_is_lost_once_its_lease_is_over_and_not_before() {
        assert_eq!(run(u64::MAX, 100, |_| false), None);
        let lost = run(20, 100, |_| false).expect("it is lost");
        let wait = Terms::default().wait_ns();
        assert!((lost - 20) * BEAT_NS >= wait - BEAT_NS && lost < 40, "at beat {lost}");
    }

    #[test]
    fn a_leader_that_stood_still_forgives() {
        let lost = run(20, 100, |b| (20..60).contains(&b)).expect("it is lost");
        assert!(lost > 61, "at beat {lost}");
        assert_eq!(run(u64::MAX, 100, |b| (20..60).contains(&b)), None);
    }

    /// Found by the simulator: the leader's disk was slow, so what it had said was not decided yet when the
    /// node was heard of again, and got a lease that outlived it.
    #[test]
    fn a_node_that_was_said_to_be_lost_is_granted_nothing_until_that_is_decided() {
        let (mut l, up) = (Leases::new(ME, Terms::default(), 0), [(OTHER, Epoch(1))]);
        l.beat(Some(ME), &up, BEAT_NS);
        l.confirmed(true, BEAT_NS);
        l.asked((OTHER, 7), BEAT_NS);
        let (mut now, mut waits) = (2 * BEAT_NS, None);
        while l.judged.is_empty() {
            let beat = l.beat(Some(ME), &up, now);
            // Its first question is about to be confirmed all the time.
            if waits.is_none() {
                waits = Some(beat.confirm);
            }
            now += BEAT_NS;
        }
        assert_eq!((waits, l.confirmed(true, now)), (Some(true), vec![(ME, 2 * BEAT_NS)]), "not what waited");
        for _ in 0..5 {
            l.asked((OTHER, now), now);
            let beat = l.beat(Some(ME), &up, now);
            assert_eq!((beat.lost, beat.confirm), (vec![OTHER], true));
            let granted = l.confirmed(true, now);
            assert!(granted.iter().all(|(node, _)| *node == ME), "{granted:?}");
            now += BEAT_NS;
        }
        // It is decided, and the node begins anew.
        let up = [(OTHER, Epoch(2))];
        assert_eq!(l.beat(Some(ME), &up, now).lost, []);
        l.confirmed(true, now);
        l.asked((OTHER, now), now);
        l.beat(Some(ME), &up, now + BEAT_NS);
        assert_eq!(l.confirmed(true, now), [(OTHER, now), (ME, now + BEAT_NS)]);
        // No majority answers for a while; and then somebody else leads.
        l.judged.insert(OTHER, Epoch(2));
        l.beat(None, &up, now + 2 * BEAT_NS);
        assert!(!l.judged.is_empty(), "it leads as it did");
        l.beat(Some(OTHER), &up, now + 2 * BEAT_NS);
        assert!(l.judged.is_empty());
    }

    /// Found by the simulator: its session is made anew, so its first question takes a while.
    #[test]
    fn a_node_that_begins_anew_right_after_it_was_lost_is_not_lost_again_before_it_can_ask() {
        let mut l = Leases::new(ME, Terms::default(), 0);
        let (mut lost, mut incarnation) = (Vec::new(), Epoch(1));
        for beat in 1..100 {
            let b = l.beat(Some(ME), &[(OTHER, incarnation)], beat * BEAT_NS);
            if !b.lost.is_empty() {
                lost.push(beat);
                incarnation = Epoch(beat);
            }
        }
        let between = lost.windows(2).map(|w| (w[1] - w[0]) * BEAT_NS).min();
        assert!(between.is_some_and(|ns| ns >= Terms::default().wait_ns()), "{lost:?}");
    }
}
