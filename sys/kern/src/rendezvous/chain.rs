//! Who waits for whom: the circle a wait would close.

use super::{Ix, Rendezvous};
use dvs_abi::{Endpoint, limits::WAIT_CHAIN_MAX};

impl Rendezvous {
    /// The circle that would exist if `me` waited for `to`, in order of waiting and starting with `me`.
    ///
    /// Every endpoint waits for at most one other, so the chain is a path and is followed in as many steps as
    /// it has links. A chain that leaves the process, ends at an endpoint that runs or accepts anything, or
    /// is longer than `WAIT_CHAIN_MAX`, is no circle here.
    pub(super) fn circle(&self, me: Ix, to: Endpoint) -> Option<Vec<Endpoint>> {
        let s = &self.slots[me as usize];
        let mut next = to;
        let first = self.waits_for(s.dc, next)?;
        let mut circle = vec![s.endpoint, next];
        next = first;
        while next != s.endpoint {
            if circle.len() >= WAIT_CHAIN_MAX {
                return None;
            }
            circle.push(next);
            next = self.waits_for(s.dc, next)?;
        }
        Some(circle)
    }

    #[inline]
    fn waits_for(&self, dc: dvs_abi::DcId, e: Endpoint) -> Option<Endpoint> {
        let s = &self.slots[self.find(dc, e)? as usize];
        if s.outcome.is_some() { None } else { s.phase.waits_for() }
    }
}
