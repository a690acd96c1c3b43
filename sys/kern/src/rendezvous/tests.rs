//! Rules of the rendezvous, one test a rule, and random walks that keep its invariants.

use super::{Cmd, Filter, Ix, Outcome, Phase, Received, Rendezvous, Shape, Slot, Step, Target};
use dvs_abi::{Code, DcId, Effect, Endpoint, Kind, Message, Privileges};

const SHAPE: Shape = Shape { tasks: 35, procs: 221, sysprocs: 64 };

fn table(n: i32) -> Rendezvous {
    let mut r = Rendezvous::new();
    for slot in 0..n {
        let p = Privileges::at_bind(slot, 35, 64);
        let ix = r.bind(Slot::new(DcId(0), Endpoint::new(0, slot), SHAPE, p)).unwrap();
        assert_eq!(ix, slot as Ix);
    }
    r
}

fn message(r: &Rendezvous, from: Ix, to: Ix, kind: Kind, word: u64) -> Message {
    let mut m = Message::new(5);
    m.set_route(r.slot(from).endpoint, r.slot(to).endpoint);
    m.set_kind(kind);
    m.set_word(0, word);
    m
}

fn send(r: &mut Rendezvous, from: Ix, to: Ix, kind: Kind, out: &mut Vec<Cmd>) -> Step<()> {
    let m = message(r, from, to, kind, from as u64);
    r.send(from, to, &m, &[], true, out).unwrap()
}

#[test]
fn a_waiting_receiver_gets_the_message_and_the_sender_goes_on() {
    let (mut r, mut out, mut m) = (table(2), vec![], Message::default());
    assert_eq!(r.receive(1, Filter::Any, &mut m, true, &mut out), Ok(Step::Wait));
    assert_eq!(send(&mut r, 0, 1, Kind::Send, &mut out), Step::Done(()));
    assert_eq!(out, [Cmd::Wake(1)]);
    assert_eq!(r.finish(1, &mut m), Some(Outcome::Message));
    assert_eq!((m.source(), m.word(0)), (Endpoint::new(0, 0), 0));
    assert_eq!(r.finish(1, &mut m), None, "an outcome is fetched once");
}

#[test]
fn senders_are_served_in_the_order_they_came() {
    let (mut r, mut out, mut m) = (table(5), vec![], Message::default());
    for s in [3, 1, 4, 2] {
        assert_eq!(send(&mut r, s, 0, Kind::Send, &mut out), Step::Wait);
    }
    for s in [3, 1, 4, 2] {
        assert_eq!(r.receive(0, Filter::Any, &mut m, true, &mut out), Ok(Step::Done(Received::Message)));
        assert_eq!(m.source(), Endpoint::new(0, s));
        assert_eq!(r.finish(s as Ix, &mut m), Some(Outcome::Done));
    }
}

#[test]
fn a_plain_send_answers_a_request() {
    let (mut r, mut out, mut m) = (table(2), vec![], Message::default());
    assert_eq!(send(&mut r, 0, 1, Kind::Request, &mut out), Step::Wait);
    r.receive(1, Filter::Any, &mut m, true, &mut out).unwrap();
    assert_eq!(r.slot(0).phase(), Phase::Awaiting(Endpoint::new(0, 1)));
    assert_eq!(r.slot(1).unanswered(), 1);
    assert_eq!(send(&mut r, 1, 0, Kind::Send, &mut out), Step::Done(()));
    assert_eq!(r.finish(0, &mut m), Some(Outcome::Message));
    assert_eq!(r.slot(1).unanswered(), 0);
    assert_eq!(r.reply(1, 0, &m, &mut out), Err(Code::PROCSTS), "nobody waits any more");
}

#[test]
fn death_tells_the_queued_and_the_served_apart() {
    let (mut r, mut out, mut m) = (table(4), vec![], Message::default());
    send(&mut r, 1, 0, Kind::Request, &mut out);
    send(&mut r, 2, 0, Kind::Request, &mut out);
    r.receive(3, Filter::From(Endpoint::new(0, 0)), &mut m, true, &mut out).unwrap();
    r.receive(0, Filter::Any, &mut m, true, &mut out).unwrap();
    r.unbind(0, false, &mut out);
    let failed = |o| match o {
        Some(Outcome::Failed(e)) => (e.code, e.effect),
        other => panic!("{other:?}"),
    };
    assert_eq!(failed(r.finish(1, &mut m)), (Code::SRCDIED, Effect::Unknown));
    assert_eq!(failed(r.finish(2, &mut m)), (Code::DSTDIED, Effect::No));
    assert_eq!(failed(r.finish(3, &mut m)), (Code::SRCDIED, Effect::No));
    assert_eq!(r.target(1, Endpoint::new(0, 0)), Ok(Target::Elsewhere));
}

#[test]
fn a_circle_fails_the_call_that_would_close_it() {
    let (mut r, mut out) = (table(3), vec![]);
    send(&mut r, 0, 1, Kind::Request, &mut out);
    send(&mut r, 1, 2, Kind::Send, &mut out);
    let m = message(&r, 2, 0, Kind::Request, 0);
    let e = r.send(2, 0, &m, &[], true, &mut out).unwrap_err();
    assert_eq!(e.code, Code::LOCKED);
    let want: Vec<_> = [2, 0, 1].map(|s| Endpoint::new(0, s)).to_vec();
    assert_eq!(e.cycle.as_deref(), Some(&want[..]));
    assert_eq!(r.slot(2).phase(), Phase::Idle);
    assert_eq!(r.queue(0).count(), 0, "nothing of the refused call stays behind");
}

