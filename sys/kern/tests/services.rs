//! A declared service on one node: what its callers and its instance are told, step by step.

mod hand;

use dvs_abi::{Code, Effect, Endpoint, NodeId};
use dvs_kern::control::{Answer, BindKind, Duty, Event as Told, Request, Rule};
use dvs_kern::node::event::{Event, PROXY, SessionId, Want};
use dvs_kern::node::record::Record;
use dvs_kern::node::service::{Action, Callers, Kind};
use hand::{USER, World, bind, dc, leased};

const SLOT: i32 = 4;
const HERE: NodeId = NodeId(0);
const FAR: NodeId = NodeId(1);
/// The session of the instance, and that of the client at the first user slot.
const SERVER: SessionId = 1;
const CLIENT: SessionId = 2;

/// A container on both nodes with a service, and a client.
fn world(kind: Kind) -> World {
    let mut w = World::new(0b11);
    w.feed(Event::Service { dc: 1, slot: SLOT, name: "kv".into(), kind: Some(kind) });
    w.feed(leased(1, &[USER]));
    w.bound(CLIENT, Endpoint::NONE.raw());
    w.wants.clear();
    w.told.clear();
    w
}

fn route(w: &mut World, epoch: u64, actions: &[Action]) {
    for action in actions {
        w.feed(Event::Route { dc: 1, slot: SLOT, epoch, action: *action });
    }
}

/// The client asks for a lane to the service.
fn open(w: &mut World, remaining: u64) -> u64 {
    let from = Endpoint::new(8, USER).raw();
    w.ask(CLIENT, Request::OpenLane { dc: 1, from, to: SLOT, remaining })
}

/// An instance that is offered and serves, callers are sent to it.
fn serving(kind: Kind) -> World {
    let mut w = world(kind);
    let id = w.ask(SERVER, bind(SLOT));
    let (ticket, want) = w.want();
    assert_eq!((want, w.answer(id)), (Want::Offer { dc: 1, slot: SLOT }, None));
    route(&mut w, 5, &[Action::Point(HERE), Action::Thaw, Action::Continue]);
    w.decided(ticket, Ok(()));
    assert!(matches!(w.answer(id), Some(Ok(Answer::Bound { endpoint: SLOT, .. }))));
    w.told.clear();
    w
}

fn closed(w: &mut World, session: SessionId) -> Vec<Code> {
    let code = |(s, t): (SessionId, Told)| match t {
        Told::LaneClosed { code, .. } if s == session => Code::from_i32(code),
        _ => None,
    };
    std::mem::take(&mut w.told).into_iter().filter_map(code).collect()
}

#[test]
fn callers_wait_while_nobody_serves_and_go_on_when_somebody_does() {
    let mut w = world(Kind::Passive);
    let (id, now) = (open(&mut w, u64::MAX), open(&mut w, 0));
    assert_eq!(w.answer(now), Some(Err((Code::AGAIN, Effect::No))));
    let bound = w.ask(3, Request::WaitBind { dc: 1, endpoint: SLOT, remaining: u64::MAX, board: 0 });
    route(&mut w, 3, &[Action::Freeze, Action::Point(FAR)]);
    assert_eq!(w.answer(id), None);
    assert!(w.answer(bound).is_some());
    route(&mut w, 3, &[Action::Thaw]);
    assert!(matches!(w.answer(id), Some(Ok(Answer::Lane { remote: true, .. }))));
    // Nothing that another node says changes that.
    let kind = BindKind::Own;
    let said = Record::Bound { dc: 1, endpoint: SLOT, kind, name: "x".into(), calls: 0, pid: 3 };
    w.feed(Event::Record { node: 1, record: said });
    w.feed(Event::Record { node: 1, record: Record::Unbound { dc: 1, endpoint: SLOT } });
    w.feed(Event::NodeDown { node: 1 });
    assert_eq!(closed(&mut w, CLIENT), [Code::STALE], "what is on that node goes again");
    let id = open(&mut w, u64::MAX);
    assert_eq!(w.answer(id), None, "it cannot be reached, which is no error");
    route(&mut w, 4, &[Action::Freeze]);
    w.feed(Event::NodeUp { node: 1 });
    assert_eq!(w.answer(id), None);
    route(&mut w, 4, &[Action::Thaw]);
    assert!(matches!(w.answer(id), Some(Ok(Answer::Lane { remote: true, .. }))));
}

