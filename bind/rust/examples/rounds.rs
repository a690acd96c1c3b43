//! Round trips inside one process: two coroutines, two threads. Prints ns a round trip.
use dvs::{DcId, Endpoint, Message, Scheduler, Timeout};
use std::time::Instant;

const DC: DcId = DcId(0);
const SERVER: Endpoint = Endpoint::new(0, 1);

fn main() {
    for _ in 0..std::env::var("RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(5) {
        println!(
            "coroutines {:8.1} ns   threads {:8.1} ns",
            coroutines(scale(2_000_000)),
            threads(scale(20_000))
        );
    }
}

fn coroutines(rounds: u32) -> f64 {
    let process = dvs::alone();
    let s = Scheduler::new(&process);
    s.spawn(move |co| {
        let port = co.bind(DC, SERVER).expect("free");
        let mut m = Message::default();
        for _ in 0..rounds {
            port.receive(Endpoint::ANY, &mut m, Timeout::Forever).expect("a client");
            port.reply(m.source(), &mut m, Timeout::Forever).expect("it waits");
        }
    })
    .expect("room");
    let took = std::rc::Rc::new(std::cell::Cell::new(0.0));
    let out = took.clone();
    s.spawn(move |co| {
        let port = co.bind(DC, Endpoint::NONE).expect("free");
        let start = Instant::now();
        for i in 0..rounds {
            let mut m = Message::new(i as i32);
            port.sendrec(SERVER, &mut m, Timeout::Forever).expect("the server");
        }
        out.set(start.elapsed().as_nanos() as f64 / f64::from(rounds));
    })
    .expect("room");
    s.run();
    took.get()
}

fn threads(rounds: u32) -> f64 {
    let process = dvs::alone();
    let port = process.bind(DC, SERVER).expect("free");
    let client = std::thread::spawn(move || {
        let port = process.bind(DC, Endpoint::NONE).expect("free");
        let start = Instant::now();
        for i in 0..rounds {
            let mut m = Message::new(i as i32);
            port.sendrec(SERVER, &mut m, Timeout::Forever).expect("the server");
        }
        start.elapsed().as_nanos() as f64 / f64::from(rounds)
    });
    let mut m = Message::default();
    for _ in 0..rounds {
        port.receive(Endpoint::ANY, &mut m, Timeout::Forever).expect("a client");
        port.reply(m.source(), &mut m, Timeout::Forever).expect("it waits");
    }
    client.join().expect("client")
}

fn scale(rounds: u32) -> u32 {
    std::env::var("SCALE").ok().and_then(|n| n.parse::<u32>().ok()).map_or(rounds, |s| rounds / s)
}
