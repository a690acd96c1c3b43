//! What programs that move a service are answered by one node, step by step.

mod hand;

use dvs_abi::{Code, Effect, NodeId};
use dvs_kern::control::{Answer, Event as Told, Request};
use dvs_kern::mover::{MoverAnswer, MoverAsk};
use dvs_kern::node::event::{Event, SessionId, Want};
use dvs_kern::node::mover::Placed;
use dvs_kern::node::service::{Action, Kind};
use hand::{World, bind};

const SLOT: i32 = 4;
/// An endpoint of the program's own.
const OWN: i32 = 9;
const SERVER: SessionId = 1;
const OTHER: SessionId = 2;
const HERE: NodeId = NodeId(0);
const FAR: NodeId = NodeId(1);

fn ask(w: &mut World, session: SessionId, ask: MoverAsk) -> u64 {
    w.ask(session, Request::Mover { dc: 1, slot: SLOT, ask })
}

fn route(w: &mut World, epoch: u64, actions: &[Action]) {
    for action in actions {
        w.feed(Event::Route { dc: 1, slot: SLOT, epoch, action: *action });
    }
}

fn placed(w: &mut World, node: Option<NodeId>, moves: bool, epoch: u64) {
    w.feed(Event::ServicePlace { dc: 1, slot: SLOT, placed: Placed { node, moves, epoch } });
}

fn answered(w: &mut World, id: u64) -> Option<Result<MoverAnswer, Code>> {
    Some(match w.answer(id)? {
        Ok(Answer::Mover(answer)) => Ok(answer),
        Ok(other) => panic!("{other:?}"),
        Err((code, _)) => Err(code),
    })
}

/// A single service; where callers go in the log.
fn world() -> World {
    let mut w = World::new(0b11);
    w.feed(Event::Service { dc: 1, slot: SLOT, name: "kv".into(), kind: Some(Kind::Single) });
    w.wants.clear();
    w
}

/// With its instance in session 1.
fn serving() -> World {
    let mut w = world();
    let id = w.ask(SERVER, bind(SLOT));
    let (ticket, _) = w.want();
    route(&mut w, 5, &[Action::Point(HERE), Action::Thaw, Action::Continue]);
    placed(&mut w, Some(HERE), false, 5);
    w.decided(ticket, Ok(()));
    assert!(w.answer(id).unwrap().is_ok());
    w.bound(SERVER, OWN);
    w.told.clear();
    w.wants.clear();
    w
}

#[test]
fn only_the_instance_moves_its_service_and_answers_while_it_does() {
    let mut w = serving();
    let waits = ask(&mut w, SERVER, MoverAsk::Await { mover: OWN, version: 3, bytes: 7 });
    assert_eq!(w.node.movable_instance(1, SLOT).map(|x| (x.session, x.bytes)), Some((SERVER, 7)));
    w.bound(OTHER, 10);
    w.wants.clear();
    for (session, asked, code) in [
        (OTHER, MoverAsk::Await { mover: 10, version: 3, bytes: 7 }, Code::NOTBIND),
        (OTHER, MoverAsk::Begin { to: 1, hold_ns: 1 }, Code::PRIVILEGES),
        (OTHER, MoverAsk::Undo { number: 1 }, Code::PRIVILEGES),
        (SERVER, MoverAsk::Await { mover: 10, version: 3, bytes: 7 }, Code::NOTBIND),
    ] {
        let id = ask(&mut w, session, asked);
        assert_eq!(answered(&mut w, id), Some(Err(code)));
    }
    let go = MoverAnswer::Go { id: 1, to: 1, peer: 9, prepare_ns: 1, hold_ns: 2 };
    w.feed(Event::MoverOrder { dc: 1, slot: SLOT, answer: go.clone() });
    assert_eq!(answered(&mut w, waits), Some(Ok(go)));
    assert_eq!(w.node.movable_instance(1, SLOT), None, "it is at it");
    let id = ask(&mut w, SERVER, MoverAsk::Begin { to: 1, hold_ns: 2 });
    let (ticket, want) = w.want();
    assert_eq!(want, Want::Move { dc: 1, slot: SLOT, to: 1, hold_ns: 2 });
    // The log has it: callers are held, and what was taken up is still answered.
    placed(&mut w, None, true, 8);
    route(&mut w, 8, &[Action::Freeze, Action::Stop]);
    w.feed(Event::MoveBegun { ticket, number: 8 });
    assert_eq!(answered(&mut w, id), Some(Ok(MoverAnswer::Begun { number: 8 })));
    assert!(w.told.contains(&(SERVER, Told::Freeze { dc: 1, endpoint: SLOT })));
    let full = dvs_kern::control::Duty::Full;
    let may = Told::Instance { dc: 1, endpoint: SLOT, may: full, after: full };
    assert!(w.told.contains(&(SERVER, may)), "{:?}", w.told);
    // Where it is, is said when that is decided.
    let place = ask(&mut w, SERVER, MoverAsk::Place { after: 8, remaining: u64::MAX });
    assert_eq!(answered(&mut w, place), None);
    route(&mut w, 9, &[Action::Freeze, Action::Point(FAR), Action::Thaw]);
    assert!(w.told.contains(&(SERVER, Told::Moved { dc: 1, endpoint: SLOT })));
    placed(&mut w, Some(FAR), false, 9);
    assert_eq!(answered(&mut w, place), Some(Ok(MoverAnswer::At { node: Some(1), epoch: 9 })));
    assert!(w.wants.is_empty(), "it does not retire: by the log it is none any more");
}

