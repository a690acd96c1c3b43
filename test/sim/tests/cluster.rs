//! The whole cluster under seeds, and that equal seeds give equal traces.

mod common;

use common::{equal_seeds_give_equal_traces, sum};
use dvs_sim::Faults;
use dvs_sim::cluster::Node;
use dvs_sim::cluster::scenario::{run, world, world_with};
use dvs_sim::control::wire::Note;
use dvs_sim::{Invariant, View};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

fn all_is_so(seeds: impl IntoIterator<Item = u64>) {
    common::all_is_so("cluster", seeds, |seed| run(&mut world(seed)).map(|_| ()));
}

#[test]
fn all_is_so_seeds_0_to_29() {
    all_is_so(0..30);
}

#[test]
fn all_is_so_seeds_30_to_59() {
    all_is_so(30..60);
}

/// How moves ended.
#[derive(Default, Clone)]
struct Endings(Rc<RefCell<BTreeMap<String, usize>>>);

impl Invariant<Node> for Endings {
    fn name(&self) -> &'static str {
        "it counts"
    }

    fn check(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        for note in view.notes() {
            if let Note::Moved(_, how) = note {
                let how =
                    if how.contains("was undone") { "undone" } else { how.split('(').next().unwrap_or("") };
                *self.0.borrow_mut().entry(how.to_owned()).or_default() += 1;
            }
        }
        Ok(())
    }

    fn end(&mut self, _: &View<'_, Node>) -> Result<(), String> {
        Ok(())
    }
}

#[test]
fn services_move_and_moves_are_refused_and_undone() {
    let endings = Endings::default();
    for seed in 0..12 {
        let mut w = world(seed);
        w.expect(endings.clone());
        run(&mut w).unwrap_or_else(|v| panic!("{v}"));
    }
    let endings = endings.0.take();
    for how in ["Moved", "Stayed", "undone"] {
        assert!(endings.get(how).is_some_and(|n| *n > 0), "{endings:?}");
    }
}

/// See docs/sim-bugs.md. They were other runs before the sessions of the proxy were in this world.
#[test]
fn seeds_that_once_failed() {
    all_is_so([14, 17, 29, 32, 38, 80, 107, 155, 289, 588, 976, 1755]);
}

#[test]
fn equal_seeds_give_equal_traces_and_others_others() {
    equal_seeds_give_equal_traces(|seed| {
        let mut w = world_with(seed, Faults::all());
        run(&mut w).unwrap_or_else(|v| panic!("{v}"));
        sum(w.trace())
    });
}
