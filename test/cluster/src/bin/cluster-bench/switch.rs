//! The callers of a passive service are pointed to another instance: how long until those of all nodes are
//! served there. It is the time of a change of a service's place, from the order to the last node that routes
//! by it.

use crate::{NODES, Options, row, sibling};
use dvs_cluster::actor::Actor;
use dvs_cluster::lab::{Lab, Programs};
use dvs_cluster::lease::{Asker, SERVICE};
use dvs_cluster::passive::{switch, wait_in_step};
use dvs_linux::clock;

/// Where the two instances are.
const PLACES: [u16; 2] = [1, 2];
/// Switches of one run of the others.
const EACH: usize = 5;

pub(crate) fn switches(options: &Options, programs: Programs) {
    let Some(lab) = Lab::start(programs, NODES) else { return };
    let actor = sibling("cluster-actor");
    let instance = |n: u16| {
        let node = &lab.nodes[usize::from(n)];
        let mut instance = Actor::start(actor, "instance", &node.socket(), &["passive".to_owned()]);
        instance.expect("ready");
        instance
    };
    let _instances = PLACES.map(instance);
    lab.nodes.iter().for_each(|n| wait_in_step(n, SERVICE.slot(), &PLACES));
    let askers: Vec<Asker> = lab.nodes.iter().map(|n| Asker::of_changes(actor, n)).collect();
    for asker in &askers {
        asker.wait_answered(u64::from(PLACES[0]), 0);
    }
    let (mut ordered, mut served) = (Vec::new(), Vec::new());
    for n in 0..options.runs * EACH {
        let to = PLACES[(n + 1) % PLACES.len()];
        let asked = &lab.nodes[n % NODES];
        let begun = clock::now();
        switch(asked, SERVICE.slot(), usize::from(to)).expect("it is in step");
        ordered.push(clock::now() - begun);
        let last = askers.iter().map(|a| a.wait_answered(u64::from(to), begun)).max().unwrap_or(begun);
        served.push(last - begun);
    }
    row("switch ordered -> done by who was asked", &mut ordered);
    row("switch ordered -> all 5 served there (bar: p99 50 ms)", &mut served);
}
