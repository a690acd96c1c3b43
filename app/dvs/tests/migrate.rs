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
