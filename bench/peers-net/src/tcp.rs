//! Raw TCP, blocking calls, no delay: what a ping-pong across machines costs without anything on top.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::Result;
use dvs_bench_common::{Op, PAYLOAD_BYTES, ready};

/// Listens on a port of the system's choice and says it.
pub fn listen(ip: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind((ip, 0))?;
    ready(&listener.local_addr()?.to_string())?;
    Ok(listener)
}

/// Serves one client.
pub fn serve(ip: &str) -> Result<()> {
    let (mut stream, _) = listen(ip)?.accept()?;
    stream.set_nodelay(true)?;
    echo(&mut stream)
}

/// Sends every message back until the other side closes.
pub fn echo(stream: &mut (impl Read + Write)) -> Result<()> {
    let mut buffer = [0_u8; PAYLOAD_BYTES];
    loop {
        match stream.read_exact(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        stream.write_all(&buffer)?;
        stream.flush()?;
    }
}

/// One call over any stream.
pub fn call(mut stream: impl Read + Write + 'static) -> Op {
    let mut buffer = [1_u8; PAYLOAD_BYTES];
    Box::new(move || {
        stream.write_all(&buffer)?;
        stream.flush()?;
        Ok(stream.read_exact(&mut buffer)?)
    })
}

/// A client.
pub fn connect(address: &str) -> Result<Op> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(call(stream))
}
