//! What every world is asked. A world's own `run` and makers are given as functions.

use dvs_sim::Trace;
use std::fmt::Display;

/// All is so under these seeds; if not, how to see it again.
pub fn all_is_so<V: Display>(
    world: &str,
    seeds: impl IntoIterator<Item = u64>,
    run: impl Fn(u64) -> Result<(), V>,
) {
    for seed in seeds {
        let again = format!("again: ./x sim --world {world} --seed {seed} --trace");
        run(seed).unwrap_or_else(|v| panic!("{v}\n{again}"));
    }
}

/// Lines and sum of a trace.
pub fn sum(trace: &Trace) -> (u64, u64) {
    (trace.count(), trace.hash())
}

/// Equal seeds give equal traces, others others; `trace` = the [`sum`] of a seed's.
pub fn equal_seeds_give_equal_traces(trace: impl Fn(u64) -> (u64, u64)) {
    let (a, b) = (trace(7), trace(7));
    assert!(a.0 > 1_000, "something happens: {} lines", a.0);
    assert_eq!(a, b);
    assert_ne!(a, trace(8));
}
