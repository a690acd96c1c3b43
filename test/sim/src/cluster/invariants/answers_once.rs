//! What clients were told can be explained by doing each call once: none that was answered is lost or done
//! twice, one that was said not to be done never is. What a service of which there is one keeps can be lost
//! with it (see [`super::StateFollows`]); there the answer is to be what came of the call.

use crate::cluster::Node;
use crate::cluster::wire::Told;
use crate::control::SERVICES;
use crate::control::wire::Note;
use crate::history::History;
use crate::invariant::{Invariant, View};
use crate::linear::check_linear;
use crate::model::{Counter, Number};
use dvs_control::service::Kind;
use std::collections::{BTreeMap, BTreeSet};

/// Calls are done once, in an order that explains the answers.
#[derive(Debug, Default)]
pub struct AnswersOnce {
    histories: BTreeMap<i32, History<Counter, Number>>,
    calls: BTreeMap<u64, (i32, usize)>,
    /// Done, and what came of it; and told that it was not.
    done: BTreeMap<u64, i64>,
    not: BTreeSet<u64>,
}

fn single(slot: i32) -> bool {
    SERVICES.contains(&(slot, Kind::Single))
}

impl AnswersOnce {
    fn take(&mut self, now: u64, told: &Told) -> Result<(), String> {
        match told {
            Told::Calls(id, slot) => {
                let history = self.histories.entry(*slot).or_default();
                self.calls.insert(*id, (*slot, history.begin(now, Counter::Add(1))));
            }
            Told::Answered(id, value) => {
                let Some((slot, call)) = self.calls.get(id) else { return Err(format!("{told:?}")) };
                if single(*slot) {
                    let did = self.done.get(id);
                    return if did == Some(value) { Ok(()) } else { Err(format!("{told:?}, not {did:?}")) };
                }
                if let Some(history) = self.histories.get_mut(slot) {
                    history.reply(*call, Number::Is(*value), now);
                }
            }
            Told::Failed(id, _) => {
                self.not.insert(*id);
                if let Some((slot, call)) = self.calls.get(id)
                    && let Some(history) = self.histories.get_mut(slot)
                {
                    history.nothing(*call);
                }
            }
            Told::Unknown(..) | Told::Born(..) | Told::Lost(_) => {}
            Told::Did(id, slot, .., value) => {
                let again = self.done.insert(*id, *value).is_some();
                if again && single(*slot) {
                    return Err(format!("{told:?} again"));
                }
            }
        }
        match told {
            Told::Did(id, ..) | Told::Failed(id, _)
                if self.done.contains_key(id) && self.not.contains(id) =>
            {
                Err(format!("call {id} was done, and its client was told that it was not"))
            }
            _ => Ok(()),
        }
    }
}

impl Invariant<Node> for AnswersOnce {
    fn name(&self) -> &'static str {
        "a call is done once"
    }

    fn check(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        for note in view.notes() {
            if let Note::Told(told) = note {
                self.take(view.now(), told)?;
            }
        }
        Ok(())
    }

    fn end(&mut self, _: &View<'_, Node>) -> Result<(), String> {
        for (slot, history) in self.histories.iter().filter(|(slot, _)| !single(**slot)) {
            check_linear(history).map_err(|e| format!("service {slot}: {e}"))?;
        }
        Ok(())
    }
}