#[test]
fn an_instance_is_bound_when_it_is_offered_and_gets_callers_when_it_serves() {
    let mut w = world(Kind::Passive);
    let id = w.ask(SERVER, bind(SLOT));
    let (ticket, _) = w.want();
    let waits = open(&mut w, u64::MAX);
    w.decided(ticket, Ok(()));
    assert!(matches!(w.answer(id), Some(Ok(Answer::Bound { .. }))));
    let frozen = Told::Freeze { dc: 1, endpoint: SLOT };
    assert_eq!(w.told.last(), Some(&(SERVER, frozen)), "it is stopped at first");
    assert!(w.records.iter().all(|(_, r)| !matches!(r, Record::Bound { endpoint: SLOT, .. })));
    route(&mut w, 5, &[Action::Point(HERE), Action::Thaw]);
    assert_eq!(w.answer(waits), None, "it may not serve yet");
    route(&mut w, 5, &[Action::Continue]);
    assert!(w.told.contains(&(SERVER, Told::Thaw { dc: 1, endpoint: SLOT })));
    assert!(matches!(w.answer(waits), Some(Ok(Answer::Lane { remote: false, .. }))));
    let second = w.ask(3, bind(SLOT));
    assert_eq!(w.answer(second), Some(Err((Code::SLOTUSED, Effect::No))));
}

#[test]
fn an_offer_that_is_refused_leaves_nothing() {
    let mut w = world(Kind::Single);
    let id = w.ask(SERVER, bind(SLOT));
    let (ticket, _) = w.want();
    w.decided(ticket, Err(Code::SLOTUSED));
    assert_eq!(w.answer(id), Some(Err((Code::SLOTUSED, Effect::No))));
    assert!(w.wants.is_empty(), "there is nothing to retire");
    // Whoever leaves before it is decided takes the offer back behind it.
    let id = w.ask(SERVER, bind(SLOT));
    w.want();
    w.feed(Event::Request { session: SERVER, id: 0, request: Request::Withdraw { id } });
    assert_eq!(w.want().1, Want::Retire { dc: 1, slot: SLOT });
}

#[test]
fn calls_of_a_lost_instance_go_again_or_are_unknown() {
    for (kind, code) in
        [(Kind::Passive, Code::STALE), (Kind::Active, Code::STALE), (Kind::Single, Code::MIGRATE)]
    {
        let mut w = serving(kind);
        open(&mut w, 0);
        w.feed(Event::Died { session: SERVER, code: None });
        assert_eq!(closed(&mut w, CLIENT), [code], "{kind:?}");
        let (ticket, want) = w.want();
        assert_eq!(want, Want::Retire { dc: 1, slot: SLOT });
        let waits = open(&mut w, u64::MAX);
        assert_eq!(w.answer(waits), None, "callers wait");
        // The next one is offered when the end of the first is known.
        let next = w.ask(3, bind(SLOT));
        assert!(w.wants.is_empty());
        route(&mut w, 6, &[Action::Stop, Action::Freeze]);
        w.decided(ticket, Ok(()));
        assert_eq!(w.want().1, Want::Offer { dc: 1, slot: SLOT });
        assert_eq!(w.answer(next), None);
    }
}

