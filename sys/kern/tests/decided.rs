//! What a node does while something is not decided, and when it is: by hand, one step at a time.

mod hand;

use dvs_abi::limits::{BIND_WAIT_NS, DECIDE_WAIT_NS, TICKETS_MAX};
use dvs_abi::{Code, Effect, Endpoint, NodeId};
use dvs_kern::control::{Answer, BindKind, Event as Told, Request};
use dvs_kern::node::event::{Event, SessionId, Want};
use dvs_kern::node::record::Record;
use dvs_kern::slots::{Ask, SlotChange, SlotRequest};

use hand::{ME, USER, World, bind, dc, entry, init, leased};

#[test]
fn a_container_is_answered_when_it_is_decided_and_slots_are_asked_for_at_once() {
    let mut w = World::new(0);
    let id = w.ask(1, init(""));
    let (ticket, Want::Create { dc: 1, config }) = w.want() else { panic!() };
    assert_eq!((config.name.as_str(), config.nodes, config.born), ("dc1", 0b11, 0));
    assert_eq!(w.answer(id), None);
    w.feed(Event::Container { dc: 1, value: Some(dc(0b11, 9)) });
    assert!(matches!(
        w.want(),
        (_, Want::Slots { dc: 1, request: SlotRequest::Ask(Ask { urgent: false, .. }) })
    ));
    assert_eq!(w.records.pop(), Some((1, Record::Resync { dc: 1 })), "what was said of it before");
    w.decided(ticket, Ok(()));
    assert_eq!(w.answer(id), Some(Ok(Answer::Done)));
    // Told once more, nothing happens.
    w.bound(2, 3);
    w.feed(Event::Container { dc: 1, value: Some(dc(0b11, 9)) });
    assert!(w.wants.is_empty() && w.told.is_empty());
}

#[test]
fn what_the_log_refuses_is_answered_in_the_words_of_the_call() {
    let mut w = World::new(0);
    let id = w.ask(1, init("x"));
    let (ticket, _) = w.want();
    w.decided(ticket, Err(Code::DCRUN));
    assert_eq!(w.answer(id), Some(Err((Code::RSCBUSY, Effect::No))));
    w.feed(Event::Container { dc: 1, value: Some(dc(0b11, 9)) });
    w.wants.clear();
    let id = w.ask(1, Request::DcEnd { dc: 1 });
    let (ticket, _) = w.want();
    w.decided(ticket, Err(Code::BADDCID));
    assert_eq!(w.answer(id), Some(Err((Code::DCNOTRUN, Effect::No))));
}

#[test]
fn without_a_majority_its_asker_learns_that_it_is_unknown() {
    let mut w = World::new(0);
    let id = w.ask(1, init("x"));
    let (ticket, _) = w.want();
    w.tick(DECIDE_WAIT_NS);
    assert_eq!(w.answer(id), Some(Err((Code::TIMEDOUT, Effect::Unknown))));
    w.decided(ticket, Ok(()));
    assert_eq!(w.answer(id), None, "no second answer");
    let id = w.ask(1, init("x"));
    let (ticket, _) = w.want();
    w.feed(Event::Died { session: 1, code: None });
    w.decided(ticket, Ok(()));
    assert_eq!(w.answer(id), None);
}

#[test]
fn not_more_is_asked_for_than_there_is_room() {
    let mut w = World::new(0);
    for _ in 0..TICKETS_MAX {
        w.ask(1, init("x"));
    }
    let id = w.ask(2, init("x"));
    assert_eq!(w.answer(id), Some(Err((Code::NOSPC, Effect::No))));
    let (ticket, _) = w.wants[0].clone();
    w.decided(ticket, Err(Code::RSCBUSY));
    let id = w.ask(2, init("x"));
    assert_eq!(w.answer(id), None);
}

#[test]
fn whoever_ends_a_container_is_not_asked_to_end_and_is_answered_when_the_others_know() {
    let mut w = World::new(0b11);
    for s in 1..4 {
        w.bound(s, s as i32);
    }
    w.wants.clear();
    let id = w.ask(1, Request::DcEnd { dc: 1 });
    let (ticket, want) = w.want();
    assert_eq!(want, Want::End { dc: 1 });
    assert!(w.told.is_empty() && w.signals.is_empty(), "nothing is done before it is decided");
    w.feed(Event::Container { dc: 1, value: None });
    assert_eq!(w.signals, [102, 103]);
    assert!(w.told.contains(&(1, Told::DcEnded { dc: 1 })));
    w.decided(ticket, Ok(()));
    assert_eq!(w.answer(id), None);
    w.all_hear();
    assert_eq!(w.answer(id), Some(Ok(Answer::Done)));
}