#[test]
fn notifications_coalesce_come_first_and_by_slot() {
    let (mut r, mut out, mut m) = (table(4), vec![], Message::default());
    send(&mut r, 1, 0, Kind::Send, &mut out);
    for (source, value) in [(3, 1), (2, 2), (3, 4)] {
        r.notice(0, Endpoint::new(0, source), value, 9, &mut out).unwrap();
    }
    let mut seen = vec![];
    for _ in 0..3 {
        r.receive(0, Filter::Any, &mut m, true, &mut out).unwrap();
        seen.push((m.source().slot(), m.mtype(), m.value()));
    }
    assert_eq!(seen, [(2, 0x1002, 2), (3, 0x1003, 5), (1, 5, 0)]);
}

#[test]
fn a_specific_receive_leaves_other_notifications_pending() {
    let (mut r, mut out, mut m) = (table(3), vec![], Message::default());
    r.notice(0, Endpoint::new(0, 1), 1, 0, &mut out).unwrap();
    let step = r.receive(0, Filter::From(Endpoint::new(0, 2)), &mut m, true, &mut out);
    assert_eq!(step, Ok(Step::Wait));
    assert_eq!(r.pending(0).count(), 1);
}

#[test]
fn relay_makes_the_third_answer_the_first() {
    let (mut r, mut out, mut m) = (table(3), vec![], Message::default());
    send(&mut r, 0, 1, Kind::Request, &mut out);
    r.receive(1, Filter::Any, &mut m, true, &mut out).unwrap();
    r.relay(1, 0, 2, &m, &mut out).unwrap();
    r.receive(2, Filter::Any, &mut m, true, &mut out).unwrap();
    assert_eq!(m.source(), Endpoint::new(0, 0));
    assert_eq!(r.slot(1).unanswered(), 0);
    r.reply(2, 0, &m, &mut out).unwrap();
    assert_eq!(r.finish(0, &mut m), Some(Outcome::Message));
}

#[test]
fn giving_up_leaves_nothing_behind() {
    let (mut r, mut out, mut m) = (table(2), vec![], Message::default());
    send(&mut r, 0, 1, Kind::Request, &mut out);
    let e = r.give_up(0, Code::TIMEDOUT, None).unwrap();
    assert_eq!((e.code, e.effect, r.queue(1).count()), (Code::TIMEDOUT, Effect::No, 0));
    send(&mut r, 0, 1, Kind::Request, &mut out);
    r.receive(1, Filter::Any, &mut m, true, &mut out).unwrap();
    let e = r.give_up(0, Code::TIMEDOUT, None).unwrap();
    assert_eq!((e.effect, r.slot(1).unanswered()), (Effect::Unknown, 0));
    assert_eq!(r.reply(1, 0, &m, &mut out), Err(Code::PROCSTS));
}

#[test]
fn a_frozen_endpoint_takes_nothing_until_it_thaws() {
    let (mut r, mut out, mut m) = (table(2), vec![], Message::default());
    r.receive(1, Filter::Any, &mut m, true, &mut out).unwrap();
    r.slot_mut(1).frozen = true;
    assert_eq!(send(&mut r, 0, 1, Kind::Send, &mut out), Step::Wait);
    assert!(out.is_empty());
    r.slot_mut(1).frozen = false;
    r.look_again(1, &mut out);
    assert_eq!(r.finish(1, &mut m), Some(Outcome::Message));
    assert_eq!(r.finish(0, &mut m), Some(Outcome::Done));
}

#[test]
fn a_move_makes_the_queued_repeat_their_calls() {
    let (mut r, mut out, mut m) = (table(2), vec![], Message::default());
    send(&mut r, 0, 1, Kind::Request, &mut out);
    r.unbind(1, true, &mut out);
    assert_eq!(r.finish(0, &mut m), Some(Outcome::Repeat));
}

#[test]
fn lanes_stand_in_the_same_queue_as_neighbours() {
    let (mut r, mut out, mut m) = (table(2), vec![], Message::default());
    let far = Endpoint::new(0, 9);
    r.arrive(0, far, 7, 100, Kind::Request, &mut out).unwrap();
    send(&mut r, 1, 0, Kind::Send, &mut out);
    let step = r.receive(0, Filter::Any, &mut m, true, &mut out);
    assert_eq!(step, Ok(Step::Done(Received::InLane(7, 100))));
    r.owe(0, far, 7, 100);
    r.receive(0, Filter::Any, &mut m, true, &mut out).unwrap();
    assert_eq!(m.source(), Endpoint::new(0, 1));
    out.clear();
    r.unbind(0, false, &mut out);
    assert!(matches!(&out[..], [Cmd::Refuse(7, 100, Code::SRCDIED, Effect::Unknown)]));
}

#[test]
fn a_flood_of_notifications_does_not_starve_a_sender() {
    let (mut r, mut out, mut m) = (table(5), vec![], Message::default());
    assert_eq!(send(&mut r, 1, 0, Kind::Send, &mut out), Step::Wait);
    let mut sources = vec![];
    for _ in 0..6 {
        // Sources 3 and 4 notify again before every receive.
        for from in [3, 4] {
            r.notice(0, Endpoint::new(0, from), 1, 0, &mut out).unwrap();
        }
        assert_eq!(r.receive(0, Filter::Any, &mut m, true, &mut out), Ok(Step::Done(Received::Message)));
        sources.push(m.source().slot());
    }
    assert_eq!(sources[..3], [3, 4, 1], "each once, then the one that waits");
    assert_eq!(sources[3..], [3, 3, 3], "nobody waits any more");
}