#[test]
fn steps_of_the_log_end_calls_on_other_nodes_as_they_say() {
    for (action, code) in [(Action::Resend(FAR), Code::STALE), (Action::Fail(FAR), Code::MIGRATE)] {
        let mut w = world(Kind::Passive);
        route(&mut w, 3, &[Action::Point(FAR), Action::Thaw]);
        open(&mut w, 0);
        route(&mut w, 4, &[Action::Freeze]);
        assert_eq!(closed(&mut w, CLIENT), [], "calls under way go on");
        route(&mut w, 4, &[action]);
        assert_eq!(closed(&mut w, CLIENT), [code]);
        // What is over changes nothing.
        route(&mut w, 3, &[Action::Point(HERE), Action::Thaw]);
        let (_, c) = w.node.containers().next().unwrap();
        assert_eq!(c.service(SLOT).map(|s| (s.callers, s.node)), Some((Callers::Wait, None)));
    }
}

#[test]
fn when_callers_go_elsewhere_an_active_instance_answers_what_it_has() {
    for (kind, retires) in [(Kind::Active, true), (Kind::Single, true), (Kind::Passive, false)] {
        let mut w = world(kind);
        route(&mut w, 3, &[Action::Point(FAR), Action::Thaw]);
        open(&mut w, 0);
        w.told.clear();
        route(&mut w, 4, &[Action::Freeze, Action::Point(HERE)]);
        let retired = w.told.iter().any(|(s, t)| *s == PROXY && matches!(t, Told::LaneRetired { .. }));
        assert_eq!(retired, retires, "{kind:?}");
        assert_eq!(closed(&mut w, CLIENT), if retires { vec![] } else { vec![Code::STALE] }, "{kind:?}");
        if kind == Kind::Active {
            route(&mut w, 5, &[Action::Resend(FAR)]);
            assert_eq!(closed(&mut w, CLIENT), [Code::STALE], "it is lost later");
        }
    }
}

#[test]
fn an_instance_that_is_stopped_answers_nobody_any_more() {
    let mut w = serving(Kind::Passive);
    open(&mut w, 0);
    route(&mut w, 6, &[Action::Stop]);
    assert!(w.told.contains(&(SERVER, Told::Freeze { dc: 1, endpoint: SLOT })));
    assert_eq!(closed(&mut w, CLIENT), [Code::STALE]);
    let waits = open(&mut w, u64::MAX);
    assert_eq!(w.answer(waits), None);
    route(&mut w, 6, &[Action::Continue]);
    assert!(matches!(w.answer(waits), Some(Ok(Answer::Lane { .. }))));
}

#[test]
fn a_primary_becomes_a_standby_and_a_single_instance_is_over_when_callers_go_elsewhere() {
    let mut w = serving(Kind::Passive);
    route(&mut w, 6, &[Action::Stop, Action::Freeze, Action::Point(FAR), Action::Thaw]);
    let (_, c) = w.node.containers().next().unwrap();
    assert_eq!(c.bound(SLOT).map(|d| (d.kind, d.node)), Some((BindKind::Backup, FAR)));
    route(
        &mut w,
        7,
        &[Action::Freeze, Action::Resend(FAR), Action::Point(HERE), Action::Thaw, Action::Continue],
    );
    let id = open(&mut w, 0);
    assert!(matches!(w.answer(id), Some(Ok(Answer::Lane { remote: false, .. }))));

    let mut w = serving(Kind::Single);
    route(&mut w, 6, &[Action::Stop, Action::Freeze, Action::Point(FAR)]);
    assert!(w.told.contains(&(SERVER, Told::Moved { dc: 1, endpoint: SLOT })));
    assert!(w.wants.is_empty(), "the log knows");
}

#[test]
fn a_service_that_is_withdrawn_ends_for_its_callers_and_its_instance() {
    for last in [true, false] {
        let mut w = serving(Kind::Passive);
        open(&mut w, 0);
        route(&mut w, 6, &[Action::Stop, Action::Freeze]);
        let waits = open(&mut w, u64::MAX);
        let withdrawn = Event::Service { dc: 1, slot: SLOT, name: String::new(), kind: None };
        if last {
            route(&mut w, 7, &[Action::End(Code::DSTDIED)]);
        }
        w.feed(withdrawn.clone());
        assert_eq!(w.answer(waits), Some(Err((Code::DSTDIED, Effect::No))));
        assert_eq!(w.signals, [101]);
        assert_eq!(w.want().1, Want::Retire { dc: 1, slot: SLOT });
        w.feed(withdrawn);
        let id = open(&mut w, u64::MAX);
        assert_eq!(w.answer(id), Some(Err((Code::DSTDIED, Effect::No))));
        // The slot is an ordinary one again.
        w.bound(3, SLOT);
    }
}

