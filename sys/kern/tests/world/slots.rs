//! What holds of user slots, as seen from outside all nodes.

use super::{FIRST_USER, PROCS, World};
use dvs_abi::{Code, DcId};
use dvs_kern::control::BindKind;
use std::collections::BTreeMap;

/// What is seen of user slots from outside.
#[derive(Default)]
pub struct Slots {
    /// Binds to whichever that are not answered: node, session, request; since when.
    pub waiting: BTreeMap<(u16, u32, u64), u64>,
    /// When a slot was in use last.
    pub used: BTreeMap<(u16, i32), u64>,
    /// Binds to whichever that got one, and that were refused as there was none.
    pub bound: usize,
    pub full: usize,
    /// A node or a container was ended: a slot may be in use by what the others do not know to be over.
    pub harsh: bool,
}

impl World {
    /// The user slots in use, as far as nodes know that are of the system.
    pub(super) fn note_used(&mut self) {
        for n in &self.nodes {
            for (dc, c) in n.containers() {
                let used = c.descriptors().map(|d| d.endpoint.slot()).filter(|s| *s >= c.config.first_user());
                for slot in used {
                    self.slots.used.insert((dc, slot), self.now);
                }
            }
        }
    }

    /// No bind is refused for want of a slot while one was free all the time it waited.
    pub(super) fn answered(&mut self, node: u16, session: u32, id: u64, code: Option<Code>) {
        let Some(since) = self.slots.waiting.remove(&(node, session, id)) else { return };
        self.slots.bound += usize::from(code.is_none());
        self.slots.full += usize::from(code == Some(Code::NOSPC));
        if code == Some(Code::NOSPC) && !self.slots.harsh {
            let idle = |s: &i32| self.slots.used.get(&(0, *s)).is_none_or(|until| *until < since);
            let idle = (FIRST_USER..PROCS).find(idle);
            assert_eq!(idle, None, "node {node} refuses a bind that waits since {since}");
        }
    }

    /// No user slot is bound in two nodes that are of the system; whoever is leased one has it by the log.
    pub(super) fn check_slots(&self) {
        let mut bound = BTreeMap::new();
        for n in self.nodes.iter().filter(|n| self.council.is_current(n.me().0)) {
            for (dc, c) in n.containers() {
                let agreed = self.council.state.container(DcId(dc));
                let Some(agreed) = agreed.filter(|a| a.spec.born == c.config.born) else { continue };
                for slot in c.leased() {
                    let owner = agreed.pool.owner(slot);
                    assert_eq!(owner, Some(n.me()), "{slot} of dc{dc} is leased to {}", n.me());
                }
                let user = c.descriptors().filter(|d| !c.is_system(d.endpoint.slot()));
                for d in user.filter(|d| d.is_local() && d.kind != BindKind::Replica) {
                    let slot = d.endpoint.slot();
                    if !self.moved.contains(&slot) {
                        let other = bound.insert((dc, slot), n.me());
                        assert_eq!(other, None, "{slot} of dc{dc} is bound on {} too", n.me());
                    }
                }
            }
        }
    }
}
