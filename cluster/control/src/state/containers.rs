//! Commands about containers and their slots.

use super::State;
use crate::change::Change;
use crate::command::Refusal;
use crate::container::{Container, DcConfig, check};
use crate::epoch::Epoch;
use crate::slots::{SlotChange, SlotRequest};
use dvs_abi::limits::DCS_MAX;
use dvs_abi::{Code, DcId, NodeId};

impl State {
    pub(crate) fn some_container(&mut self, dc: DcId) -> Result<&mut Container, Refusal> {
        self.containers.get_mut(&dc).ok_or_else(|| {
            Refusal::new(
                Code::BADDCID,
                format!("there is no container {}; dvs dc ls shows those there are", dc.0),
            )
        })
    }

    pub(super) fn create(
        &mut self,
        dc: Option<DcId>,
        spec: &DcConfig,
        place: Epoch,
        out: &mut Vec<Change>,
    ) -> Result<DcId, Refusal> {
        check(spec)?;
        if let Some(node) =
            (0..u32::BITS as u16).map(NodeId).find(|n| spec.runs_on(n.0) && !self.members.contains_key(n))
        {
            return Err(Refusal::new(Code::BADNODEID, format!("{node} is no node of this system")));
        }
        if let Some((n, _)) = self.members.iter().find(|(n, m)| m.card.witness && spec.runs_on(n.0)) {
            return Err(Refusal::witness(*n));
        }
        if let Some((dc, _)) = self.containers.iter().find(|(_, c)| c.spec.name == spec.name) {
            let text = format!("container {} is called '{}' already", dc.0, spec.name);
            return Err(Refusal::new(Code::RSCBUSY, text));
        }
        let free = |n: &DcId| !self.containers.contains_key(n);
        let dc = match dc {
            None => (0..DCS_MAX as u16).map(DcId).find(free).ok_or_else(|| {
                Refusal::new(Code::NOSPC, format!("there are {DCS_MAX} containers already"))
            })?,
            Some(n) if usize::from(n.0) >= DCS_MAX => {
                return Err(Refusal::new(Code::BADDCID, format!("containers have numbers below {DCS_MAX}")));
            }
            Some(n) if !free(&n) => {
                return Err(Refusal::new(Code::DCRUN, format!("container {} runs already", n.0)));
            }
            Some(n) => n,
        };
        self.containers.insert(dc, Container::new(spec.clone(), place));
        out.push(Change::Created { dc, born: place });
        Ok(dc)
    }

    pub(super) fn end(&mut self, dc: DcId, out: &mut Vec<Change>) -> Result<(), Refusal> {
        self.some_container(dc)?;
        self.containers.remove(&dc);
        out.push(Change::Ended { dc });
        Ok(())
    }

    pub(super) fn allow(
        &mut self,
        dc: DcId,
        node: NodeId,
        on: bool,
        place: Epoch,
        out: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        if self.some_member(node)?.card.witness && on {
            return Err(Refusal::witness(node));
        }
        let spec = &mut self.some_container(dc)?.spec;
        if spec.runs_on(node.0) == on {
            let text =
                format!("{node} is {} a node of container {}", if on { "already" } else { "not" }, dc.0);
            return Err(Refusal::new(Code::DCNODE, text));
        }
        if !on && spec.nodes.count_ones() == 1 {
            let text = format!("{node} is the only node of container {}; dvs dc rm ends it", dc.0);
            return Err(Refusal::new(Code::BADRANGE, text));
        }
        spec.nodes ^= 1 << node.0;
        out.push(Change::Allowed { dc, node, on });
        if !on {
            self.stop_in_container(dc, node, place, out);
        }
        Ok(())
    }

    pub(super) fn slots(
        &mut self,
        from: NodeId,
        dc: DcId,
        request: &SlotRequest,
        out: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        let c = self.some_container(dc)?;
        // It may give what it has also when it may have no more.
        let answers = matches!(request, SlotRequest::Give { .. } | SlotRequest::Keep { .. });
        if !c.spec.runs_on(from.0) && !answers {
            return Err(Refusal::new(Code::NODCNODE, format!("container {} does not run on {from}", dc.0)));
        }
        let mut changes = Vec::new();
        let done = match request {
            SlotRequest::Ask(ask) => c.pool.ask(from, *ask, &mut changes),
            SlotRequest::Give { round, slots } => c.pool.give(from, *round, slots, &mut changes),
            SlotRequest::Claim { slot } => c.pool.claim(from, *slot, &mut changes),
            SlotRequest::Keep { slot } => c.pool.keep(from, *slot, &mut changes),
        };
        say(dc, changes, out);
        done.map_err(|code| {
            Refusal::new(code, format!("{from} cannot do that with slots of container {}", dc.0))
        })
    }

    /// Nothing of a container comes to a node any more. What is there stays its own until it has ended it, or
    /// is lost: others must not have it before.
    fn stop_in_container(&mut self, dc: DcId, node: NodeId, place: Epoch, out: &mut Vec<Change>) {
        let Some(c) = self.containers.get_mut(&dc) else { return };
        let mut changes = Vec::new();
        c.pool.stop(node, &mut changes);
        say(dc, changes, out);
        for (slot, s) in &mut c.services {
            s.spec.nodes &= !(1 << node.0);
            s.stop_moves(place, (dc, *slot), out);
        }
    }

    /// What a node had of a container is free, its instances are gone.
    pub(super) fn leave_container(&mut self, dc: DcId, node: NodeId, place: Epoch, out: &mut Vec<Change>) {
        let Some(c) = self.containers.get_mut(&dc) else { return };
        let mut changes = Vec::new();
        c.pool.forget(node, &mut changes);
        say(dc, changes, out);
        for (slot, s) in &mut c.services {
            s.instance_gone(node, place, (dc, *slot), out);
        }
        c.services.retain(|_, s| !s.is_over());
    }
}

fn say(dc: DcId, changes: Vec<SlotChange>, out: &mut Vec<Change>) {
    out.extend(changes.into_iter().map(|change| Change::Slots { dc, change }));
}
