//! In the end the services have changed as often as clients were told, and no oftener than clients wanted.

use crate::invariant::{Invariant, View};
use crate::replica::{Node, Note, Op};
use dvs_kv::protocol::{Answer, Request};
use std::collections::BTreeMap;

/// Each change is made once.
#[derive(Debug, Default)]
pub struct OnceEach {
    /// Calls that change something, and whether that was done, if it is known.
    calls: BTreeMap<u64, (Op, Option<bool>)>,
}

impl OnceEach {
    /// How often something of this kind was changed at least, and at most.
    fn bounds(&self, kind: impl Fn(Op) -> bool) -> (u64, u64) {
        let these = || self.calls.values().filter(|(op, _)| kind(*op));
        let sure = these().filter(|(_, done)| *done == Some(true)).count();
        let most = these().filter(|(_, done)| *done != Some(false)).count();
        (sure as u64, most as u64)
    }
}

impl Invariant<Node> for OnceEach {
    fn name(&self) -> &'static str {
        "each change is made once"
    }

    fn check(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        for note in view.notes() {
            match note {
                Note::Calls(id, op @ (Op::Put(..) | Op::Add)) => {
                    self.calls.insert(*id, (*op, None));
                }
                Note::Answered(id, _) | Note::Failed(id, _) => {
                    if let Some((_, done)) = self.calls.get_mut(id) {
                        *done = Some(matches!(note, Note::Answered(..)));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn end(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        let Some(host) = view.actors().find_map(|(_, a)| a.host()) else { return Ok(()) };
        let pairs = host.pairs().map(|p| p.look(&Request::Info));
        let Some(Answer::Info(info)) = pairs else { return Err("the pairs are not there".into()) };
        let bank = host.bank().ok_or("the bank is not there")?;
        let puts = self.bounds(|op| matches!(op, Op::Put(..)));
        let adds = self.bounds(|op| op == Op::Add);
        for (what, made, (least, most)) in [("pairs", info.revision, puts), ("bank", bank.changes(), adds)] {
            if !(least..=most).contains(&made) {
                return Err(format!("{what}: {made} changes, of at least {least} and at most {most}"));
            }
        }
        Ok(())
    }
}
