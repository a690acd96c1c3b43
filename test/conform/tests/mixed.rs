//! Every scenario that applies, over coroutines, processes and threads of one node mixed.

use dvs_conform::homes::nodes::{Kind, Nodes, Programs};
use dvs_conform::world::Home;
use dvs_conform::{conform_tests, each_scenario};

fn home() -> Box<dyn Home> {
    let programs = Programs {
        daemon: env!("CARGO_BIN_EXE_conform-daemon").into(),
        actor: env!("CARGO_BIN_EXE_conform-actor").into(),
        c_actor: None,
    };
    Box::new(Nodes::new("mixed", 1, [Kind::Coroutine, Kind::Rust, Kind::Thread], &programs))
}

each_scenario!(conform_tests mixed);
