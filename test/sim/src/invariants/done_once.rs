//! What people were told about containers can be explained by doing each of their commands once: none that
//! was acknowledged is lost, none is done twice, and a command whose sender was lost is done at most once.

use crate::control::Node;
use crate::control::wire::Note;
use crate::history::History;
use crate::invariant::{Invariant, View};
use crate::linear::check_linear;
use crate::model::Set;
use std::collections::BTreeMap;

/// Commands are done once.
#[derive(Debug, Default)]
pub struct DoneOnce {
    history: History<Set<u16>, bool>,
    calls: BTreeMap<u64, usize>,
}

impl Invariant<Node> for DoneOnce {
    fn name(&self) -> &'static str {
        "a command is done once"
    }

    fn check(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        for note in view.notes() {
            match note {
                Note::Asks(call, dc, create) => {
                    let op = if *create { Set::Insert(*dc) } else { Set::Remove(*dc) };
                    self.calls.insert(*call, self.history.begin(view.now(), op));
                }
                Note::Answered(call, changed) => {
                    if let Some(call) = self.calls.remove(call) {
                        self.history.reply(call, *changed, view.now());
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn end(&mut self, _: &View<'_, Node>) -> Result<(), String> {
        check_linear(&self.history).map_err(|e| e.to_string())
    }
}
