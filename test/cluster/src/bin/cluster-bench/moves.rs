//! A single key/value server that moves from machine to machine while clients of all write: how long they are
//! held.

use crate::{Options, VOTERS, row, sibling};
use dvs::limits::KV_VALUE_BYTES_MAX;
use dvs_cluster::actor::Actor;
use dvs_cluster::kv::client;
use dvs_cluster::lab::{Lab, Programs, until};
use dvs_cluster::moves::{Raise, declare_at, migrate_at, ready, row_of};
use dvs_kv::SERVICE;
use dvs_linux::clock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Clients of each machine.
const EACH: usize = 2;
/// Between two puts of one.
const REST: Duration = Duration::from_millis(1);
/// Bytes they put.
const BYTES: usize = 256;
/// As `dvs migrate` has it.
const HOLD_MS: u64 = 2000;

pub(crate) fn moves(options: &Options, programs: Programs) {
    for mebibytes in [1, 64] {
        one_size(options, programs, mebibytes);
    }
}

/// When a put began and ended.
type Put = (u64, u64);

fn one_size(options: &Options, programs: Programs, mebibytes: usize) {
    let Some(lab) = Lab::start(programs, VOTERS) else { return };
    declare_at(&lab.nodes[0], SERVICE.slot(), "kv");
    let actor =
        |n: &dvs_cluster::node::Node| Actor::start(sibling("cluster-actor"), "alone", &n.socket(), &[]);
    let _programs: Vec<Actor> = lab.nodes.iter().map(|n| ready(actor(n))).collect();
    fill(&lab, mebibytes);
    let stop = AtomicBool::new(false);
    let (mut accounts, mut windows) = (Vec::new(), Vec::new());
    let puts: Vec<Vec<Put>> = std::thread::scope(|s| {
        let stop = &stop;
        let clients = (0..EACH * VOTERS).map(|n| client(&lab.nodes[n % VOTERS].attach()));
        let threads: Vec<_> = clients.enumerate().map(|(n, c)| s.spawn(move || write(n, &c, stop))).collect();
        let raise = Raise(stop);
        for n in 0..options.runs {
            // Its place is known where the order is given, and it is never there already.
            let asked = &lab.nodes[n / VOTERS % VOTERS];
            let mut at = None;
            until("its place is known", || {
                at = row_of(asked, SERVICE.slot()).filter(|r| r.to.is_none()).and_then(|r| r.at);
                at.is_some()
            });
            let to = at.map_or(0, |at| (usize::from(at) + 1) % VOTERS);
            let begun = clock::now();
            match migrate_at(&asked.admin_socket(), SERVICE.slot(), to, HOLD_MS) {
                Some((true, held)) => accounts.extend(held.parse::<u64>()),
                other => panic!("move {n} to {to}: {other:?}"),
            }
            windows.push((begun, clock::now()));
            // Everybody is served at the new place before the next one.
            std::thread::sleep(Duration::from_millis(100));
        }
        drop(raise);
        threads.into_iter().map(|t| t.join().expect("a client ends well")).collect()
    });
    // The longest put of each client that overlaps the move, from the order to its answer.
    let longest = |puts: &Vec<Put>, (begun, ended): Put| {
        let during = puts.iter().filter(|(from, to)| *to >= begun && *from <= ended);
        during.map(|(from, to)| to - from).max()
    };
    let mut held: Vec<u64> =
        windows.iter().flat_map(|w| puts.iter().filter_map(|p| longest(p, *w))).collect();
    let callers = EACH * VOTERS;
    row(&format!("move of {mebibytes} MiB: longest put of each of {callers} callers"), &mut held);
    row(&format!("move of {mebibytes} MiB: callers held, by its own account"), &mut accounts);
    let mut whole: Vec<u64> = windows.iter().map(|(from, to)| to - from).collect();
    row(&format!("move of {mebibytes} MiB: ordered -> done"), &mut whole);
}

/// State that has to travel.
fn fill(lab: &Lab, mebibytes: usize) {
    let (client, value) = (client(&lab.nodes[0].attach()), vec![7; KV_VALUE_BYTES_MAX]);
    for n in 0..mebibytes {
        client.put(format!("state/{n}").as_bytes(), &value, None).expect("there is room");
    }
}

/// Puts until told to stop.
fn write(me: usize, client: &dvs_kv::Client<dvs::ThreadWait>, stop: &AtomicBool) -> Vec<Put> {
    let mut puts = Vec::new();
    for n in 0_u64.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let begun = clock::now();
        let key = format!("load/{me}/{}", n % 100);
        client.put(key.as_bytes(), &[b'x'; BYTES], None).expect("a move ends no call");
        puts.push((begun, clock::now()));
        std::thread::park_timeout(REST);
    }
    puts
}
