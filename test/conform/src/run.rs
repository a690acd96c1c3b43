//! Runs one scenario of the table in one home.
//!
//! Which scenarios apply to a home is known when the suite is compiled: its tests name the class of the home,
//! and [`applies!`](crate::applies) leaves out those whose needs it lacks. So a scenario that cannot run
//! somewhere is not counted there, neither as passed nor as skipped; and `nothing_is_left_out` compares what
//! was generated with what the home itself says it can.

use crate::scenarios::TABLE;
use crate::world::{Home, World};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the system does not hold yet: home (empty = every home with a daemon), scenario, why. DEVIATIONS.md
/// shows the same list. Such a scenario is run, and counted as skipped as long as it fails; one that passes
/// fails the suite until its line is gone.
const NOT_YET: &[(&str, &str, &str)] = &[];

/// Runs a scenario.
///
/// # Panics
/// When the scenario fails, or there is none of that name, or its home lacks what it needs.
pub fn run(home: Box<dyn Home>, group: &str, name: &str) {
    let scenario = TABLE.iter().find(|s| (s.group, s.name) == (group, name)).expect("a name of the table");
    if let Some(need) = scenario.needs.iter().find(|n| !home.can(**n)) {
        panic!("{}: {group}::{name} needs {need:?}: `applies!` does not know that", home.name());
    }
    let known = |(h, n, _): &&(&str, &str, &str)| *n == name && (h.is_empty() || *h == home.name());
    let held_back = NOT_YET.iter().find(known);
    let mut world = World::new(home);
    let Some((_, _, why)) = held_back else { return (scenario.run)(&mut world) };
    // The world is not looked at afterwards.
    match catch_unwind(AssertUnwindSafe(|| (scenario.run)(&mut world))) {
        Ok(()) => panic!("{group}::{name} holds now: take it off NOT_YET and out of DEVIATIONS.md"),
        Err(_) => eprintln!("SKIP: not yet held: {why}"),
    }
}

/// Checks that a home's tests are those of the table it can run.
///
/// # Panics
/// When one is missing or one too many.
pub fn nothing_is_left_out(home: &dyn Home, tests: &[(&str, &str)]) {
    let applies = TABLE.iter().filter(|s| s.needs.iter().all(|n| home.can(*n)));
    let wanted: Vec<(&str, &str)> = applies.map(|s| (s.group, s.name)).collect();
    assert_eq!(tests, wanted, "the tests of {}", home.name());
}

/// Makes a test of every scenario that applies, for the home the function `home` gives; `$class` is the row
/// of
/// [`applies!`](crate::applies) it belongs to.
#[macro_export]
macro_rules! conform_tests {
    ($class:ident
     $( $group:ident { $( $name:ident [$($fact:literal),*] [$($need:ident),*]; )* } )*) => {
        $( mod $group { $(
            $crate::applies! { $class [$($need)*] {
                #[test]
                fn $name() {
                    dvs_conform::run::run(super::home(), stringify!($group), stringify!($name));
                }
            } }
        )* } )*

        #[test]
        fn nothing_is_left_out() {
            let mut tests: Vec<(&str, &str)> = Vec::new();
            $( $( $crate::applies! { $class [$($need)*] {
                tests.push((stringify!($group), stringify!($name)));
            } } )* )*
            dvs_conform::run::nothing_is_left_out(&*home(), &tests);
        }
    };
}

/// What follows, if a home of this class has all these needs. The classes and what each lacks:
///
/// | class | homes |
/// |---|---|
/// | `alone` | threads, coroutines: no daemon |
/// | `mixed` | one node; some actors share a process |
/// | `one_node` | processes, in Rust and in C |
/// | `two_nodes`, `three_nodes` | processes on more nodes |
/// | `mixed_nodes` | two nodes; some actors share a process |
#[macro_export]
macro_rules! applies {
    ($class:ident [] { $($then:tt)* }) => { $($then)* };
    (alone [Processes $($more:ident)*] $then:tt) => {};
    (alone [Daemon $($more:ident)*] $then:tt) => {};
    (alone [TwoNodes $($more:ident)*] $then:tt) => {};
    (alone [ThreeNodes $($more:ident)*] $then:tt) => {};
    (alone [Cut $($more:ident)*] $then:tt) => {};
    (alone [KillNode $($more:ident)*] $then:tt) => {};
    (mixed [Processes $($more:ident)*] $then:tt) => {};
    (mixed [TwoNodes $($more:ident)*] $then:tt) => {};
    (mixed [ThreeNodes $($more:ident)*] $then:tt) => {};
    (mixed [Cut $($more:ident)*] $then:tt) => {};
    (mixed [KillNode $($more:ident)*] $then:tt) => {};
    (one_node [TwoNodes $($more:ident)*] $then:tt) => {};
    (one_node [ThreeNodes $($more:ident)*] $then:tt) => {};
    (one_node [Cut $($more:ident)*] $then:tt) => {};
    (one_node [KillNode $($more:ident)*] $then:tt) => {};
    (two_nodes [OneNode $($more:ident)*] $then:tt) => {};
    (two_nodes [ThreeNodes $($more:ident)*] $then:tt) => {};
    (three_nodes [OneNode $($more:ident)*] $then:tt) => {};
    (mixed_nodes [OneNode $($more:ident)*] $then:tt) => {};
    (mixed_nodes [ThreeNodes $($more:ident)*] $then:tt) => {};
    (mixed_nodes [Processes $($more:ident)*] $then:tt) => {};
    (mixed_nodes [KillNode $($more:ident)*] $then:tt) => {};
    ($class:ident [$has:ident $($more:ident)*] $then:tt) => {
        $crate::applies! { $class [$($more)*] $then }
    };
}
