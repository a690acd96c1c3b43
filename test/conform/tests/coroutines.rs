//! Every scenario that applies, over coroutines of one stand-alone process.

use dvs_conform::homes::coroutines::Coroutines;
use dvs_conform::world::Home;
use dvs_conform::{conform_tests, each_scenario};

fn home() -> Box<dyn Home> {
    Box::new(Coroutines::default())
}

each_scenario!(conform_tests alone);
