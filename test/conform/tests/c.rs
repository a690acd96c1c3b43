//! Every scenario that applies, with servers in Rust and clients in C, and the other way round, on one node.

use dvs_conform::homes::c;
use dvs_conform::homes::nodes::{Kind, Nodes, Programs};
use dvs_conform::world::Home;
use dvs_conform::{conform_tests, each_scenario};
use std::path::Path;
use std::sync::OnceLock;

fn home() -> Box<dyn Home> {
    static C_ACTOR: OnceLock<std::path::PathBuf> = OnceLock::new();
    let actor = env!("CARGO_BIN_EXE_conform-actor");
    let programs = Programs {
        daemon: env!("CARGO_BIN_EXE_conform-daemon").into(),
        actor: actor.into(),
        c_actor: Some(C_ACTOR.get_or_init(|| c::build(Path::new(actor))).clone()),
    };
    Box::new(Nodes::new("c", 1, [Kind::C, Kind::Rust, Kind::C], &programs))
}

each_scenario!(conform_tests one_node);
