//! A bind is told that the container is full only if it was: every slot was in use at some moment of its
//! wait. Slots of a node that could not act meanwhile count as in use: nobody may know better before it is
//! lost.

use super::{Log, able, decided};
use crate::control::wire::Note;
use crate::control::{DAEMONS, MAIN, Node};
use crate::invariant::{Invariant, View};
use dvs_abi::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// No bind fails until the container is full.
#[derive(Debug, Default)]
pub struct NoneNeedlessly {
    /// Since when a bind waits.
    waits: BTreeMap<u64, u64>,
    /// By node, what runs there.
    runs: BTreeMap<NodeId, BTreeSet<i32>>,
    /// Until when a slot was in use that is not any more.
    used_until: BTreeMap<i32, u64>,
    /// When some daemon could not act last.
    unable: u64,
}

impl NoneNeedlessly {
    /// What runs on a node now.
    fn note_use(&mut self, view: &View<'_, Node>, node: NodeId) {
        let now: BTreeSet<i32> =
            view.actor(node).and_then(Node::daemon).map(|d| d.programs().collect()).unwrap_or_default();
        let before = self.runs.insert(node, now.clone()).unwrap_or_default();
        for slot in before.difference(&now) {
            self.used_until.insert(*slot, view.now());
        }
    }

    /// A slot that nobody used all the time since then.
    fn idle(&self, view: &View<'_, Node>, since: u64) -> Option<i32> {
        let slots = |log: &Log<'_>| {
            let spec = &log.state.container(MAIN)?.spec;
            Some(spec.first_user()..spec.procs)
        };
        let mut slots = decided(view, slots)??;
        let in_use = |slot: &i32| self.runs.values().any(|r| r.contains(slot));
        let idle = |slot: &i32| self.used_until.get(slot).is_none_or(|until| *until < since);
        slots.find(|s| !in_use(s) && idle(s))
    }
}

impl Invariant<Node> for NoneNeedlessly {
    fn name(&self) -> &'static str {
        "no bind is refused while there is a slot"
    }

    fn check(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        if able(view).count() < usize::from(DAEMONS) {
            self.unable = view.now();
        }
        let Some(node) = view.touched() else { return Ok(()) };
        let mut refused = None;
        for note in view.notes() {
            match note {
                Note::Wants(id) => drop(self.waits.insert(*id, view.now())),
                Note::Bound(id, _) => drop(self.waits.remove(id)),
                Note::Truth(id, why) => {
                    let since = self.waits.remove(id).filter(|_| *why == "full");
                    refused = refused.or(since.filter(|since| self.unable < *since));
                }
                _ => {}
            }
        }
        self.note_use(view, node);
        match refused.and_then(|since| Some((since, self.idle(view, since)?))) {
            Some((since, slot)) => {
                Err(format!("{node} refused a bind of {since}, and slot {slot} was free all the time"))
            }
            None => Ok(()),
        }
    }
}
