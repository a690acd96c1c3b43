//! The network between nodes in namespaces: `cluster-switch PORTS [SEED]`, run where interfaces `port0`,
//! `port1`, … are, each the other end of a node's.
//!
//! ```text
//!   port0 ──► read ──► lost? ──► late? ──► write ──► port3        by FROM, TO: part lost, delay
//! ```
//! It is told by its standard input, a line a change: `FROM TO LOST DELAY`, thousandths and microseconds, and
//! answers each with a line. It ends with its input. The kernel's own `netem` is not there everywhere, and
//! draws other lots each time.
#![forbid(unsafe_code)]

use dvs_cluster::rng::Rng;
use dvs_linux::clock;
use dvs_linux::testing::{FRAME_HEADER, frames};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

/// The largest frame: one the kernel has not cut yet.
const FRAME_MAX: usize = 80 << 10;
/// Frames under way at most; a wire holds no more either.
const QUEUE_MAX: usize = 10_000;
/// Frames read of one port before the next has its turn.
const TURN: usize = 64;

/// What happens to frames from one port to another.
#[derive(Clone, Copy, Default)]
struct Way {
    lost: u64,
    delay_ns: u64,
}

struct Switch {
    ports: Vec<OwnedFd>,
    ways: Vec<Way>,
    rng: Rng,
    /// When, number, where, what.
    late: BTreeMap<(u64, u64), (usize, Vec<u8>)>,
    number: u64,
    buffer: Vec<u8>,
}

impl Switch {
    /// Passes on what has arrived.
    fn drain(&mut self, from: usize) {
        for _ in 0..TURN {
            let Ok(length) = rustix::io::read(&self.ports[from], &mut self.buffer[..]) else { return };
            if length < FRAME_HEADER + 14 {
                continue;
            }
            // Interfaces bear their number at the end of their address; the rest is for all.
            let address = &self.buffer[FRAME_HEADER..FRAME_HEADER + 6];
            let (all, to) = (address[0] & 1 == 1, usize::from(address[5]));
            for port in (0..self.ports.len()).filter(|p| *p != from && (all || *p == to)) {
                self.pass(from, port, length);
            }
        }
    }

    fn pass(&mut self, from: usize, to: usize, length: usize) {
        let way = self.ways[from * self.ports.len() + to];
        if way.lost > 0 && self.rng.below(1000) < way.lost {
            return;
        }
        if way.delay_ns == 0 {
            // A full device loses frames, as devices do.
            let _ = rustix::io::write(&self.ports[to], &self.buffer[..length]);
        } else if self.late.len() < QUEUE_MAX {
            self.number += 1;
            let at = (clock::now() + way.delay_ns, self.number);
            self.late.insert(at, (to, self.buffer[..length].to_vec()));
        }
    }

    /// Sends what has waited long enough; how long the next has to.
    fn expire(&mut self) -> Option<u64> {
        loop {
            let (&(at, number), _) = self.late.first_key_value()?;
            let now = clock::now();
            if at > now {
                return Some(at - now);
            }
            if let Some((to, frame)) = self.late.remove(&(at, number)) {
                let _ = rustix::io::write(&self.ports[to], &frame);
            }
        }
    }

    fn tell(&mut self, line: &str) -> Option<()> {
        let mut words = line.split_whitespace().map(str::parse::<u64>);
        let mut next = || words.next()?.ok();
        let (from, to, lost, micros) = (next()? as usize, next()? as usize, next()?, next()?);
        let count = self.ports.len();
        let way = self.ways.get_mut(from * count + to).filter(|_| to < count)?;
        *way = Way { lost, delay_ns: micros * 1000 };
        Some(())
    }
}

fn main() -> io::Result<()> {
    let mut words = std::env::args().skip(1).map_while(|w| w.parse::<u64>().ok());
    let count = words.next().unwrap_or(0) as usize;
    let ports = (0..count).map(|n| frames(&format!("port{n}"))).collect::<io::Result<Vec<_>>>()?;
    let rng = Rng::new(words.next().unwrap_or(1));
    let ways = vec![Way::default(); count * count];
    let mut switch =
        Switch { ports, ways, rng, late: BTreeMap::new(), number: 0, buffer: vec![0; FRAME_MAX] };
    let (input, mut text) = (io::stdin(), Vec::new());
    println!("ready");
    loop {
        let wait =
            switch.expire().and_then(|ns| Timespec::try_from(std::time::Duration::from_nanos(ns)).ok());
        let mut fds = vec![PollFd::new(&input, PollFlags::IN)];
        fds.extend(switch.ports.iter().map(|p| PollFd::new(p, PollFlags::IN)));
        if poll(&mut fds, wait.as_ref()).is_err() {
            continue;
        }
        let ready: Vec<bool> = fds.iter().map(|f| !f.revents().is_empty()).collect();
        drop(fds);
        (0..count).filter(|n| ready[n + 1]).for_each(|n| switch.drain(n));
        if !ready[0] {
            continue;
        }
        // Not by lines of the library: what it keeps to itself would not be seen by poll.
        let mut piece = [0; 4096];
        match rustix::io::read(&input, &mut piece) {
            Ok(0) => return Ok(()),
            Ok(n) => text.extend_from_slice(&piece[..n]),
            Err(_) => continue,
        }
        while let Some(end) = text.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            let said = switch.tell(&String::from_utf8_lossy(&line)).map_or("what?", |()| "done");
            println!("{said}");
            io::stdout().flush()?;
        }
    }
}
