//! Replicated services under seeds, and that equal seeds give equal traces.

mod common;

use common::{equal_seeds_give_equal_traces, sum};
use dvs_sim::Faults;
use dvs_sim::replica::scenario::{ROUGH_NS, run, world, world_with};

fn all_is_so(seeds: impl IntoIterator<Item = u64>) {
    common::all_is_so("replica", seeds, |seed| run(&mut world(seed)).map(|_| ()));
}

#[test]
fn all_is_so_seeds_0_to_14() {
    all_is_so(0..15);
}

#[test]
fn all_is_so_seeds_15_to_29() {
    all_is_so(15..30);
}

#[test]
fn equal_seeds_give_equal_traces_and_others_others() {
    equal_seeds_give_equal_traces(|seed| {
        let mut w = world_with(seed, Faults::all());
        run(&mut w).unwrap_or_else(|v| panic!("{v}"));
        sum(w.trace())
    });
}

#[test]
fn snapshots_are_taken_on_the_way() {
    let mut w = world_with(3, Faults { crash_every_ns: 0, ..Faults::all() });
    w.run_for(ROUGH_NS).unwrap_or_else(|v| panic!("{v}"));
    let most = w.nodes().filter_map(|n| w.actor(n)?.host()).map(|h| h.snapshots()).max();
    assert!(most > Some(0), "{most:?}");
}
