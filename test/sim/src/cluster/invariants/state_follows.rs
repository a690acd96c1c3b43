//! A service of which there is one begins with nothing only if what it kept is lost: with its program, or its
//! node. A move that is undone, refused or half done loses nothing: one instance follows, and has it.

use crate::cluster::Node;
use crate::cluster::wire::Told;
use crate::control::wire::Note;
use crate::invariant::{Invariant, View};
use dvs_abi::NodeId;
use std::collections::BTreeMap;

/// Moves lose nothing.
#[derive(Debug, Default)]
pub struct StateFollows {
    /// By service: who kept it last, and whether it may have been lost since.
    kept: BTreeMap<i32, (u64, bool)>,
    lives: BTreeMap<NodeId, u32>,
}

impl StateFollows {
    fn lost(&mut self, slot: Option<i32>) {
        let those = self.kept.iter_mut().filter(|(s, _)| slot.is_none_or(|slot| slot == **s));
        those.for_each(|(_, (_, lost))| *lost = true);
    }
}

impl Invariant<Node> for StateFollows {
    fn name(&self) -> &'static str {
        "a move loses nothing"
    }

    fn check(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        for node in (0..view.nodes()).map(|n| NodeId(n as u16)) {
            let life = view.life(node);
            if self.lives.insert(node, life).is_some_and(|before| before != life) {
                self.lost(None);
            }
        }
        for note in view.notes() {
            match note {
                Note::Told(Told::Lost(slot)) => self.lost(Some(*slot)),
                Note::Fenced(_) | Note::Loses(..) => self.lost(None),
                Note::Wrote(slot, born, _) => {
                    let before = self.kept.insert(*slot, (*born, false));
                    if let Some((other, false)) = before.filter(|(b, _)| b != born) {
                        let node = view.touched();
                        return Err(format!("{note:?} on {node:?}, and what {other:x} kept is nowhere"));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn end(&mut self, _: &View<'_, Node>) -> Result<(), String> {
        Ok(())
    }
}
