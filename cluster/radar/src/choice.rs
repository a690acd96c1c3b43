//! Which instance of an active service the callers of a node go to.
//!
//! 1. The one on the node itself: no link to it can break, and it costs least.
//! 2. The one in use. It changes only when that one goes, or falls behind: a node that joins moves
//!    nobody, and a link that breaks may come back.
//! 3. One that can be reached, else any; which of them, by the number of the node that asks, so that nodes
//!    spread over the instances. Nothing is left to chance: equal knowledge gives equal choices.
//!
//! Only an instance in step is chosen, and a choice is made only when the log says something new.

use dvs_abi::NodeId;
use std::collections::BTreeSet;

/// The choice of node `me` among the nodes with an instance in step (each once, in order). `reached` tells
/// which of them messages get through to.
///
/// ```
/// use dvs_abi::NodeId;
/// use dvs_radar::choice::choose;
/// let (a, b) = (NodeId(1), NodeId(2));
/// let all = [a, b].into();
/// assert_eq!(choose(NodeId(2), &[a, b], None, &all), Some(b), "its own");
/// assert_eq!(choose(NodeId(4), &[a, b], Some(b), &all), Some(b), "the one in use");
/// assert_eq!(choose(NodeId(4), &[a, b], None, &all), Some(a), "spread");
/// assert_eq!(choose(NodeId(5), &[a, b], None, &all), Some(b));
/// ```
pub fn choose(
    me: NodeId,
    in_step: &[NodeId],
    in_use: Option<NodeId>,
    reached: &BTreeSet<NodeId>,
) -> Option<NodeId> {
    if in_step.contains(&me) {
        return Some(me);
    }
    if let Some(node) = in_use.filter(|n| in_step.contains(n)) {
        return Some(node);
    }
    let near: Vec<NodeId> = in_step.iter().copied().filter(|n| reached.contains(n)).collect();
    let among = if near.is_empty() { in_step } else { &near };
    let turn = usize::from(me.0).checked_rem(among.len())?;
    among.get(turn).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_be_reached_is_chosen_last_and_who_is_not_there_never() {
        let n = |i| NodeId(i);
        let in_step = [n(1), n(2), n(3)];
        for me in 4..20 {
            assert_eq!(choose(n(me), &in_step, None, &[n(2)].into()), Some(n(2)));
            assert!(in_step.contains(&choose(n(me), &in_step, None, &BTreeSet::new()).unwrap()));
            assert_eq!(choose(n(me), &in_step, Some(n(3)), &[n(2)].into()), Some(n(3)), "sticky");
            assert_eq!(choose(n(me), &in_step, Some(n(9)), &[n(2)].into()), Some(n(2)), "it went");
            assert_eq!(choose(n(me), &[], Some(n(9)), &[n(2)].into()), None);
        }
    }
}
