//! The control plane under two hundred seeds; and that the simulator finds what is wrong.

mod common;

use common::{equal_seeds_give_equal_traces, sum};
use dvs_sim::Faults;
use dvs_sim::control::scenario::{run, world, world_with};

fn all_is_so(seeds: impl IntoIterator<Item = u64>) {
    common::all_is_so("control", seeds, |seed| run(&mut world(seed)).map(|_| ()));
}

#[test]
fn all_is_so_seeds_0_to_49() {
    all_is_so(0..50);
}

#[test]
fn all_is_so_seeds_50_to_99() {
    all_is_so(50..100);
}

#[test]
fn all_is_so_seeds_100_to_149() {
    all_is_so(100..150);
}

#[test]
fn all_is_so_seeds_150_to_199() {
    all_is_so(150..200);
}

/// See docs/sim-bugs.md.
#[test]
fn seeds_that_once_failed() {
    all_is_so([0, 1, 8, 9, 25, 41, 72, 182, 1244, 21163]);
}

#[test]
fn all_is_so_with_everything_at_once() {
    for seed in 0..20 {
        run(&mut world_with(seed, Faults::all())).unwrap_or_else(|v| panic!("{v}"));
    }
}

#[test]
fn equal_seeds_give_equal_traces_and_others_others() {
    equal_seeds_give_equal_traces(|seed| {
        let mut w = world_with(seed, Faults::all());
        run(&mut w).unwrap_or_else(|v| panic!("{v}"));
        sum(w.trace())
    });
}

/// The lease of a node ends by its clock, the order waits a tenth longer by its own. With clocks that are
/// further apart a node must be seen that is lost, and holds its lease.
#[test]
fn clocks_that_are_too_far_apart_are_found_out() {
    let minute = 60_000_000_000;
    let faults = Faults {
        drift_ppm: 600_000,
        cut_every_ns: minute / 60,
        cut_for_ns: (minute / 60, minute / 10),
        ..Faults::none()
    };
    let found: Vec<_> = (0..60).filter_map(|s| run(&mut world_with(s, faults.clone())).err()).collect();
    let held = found.iter().filter(|v| v.invariant == "who is taken for lost holds no lease").count();
    assert!(held > 0, "{found:?}");
    let v = &found[0];
    let again = run(&mut world_with(v.seed, faults)).err();
    assert_eq!(again.as_ref(), Some(v), "the same seed does it again");
}

/// Moves of single services come to each of their ends.
#[test]
fn services_move_and_stay() {
    let mut moved = (0, 0);
    for seed in 0..6 {
        let mut w = world(seed);
        let seen = std::rc::Rc::new(std::cell::Cell::new((0, 0)));
        let count = seen.clone();
        w.trace().tell(Box::new(move |line| {
            let (there, here) = count.get();
            count.set((
                there + i32::from(line.contains("Moved(") && line.contains("\"Moved\"")),
                here + i32::from(line.contains("Moved(") && line.contains("Stayed")),
            ));
        }));
        run(&mut w).unwrap_or_else(|v| panic!("{v}"));
        moved = (moved.0 + seen.get().0, moved.1 + seen.get().1);
    }
    assert!(moved.0 > 5 && moved.1 > 5, "{moved:?}");
}