#[test]
fn a_container_that_leaves_the_node_or_ends_takes_its_instances_along() {
    let mut w = serving(Kind::Passive);
    w.feed(Event::Container { dc: 1, value: Some(dc(0b10, 5)) });
    route(&mut w, 8, &[Action::End(Code::NODCNODE)]);
    assert!(w.signals.contains(&101));
    assert!(w.wants.iter().any(|(_, w)| *w == Want::Retire { dc: 1, slot: SLOT }));
    let mut w = serving(Kind::Passive);
    w.feed(Event::Container { dc: 1, value: None });
    assert!(w.signals.contains(&101) && w.wants.is_empty());
    assert!(w.told.contains(&(SERVER, Told::DcEnded { dc: 1 })));
}

#[test]
fn what_was_bound_before_the_service_was_declared_is_its_instance() {
    let mut w = World::new(0b11);
    w.bound(SERVER, SLOT);
    w.wants.clear();
    w.feed(Event::Service { dc: 1, slot: SLOT, name: "kv".into(), kind: Some(Kind::Single) });
    assert_eq!(w.want().1, Want::Offer { dc: 1, slot: SLOT });
    route(&mut w, 5, &[Action::Freeze, Action::Point(HERE), Action::Thaw, Action::Continue]);
    let id = w.ask(SERVER, Request::MigrateStart { dc: 1, endpoint: SLOT });
    w.all_hear();
    assert_eq!(w.answer(id), Some(Err((Code::PROCSTS, Effect::No))), "the log moves it");
}

/// Found by the simulator: its clients waited for ever.
#[test]
fn what_was_bound_before_and_is_not_the_instance_hears_so_and_its_callers_go_elsewhere() {
    let mut w = World::new(0b11);
    w.feed(leased(1, &[USER]));
    w.bound(SERVER, SLOT);
    w.bound(CLIENT, Endpoint::NONE.raw());
    let id = open(&mut w, u64::MAX);
    assert!(matches!(w.answer(id), Some(Ok(Answer::Lane { remote: false, .. }))));
    w.wants.clear();
    w.feed(Event::Service { dc: 1, slot: SLOT, name: "kv".into(), kind: Some(Kind::Single) });
    let (ticket, _) = w.want();
    route(&mut w, 5, &[Action::Freeze, Action::Point(FAR), Action::Thaw]);
    w.told.clear();
    w.decided(ticket, Err(Code::SLOTUSED));
    assert!(w.told.contains(&(SERVER, Told::Moved { dc: 1, endpoint: SLOT })));
    assert_eq!(closed(&mut w, CLIENT), [Code::MIGRATE], "what was not taken up goes again");
    let id = open(&mut w, u64::MAX);
    assert!(matches!(w.answer(id), Some(Ok(Answer::Lane { remote: true, .. }))));
}

/// Found by chance: the next instance of a node whose first was lost was taken for the first when callers
/// went elsewhere, and ended although it was offered.
#[test]
fn the_next_instance_is_not_the_one_that_was_lost() {
    let mut w = serving(Kind::Single);
    w.feed(Event::Died { session: SERVER, code: None });
    let (retires, _) = w.want();
    let id = w.ask(3, bind(SLOT));
    route(&mut w, 6, &[Action::Stop, Action::Freeze, Action::Fail(HERE)]);
    w.decided(retires, Ok(()));
    let (offers, _) = w.want();
    // Another node was quicker, and is gone again.
    route(&mut w, 7, &[Action::Point(FAR), Action::Thaw]);
    route(
        &mut w,
        8,
        &[Action::Freeze, Action::Fail(FAR), Action::Point(HERE), Action::Thaw, Action::Continue],
    );
    w.decided(offers, Ok(()));
    assert!(matches!(w.answer(id), Some(Ok(Answer::Bound { .. }))));
    let waits = open(&mut w, 0);
    assert!(matches!(w.answer(waits), Some(Ok(Answer::Lane { remote: false, .. }))));
}

