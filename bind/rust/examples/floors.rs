//! What a round trip between two coroutines is made of, measured in one run: ns for each, interleaved.
//!
//! | column | what |
//! |---|---|
//! | switch | a bare switch of stacks there and back |
//! | lock | a `std` mutex taken and given back, nobody else wants it |
//! | copy | a message copied |
//! | sendrec | a round trip between two coroutines |
//! | ratio | sendrec / switch: the bar is 5 |
use corosensei::{Coroutine, CoroutineResult};
use dvs::{DcId, Endpoint, Message, Scheduler, Timeout};
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Instant;

const SERVER: Endpoint = Endpoint::new(0, 1);
const ROUNDS: u32 = 200_000;

fn main() {
    let runs = std::env::var("RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(15);
    println!("{:>9} {:>9} {:>9} {:>9} {:>9}", "switch", "lock", "copy", "sendrec", "ratio");
    let mut rows: Vec<[f64; 5]> = (0..runs)
        .map(|_| {
            let (switch, sendrec) = (switch(), sendrec());
            [switch, lock(), copy(), sendrec, sendrec / switch]
        })
        .collect();
    for column in 0..5 {
        rows.sort_by(|a, b| a[column].total_cmp(&b[column]));
        print!("{:9.1} ", rows[rows.len() / 2][column]);
    }
    println!("  medians of {runs} runs");
}

fn per_round(rounds: u32, mut f: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..rounds {
        f();
    }
    start.elapsed().as_nanos() as f64 / f64::from(rounds)
}

fn switch() -> f64 {
    let mut other: Coroutine<(), (), ()> = Coroutine::new(|y, ()| {
        for _ in 0..ROUNDS {
            y.suspend(());
        }
    });
    let ns = per_round(ROUNDS, || {
        assert!(matches!(other.resume(()), CoroutineResult::Yield(())));
    });
    assert!(matches!(other.resume(()), CoroutineResult::Return(())));
    ns
}

fn lock() -> f64 {
    let m = Mutex::new(0u64);
    per_round(ROUNDS, || *black_box(&m).lock().unwrap_or_else(std::sync::PoisonError::into_inner) += 1)
}

fn copy() -> f64 {
    let (from, mut to) = (Message::new(1), Message::default());
    per_round(ROUNDS, || *black_box(&mut to) = *black_box(&from))
}

fn sendrec() -> f64 {
    let process = dvs::alone();
    let s = Scheduler::new(&process);
    s.spawn(move |co| {
        let port = co.bind(DcId(0), SERVER).expect("free");
        let mut m = Message::default();
        for _ in 0..ROUNDS {
            port.receive(Endpoint::ANY, &mut m, Timeout::Forever).expect("a client");
            port.reply(m.source(), &mut m, Timeout::Forever).expect("it waits");
        }
    })
    .expect("room");
    let took = std::rc::Rc::new(std::cell::Cell::new(0.0));
    let out = took.clone();
    s.spawn(move |co| {
        let port = co.bind(DcId(0), Endpoint::NONE).expect("free");
        let mut m = Message::new(1);
        out.set(per_round(ROUNDS, || port.sendrec(SERVER, &mut m, Timeout::Forever).expect("the server")));
    })
    .expect("room");
    s.run();
    took.get()
}
