//! Both worlds over real consensus: all is so, equal seeds give equal traces, and consensus has something to
//! do: leaders change, snapshots are taken, nodes lose their power in between.

mod common;

use common::{equal_seeds_give_equal_traces, sum};
use dvs_sim::Faults;
use dvs_sim::cluster::scenario as cluster;
use dvs_sim::control::scenario as control;
use std::collections::BTreeSet;

fn cluster_is_so(seeds: impl IntoIterator<Item = u64>) {
    common::all_is_so("cluster-log", seeds, |seed| cluster::run(&mut cluster::council(seed)).map(|_| ()));
}

fn control_is_so(seeds: impl IntoIterator<Item = u64>) {
    common::all_is_so("control-log", seeds, |seed| control::run(&mut control::council(seed)).map(|_| ()));
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

#[test]
fn equal_seeds_give_equal_traces_and_others_others() {
    equal_seeds_give_equal_traces(|seed| {
        let mut w = control::council_with(seed, Faults::all());
        control::run(&mut w).unwrap_or_else(|v| panic!("{v}"));
        sum(w.trace())
    });
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