/// Found by the simulator.
#[test]
fn an_offer_that_is_not_decided_yet_outlives_that_another_one_was_first() {
    let mut w = world(Kind::Single);
    let id = w.ask(SERVER, bind(SLOT));
    let (ticket, _) = w.want();
    route(&mut w, 6, &[Action::Freeze, Action::Point(FAR), Action::Thaw]);
    assert!(!w.told.contains(&(SERVER, Told::Moved { dc: 1, endpoint: SLOT })), "the log may still take it");
    route(&mut w, 7, &[Action::Freeze, Action::Fail(FAR)]);
    route(&mut w, 8, &[Action::Point(HERE), Action::Thaw, Action::Continue]);
    w.decided(ticket, Ok(()));
    assert!(matches!(w.answer(id), Some(Ok(Answer::Bound { endpoint: SLOT, .. }))));
    let id = open(&mut w, u64::MAX);
    assert!(matches!(w.answer(id), Some(Ok(Answer::Lane { remote: false, .. }))));
}

/// Found by the simulator.
#[test]
fn a_caller_of_another_node_that_has_ended_while_it_waited_is_not_registered_later() {
    let from = Endpoint::new(3, USER + 1);
    let call = |id| {
        let (from, remaining) = (from.raw(), u64::MAX);
        Event::ProxyOpen { id, node: 1, dc: 1, from, to: SLOT, remaining }
    };
    for down in [true, false] {
        let mut w = world(Kind::Passive);
        w.feed(Event::NodeDown { node: 1 });
        w.feed(call(901));
        assert_eq!(w.answer(901), Some(Err((Code::MIGRATE, Effect::No))), "it does not count yet");
        w.feed(Event::NodeUp { node: 1 });
        w.feed(call(902));
        assert_eq!(w.answer(902), None, "nobody serves");
        if down {
            w.feed(Event::NodeDown { node: 1 });
            w.feed(Event::NodeUp { node: 1 });
        } else {
            w.feed(Event::Record { node: 1, record: Record::Unbound { dc: 1, endpoint: from.raw() } });
        }
        let code = if down { Code::NOTCONN } else { Code::SRCDIED };
        assert_eq!(w.answer(902), Some(Err((code, Effect::No))));
        w.ask(SERVER, bind(SLOT));
        let (ticket, _) = w.want();
        route(&mut w, 5, &[Action::Point(HERE), Action::Thaw, Action::Continue]);
        w.decided(ticket, Ok(()));
        let (_, c) = w.node.containers().next().unwrap();
        assert!(c.bound(from.slot()).is_none());
    }
}

/// Found by the simulator.
#[test]
fn a_bind_that_waits_for_the_last_instance_and_for_its_offer_waits_no_longer_in_all() {
    let second = 1_000_000_000;
    let mut w = serving(Kind::Single);
    w.feed(Event::Died { session: SERVER, code: None });
    let (retire, want) = w.want();
    assert_eq!(want, Want::Retire { dc: 1, slot: SLOT });
    let id = w.ask(3, bind(SLOT));
    w.tick(3 * second);
    w.decided(retire, Ok(()));
    assert_eq!(w.want().1, Want::Offer { dc: 1, slot: SLOT });
    assert_eq!(w.answer(id), None);
    w.tick(3 * second);
    assert_eq!(w.answer(id), Some(Err((Code::TIMEDOUT, Effect::No))));
}

