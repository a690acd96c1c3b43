//! Who may write memory of a call that was sent to another node; and how calls end.

use super::copies::Copies;
use super::{Cmd, Route, Shore, Step, Target};
use dvs_abi::limits::{CONTROL_BYTES_MAX, RECORD_COST, ROUTE_HELD_BYTES};
use dvs_abi::{Access, CallSet, Code, DcId, Effect, Endpoint, Error, Grant, Kind, Message, NodeId};
use dvs_ipc::bell::{BELL_BYTES, Ringer};
use dvs_ipc::control::{Answer, Event};
use dvs_ipc::host::{HeapMemory, Memory};
use dvs_ipc::lane::Cancel;
use dvs_ipc::link::{LINK_WORDS, Link, Side};
use dvs_wire::Frame;
use std::sync::Arc;

const ME: NodeId = NodeId(1);
const SERVER: NodeId = NodeId(2);
const SOURCE: NodeId = NodeId(3);
const OTHER: NodeId = NodeId(4);

fn stepped(f: impl FnOnce(&mut Step<'_>)) -> Vec<Cmd> {
    let mut out = Vec::new();
    f(&mut Step { now: 1, cpu: 0, out: &mut out });
    out
}

fn frames(cmds: Vec<Cmd>) -> Vec<(NodeId, Frame<'static>)> {
    let sent = |c| if let Cmd::Send { node, frame } = c { Some((node, frame)) } else { None };
    cmds.into_iter().filter_map(sent).collect()
}

/// A node with one call to an endpoint on [`SERVER`] that lent the bytes 4096..8192; and the call's number.
fn caller() -> (Route, u64) {
    let memory: Arc<dyn Memory> = Arc::new(HeapMemory::new(LINK_WORDS));
    let heap = || Arc::new(HeapMemory::new(BELL_BYTES / 8));
    let ringer = Ringer::new(heap(), heap()).unwrap();
    let mut route = Route::new(ME, 100);
    for node in [SERVER, SOURCE, OTHER] {
        route.node_up(node);
    }
    route.add_shore(0, Shore { memory: memory.clone(), side: Side::B, ringer, bell_link: 0 });
    let grant = Grant { address: 4096, length: 4096, access: Access::Write };
    let lane = Link::new(memory.words()).unwrap().lane(0).unwrap();
    lane.post(Kind::Request, &Message::new(1), &[grant]).unwrap();
    let (from, to) = (Endpoint::new(0, 5).raw(), Endpoint::new(0, 6).raw());
    let may = CallSet::ALL.0;
    let (dc, peer_pid, binding) = (DcId(0).0, 7, 70);
    let opened = Event::LaneOpened { link: 0, lane: 0, dc, from, to, remote: true, may, peer_pid, binding };
    let sent = frames(stepped(|step| route.told(&opened, Some(SERVER), step)));
    let [(SERVER, Frame::Call { call, msg, .. })] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(msg.binding(), binding, "the daemon's word, whatever the caller wrote");
    let call = *call;
    (route, call)
}

/// What comes of a frame: the code it is refused with, or 0 for a confirmation.
fn said(route: &mut Route, node: NodeId, frame: &Frame<'_>) -> Option<i32> {
    let sent = frames(stepped(|step| assert!(route.frame(node, frame, step))));
    match &sent[..] {
        [] => None,
        [(to, Frame::CopyDone { error, .. })] if *to == node => {
            Some(error.as_ref().map_or(0, |e| e.code as i32))
        }
        _ => panic!("{sent:?}"),
    }
}

#[test]
fn only_the_server_and_whom_it_named_write_what_a_call_lent() {
    let (mut route, call) = caller();
    let write = |copy, address| Frame::CopyWrite { copy, call, address, length: 64 };
    let announce = Frame::CopyFrom { copy: 1, call, address: 4096, length: 64, node: SOURCE };
    let refused = Some(Code::FAULT as i32);
    // Nobody was named: the number of the call is not enough, neither to write nor to name somebody.
    assert_eq!(said(&mut route, SOURCE, &write(1, 4096)), refused);
    assert_eq!(said(&mut route, SOURCE, &announce), refused);
    assert_eq!(route.copies(), 0);
    // The server itself.
    assert_eq!(said(&mut route, SERVER, &write(1, 4096)), None);
    assert_eq!(route.copies(), 1);
    // Named: that node, that range, once.
    assert_eq!(said(&mut route, SERVER, &announce), Some(0));
    assert_eq!(said(&mut route, OTHER, &write(2, 4096)), refused);
    assert_eq!(said(&mut route, SOURCE, &write(2, 5000)), refused);
    assert_eq!(said(&mut route, SOURCE, &write(2, 4096)), None);
    assert_eq!(route.copies(), 2);
    assert_eq!(said(&mut route, SOURCE, &write(3, 4096)), refused);
    // The bytes of a copy come from the node it is with.
    let target = |route: &mut Route, node| {
        let mut target = None;
        stepped(|step| target = route.target(node, 2, 0, 64, step));
        target
    };
    assert!(target(&mut route, OTHER).is_none());
    assert!(matches!(target(&mut route, SOURCE), Some(Target { address: 4096, .. })));
    // What was not lent cannot be announced.
    let beyond = Frame::CopyFrom { copy: 2, call, address: 8191, length: 64, node: SOURCE };
    assert_eq!(said(&mut route, SERVER, &beyond), refused);
}

#[test]
fn a_relayed_copy_begins_when_its_target_knows_the_source() {
    let mut copies = Copies::new(SERVER, 0);
    let order = |copies: &mut Copies| {
        let sent =
            frames(stepped(|step| copies.relay((1, 1), (SOURCE, 7, 1), (ME, 8, 2), 64, step).unwrap()));
        let [(ME, Frame::CopyFrom { copy, call: 8, address: 2, length: 64, node: SOURCE })] = sent[..] else {
            panic!("{sent:?}")
        };
        copy
    };
    let copy = order(&mut copies);
    // From others it means nothing.
    assert!(stepped(|step| copies.done(SOURCE, copy, None, step)).is_empty());
    let sent = frames(stepped(|step| copies.done(ME, copy, None, step)));
    assert!(matches!(sent[..], [(SOURCE, Frame::CopyRelay { to_node: ME, to_call: 8, call: 7, .. })]));
    assert!(stepped(|step| copies.done(ME, copy, None, step)).is_empty());
    let ended = stepped(|step| copies.done(SOURCE, copy, None, step));
    assert!(matches!(ended[..], [Cmd::Copied { session: 1, id: 1, result: Ok(()) }]));
    // Either node's end ends one that has not begun.
    for node in [ME, SOURCE] {
        order(&mut copies);
        let ended = stepped(|step| copies.node_down(node, step));
        assert!(matches!(ended.last(), Some(Cmd::Copied { result: Err(_), .. })));
        assert_eq!(copies.len(), 0);
    }
}

#[test]
fn what_waits_for_credit_is_bounded_and_leaves_in_order() {
    let (mut route, _) = caller();
    let record = vec![0_u8; CONTROL_BYTES_MAX];
    let fit = ROUTE_HELD_BYTES / (CONTROL_BYTES_MAX + RECORD_COST);
    for n in 0..fit {
        assert!(route.hold_control(SERVER, record.clone()), "record {n} of {fit}");
    }
    assert!(!route.hold_control(SERVER, record.clone()), "one too many");
    assert!(route.hold_control(SOURCE, record.clone()), "each node has its own bound");
    let mut sent = 0;
    let mut some = |_: &Frame<'_>| {
        sent += 1;
        sent <= 2
    };
    stepped(|step| route.resume(SERVER, step, &mut some));
    assert!(route.hold_control(SERVER, record.clone()) && route.hold_control(SERVER, record.clone()));
    assert!(!route.hold_control(SERVER, record), "room for as many as left");
    stepped(|step| route.node_down(SERVER, step));
    route.node_up(SERVER);
    assert!(!route.holds(SERVER));
}