#[test]
fn the_target_is_bound_when_the_log_says_that_it_has_arrived() {
    let mut w = world();
    w.bound(OTHER, OWN);
    w.wants.clear();
    let stands = ask(&mut w, OTHER, MoverAsk::Stand { mover: OWN, versions: (1, 4) });
    assert_eq!(w.node.standby(1, SLOT).map(|x| x.versions), Some((1, 4)));
    let take = MoverAnswer::Take { id: 1, from: 1, peer: 40 };
    w.feed(Event::MoverOrder { dc: 1, slot: SLOT, answer: take.clone() });
    assert_eq!(answered(&mut w, stands), Some(Ok(take)));
    // One that comes too late is not the instance, and leaves nothing.
    let late = ask(&mut w, OTHER, MoverAsk::Arrive { number: 6, board: 1 });
    let (ticket, want) = w.want();
    assert_eq!(want, Want::Arrive { dc: 1, slot: SLOT, number: 6 });
    w.decided(ticket, Err(Code::STALE));
    assert_eq!(w.answer(late), Some(Err((Code::STALE, Effect::No))));
    assert!(w.wants.is_empty());
    let id = ask(&mut w, OTHER, MoverAsk::Arrive { number: 8, board: 1 });
    let (ticket, _) = w.want();
    // No majority answers for long: it is not given up, since it may be the only one that has the state.
    w.tick(60_000_000_000);
    assert_eq!((w.answer(id), w.wants.len()), (None, 0));
    route(&mut w, 9, &[Action::Freeze, Action::Point(HERE), Action::Thaw, Action::Continue]);
    w.decided(ticket, Ok(()));
    assert!(matches!(w.answer(id), Some(Ok(Answer::Bound { endpoint: SLOT, .. }))));
    // When its program ends, so does the instance.
    w.feed(Event::Died { session: OTHER, code: None });
    assert_eq!(w.want().1, Want::Retire { dc: 1, slot: SLOT });
}

#[test]
fn what_a_program_waits_for_ends_with_it_and_with_its_service() {
    let mut w = world();
    w.bound(OTHER, OWN);
    w.wants.clear();
    let id = ask(&mut w, OTHER, MoverAsk::Stand { mover: OWN, versions: (1, 1) });
    w.tick(2_000_000_000);
    assert_eq!(answered(&mut w, id), Some(Err(Code::TIMEDOUT)), "it is to say so anew");
    ask(&mut w, OTHER, MoverAsk::Stand { mover: OWN, versions: (1, 1) });
    w.feed(Event::Died { session: OTHER, code: None });
    assert_eq!(w.node.standby(1, SLOT), None);
    w.bound(3, OWN + 1);
    let place = ask(&mut w, 3, MoverAsk::Place { after: 9, remaining: u64::MAX });
    w.feed(Event::Service { dc: 1, slot: SLOT, name: String::new(), kind: None });
    assert_eq!(answered(&mut w, place), Some(Err(Code::DSTDIED)));
    let id = w.ask(3, Request::Mover { dc: 1, slot: 77, ask: MoverAsk::Place { after: 0, remaining: 1 } });
    assert_eq!(answered(&mut w, id), Some(Err(Code::BADPROC)));
}