#[test]
fn a_program_declares_a_service_unless_somebody_has() {
    let mut w = World::new(0b11);
    w.wants.clear();
    let declare =
        |slot, kind| Request::Declare { dc: 1, slot, name: "kv".into(), kind, rule: Rule::Reads, nodes: 0 };
    let id = w.ask(SERVER, declare(SLOT, Kind::Active));
    let (ticket, want) = w.want();
    assert!(matches!(want, Want::Declare { dc: 1, slot: SLOT, rule: Rule::Reads, nodes: 0, .. }));
    assert_eq!(w.answer(id), None);
    w.feed(Event::Service { dc: 1, slot: SLOT, name: "kv".into(), kind: Some(Kind::Active) });
    w.decided(ticket, Ok(()));
    assert!(matches!(w.answer(id), Some(Ok(Answer::Done))));
    // The second one finds it, and nothing is decided; as another kind it cannot be had.
    let id = w.ask(3, declare(SLOT, Kind::Active));
    assert!(matches!(w.answer(id), Some(Ok(Answer::Done))));
    let id = w.ask(3, declare(SLOT, Kind::Single));
    assert_eq!(w.answer(id), Some(Err((Code::SLOTUSED, Effect::No))));
    let id = w.ask(3, declare(USER, Kind::Single));
    assert_eq!(w.answer(id), Some(Err((Code::BADRANGE, Effect::No))));
    assert!(w.wants.is_empty());
}

#[test]
fn an_instance_is_told_what_it_may_answer_and_reads_are_taken_where_nothing_may_be_changed() {
    let mut w = serving(Kind::Active);
    let told = |w: &mut World| {
        let duty = |(s, t): (SessionId, Told)| match t {
            Told::Instance { may, .. } if s == SERVER => Some(may),
            _ => None,
        };
        std::mem::take(&mut w.told).into_iter().filter_map(duty).collect::<Vec<_>>()
    };
    let id = open(&mut w, u64::MAX);
    assert!(matches!(w.answer(id), Some(Ok(Answer::Lane { .. }))));
    w.told.clear();
    route(&mut w, 5, &[Action::ReadOnly]);
    assert!(w.told.contains(&(SERVER, Told::Thaw { dc: 1, endpoint: SLOT })), "it takes requests");
    assert!(!w.told.iter().any(|(_, t)| matches!(t, Told::LaneClosed { .. })), "what it has, it may read");
    assert_eq!(told(&mut w), [Duty::Reads]);
    route(&mut w, 5, &[Action::Stop]);
    assert_eq!(told(&mut w), [Duty::Stopped]);
    route(&mut w, 5, &[Action::Continue]);
    assert_eq!(told(&mut w), [Duty::Full]);
}

#[test]
fn what_an_instance_that_is_over_asks_of_others_is_not_done() {
    const OTHER: i32 = 6;
    for kind in [Kind::Single, Kind::Passive, Kind::Active] {
        let mut w = world(kind);
        w.bound(SERVER, OTHER);
        let call = |w: &mut World, id| {
            w.feed(Event::ProxyOpen { id, node: 1, dc: 1, from: SLOT, to: OTHER, remaining: u64::MAX });
            w.answer(id).map(|a| a.map(|_| ()))
        };
        let refused = match kind {
            Kind::Active => Some(Ok(())),
            _ => Some(Err((Code::MIGRATE, Effect::No))),
        };
        assert_eq!(call(&mut w, 901), refused, "nobody serves, as far as this node knows");
        route(&mut w, 5, &[Action::Point(FAR), Action::Thaw]);
        assert_eq!(call(&mut w, 902), Some(Ok(())));
        w.told.clear();
        route(&mut w, 6, &[Action::Freeze, Action::Resend(FAR)]);
        let over = if kind == Kind::Active { vec![] } else { vec![Code::MIGRATE] };
        assert_eq!(closed(&mut w, SERVER), over);
        assert_eq!(call(&mut w, 903), refused);
        route(&mut w, 7, &[Action::Point(FAR), Action::Thaw]);
        assert_eq!(call(&mut w, 904), Some(Ok(())), "it is another one");
    }
}
