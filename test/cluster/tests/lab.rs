//! Five machines that fail, and what clients on all of them see.

use dvs_cluster::crew::Crew;
use dvs_cluster::lab::{Lab, Programs};

const ACTOR: &str = env!("CARGO_BIN_EXE_cluster-actor");
const PROGRAMS: Programs =
    Programs { daemon: env!("CARGO_BIN_EXE_cluster-daemon"), switch: env!("CARGO_BIN_EXE_cluster-switch") };

#[test]
fn first() {
    let Some(mut lab) = Lab::start(PROGRAMS, 5) else { return };
    let mut crew = Crew::start(ACTOR, &lab, &[1, 3]);
    std::thread::sleep(std::time::Duration::from_secs(1));
    lab.nodes[1].kill();
    lab.wait_standing(2, 1, "down");
    lab.nodes[1].revive();
    lab.wait_whole();
    crew.look_after(&lab);
    std::thread::sleep(std::time::Duration::from_secs(1));
    crew.look_after(&lab);
    crew.calm("killed");
}
