//! Measures one request and its answer between two processes over a link and two doorbells, beside the floor:
//! a byte there and back through two pipes.
//!
//! `cargo run --release -p dvs-linux --example pingpong [CALLS]` runs each placement five times, interleaved,
//! and prints the median of the runs' medians.
#[path = "../tests/common/mod.rs"]
mod common;

use common::{End, HOST, lane};
use dvs_abi::{Deadline, Message};
use dvs_ipc::host::Host;
use dvs_ipc::lane::Outcome;
use dvs_linux::clock::{now, pin};
use dvs_linux::socket::{Listener, Socket};
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

const PLACES: [(&str, Option<(u32, u32)>); 3] =
    [("same core", Some((0, 0))), ("two cores", Some((0, 1))), ("unpinned", None)];
const RUNS: usize = 5;

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("server") => serve(&args[2], &args[3]),
        Some("pipe") => pipe_server(&args[2]),
        n => measure(n.and_then(|n| n.parse().ok()).unwrap_or(100_000)),
    }
}

fn measure(calls: usize) -> io::Result<()> {
    println!("{:<12} {:>10} {:>10} {:>10} {:>10}", "us", "dvs p50", "dvs p99", "pipe p50", "pipe p99");
    for (name, cpus) in PLACES {
        let (mut ours, mut pipe) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            ours.push(link_run(cpus, calls)?);
            pipe.push(pipe_run(cpus, calls / 4)?);
        }
        let (o, p) = (median(&mut ours), median(&mut pipe));
        println!("{name:<12} {:>10.3} {:>10.3} {:>10.3} {:>10.3}", o.0, o.1, p.0, p.1);
    }
    Ok(())
}

fn median(runs: &mut [(f64, f64)]) -> (f64, f64) {
    runs.sort_by(|a, b| a.0.total_cmp(&b.0));
    runs[runs.len() / 2]
}

fn link_run(cpus: Option<(u32, u32)>, calls: usize) -> io::Result<(f64, f64)> {
    let path = std::env::temp_dir().join(format!("pingpong-{}", std::process::id()));
    let listener = Listener::bind(&path)?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["server", &path.display().to_string(), &server_cpu(cpus)])
        .spawn()?;
    let socket = listener.accept(Deadline::NEVER)?;
    std::fs::remove_file(&path)?;
    let mut end = End::offer(&socket)?;
    let result = on_cpu(cpus.map(|c| c.0), move || {
        let mut m = Message::new(1);
        let mut answer = Message::default();
        let times = timed(calls, |n| {
            m.set_word(0, n as u64);
            let done = end.call(&m, &[], &mut answer, Deadline::NEVER);
            assert!(done == Some(Outcome::Replied) && answer.word(0) == n as u64 + 1);
        });
        m.set_mtype(0);
        end.call(&m, &[], &mut answer, Deadline::NEVER);
        times
    });
    child.wait()?;
    Ok(result)
}

fn serve(path: &str, cpu: &str) -> io::Result<()> {
    if let Ok(cpu) = cpu.parse() {
        pin(cpu)?;
    }
    let mut end = End::accept(&Socket::connect(path.as_ref())?)?;
    let mut running = true;
    while running && !lane(&end.link).state().closed() {
        while end.serve(|m, _, _, _| {
            running = m.mtype() != 0;
            m.set_word(0, m.word(0) + 1);
        }) {}
        if running {
            end.wait(Deadline::NEVER);
        }
    }
    Ok(())
}

fn pipe_run(cpus: Option<(u32, u32)>, calls: usize) -> io::Result<(f64, f64)> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["pipe", &server_cpu(cpus)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (to, from) = (child.stdin.take(), child.stdout.take());
    let (mut to, mut from) = to.zip(from).ok_or(io::ErrorKind::BrokenPipe)?;
    let result = on_cpu(cpus.map(|c| c.0), move || {
        let mut byte = [0];
        timed(calls, |_| {
            let done = to.write_all(&byte).and_then(|()| from.read_exact(&mut byte));
            assert!(done.is_ok());
        })
    });
    child.wait()?;
    Ok(result)
}

fn pipe_server(cpu: &str) -> io::Result<()> {
    if let Ok(cpu) = cpu.parse() {
        pin(cpu)?;
    }
    let (mut from, mut to) =
        (io::stdin().lock(), std::fs::File::from(rustix::io::dup(rustix::stdio::stdout())?));
    let mut byte = [0];
    while from.read_exact(&mut byte).is_ok() {
        to.write_all(&byte)?;
    }
    Ok(())
}

/// Median and 99th percentile in µs, after a tenth as many calls to warm up.
fn timed(calls: usize, mut call: impl FnMut(usize)) -> (f64, f64) {
    (0..calls / 10).for_each(&mut call);
    let mut times = Vec::with_capacity(calls);
    let mut last = now();
    for n in 0..calls {
        call(n);
        let t = HOST.now();
        times.push(t - last);
        last = t;
    }
    times.sort_unstable();
    let at = |part: usize| times[calls * part / 100] as f64 / 1000.0;
    (at(50), at(99))
}

/// A thread of its own, so that the pinning ends with it.
fn on_cpu<T: Send + 'static>(cpu: Option<u32>, work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        if let Some(cpu) = cpu {
            pin(cpu).expect("the processor exists: the example needs two");
        }
        work()
    });
    thread.join().expect("the measuring thread does not panic unless an answer was wrong")
}

fn server_cpu(cpus: Option<(u32, u32)>) -> String {
    cpus.map_or("any".into(), |c| c.1.to_string())
}
