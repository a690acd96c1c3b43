//! When the faults have stopped, calls are answered again; and when nobody wants anything more, all replicas
//! have the same.

use crate::invariant::{Invariant, View};
use crate::replica::scenario::{CALM_NS, ROUGH_NS};
use crate::replica::{Node, Note, REPLICAS};

/// The services heal.
#[derive(Debug, Default)]
pub struct Heals {
    /// Answers since there was time to heal.
    answered: u64,
}

impl Invariant<Node> for Heals {
    fn name(&self) -> &'static str {
        "the services heal"
    }

    fn check(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        if view.now() > ROUGH_NS + CALM_NS / 4 {
            self.answered += view.notes().iter().filter(|n| matches!(n, Note::Answered(..))).count() as u64;
        }
        Ok(())
    }

    fn end(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        if self.answered == 0 {
            return Err("nobody was answered after the faults had stopped".into());
        }
        let all: Vec<_> = view.actors().filter_map(|(n, a)| Some((n, a.host()?))).collect();
        if all.len() < usize::from(REPLICAS) {
            return Err(format!("{} nodes have replicas", all.len()));
        }
        let (first, one) = all[0];
        for (node, other) in &all {
            if (other.pairs(), other.bank()) != (one.pairs(), one.bank()) {
                return Err(format!("the replicas on {first} and {node} have other things"));
            }
        }
        Ok(())
    }
}
