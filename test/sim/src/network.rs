//! The network: decides when a message arrives, how often, or never.

use crate::faults::Faults;
use crate::random::Random;
use dvs_abi::NodeId;
use std::collections::BTreeMap;

/// The links between all nodes; each direction by itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    /// Until when a direction is cut.
    cut: BTreeMap<(NodeId, NodeId), u64>,
    /// When the last message arrives that keeps its order.
    last: BTreeMap<(NodeId, NodeId), u64>,
}

impl Network {
    /// When a message sent now arrives: not at all, once or twice.
    pub(crate) fn arrivals(
        &mut self,
        link: (NodeId, NodeId),
        now: u64,
        faults: &Faults,
        random: &mut Random,
    ) -> Vec<u64> {
        if link.0 == link.1 {
            return vec![now];
        }
        if self.is_cut(link, now) || random.odds(faults.loss) {
            return Vec::new();
        }
        let due = now + random.within(faults.delay_ns);
        let mut arrivals = Vec::with_capacity(2);
        if random.odds(faults.reorder) {
            arrivals.push(due + random.within(faults.late_ns));
        } else {
            let last = self.last.entry(link).or_default();
            *last = due.max(*last);
            arrivals.push(*last);
        }
        if random.odds(faults.duplicate) {
            arrivals.push(due + random.within(faults.late_ns));
        }
        arrivals
    }

    pub(crate) fn is_cut(&self, link: (NodeId, NodeId), now: u64) -> bool {
        self.cut.get(&link).is_some_and(|until| now < *until)
    }

    pub(crate) fn cut(&mut self, link: (NodeId, NodeId), until: u64) {
        let old = self.cut.entry(link).or_default();
        *old = until.max(*old);
    }

    pub(crate) fn mend(&mut self) {
        self.cut.clear();
    }

    /// Cuts that some fault makes: around one node, between two halves, or between two nodes.
    pub(crate) fn draw(nodes: u16, one_way: u32, random: &mut Random) -> Vec<(NodeId, NodeId)> {
        let among = u64::from(nodes);
        let side: Vec<bool> = match random.below(3) {
            0 => {
                let alone = random.below(among);
                (0..among).map(|n| n == alone).collect()
            }
            1 => (0..among).map(|_| random.odds(500)).collect(),
            _ => {
                let (a, b) = (random.below(among) as u16, random.below(among) as u16);
                return both((NodeId(a), NodeId(b)), random.odds(one_way)).collect();
            }
        };
        let one_way = random.odds(one_way);
        let swapped = random.odds(500);
        let mut links = Vec::new();
        for a in (0..nodes).filter(|n| side[usize::from(*n)] != swapped) {
            for b in (0..nodes).filter(|n| side[usize::from(*n)] == swapped) {
                links.extend(both((NodeId(a), NodeId(b)), one_way));
            }
        }
        links
    }
}

fn both((a, b): (NodeId, NodeId), one_way: bool) -> impl Iterator<Item = (NodeId, NodeId)> {
    [(a, b), (b, a)].into_iter().take(if one_way { 1 } else { 2 })
}
