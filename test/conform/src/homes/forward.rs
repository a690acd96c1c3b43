//! A TCP forwarder between two daemons, so that a script can cut their connection and let it heal.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

#[derive(Default)]
struct State {
    cut: bool,
    ended: bool,
    /// What is pumped now, by number.
    open: HashMap<u64, TcpStream>,
    last: u64,
}

/// One direction of calling: whoever connects to [`Forward::address`] reaches the target, unless it is cut.
pub struct Forward {
    /// Where to connect.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    listener: Option<JoinHandle<()>>,
}

impl Forward {
    /// A forwarder to `target`.
    ///
    /// # Panics
    /// When there is no free port on the loopback.
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on the loopback");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        let listener = std::thread::spawn(move || {
            for from in listener.incoming().map_while(Result::ok) {
                if lock(&shared).ended {
                    return;
                }
                connect(&shared, from, target);
            }
        });
        Forward { address, state, listener: Some(listener) }
    }

    /// Ends every connection and lets none come about.
    pub fn cut(&self) {
        let mut state = lock(&self.state);
        state.cut = true;
        for (_, s) in state.open.drain() {
            // Already closed by a peer: as good.
            let _ = s.shutdown(Shutdown::Both);
        }
    }

    /// Lets connections come about again.
    pub fn heal(&self) {
        lock(&self.state).cut = false;
    }
}

impl Drop for Forward {
    /// Leaves no socket and no listening thread.
    fn drop(&mut self) {
        self.cut();
        lock(&self.state).ended = true;
        // The listener hears of it by a last connection; without one it stays, which is all there is to lose.
        if TcpStream::connect(self.address).is_ok()
            && let Some(listener) = self.listener.take()
        {
            let _ = listener.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn connect(state: &Arc<Mutex<State>>, from: TcpStream, target: SocketAddr) {
    let mut shared = lock(state);
    if shared.cut {
        return;
    }
    let Ok(to) = TcpStream::connect(target) else { return };
    // Small messages must not wait for each other; where it cannot be set the suite is only slower.
    let _ = (from.set_nodelay(true), to.set_nodelay(true));
    for (a, b) in [(&from, &to), (&to, &from)] {
        let (Ok(a), Ok(b), Ok(keep)) = (a.try_clone(), b.try_clone(), a.try_clone()) else { return };
        shared.last += 1;
        let number = shared.last;
        shared.open.insert(number, keep);
        let state = state.clone();
        std::thread::spawn(move || {
            pump(a, b);
            lock(&state).open.remove(&number);
        });
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 256 << 10];
    while let Ok(n) = from.read(&mut buffer) {
        if n == 0 || to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    // The other direction ends with this one; errors say that it has.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[cfg(test)]
mod tests {
    use super::{Forward, lock};
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    #[test]
    fn nothing_stays_of_what_has_ended() {
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        let forward = Forward::to(target.local_addr().unwrap());
        let mut near = TcpStream::connect(forward.address).unwrap();
        let (mut far, _) = target.accept().unwrap();
        near.write_all(b"x").unwrap();
        far.read_exact(&mut [0]).unwrap();
        assert_eq!(lock(&forward.state).open.len(), 2);
        drop(near);
        let watchdog = Instant::now() + Duration::from_secs(60);
        while !lock(&forward.state).open.is_empty() {
            assert!(Instant::now() < watchdog, "a socket of an ended connection is kept");
            std::thread::yield_now();
        }
        let address = forward.address;
        drop(forward);
        assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    }
}
