//! Every scenario that applies, over threads of one stand-alone process.

use dvs_conform::homes::threads::Threads;
use dvs_conform::world::Home;
use dvs_conform::{conform_tests, each_scenario};

fn home() -> Box<dyn Home> {
    Box::new(Threads::default())
}

each_scenario!(conform_tests alone);
