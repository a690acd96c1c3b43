//! One connection: a socket, and TLS around it when configured.
//!
//! The socket stays blocking; each call says by a flag whether it waits, so the reader can spin and block
//! and any caller can try to write without disturbing the other. TLS state is shared by the two directions
//! under a lock that is never held across a system call.

use crate::crypt::Crypt;
use crate::records::Records;
use crate::tls::{Fingerprint, NotPinned, fingerprint};
use dvs_abi::limits::FRAME_BYTES_MAX;
use dvs_wire::RECORD_HEAD_BYTES;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg, sockopt};
use std::io::{self, IoSlice};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Encrypted bytes read at once.
const RAW_BYTES: usize = 256 << 10;
/// How long and how often a refused connection is read before it is closed.
const FAREWELL_WAIT: Duration = Duration::from_millis(200);
const FAREWELL_READS: usize = 4;
/// Longest time for writing a greeting, however slowly the other side takes it.
const GREETING_WRITE_WAIT: Duration = Duration::from_secs(2);

/// A lock whose holder panicked is still usable: every critical section here leaves whole values.
pub(crate) fn lock<T: ?Sized>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Conn {
    socket: TcpStream,
    crypt: Option<Mutex<Crypt>>,
    /// The other side was found to be near.
    near: AtomicBool,
}

/// Encrypted bytes not yet opened; the reader's.
#[derive(Default)]
pub(crate) struct Raw {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// There may be more in what is here.
    again: bool,
}

fn broken(e: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, e.to_string())
}

/// The library's error in words; our own verdict on a certificate stands alone, as [`NotPinned`].
fn explain(e: rustls::Error) -> io::Error {
    match e {
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(why)) => {
            match why.0.downcast_ref::<NotPinned>() {
                Some(own) => io::Error::new(io::ErrorKind::InvalidData, own.clone()),
                None => broken(why.0),
            }
        }
        e => broken(format_args!("TLS: {e}")),
    }
}