#[test]
fn a_bind_waits_for_a_slot_and_not_for_ever() {
    let mut w = World::new(0b11);
    w.wants.clear();
    let (early, late) = (w.ask(1, bind(Endpoint::NONE.raw())), w.ask(2, bind(Endpoint::NONE.raw())));
    let (_, Want::Slots { request: SlotRequest::Ask(ask), .. }) = w.want() else { panic!() };
    assert!(ask.urgent);
    w.feed(leased(ask.number, &[40]));
    let first = Endpoint::new(8, 40).raw();
    assert!(matches!(w.answer(early), Some(Ok(Answer::Bound { endpoint, .. })) if endpoint == first));
    assert_eq!(w.answer(late), None);
    w.tick(BIND_WAIT_NS);
    assert_eq!(w.answer(late), Some(Err((Code::TIMEDOUT, Effect::No))));
    // What comes too late is there for the next.
    w.feed(leased(ask.number + 1, &[41]));
    assert_eq!(w.bound(2, Endpoint::NONE.raw()), Endpoint::new(8, 41));
    // A slot that was used has its next generation.
    w.ask(2, Request::Unbind { dc: 1, endpoint: Endpoint::new(8, 41).raw(), remaining: 0 });
    assert_eq!(w.bound(2, Endpoint::NONE.raw()), Endpoint::new(9, 41));
}

#[test]
fn an_ask_that_is_refused_is_made_again() {
    let mut w = World::new(0b11);
    let (ticket, _) = w.want();
    w.decided(ticket, Err(Code::NODCNODE));
    assert!(w.wants.is_empty());
    let at = w.node.next_deadline().expect("it asks again after a while");
    w.tick(at - w.now);
    assert!(matches!(w.want(), (_, Want::Slots { request: SlotRequest::Ask(_), .. })));
    assert_eq!(w.node.next_deadline(), None, "nothing to do until it is answered");
}

#[test]
fn a_slot_by_its_number_is_claimed_and_another_nodes_is_used() {
    let mut w = World::new(0b11);
    w.wants.clear();
    let wanted = Endpoint::new(3, 60);
    let (id, other) = (w.ask(1, bind(wanted.raw())), w.ask(2, bind(61)));
    assert_eq!((w.answer(id), w.answer(other)), (None, None));
    let claim = |slot| Want::Slots { dc: 1, request: SlotRequest::Claim { slot } };
    let [(a, wants_a), (b, wants_b)] = &w.wants[..] else { panic!("{:?}", w.wants) };
    assert_eq!((wants_a, wants_b), (&claim(60), &claim(61)));
    let (a, b) = (*a, *b);
    w.wants.clear();
    w.feed(leased(0, &[60]));
    w.decided(a, Ok(()));
    // Another node has it, and is asked for it.
    w.decided(b, Ok(()));
    assert_eq!(w.answer(other), None);
    w.feed(Event::Slots { dc: 1, change: SlotChange::Kept { node: NodeId(1), slot: 61 } });
    assert_eq!(w.answer(other), None, "this was about another node");
    w.feed(Event::Slots { dc: 1, change: SlotChange::Kept { node: ME, slot: 61 } });
    assert!(matches!(w.answer(id), Some(Ok(Answer::Bound { endpoint, .. })) if endpoint == wanted.raw()));
    assert_eq!(w.answer(other), Some(Err((Code::SLOTUSED, Effect::No))));
    // It is this node's now, by number or whichever.
    w.ask(1, Request::Unbind { dc: 1, endpoint: wanted.raw(), remaining: 0 });
    assert_eq!(w.bound(1, 60), Endpoint::new(0, 60));
    assert!(w.wants.is_empty());
}

#[test]
fn a_node_that_was_taken_for_lost_ends_all_and_its_waiting_binds_go_on() {
    let mut w = World::new(0b11);
    w.feed(leased(1, &[30]));
    let (server, user) = (w.bound(1, 3), w.bound(2, Endpoint::NONE.raw()));
    w.wants.clear();
    let end = w.ask(3, Request::DcEnd { dc: 1 });
    let claim = w.ask(3, bind(70));
    let waits = w.ask(3, bind(Endpoint::NONE.raw()));
    let old = w.wants.last().unwrap().0;
    w.told.clear();
    w.wants.clear();
    w.feed(Event::Reborn { first_generation: 50 });
    assert_eq!(w.answer(end), Some(Err((Code::STALE, Effect::Unknown))));
    assert_eq!(w.answer(claim), Some(Err((Code::STALE, Effect::No))));
    for (session, endpoint) in [(1, server.raw()), (2, user.raw())] {
        assert!(w.told.contains(&(session, Told::Withdrawn { dc: 1, endpoint })), "{:?}", w.told);
    }
    assert_eq!(w.signals, [0_u32; 0], "they go on");
    assert_eq!(w.node.containers().map(|(_, c)| c.descriptors().count()).sum::<usize>(), 0);
    // What was answered to the former life comes late.
    w.decided(old, Ok(()));
    let (_, Want::Slots { request: SlotRequest::Ask(ask), .. }) = w.want() else { panic!() };
    assert!(ask.urgent && w.answer(waits).is_none());
    w.feed(leased(ask.number, &[31]));
    let endpoint = Endpoint::new(51, 31).raw();
    assert!(matches!(w.answer(waits), Some(Ok(Answer::Bound { endpoint: e, .. })) if e == endpoint));
}

