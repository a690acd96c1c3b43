//! Runs one scenario of the table in one home.

use crate::scenarios::TABLE;
use crate::world::{Home, World};

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