impl Conn {
    /// Wraps a connected socket. `wait` is how long a blocking read lasts at most.
    pub(crate) fn new(socket: TcpStream, crypt: Option<Crypt>, wait: Duration) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(wait))?;
        socket.set_write_timeout(Some(wait))?;
        Ok(Conn { socket, crypt: crypt.map(Mutex::new), near: AtomicBool::new(false) })
    }

    pub(crate) const fn encrypted(&self) -> bool {
        self.crypt.is_some()
    }

    /// The other side is near. An algorithm that paces (BBR) is then replaced by one that does not: it sends
    /// by a timer, at a rate it has seen, and a sender that pauses between chunks never shows it more. What
    /// it is good for are long ways with loss.
    pub(crate) fn near(&self) {
        if self.near.swap(true, Ordering::Relaxed) {
            return;
        }
        if sockopt::tcp_congestion(&self.socket).is_ok_and(|name| name.starts_with("bbr")) {
            // Who may not choose the first may always choose the second; without either it works as well.
            let _ = sockopt::set_tcp_congestion(&self.socket, "cubic")
                .or_else(|_| sockopt::set_tcp_congestion(&self.socket, "reno"));
        }
    }

    /// Ends both directions; a blocked reader or sender returns.
    pub(crate) fn shutdown(&self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// The fingerprint of the other side; nothing without TLS.
    pub(crate) fn peer(&self) -> io::Result<Option<Fingerprint>> {
        let Some(crypt) = &self.crypt else { return Ok(None) };
        let cert = lock(crypt).peer().ok_or_else(|| broken("the other side showed no certificate"))?;
        fingerprint(&cert).map(Some).map_err(explain)
    }

    /// Does the TLS handshake; returns encrypted bytes that came along.
    pub(crate) fn handshake(&self, records: &mut Records, until: Instant) -> io::Result<Raw> {
        let mut raw = Raw::default();
        let Some(crypt) = &self.crypt else { return Ok(raw) };
        loop {
            let result = self.open(&mut raw, records);
            let (pending, ready) = {
                let mut c = lock(crypt);
                (c.take_pending(), c.ready())
            };
            self.write_all(&pending)?; // also the alert that says why
            if let Err(e) = result {
                self.farewell();
                return Err(e);
            }
            if ready {
                return Ok(raw);
            }
            // A first frame may come right behind the handshake, and no more than that.
            if records.held() > RECORD_HEAD_BYTES + FRAME_BYTES_MAX {
                return Err(broken("more bytes than a greeting has"));
            }
            if raw.again {
                continue;
            }
            self.wait_read(raw.room(), until).map(|n| raw.end += n)?;
        }
    }

    fn wait_read(&self, room: &mut [u8], until: Instant) -> io::Result<usize> {
        loop {
            // Looked at before each read: who sends a byte now and then is late, too.
            if Instant::now() >= until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if let Some(n) = self.receive(room, true)? {
                return Ok(n);
            }
        }
    }

    /// One read; nothing when no byte is there (or came within the wait).
    fn receive(&self, room: &mut [u8], wait: bool) -> io::Result<Option<usize>> {
        let flags = if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
        match recv(&self.socket, room, flags) {
            Ok((0, _)) => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other side closed the connection"))
            }
            Ok((n, _)) => Ok(Some(n)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Reads plain bytes into `records`: at least one read's worth, or `false` when none came.
    pub(crate) fn read(&self, raw: &mut Raw, records: &mut Records, wait: bool) -> io::Result<bool> {
        if self.crypt.is_none() {
            let n = self.receive(records.room(), wait)?;
            records.filled(n.unwrap_or(0));
            return Ok(n.is_some());
        }
        if raw.again {
            return self.open(raw, records).map(|()| true);
        }
        let Some(n) = self.receive(raw.room(), wait)? else { return Ok(false) };
        raw.end += n;
        self.open(raw, records)?;
        Ok(true)
    }

    fn open(&self, raw: &mut Raw, records: &mut Records) -> io::Result<()> {
        let Some(crypt) = &self.crypt else { return Ok(()) };
        let opened = lock(crypt).open(&mut raw.bytes[raw.start..raw.end], records).map_err(explain)?;
        raw.start += opened.used;
        raw.again = opened.again;
        Ok(())
    }

    /// Encrypts `plain` into `out` from `at` on; copies without TLS. Returns the end.
    pub(crate) fn seal(&self, plain: &[u8], out: &mut Vec<u8>, at: usize) -> io::Result<usize> {
        match &self.crypt {
            Some(crypt) => lock(crypt).seal(plain, out, at).map_err(explain),
            None => {
                if out.len() < at + plain.len() {
                    out.resize(at + plain.len(), 0);
                }
                out[at..at + plain.len()].copy_from_slice(plain);
                Ok(at + plain.len())
            }
        }
    }

    /// One write of two parts; nothing when the socket is full (or stayed full for the wait).
    pub(crate) fn write(&self, parts: &[IoSlice<'_>; 2], wait: bool) -> io::Result<Option<usize>> {
        let flags = if wait { SendFlags::NOSIGNAL } else { SendFlags::NOSIGNAL | SendFlags::DONTWAIT };
        match sendmsg(&self.socket, parts, &mut SendAncillaryBuffer::default(), flags) {
            Ok(n) => Ok(Some(n)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Closes after a last word. A socket closed over unread bytes is reset, and the word would be lost:
    /// what the other side still sends is read away, within bounds.
    pub(crate) fn farewell(&self) {
        let _ = self.socket.shutdown(Shutdown::Write);
        let _ = self.socket.set_read_timeout(Some(FAREWELL_WAIT));
        let mut sink = [0; 4096];
        for _ in 0..FAREWELL_READS {
            if !matches!(self.receive(&mut sink, true), Ok(Some(_))) {
                return;
            }
        }
    }

    /// Writes it all or fails; for greetings, which fit most socket buffers.
    pub(crate) fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        let until = Instant::now() + GREETING_WRITE_WAIT;
        while !bytes.is_empty() {
            match self.write(&[IoSlice::new(bytes), IoSlice::new(&[])], true)? {
                Some(n) => bytes = &bytes[n..],
                None if Instant::now() < until => {}
                None => return Err(io::ErrorKind::TimedOut.into()),
            }
            if !bytes.is_empty() && Instant::now() >= until {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }
}

impl Raw {
    fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.bytes.is_empty() {
            self.bytes.resize(RAW_BYTES, 0);
        }
        if self.bytes.len() - self.end < RAW_BYTES / 4 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.bytes[self.end..]
    }
}

#[cfg(test)]
mod tests {
    use super::Conn;
    use crate::crypt::Crypt;
    use crate::reader::session_frame;
    use crate::records::{Records, write_record};
    use crate::stream::{Outgoing, Payload};
    use crate::tls::NodeKey;
    use dvs_abi::limits::{FRAME_BYTES_MAX, KNOCK_BYTES_MAX};
    use dvs_wire::{Knock, SessionFrame, VERSIONS};
    use std::io::{self, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;
    use std::time::{Duration, Instant};

    /// A client that sends the end of its handshake and `plain` in one go.
    fn at_once(mut socket: TcpStream, mut crypt: Crypt, plain: &[u8]) {
        let (mut bytes, mut none) = (Vec::new(), Records::new());
        crypt.open(&mut [], &mut none).unwrap();
        socket.write_all(&crypt.take_pending()).unwrap();
        while !crypt.ready() {
            let mut piece = [0; 4096];
            let n = socket.read(&mut piece).unwrap();
            bytes.extend_from_slice(&piece[..n]);
            let used = crypt.open(&mut bytes, &mut none).unwrap().used;
            bytes.drain(..used);
        }
        let mut out = Vec::new();
        let n = crypt.seal(plain, &mut out, 0).unwrap();
        let _ = socket.write_all(&out[..n]); // not all of a flood is taken
        let _ = socket.read(&mut [0]);
    }

    fn greeted(plain: &[u8]) -> io::Result<SessionFrame> {
        let (a, b) = (NodeKey::ephemeral().unwrap(), NodeKey::ephemeral().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let crypt = Crypt::client(a.client(b.fingerprint()).unwrap()).unwrap();
        thread::scope(|s| {
            s.spawn(move || at_once(socket, crypt, plain));
            let crypt = Crypt::server(b.server().unwrap()).unwrap();
            let conn =
                Conn::new(listener.accept().unwrap().0, Some(crypt), Duration::from_millis(100)).unwrap();
            let (mut records, until) = (Records::new(), Instant::now() + Duration::from_secs(20));
            let mut raw = conn.handshake(&mut records, until)?;
            let frame = session_frame(&conn, &mut raw, &mut records, FRAME_BYTES_MAX, until);
            conn.shutdown();
            frame
        })
    }

    #[test]
    fn a_long_first_frame_right_behind_the_handshake_arrives() {
        let knock = SessionFrame::Knock(Knock::new(VERSIONS, vec![7; KNOCK_BYTES_MAX]).unwrap());
        let mut plain = Vec::new();
        write_record(&Outgoing { ack: 0, payload: Payload::Session(knock.clone()) }, &mut plain);
        for _ in 0..20 {
            assert_eq!(greeted(&plain).unwrap(), knock);
        }
    }

    #[test]
    fn a_flood_right_behind_the_handshake_is_cut_off() {
        let mut plain = vec![0; 4 << 20];
        plain[..4].copy_from_slice(&500_000_u32.to_le_bytes());
        plain[4] = 2;
        assert!(greeted(&plain).is_err());
    }
}
