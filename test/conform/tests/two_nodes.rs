//! Every scenario that applies, over processes of two nodes: proxies.

use dvs_conform::homes::nodes::{Kind, Nodes, Programs};
use dvs_conform::world::Home;
use dvs_conform::{conform_tests, each_scenario};

fn home() -> Box<dyn Home> {
    let programs = Programs {
        daemon: env!("CARGO_BIN_EXE_conform-daemon").into(),
        actor: env!("CARGO_BIN_EXE_conform-actor").into(),
        c_actor: None,
    };
    Box::new(Nodes::new("two_nodes", 2, [Kind::Rust; 3], &programs))
}

each_scenario!(conform_tests two_nodes);