/// What tells a caller to send its call again does not reach one that leaves.
#[test]
fn a_caller_that_leaves_does_not_call_the_next_instance() {
    for (effect, left) in [(Effect::No, Cancel::NotTaken), (Effect::Unknown, Cancel::Taken)] {
        let (mut route, call) = caller();
        let key = super::shore::key(0, 0);
        let seq = route.shores().lane(key).unwrap().state().seq();
        assert_eq!(route.shores().lane(key).unwrap().cancel(seq), Cancel::Recalled);
        let lost = Frame::Failed { call, error: Error::new(Code::STALE, effect) };
        stepped(|step| assert!(route.frame(SERVER, &lost, step)));
        assert_eq!(route.shores().lane(key).unwrap().cancel(seq), left);
    }
}

/// A call to a node that is declared dead ends when the daemon closes its lane, and says why.
#[test]
fn a_call_to_a_dead_node_is_held_for_the_daemons_word() {
    let (mut route, _) = caller();
    stepped(|step| route.node_down(SERVER, step));
    assert_eq!(route.outgoing_calls(), 1);
    let closed = Event::LaneClosed { link: 0, lane: 0, code: Code::STALE as i32 };
    let freed = stepped(|step| route.told(&closed, None, step));
    assert!(matches!(freed[..], [Cmd::Free { link: 0, lane: 0 }]));
    assert_eq!(route.outgoing_calls(), 0);
}

/// The simulator relies on it: equal seeds give equal runs.
#[test]
fn calls_of_a_dead_node_are_taken_back_in_the_order_of_their_callers() {
    let memory: Arc<dyn Memory> = Arc::new(HeapMemory::new(LINK_WORDS));
    let heap = || Arc::new(HeapMemory::new(BELL_BYTES / 8));
    let ringer = Ringer::new(heap(), heap()).unwrap();
    let mut route = Route::new(ME, 100);
    route.node_up(SOURCE);
    route.add_shore(0, Shore { memory, side: Side::A, ringer, bell_link: 0 });
    for (lane, slot) in (5..17).rev().enumerate() {
        let mut msg = Message::new(1);
        msg.set_kind(Kind::Request);
        msg.set_route(Endpoint::new(0, slot), Endpoint::new(0, 1));
        msg.set_deadline(dvs_abi::Deadline::from_ns(1_000));
        let call = Frame::Call { call: slot as u64, msg, grants: dvs_wire::Grants::default() };
        let asked = stepped(|step| assert!(route.frame(SOURCE, &call, step)));
        let [Cmd::Open { id, .. }] = asked[..] else { panic!("{asked:?}") };
        let to = Endpoint::new(0, 1).raw();
        let there = Answer::Lane { link: 0, lane: lane as u8, peer_pid: 7, remote: true, to, epoch: 0 };
        stepped(|step| route.opened(id, Ok(there), step));
    }
    let taken_back = frames(stepped(|step| route.node_down(SOURCE, step)));
    let calls: Vec<u64> = taken_back
        .iter()
        .map(|(_, f)| if let Frame::Withdrawn { call, .. } = f { *call } else { panic!("{f:?}") })
        .collect();
    assert_eq!(calls, (5..17).collect::<Vec<_>>());
}