#[test]
fn a_node_that_leaves_a_container_ends_its_programs_and_gives_every_slot_when_it_is_free() {
    let mut w = World::new(0b11);
    w.feed(leased(1, &[30, 31, 32]));
    let (moves, _) = (w.bound(1, Endpoint::NONE.raw()), w.bound(2, Endpoint::NONE.raw()));
    for request in [
        Request::MigrateStart { dc: 1, endpoint: moves.raw() },
        Request::MigrateCommit { dc: 1, endpoint: moves.raw(), node: 1, pid: 0 },
    ] {
        w.ask(3, request);
        w.all_hear();
    }
    w.wants.clear();
    w.feed(Event::Container { dc: 1, value: Some(dc(0b10, 5)) });
    assert_eq!(w.signals, [102]);
    let give = |slots: &[i32]| SlotRequest::Give { round: 0, slots: slots.into() };
    let (_, Want::Slots { request, .. }) = w.want() else { panic!() };
    assert_eq!(request, give(&[32, 31]), "not the one whose program moved away");
    let id = w.ask(3, bind(Endpoint::NONE.raw()));
    assert_eq!(w.answer(id), Some(Err((Code::NODCNODE, Effect::No))));
    w.feed(Event::Record { node: 1, record: Record::Unbound { dc: 1, endpoint: moves.raw() } });
    let (_, Want::Slots { request, .. }) = w.want() else { panic!() };
    assert_eq!(request, give(&[moves.slot()]));
    assert_eq!(w.node.next_deadline(), None);
}

#[test]
fn a_node_that_is_forgotten_takes_all_with_it_and_another_may_have_its_number() {
    let mut w = World::new(0b11);
    let far = Endpoint::new(0, 4);
    let bound = |endpoint: Endpoint| Record::Bound {
        dc: 1,
        endpoint: endpoint.raw(),
        kind: BindKind::Own,
        name: "f".into(),
        calls: 0,
        pid: 9,
    };
    w.feed(Event::Record { node: 1, record: bound(far) });
    w.bound(1, 3);
    w.ask(1, Request::OpenLane { dc: 1, from: 3, to: far.raw(), remaining: 0 });
    w.told.clear();
    w.feed(Event::Forgotten { node: 1 });
    let lost = Code::NOTCONN as i32;
    let closed = |t: &(SessionId, Told)| matches!(t, (1, Told::LaneClosed { code, .. }) if *code == lost);
    assert!(w.told.iter().any(closed), "{:?}", w.told);
    let id = w.ask(1, Request::NodeInfo { node: 1 });
    assert!(matches!(w.answer(id), Some(Ok(Answer::Node(info))) if info.flags == 0));
    let id = w.ask(2, Request::AddNode { dc: 1, node: 1 });
    assert_eq!(w.answer(id), Some(Err((Code::NODEFREE, Effect::No))));
    w.feed(Event::Record { node: 1, record: bound(far) });
    w.feed(Event::NodeUp { node: 1 });
    assert!(w.node.peer(1).is_none(), "a stranger says nothing");
    w.feed(Event::Admitted { entry: entry(1) });
    w.feed(Event::NodeUp { node: 1 });
    w.feed(Event::Record { node: 1, record: bound(far) });
    let (_, c) = w.node.containers().next().unwrap();
    assert_eq!(c.bound(4).map(|d| d.node), Some(NodeId(1)));
    assert!(!c.config.runs_on(1), "it is not one of the container's by that");
    assert!(c.is_system(4) && !c.is_system(USER));
}

/// Found by the simulator: the call was under way for long, its caller's slot has been another node's since.
#[test]
fn a_late_call_of_an_older_binding_makes_nobody_forget_who_has_the_slot() {
    let mut w = World::new(0b111);
    w.feed(Event::Admitted { entry: entry(2) });
    w.feed(Event::NodeUp { node: 2 });
    let (old, new) = (Endpoint::new(3, USER + 1).raw(), Endpoint::new(4, USER + 1).raw());
    let (kind, name) = (BindKind::Own, "new".to_owned());
    w.feed(Event::Record {
        node: 2,
        record: Record::Bound { dc: 1, endpoint: new, kind, name, calls: 0, pid: 9 },
    });
    w.bound(1, 3);
    w.feed(Event::ProxyOpen { id: 900, node: 1, dc: 1, from: old, to: 3, remaining: u64::MAX });
    assert!(matches!(w.answer(900), Some(Ok(Answer::Lane { .. }))));
    w.records.clear();
    w.feed(Event::Record { node: 1, record: Record::Unbound { dc: 1, endpoint: old } });
    assert!(w.records.contains(&(2, Record::Resync { dc: 1 })), "{:?}", w.records);
}
