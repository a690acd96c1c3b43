//! A service that moves, as typed: two machines on the loopback that may start programs for each other.

mod common;
mod machines;

use common::until;
use machines::Machines;
use serde_json::Value;
use std::process::{Child, Stdio};

/// Where callers of the one service go.
fn at(m: &Machines, n: usize) -> Option<u64> {
    let rows: Value = serde_json::from_str(&m.ok(n, &["service", "ls", "--output", "json"])).unwrap();
    rows.as_array().unwrap().first().and_then(|row| row["at"].as_u64())
}

fn serve(m: &Machines, n: usize) -> Child {
    let mut c = m.command(n, &["kv", "serve", "--alone"]);
    let child = c.stdout(Stdio::null()).spawn().unwrap();
    until("it serves", || at(m, n) == Some(n as u64));
    child
}

#[test]
fn a_service_moves_to_a_program_that_is_started_for_it_and_back_when_its_node_is_emptied() {
    let m = Machines::new(2);
    let mut program = serve(&m, 0);
    m.ok(1, &["kv", "put", "colour", "blue"]);
    let said = m.ok(1, &["migrate", "kv", "--to", "m1", "--check"]);
    assert!(said.contains("nothing hinders"), "{said}");
    assert_eq!(at(&m, 0), Some(0), "a check moves nothing");
    let said = m.ok(1, &["migrate", "kv", "--to", "m1", "--output", "json"]);
    let outcome: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&outcome["moved"], outcome["held_ms"].is_f64()), (&Value::Bool(true), true), "{said}");
    assert!(program.wait().unwrap().success(), "the old program has ended");
    assert_eq!(m.ok(0, &["kv", "get", "colour"]).trim(), "blue");
    // Its node is emptied: started again on the other one, as it was started there.
    let said = m.ok(0, &["drain", "m1"]);
    assert!(said.contains("kv is on n0"), "{said}");
    assert_eq!(m.ok(1, &["kv", "get", "colour"]).trim(), "blue");
    let said = m.fails(0, &["migrate", "shop/kv", "--to", "m1"], 5);
    assert!(said.contains("drained"), "{said}");
}

/// An instance of the service at slot 24 in this process, which answers nobody.
fn instance(m: &Machines, n: usize) -> (dvs::Process, dvs::Port) {
    let process = dvs::attach_to(&dvsd::paths::session_socket(&m.dir(n)), "instance").unwrap();
    let port = process.bind(dvs::DcId(0), dvs::Endpoint::new(0, 24)).unwrap();
    (process, port)
}

#[test]
fn callers_of_a_passive_service_are_pointed_to_an_instance_in_step_and_from_a_drained_node() {
    let m = Machines::new(3);
    m.ok(0, &["service", "declare", "shop", "24", "ledger", "--kind", "passive"]);
    let said = m.fails(0, &["migrate", "ledger", "--to", "m1"], 5);
    assert!(said.contains("nowhere"), "{said}");
    let _first = instance(&m, 0);
    until("it serves", || at(&m, 2) == Some(0));
    let said = m.fails(0, &["drain", "m0"], 5);
    assert!(said.contains("ledger stays: no other node") && said.contains("in step"), "{said}");
    m.ok(0, &["drain", "m0", "--off"]);
    let _second = instance(&m, 1);
    let said = m.fails(2, &["migrate", "ledger", "--to", "m2", "--check"], 5);
    assert!(said.contains("no instance on n2: start one there"), "{said}");
    assert!(m.fails(2, &["migrate", "ledger", "--to", "m2"], 5).contains("start one there"));
    assert!(m.fails(2, &["migrate", "ledger", "--to", "m1", "--", "/bin/true"], 2).contains("in step"));
    let said = m.ok(2, &["migrate", "ledger", "--to", "m1", "--check"]);
    assert!(said.contains("nothing hinders ledger"), "{said}");
    assert_eq!(at(&m, 2), Some(0), "a check moves nothing");
    // Ordered at a node that has nothing of it.
    let said = m.ok(2, &["migrate", "shop/ledger", "--to", "m1", "--output", "json"]);
    let outcome: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&outcome["moved"], &outcome["why"]), (&Value::Bool(true), &Value::from("")), "{said}");
    assert_eq!(at(&m, 2), Some(1));
    let said = m.fails(2, &["migrate", "ledger", "--to", "m1", "--output", "json"], 5);
    assert!(said.contains("\"moved\": false") && said.contains("already"), "{said}");
    let said = m.ok(2, &["drain", "m1"]);
    assert!(said.contains("ledger is on n0 now"), "{said}");
    let said = m.fails(2, &["migrate", "ledger", "--to", "m1"], 5);
    assert!(said.contains("n1 is being drained"), "{said}");
    m.ok(2, &["drain", "m1", "--off"]);
    assert!(m.ok(2, &["logs"]).contains("n1 is emptied"), "who wants to know finds it in the log");
}

#[test]
fn what_is_in_the_way_of_a_move_is_said_and_nothing_changes() {
    let m = Machines::new(2);
    assert!(m.fails(0, &["migrate", "kv", "--to", "m1"], 4).contains("no service"));
    let mut program = serve(&m, 0);
    assert!(m.fails(1, &["migrate", "kv", "--to", "m0"], 5).contains("already"));
    assert!(m.fails(1, &["migrate", "kv", "--to", "m0", "--check"], 5).contains("already"));
    let said = m.fails(1, &["migrate", "kv", "--to", "m1", "--", "/bin/false"], 5);
    assert!(said.contains("ended with 1"), "{said}");
    let said = m.fails(1, &["migrate", "kv", "--to", "m1", "--", "/no/such/program"], 5);
    assert!(said.contains("cannot run"), "{said}");
    assert_eq!(at(&m, 0), Some(0));
    m.ok(1, &["kv", "put", "a", "1"]);
    program.kill().unwrap();
    program.wait().unwrap();
    until("it is nowhere", || at(&m, 0).is_none());
    assert!(m.fails(1, &["migrate", "kv", "--to", "m1"], 5).contains("nowhere"));
}
