//! What a round trip between two coroutines is made of, measured in one run: ns for each, interleaved.
//!
//! | column | what |
//! |---|---|
//! | hot | a bare switch of stacks there and back, always the same one |
//! | cold | the same in turn over a thousand coroutines |
//! | lock | a `std` mutex taken and given back, nobody else wants it |
//! | copy | a message copied |
//! | sendrec | a round trip of a message between two coroutines |
//! | /hot, /cold | how many switches that is |
//!
//! `floors sendrec ROUNDS` does only the last, for counting instructions.
use corosensei::{Coroutine, CoroutineResult};
use dvs::{DcId, Endpoint, Message, Scheduler, Timeout};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Instant;

const SERVER: Endpoint = Endpoint::new(0, 1);
thread_local!(static STOP: Cell<bool> = const { Cell::new(false) });
const ROUNDS: u32 = 200_000;

const COLUMNS: [&str; 7] = ["hot", "cold", "lock", "copy", "sendrec", "/hot", "/cold"];

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("sendrec") {
        let rounds = args.next().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
        println!("{:.1} ns", sendrec(rounds));
        return;
    }
    let runs = std::env::var("RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(15);
    COLUMNS.iter().for_each(|c| print!("{c:>9} "));
    println!();
    let mut rows: Vec<[f64; 7]> = (0..runs)
        .map(|_| {
            let (hot, cold, sendrec) = (switch(1), switch(1000), sendrec(ROUNDS));
            [hot, cold, lock(), copy(), sendrec, sendrec / hot, sendrec / cold]
        })
        .collect();
    for (name, pick) in [("medians", rows.len() / 2), ("least", 0)] {
        for column in 0..COLUMNS.len() {
            rows.sort_by(|a, b| a[column].total_cmp(&b[column]));
            print!("{:9.1} ", rows[pick][column]);
        }
        println!("  {name} of {runs} runs");
    }
}

fn per_round(rounds: u32, mut f: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..rounds {
        f();
    }
    start.elapsed().as_nanos() as f64 / f64::from(rounds)
}

fn switch(others: usize) -> f64 {
    let mut ring: Vec<Coroutine<(), (), ()>> = (0..others)
        .map(|_| {
            Coroutine::new(|y, ()| {
                while !STOP.get() {
                    y.suspend(());
                }
            })
        })
        .collect();
    STOP.set(false);
    let mut next = 0;
    let ns = per_round(ROUNDS, || {
        assert!(matches!(ring[next].resume(()), CoroutineResult::Yield(())));
        next = if next + 1 == others { 0 } else { next + 1 };
    });
    STOP.set(true);
    ring.iter_mut()
        .filter(|c| c.started())
        .for_each(|c| assert!(matches!(c.resume(()), CoroutineResult::Return(()))));
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

fn sendrec(rounds: u32) -> f64 {
    let process = dvs::alone();
    let s = Scheduler::new(&process);
    s.spawn(move |co| {
        let port = co.bind(DcId(0), SERVER).expect("free");
        let mut m = Message::default();
        for _ in 0..rounds {
            port.receive(Endpoint::ANY, &mut m, Timeout::Forever).expect("a client");
            port.reply(m.source(), &mut m, Timeout::Forever).expect("it waits");
        }
    })
    .expect("room");
    let took = std::rc::Rc::new(Cell::new(0.0));
    let out = took.clone();
    s.spawn(move |co| {
        let port = co.bind(DcId(0), Endpoint::NONE).expect("free");
        let mut m = Message::new(1);
        out.set(per_round(rounds, || port.sendrec(SERVER, &mut m, Timeout::Forever).expect("the server")));
    })
    .expect("room");
    s.run();
    took.get()
}
