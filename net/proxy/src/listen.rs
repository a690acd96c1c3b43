//! The listening side: takes connections, and has each greeted on a thread of its own.
//!
//! Everything here happens before the other side is known, so it is bounded: so many greetings at a time,
//! so long and so many bytes each; what breaks a bound is closed without an answer and without disturbing
//! anybody.

use crate::greet::Greeter;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Connections that may be greeting at the same time.
const GREETINGS_MAX: usize = 64;
/// Stack of a thread that only greets.
const STACK_BYTES: usize = 256 << 10;

pub(crate) struct Listener {
    pub socket: TcpListener,
    pub greeter: Arc<Greeter>,
}

/// One of the places, free again at its end however the thread ends.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Listener {
    /// Runs until told to stop.
    pub(crate) fn run(self) {
        let greeting = Arc::new(AtomicUsize::new(0));
        while !self.greeter.stopped() {
            let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
            let tick = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
            if !matches!(poll(&mut fds, Some(&tick)), Ok(1)) {
                continue;
            }
            let Ok((socket, from)) = self.socket.accept() else { continue };
            if greeting.load(Ordering::Relaxed) >= GREETINGS_MAX {
                continue; // closed
            }
            greeting.fetch_add(1, Ordering::Relaxed);
            let (greeter, place) = (Arc::clone(&self.greeter), Place(Arc::clone(&greeting)));
            let body = move || {
                let _place = place;
                greeter.run(socket, from);
            };
            // Without a thread the place and the connection are dropped with the body.
            let thread = thread::Builder::new().name("dvs-greet".to_owned()).stack_size(STACK_BYTES);
            drop(thread.spawn(body));
        }
    }
}
