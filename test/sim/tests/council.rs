//! Both worlds over real consensus: all is so, equal seeds give equal traces, and consensus has something to
//! do: leaders change, snapshots are taken, nodes lose their power in between.

use dvs_sim::cluster::scenario as cluster;
use dvs_sim::control::scenario as control;
use dvs_sim::{Faults, Trace};
use std::collections::BTreeSet;

fn cluster_is_so(seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        let again = format!("again: ./x sim --world cluster-log --seed {seed} --trace");
        cluster::run(&mut cluster::council(seed)).unwrap_or_else(|v| panic!("{v}\n{again}"));
    }
}

fn control_is_so(seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        let again = format!("again: ./x sim --world control-log --seed {seed} --trace");
        control::run(&mut control::council(seed)).unwrap_or_else(|v| panic!("{v}\n{again}"));
    }
}

#[test]
fn all_is_so_in_the_cluster_seeds_0_to_9() {
    cluster_is_so(0..10);
}

#[test]
fn all_is_so_in_the_cluster_seeds_10_to_19() {
    cluster_is_so(10..20);
}

#[test]
fn all_is_so_in_the_control_plane_seeds_0_to_14() {
    control_is_so(0..15);
}

#[test]
fn all_is_so_in_the_control_plane_seeds_15_to_29() {
    control_is_so(15..30);
}

fn sum(trace: &Trace) -> (u64, u64) {
    (trace.count(), trace.hash())
}

#[test]
fn equal_seeds_give_equal_traces_and_others_others() {
    let trace = |seed| {
        let mut w = control::council_with(seed, Faults::all());
        control::run(&mut w).unwrap_or_else(|v| panic!("{v}"));
        sum(w.trace())
    };
    let (a, b) = (trace(7), trace(7));
    assert!(a.0 > 1_000, "something happens: {} lines", a.0);
    assert_eq!(a, b);
    assert_ne!(a, trace(8));
}

#[test]
fn leaders_change_and_snapshots_are_taken() {
    let (mut leaders, mut snapshots) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..4 {
        let mut w = control::council(seed);
        w.run_until(control::ROUGH_NS, |w| {
            for council in w.nodes().filter_map(|n| w.actor(n)?.council()) {
                leaders.extend(council.leader());
                snapshots.insert(council.snapshot());
            }
            false
        })
        .unwrap_or_else(|v| panic!("{v}"));
    }
    assert!(leaders.len() > 1, "{leaders:?}");
    assert!(snapshots.len() > 2, "{snapshots:?}");
}
