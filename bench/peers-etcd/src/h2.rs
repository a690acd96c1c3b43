//! As much of HTTP/2 as one call after the other needs.

use std::io::{Error, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// Data taken before the other side is told that it may send more.
const WINDOW_STEP: usize = 16 << 10;

/// A connection with one call at a time.
pub struct Connection {
    stream: TcpStream,
    next: u32,
    head: Vec<u8>,
    taken: usize,
    buffer: Vec<u8>,
    filled: usize,
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, body: &[u8]) {
    out.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(body);
}

/// A header that enters no table, without compression.
fn literal(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(0);
    for text in [name, value] {
        out.push(text.len() as u8);
        out.extend_from_slice(text.as_bytes());
    }
}

impl Connection {
    /// Connects to an etcd.
    pub fn open(address: SocketAddr) -> Result<Connection> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        frame(&mut out, SETTINGS, 0, 0, &[]);
        stream.write_all(&out)?;
        let mut head = Vec::new();
        literal(&mut head, ":method", "POST");
        literal(&mut head, ":scheme", "http");
        literal(&mut head, ":path", "/etcdserverpb.KV/Put");
        literal(&mut head, ":authority", "localhost");
        literal(&mut head, "content-type", "application/grpc");
        literal(&mut head, "te", "trailers");
        Ok(Connection { stream, next: 1, head, taken: 0, buffer: vec![0; 64 << 10], filled: 0 })
    }

    /// Makes a call and waits for its end; the answer is not looked at.
    pub fn call(&mut self, message: &[u8]) -> Result<()> {
        let id = self.next;
        self.next += 2;
        let mut out = Vec::with_capacity(message.len() + 256);
        frame(&mut out, HEADERS, END_HEADERS, id, &self.head);
        let mut body = vec![0];
        body.extend_from_slice(&(message.len() as u32).to_be_bytes());
        body.extend_from_slice(message);
        frame(&mut out, DATA, END_STREAM, id, &body);
        self.stream.write_all(&out)?;
        let mut answered = false;
        loop {
            let (kind, flags, stream, body) = self.read_frame()?;
            let mut out = Vec::new();
            match kind {
                SETTINGS if flags & ACK == 0 => frame(&mut out, SETTINGS, ACK, 0, &[]),
                PING if flags & ACK == 0 => frame(&mut out, PING, ACK, 0, &body),
                DATA => {
                    answered |= stream == id;
                    self.taken += body.len();
                    if self.taken > WINDOW_STEP {
                        frame(&mut out, WINDOW_UPDATE, 0, 0, &(self.taken as u32).to_be_bytes());
                        self.taken = 0;
                    }
                }
                RST_STREAM | GOAWAY => return Err(Error::other("the server ended the call")),
                _ => {}
            }
            if !out.is_empty() {
                self.stream.write_all(&out)?;
            }
            if stream == id && flags & END_STREAM != 0 && (kind == HEADERS || kind == DATA) {
                // A refusal has no data, only trailers.
                return if answered { Ok(()) } else { Err(Error::other("the put was refused")) };
            }
        }
    }

    fn read_frame(&mut self) -> Result<(u8, u8, u32, Vec<u8>)> {
        while self.filled < 9 {
            self.fill()?;
        }
        let b = &self.buffer;
        let length = u32::from_be_bytes([0, b[0], b[1], b[2]]) as usize;
        let (kind, flags) = (b[3], b[4]);
        let stream = u32::from_be_bytes([b[5] & 127, b[6], b[7], b[8]]);
        if 9 + length > self.buffer.len() {
            return Err(Error::other("a frame larger than was allowed"));
        }
        while self.filled < 9 + length {
            self.fill()?;
        }
        let body = self.buffer[9..9 + length].to_vec();
        self.buffer.copy_within(9 + length..self.filled, 0);
        self.filled -= 9 + length;
        Ok((kind, flags, stream, body))
    }

    fn fill(&mut self) -> Result<()> {
        let n = self.stream.read(&mut self.buffer[self.filled..])?;
        if n == 0 {
            return Err(Error::other("the server closed the connection"));
        }
        self.filled += n;
        Ok(())
    }
}
