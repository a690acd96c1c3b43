//! The same server in a thread and in a coroutine; its end is told at once.

use dvs::{Code, DcId, Effect, Endpoint, Scheduler};
use dvs_kv_example::load::Load;
use dvs_kv_example::{Client, KvError, Store, serve};

const DC: DcId = DcId(0);
const AT: Endpoint = Endpoint::new(0, 20);

#[test]
fn clients_in_threads_read_what_they_wrote_and_learn_of_the_end() {
    let process = dvs::alone();
    let port = process.bind(DC, AT).unwrap();
    let server = std::thread::spawn(move || serve(&port, &mut Store::default()));
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let process = process.clone();
            std::thread::spawn(move || {
                let client = Client::new(process.bind(DC, Endpoint::NONE).unwrap(), AT);
                let mut load = Load::default();
                let e = loop {
                    if let Err(e) = load.step(&client, || 1) {
                        break e;
                    }
                };
                (e, load.summary(1.0))
            })
        })
        .collect();
    process.stop(DC, AT, Code::SHUTDOWN);
    assert_eq!(server.join().unwrap().code, Code::SHUTDOWN);
    for c in clients {
        let (e, summary) = c.join().unwrap();
        let KvError::Call(e) = e else { panic!("{e}") };
        assert!(matches!((e.code, e.effect), (Code::DSTDIED, Effect::No)), "{e}");
        assert_eq!((summary.wrong, summary.errors.len()), (0, 1));
        assert_eq!(summary.errors[0].code, "DSTDIED");
    }
}

#[test]
fn a_coroutine_serves_coroutines() {
    let process = dvs::alone();
    let scheduler = Scheduler::new(&process);
    scheduler
        .spawn(|co| {
            let port = co.bind(DC, AT).unwrap();
            assert_eq!(serve(&port, &mut Store::default()).code, Code::SHUTDOWN);
        })
        .unwrap();
    scheduler
        .spawn(|co| {
            let client = Client::new(co.bind(DC, Endpoint::NONE).unwrap(), AT);
            let mut load = Load::default();
            let done = (0..1000).all(|_| load.step(&client, || 1).is_ok());
            let removed = client.remove(b"nothing");
            co.process().stop(DC, AT, Code::SHUTDOWN);
            assert!(done && removed == Ok(false));
            assert_eq!((load.summary(1.0).count, load.summary(1.0).wrong), (1000, 0));
        })
        .unwrap();
    assert_eq!(scheduler.run(), 0);
}
