//! A replicated service with a large state: how long puts take while its replicas write snapshots of it.

use crate::kv::neighbours;
use crate::{Options, VOTERS, row, sibling};
use dvs::limits::KV_VALUE_BYTES_MAX;
use dvs_cluster::kv::{Replicas, client, leader_of, wait_votes};
use dvs_cluster::lab::Programs;
use dvs_cluster::node::Node;
use dvs_linux::clock;

/// What it holds.
const MEBIBYTES: usize = 60;
/// Puts of each client: those of three share entries at most, and a snapshot is taken every 5,000.
const PUTS: usize = 6000;

pub(crate) fn large(_: &Options, programs: Programs) {
    let nodes = neighbours(programs);
    let _replicas = Replicas::start(sibling("cluster-actor"), &nodes);
    (0..VOTERS).for_each(|n| wait_votes(&nodes, n, VOTERS));
    let mut small = puts(&nodes);
    row("put, 3 clients, 3 nodes, snapshots of a small state", &mut small);
    let (filler, value) = (client(&nodes[0].attach()), vec![7; KV_VALUE_BYTES_MAX]);
    for n in 0..MEBIBYTES {
        filler.put(format!("large/{n}").as_bytes(), &value, None).expect("there is room");
    }
    let before = leader_of(&nodes[0], 0);
    let mut large = puts(&nodes);
    row(&format!("put, 3 clients, 3 nodes, snapshots of {MEBIBYTES} MiB"), &mut large);
    let stayed = if before == leader_of(&nodes[0], 0) { "the same leads" } else { "another one leads" };
    println!("{:58} {stayed}", "after them");
}

/// By a client of each node, in a closed loop; how long each took.
fn puts(nodes: &[Node]) -> Vec<u64> {
    let processes: Vec<_> = nodes.iter().map(Node::attach).collect();
    let one = |me: usize| {
        let client = client(&processes[me]);
        let put = |n: usize| {
            let begun = clock::now();
            client.put(format!("load/{me}/{}", n % 100).as_bytes(), &[b'x'; 256], None).expect("all is well");
            clock::now() - begun
        };
        (0..PUTS).map(put).collect::<Vec<u64>>()
    };
    std::thread::scope(|s| {
        let threads: Vec<_> = (0..nodes.len()).map(|me| s.spawn(move || one(me))).collect();
        threads.into_iter().flat_map(|t| t.join().unwrap_or_default()).collect()
    })
}
