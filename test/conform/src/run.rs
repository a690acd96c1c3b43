//! Runs one scenario of the table in one home.

use crate::scenarios::TABLE;
use crate::world::{Home, World};

/// What the system does not hold yet: home (empty = every home with a daemon), scenario, why. DEVIATIONS.md
/// shows the same list; a line goes as soon as its scenario passes.
const NOT_YET: &[(&str, &str, &str)] =
    &[("", "warned_of_an_end", "the daemon does not call the warn endpoint of its own node yet")];

/// Runs a scenario, or says why this home does not.
///
/// # Panics
/// When the scenario fails, or there is none of that name.
pub fn run(home: Box<dyn Home>, group: &str, name: &str) {
    let scenario = TABLE.iter().find(|s| (s.group, s.name) == (group, name)).expect("a name of the table");
    if let Some(need) = scenario.needs.iter().find(|n| !home.can(**n)) {
        println!("{}: {group}::{name} does not apply: needs {need:?}", home.name());
        return;
    }
    let held_back = NOT_YET.iter().find(|(h, n, _)| *n == name && (h.is_empty() || *h == home.name()));
    if let Some((_, _, why)) = held_back {
        println!("{}: {group}::{name} is not yet held: {why}", home.name());
        return;
    }
    let mut world = World::new(home);
    (scenario.run)(&mut world);
}

/// Makes a test of every scenario for the home the expression in `home!` gives.
#[macro_export]
macro_rules! conform_tests {
    ($( $group:ident { $( $name:ident [$($fact:literal),*] [$($need:ident),*]; )* } )*) => {
        $( mod $group { $(
            #[test]
            fn $name() {
                dvs_conform::run::run(super::home(), stringify!($group), stringify!($name));
            }
        )* } )*
    };
}
