//! Replicated services under seeds, and that equal seeds give equal traces.

use dvs_sim::Faults;
use dvs_sim::replica::scenario::{ROUGH_NS, run, world, world_with};

fn all_is_so(seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        let again = format!("again: ./x sim --world replica --seed {seed} --trace");
        run(&mut world(seed)).unwrap_or_else(|v| panic!("{v}\n{again}"));
    }
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
    let trace = |seed| {
        let mut w = world_with(seed, Faults::all());
        run(&mut w).unwrap_or_else(|v| panic!("{v}"));
        (w.trace().count(), w.trace().hash())
    };
    let (a, b) = (trace(7), trace(7));
    assert!(a.0 > 1_000, "something happens: {} lines", a.0);
    assert_eq!(a, b);
    assert_ne!(a, trace(8));
}

#[test]
fn snapshots_are_taken_on_the_way() {
    let mut w = world_with(3, Faults { crash_every_ns: 0, ..Faults::all() });
    w.run_for(ROUGH_NS).unwrap_or_else(|v| panic!("{v}"));
    let most = w.nodes().filter_map(|n| w.actor(n)?.host()).map(|h| h.snapshots()).max();
    assert!(most > Some(0), "{most:?}");
}
