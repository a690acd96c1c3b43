//! Each fault by itself, with nodes that only count.

use dvs_abi::NodeId;
use dvs_sim::{Actor, Effects, Faults, Invariant, View, World};

const MS: u64 = 1_000_000;
const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);

/// Sends its neighbour a number every millisecond, keeps what it gets, and writes it down.
#[derive(Default)]
struct Counter {
    sent: u8,
    got: Vec<u8>,
    synced: u64,
    refused: u64,
    found: Vec<u8>,
    times: Vec<u64>,
}

impl Actor for Counter {
    type Note = u8;

    fn start(&mut self, fx: &mut Effects<'_, u8>) {
        self.found = fx.disk().read("got").to_vec();
        fx.after(MS, 0);
    }

    fn message(&mut self, _: NodeId, bytes: &[u8], fx: &mut Effects<'_, u8>) {
        self.got.extend(bytes);
        match fx.disk().append("got", bytes) {
            Ok(()) => fx.sync(0),
            Err(_) => self.refused += 1,
        }
    }

    fn timer(&mut self, _: u64, fx: &mut Effects<'_, u8>) {
        self.sent += 1;
        self.times.push(fx.now());
        fx.note(self.sent);
        fx.send(NodeId(fx.me().0 ^ 1), vec![self.sent]);
        if self.sent < 100 {
            fx.after(MS, 0);
        }
    }

    fn synced(&mut self, _: u64, _: &mut Effects<'_, u8>) {
        self.synced += 1;
    }
}

fn world(faults: Faults) -> World<Counter> {
    World::new(1, 2, faults, |_| Counter::default())
}

fn got(w: &World<Counter>, node: NodeId) -> Vec<u8> {
    w.actor(node).map(|a| a.got.clone()).unwrap_or_default()
}

fn in_order() -> Vec<u8> {
    (1..=100).collect()
}

#[test]
fn without_faults_all_arrives_in_order_and_is_written() {
    let mut w = world(Faults::none());
    w.run_for(1_000 * MS).unwrap();
    assert_eq!((got(&w, A), got(&w, B)), (in_order(), in_order()));
    assert_eq!(w.actor(A).unwrap().synced, 100);
    assert!(!w.step().unwrap(), "nothing is left to happen");
}

#[test]
fn loss_duplicates_and_disorder_do_what_they_say() {
    let run = |faults| {
        let mut w = world(faults);
        w.run_for(10_000 * MS).unwrap();
        got(&w, B)
    };
    let lossy = run(Faults { loss: 300, ..Faults::none() });
    assert!((40..95).contains(&lossy.len()) && lossy.is_sorted(), "{lossy:?}");
    assert_eq!(run(Faults { loss: 1000, ..Faults::none() }), []);
    let twice = run(Faults { duplicate: 300, late_ns: (0, 50 * MS), ..Faults::none() });
    assert!((110..160).contains(&twice.len()), "{twice:?}");
    let mut mixed = run(Faults { reorder: 300, late_ns: (0, 50 * MS), ..Faults::none() });
    assert!(!mixed.is_sorted());
    mixed.sort_unstable();
    assert_eq!(mixed, in_order());
}

#[test]
fn a_cut_direction_lets_the_other_through_and_healing_ends_it() {
    let mut w = world(Faults::none());
    w.cut(A, B, u64::MAX);
    w.run_for(50 * MS).unwrap();
    assert_eq!(got(&w, B), []);
    assert!(got(&w, A).len() > 40);
    w.heal();
    w.run_for(1_000 * MS).unwrap();
    assert!((40..60).contains(&got(&w, B).len()));
}

#[test]
fn a_node_that_stands_still_gets_all_of_it_when_it_goes_on() {
    let mut w = world(Faults::none());
    w.run_for(10 * MS).unwrap();
    w.pause(B);
    let before = got(&w, B).len();
    w.run_for(200 * MS).unwrap();
    assert_eq!(got(&w, B).len(), before);
    w.resume(B);
    w.run_for(0).unwrap();
    assert_eq!(got(&w, B), in_order());
    assert!(w.actor(B).unwrap().sent < 20, "its timers did not run off meanwhile");
}

#[test]
fn after_a_loss_of_power_what_was_synced_is_there_and_nothing_out_of_order() {
    for after in 5..60 {
        let mut w = world(Faults { torn: 500, sync_ns: (0, 20 * MS), ..Faults::none() });
        w.run_for(after * MS).unwrap();
        let (synced, written) = (w.actor(B).unwrap().synced as usize, got(&w, B));
        w.crash(B);
        assert!(w.actor(B).is_none());
        w.restart(B);
        w.run_for(0).unwrap();
        let b = w.actor(B).unwrap();
        let found: Vec<_> = b.found.iter().copied().take_while(|x| *x != 0).collect();
        assert!(written.starts_with(&found), "{written:?} {found:?}");
        assert!(found.len() >= synced, "{synced} were synced, {found:?}");
        assert_eq!((b.sent, b.got.len()), (0, 0), "it begins anew");
    }
}

#[test]
fn a_full_disk_refuses_until_there_is_room() {
    let mut w = world(Faults::none());
    w.set_full(B, true);
    w.run_for(50 * MS).unwrap();
    let refused = w.actor(B).unwrap().refused;
    assert_eq!(refused as usize, got(&w, B).len());
    w.heal();
    w.run_for(200 * MS).unwrap();
    let b = w.actor(B).unwrap();
    assert_eq!((b.refused, b.synced), (refused, 100 - refused));
}

#[test]
fn clocks_differ_but_never_go_back_also_when_they_are_healed() {
    let faults = Faults { drift_ppm: 400_000, offset_ns: 100 * MS, ..Faults::none() };
    let mut w = World::new(3, 2, faults, |_| Counter::default());
    w.run_for(30 * MS).unwrap();
    w.heal();
    w.run_for(500 * MS).unwrap();
    let times = |n| w.actor(n).unwrap().times.clone();
    for node in [A, B] {
        assert!(times(node).is_sorted() && times(node).len() == 100);
    }
    assert_ne!(times(A)[20] - times(A)[0], times(B)[20] - times(B)[0]);
}

struct AtMost(u8);

impl Invariant<Counter> for AtMost {
    fn name(&self) -> &'static str {
        "few are sent"
    }

    fn check(&mut self, view: &View<'_, Counter>) -> Result<(), String> {
        match view.notes().iter().find(|n| **n > self.0) {
            Some(n) => Err(format!("{n} by {:?}", view.touched())),
            None => Ok(()),
        }
    }
}

#[test]
fn what_is_not_so_is_said_at_once_with_the_seed() {
    let mut w = world(Faults::none());
    w.expect(AtMost(9));
    let v = w.run_for(1_000 * MS).unwrap_err();
    assert_eq!((v.seed, v.invariant.as_str()), (1, "few are sent"));
    assert!((10 * MS..12 * MS).contains(&v.at), "{v}");
    assert!(w.trace().lines().last().unwrap().contains("NOT SO"));
}

#[test]
fn nodes_crash_and_come_back_by_the_seed_alone() {
    let run = |seed| {
        let faults = Faults { down_at_once: 1, ..Faults::all() };
        let mut w = World::new(seed, 4, faults, |_| Counter::default());
        let mut lines = 0;
        w.run_until(60_000 * MS, |w| {
            let down = w.nodes().filter(|n| w.actor(*n).is_none()).count();
            assert!(down <= 1 || w.now() == 0);
            lines += usize::from(down > 0);
            false
        })
        .unwrap();
        assert!(lines > 0);
        w.trace().hash()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}
