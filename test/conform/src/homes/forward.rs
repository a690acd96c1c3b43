//! A TCP forwarder between two daemons, so that a script can cut their connection and let it heal.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct State {
    cut: bool,
    open: Vec<TcpStream>,
}

/// One direction of calling: whoever connects to [`Forward::address`] reaches the target, unless it is cut.
pub struct Forward {
    /// Where to connect.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
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
        let shared = Arc::downgrade(&state);
        std::thread::spawn(move || {
            for from in listener.incoming().map_while(Result::ok) {
                let Some(state) = shared.upgrade() else { return };
                connect(&state, from, target);
            }
        });
        Forward { address, state }
    }

    /// Ends every connection and lets none come about.
    pub fn cut(&self) {
        let mut state = lock(&self.state);
        state.cut = true;
        for s in state.open.drain(..) {
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
    fn drop(&mut self) {
        self.cut();
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
        shared.open.push(keep);
        std::thread::spawn(move || pump(a, b));
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
