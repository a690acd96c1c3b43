//! The whole cluster under seeds, and that equal seeds give equal traces.

mod common;

use common::{equal_seeds_give_equal_traces, sum};
use dvs_sim::Faults;
use dvs_sim::cluster::scenario::{run, world, world_with};

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

/// See docs/sim-bugs.md.
#[test]
fn seeds_that_once_failed() {
    all_is_so([14, 17, 29, 32, 38, 80, 107, 155, 289]);
}

#[test]
fn equal_seeds_give_equal_traces_and_others_others() {
    equal_seeds_give_equal_traces(|seed| {
        let mut w = world_with(seed, Faults::all());
        run(&mut w).unwrap_or_else(|v| panic!("{v}"));
        sum(w.trace())
    });
}
