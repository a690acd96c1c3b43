use super::Scheduler;
use crate::Process;
use crate::testing::TestHost;
use dvs_abi::{Code, DcId, Endpoint, Message, Timeout};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const DC: DcId = DcId(0);

fn process() -> Process {
    Process::alone(Arc::new(TestHost::default()))
}

fn server(slot: i32) -> Endpoint {
    Endpoint::new(0, slot)
}

#[test]
fn many_clients_are_served_in_turn() {
    let p = process();
    let s = Scheduler::new(&p);
    let order = Rc::new(RefCell::new(Vec::new()));
    let seen = order.clone();
    s.spawn(move |co| {
        let port = co.bind(DC, server(1)).unwrap();
        let mut m = Message::default();
        for _ in 0..1000 {
            port.receive(Endpoint::ANY, &mut m, Timeout::Forever).unwrap();
            seen.borrow_mut().push(m.mtype());
            m.set_mtype(m.mtype() + 1000);
            port.reply(m.source(), &mut m, Timeout::Forever).unwrap();
        }
    })
    .unwrap();
    for client in 0..20 {
        s.spawn(move |co| {
            let port = co.bind(DC, server(100 + client)).unwrap();
            for _ in 0..50 {
                let mut m = Message::new(client);
                port.sendrec(server(1), &mut m, Timeout::Forever).unwrap();
                assert_eq!(m.mtype(), client + 1000);
            }
        })
        .unwrap();
    }
    assert_eq!(s.run(), 0);
    let mut served = [0i32; 20];
    for client in order.borrow().iter() {
        served[*client as usize] += 1;
        let (least, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
        assert!(most - least <= 1, "{served:?}");
    }
    assert_eq!(served, [50; 20]);
}

#[test]
fn a_deadline_passes_and_the_call_leaves_nothing_behind() {
    let p = process();
    let s = Scheduler::new(&p);
    s.spawn(|co| {
        let port = co.bind(DC, server(1)).unwrap();
        let mut m = Message::default();
        let e = port.receive(Endpoint::ANY, &mut m, Timeout::After(Duration::from_millis(5))).unwrap_err();
        assert_eq!(e.code, Code::TIMEDOUT);
    })
    .unwrap();
    assert_eq!(s.run(), 0);
    assert!(p.shared().lock().table.is_empty());
}

#[test]
fn who_is_always_ready_keeps_no_deadline_waiting() {
    let s = Scheduler::new(&process());
    let over = Rc::new(RefCell::new(false));
    let seen = over.clone();
    s.spawn(move |co| {
        while !*seen.borrow() {
            co.yield_now();
        }
    })
    .unwrap();
    s.spawn(move |co| {
        let port = co.bind(DC, server(1)).unwrap();
        let soon = Timeout::After(Duration::from_millis(5));
        let error = port.receive(Endpoint::ANY, &mut Message::default(), soon).unwrap_err();
        assert_eq!(error.code, Code::TIMEDOUT);
        *over.borrow_mut() = true;
    })
    .unwrap();
    assert_eq!(s.run(), 0);
}

#[test]
fn threads_and_coroutines_call_each_other() {
    let p = process();
    let port = p.bind(DC, server(2)).unwrap();
    let other = std::thread::spawn({
        let p = p.clone();
        move || {
            let s = Scheduler::new(&p);
            s.spawn(|co| {
                let port = co.bind(DC, server(1)).unwrap();
                for i in 0..2000 {
                    let mut m = Message::new(i);
                    port.sendrec(server(2), &mut m, Timeout::Forever).unwrap();
                    assert_eq!(m.mtype(), -i);
                }
            })
            .unwrap();
            s.run()
        }
    });
    let mut m = Message::default();
    for _ in 0..2000 {
        port.receive(Endpoint::ANY, &mut m, Timeout::Forever).unwrap();
        m.set_mtype(-m.mtype());
        port.reply(m.source(), &mut m, Timeout::Forever).unwrap();
    }
    assert_eq!(other.join().unwrap(), 0);
}

#[test]
fn a_panic_ends_one_coroutine_and_its_callers_learn_it() {
    let p = process();
    let s = Scheduler::new(&p);
    s.spawn(|co| {
        let port = co.bind(DC, server(1)).unwrap();
        let mut m = Message::default();
        port.receive(Endpoint::ANY, &mut m, Timeout::Forever).unwrap();
        panic!("on purpose");
    })
    .unwrap();
    s.spawn(|co| {
        let port = co.bind(DC, server(40)).unwrap();
        let e = port.sendrec(server(1), &mut Message::new(1), Timeout::Forever).unwrap_err();
        assert_eq!(e.code, Code::SRCDIED);
    })
    .unwrap();
    assert_eq!(s.run(), 1);
}
