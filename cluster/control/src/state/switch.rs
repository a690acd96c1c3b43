//! Planned switches of passive services.
//!
//! ```text
//!   At(a) ──── Switch to b, which is in step ────► At(b)      in a new epoch; a follows from here on
//! ```
//! Why no move: a passive service's instances keep themselves in step, so nothing has to be handed over and
//! there is no time in which nobody is pointed to. What the instance on `a` had taken up is sent again, and
//! the table of duplicates of that on `b` answers it once, as when `a` had died; the nodes see to it that `b`
//! serves when `a` has stopped, and no sooner.

use super::State;
use crate::change::Change;
use crate::command::Refusal;
use crate::epoch::Epoch;
use crate::service::{Kind, Place};
use dvs_abi::{Code, DcId, NodeId};

impl State {
    /// Whether callers of a passive service can be pointed to its instance on a node now.
    ///
    /// # Errors
    /// What is in the way, and the way out.
    pub fn may_switch(&self, dc: DcId, slot: i32, to: NodeId) -> Result<(), Refusal> {
        let refused = |code, text: String| Err(Refusal::new(code, text));
        let services = self.container(dc).map(|c| &c.services);
        let Some(s) = services.and_then(|all| all.get(&slot)).filter(|s| !s.withdrawn) else {
            let text = format!("no service is declared at slot {slot} of container {}", dc.0);
            return refused(Code::BADPROC, text);
        };
        let name = &s.spec.name;
        match s.spec.kind {
            Kind::Passive => {}
            Kind::Single => {
                return refused(Code::PROCSTS, format!("'{name}' has one instance; its state has to move"));
            }
            Kind::Active => {
                return refused(
                    Code::PROCSTS,
                    format!("all instances of '{name}' serve, on all their nodes"),
                );
            }
        }
        match s.place {
            Place::At(node) if node == to => refused(Code::EXIST, format!("'{name}' is on {to} already")),
            Place::At(_) => self.may_serve(name, (dc, slot), to),
            Place::Moving { to, .. } => {
                refused(Code::MIGRATE, format!("'{name}' is moving to {to}: wait until that is over"))
            }
            Place::Vacant => {
                refused(Code::NONODE, format!("'{name}' is nowhere: start an instance of it that is in step"))
            }
        }
    }

    /// Whether a service's instance on a node can take over.
    fn may_serve(&self, name: &str, (dc, slot): (DcId, i32), to: NodeId) -> Result<(), Refusal> {
        let service = self.container(dc).and_then(|c| c.services.get(&slot));
        let instance = service.and_then(|s| s.instances.get(&to));
        let (code, text) = match (self.member(to), instance) {
            (None, _) => {
                (Code::BADNODEID, format!("{to} is no node of this system; dvs nodes shows those that are"))
            }
            (Some(m), _) if m.incarnation().is_none() => (Code::NOTCONN, format!("{to} is not up")),
            (Some(m), _) if m.draining => {
                let way = "end that with dvs drain --off, or take another node";
                (Code::NODEBUSY, format!("{to} is being drained: {way}"))
            }
            _ if service.is_some_and(|s| !s.spec.allows(to)) => {
                let way = "declare it anew with that node among its nodes";
                (Code::NODCNODE, format!("'{name}' may not be on {to}: {way}"))
            }
            (_, None) => {
                let way = "start one there, which follows the others, and try again when it is in step";
                (Code::NONODE, format!("'{name}' has no instance on {to}: {way}"))
            }
            (_, Some(i)) if !i.in_step => {
                let way = "wait until it has caught up; dvs service ls shows who is";
                (Code::PROCSTS, format!("the instance of '{name}' on {to} is not in step: {way}"))
            }
            _ => return Ok(()),
        };
        Err(Refusal::new(code, text))
    }

    pub(super) fn switch(
        &mut self,
        dc: DcId,
        slot: i32,
        to: NodeId,
        place: Epoch,
        out: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        self.may_switch(dc, slot, to)?;
        self.some_service(dc, slot)?.put(Place::At(to), place, (dc, slot), out);
        Ok(())
    }
}
