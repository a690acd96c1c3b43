//! Unix sockets that keep message boundaries: the plain way to do request and reply between two processes.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Result, bail};
use dvs_bench_common::{Op, PAYLOAD_BYTES, ready};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType};
use rustix::net::{accept, bind, connect as net_connect, listen, recv, send, socket};

/// Connections that may wait to be accepted: more than clients of any run.
const BACKLOG: i32 = 1024;
/// Readiness events taken at a time.
const EVENTS: usize = 64;

fn listener(address: &str) -> Result<OwnedFd> {
    let fd = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)?;
    bind(&fd, &SocketAddrUnix::new(address)?)?;
    listen(&fd, BACKLOG)?;
    ready(address)?;
    Ok(fd)
}

/// Serves one client with blocking calls.
pub fn serve_one(address: &str) -> Result<()> {
    let client = accept(&listener(address)?)?;
    while answer(&client)? {}
    Ok(())
}

/// Serves any number of clients through one epoll.
pub fn serve_all(address: &str) -> Result<()> {
    let door = listener(address)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &door, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
    let mut clients: Vec<Option<OwnedFd>> = Vec::new();
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        epoll::wait(&poll, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            match event.data.u64() as usize {
                0 => {
                    let client = accept(&door)?;
                    let number = epoll::EventData::new_u64(clients.len() as u64 + 1);
                    epoll::add(&poll, &client, number, epoll::EventFlags::IN)?;
                    clients.push(Some(client));
                }
                number => {
                    let gone = match clients.get(number - 1) {
                        Some(Some(client)) => !answer(client)?,
                        _ => bail!("an event of no client"),
                    };
                    if gone {
                        clients[number - 1] = None;
                    }
                }
            }
        }
    }
}

/// Sends one message back; false when the client has gone.
fn answer(client: impl AsFd) -> Result<bool> {
    let mut buffer = [0_u8; PAYLOAD_BYTES];
    let (bytes, _) = recv(&client, &mut buffer, RecvFlags::empty())?;
    if bytes == 0 {
        return Ok(false);
    }
    send(&client, &buffer[..bytes], SendFlags::NOSIGNAL)?;
    Ok(true)
}

/// A blocking client.
pub fn connect(address: &str) -> Result<Op> {
    let fd = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)?;
    net_connect(&fd, &SocketAddrUnix::new(address)?)?;
    let mut buffer = [1_u8; PAYLOAD_BYTES];
    Ok(Box::new(move || {
        send(&fd, &buffer, SendFlags::NOSIGNAL)?;
        let (bytes, _) = recv(&fd, &mut buffer, RecvFlags::empty())?;
        if bytes != PAYLOAD_BYTES {
            bail!("the server answered {bytes} bytes");
        }
        Ok(())
    }))
}
