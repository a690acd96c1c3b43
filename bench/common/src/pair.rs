//! One server against one client, and one server against many.
//!
//! `many` counts only what was answered inside one window of the monotonic clock that is the same for all
//! clients:
//!
//! ```text
//!   client 1  connect ── one call ── READY ─┐      ┌ calls ─┃━━ counted ━━┃─> n1
//!   client 2  connect ── one call ── READY ─┼─ go ─┤ calls ─┃━━ counted ━━┃─> n2
//!   client 3  connect ── one call ── READY ─┘      └ calls ─┃━━ counted ━━┃─> n3
//!                                                        start          end
//! ```

use std::io::{BufRead, Write};

use anyhow::{Context, Result, bail};

use crate::{Ask, Child, Peer, Side, monotonic_ns, time_batch};

/// A server says that it accepts, and at which address. To be called once by every `serve`.
///
/// # Errors
/// The parent is gone.
pub fn ready(address: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "READY {address}")?;
    Ok(out.flush()?)
}

/// Parent of a ping-pong run: mean microseconds of a round trip.
pub(crate) fn pingpong(peer: &Peer, ask: &Ask) -> Result<f64> {
    let (_server, address) = start_server(peer, ask)?;
    let mut client = start_client(peer, "pingpong", &address, ask)?;
    let number = client.line()?;
    number.parse().with_context(|| format!("{number:?} is not a number"))
}

/// Parent of a run with many clients: answered requests per second, all clients together.
pub(crate) fn many(peer: &Peer, ask: &Ask) -> Result<f64> {
    let (_server, address) = start_server(peer, ask)?;
    let start = || start_client(peer, "many", &address, ask);
    let mut clients = (0..ask.clients).map(|_| start()).collect::<Result<Vec<Child>>>()?;
    for client in &mut clients {
        expect_ready(client)?;
    }
    let window = ask.window.as_nanos() as u64;
    let from = monotonic_ns() + window / 3;
    for client in &mut clients {
        client.tell(&format!("{from} {}", from + window))?;
    }
    let mut calls = 0_u64;
    for client in &mut clients {
        calls += client.line()?.parse::<u64>()?;
    }
    Ok(calls as f64 / ask.window.as_secs_f64())
}

/// Client of a ping-pong run; prints its number.
pub(crate) fn client_pingpong(peer: &Peer, address: &str, ask: &Ask) -> Result<()> {
    let mut op = (peer.connect)(address)?;
    let mean = time_batch(&mut op, ask.window)?;
    println!("{mean}");
    Ok(())
}

/// One of many clients; prints how many of its calls were answered inside the window.
pub(crate) fn client_many(peer: &Peer, address: &str) -> Result<()> {
    let mut op = (peer.connect)(address)?;
    op()?;
    ready("")?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let (from, to) = line.trim().split_once(' ').context("no window was given")?;
    let (from, to) = (from.parse::<u64>()?, to.parse::<u64>()?);
    let mut calls = 0_u64;
    loop {
        op()?;
        let now = monotonic_ns();
        if now >= to {
            break;
        }
        calls += u64::from(now >= from);
    }
    println!("{calls}");
    // Stay until the parent ends us: a connection that closes is work for the server while others still
    // count.
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(())
}

fn start_server(peer: &Peer, ask: &Ask) -> Result<(Child, String)> {
    let mut words = vec![peer.name.to_string(), "serve".into(), peer.listen_at()];
    words.extend(ask.to_words());
    let mut server = Child::again(peer.reach.server(), &words)?;
    let address = expect_ready(&mut server)?;
    Ok((server, address))
}

fn start_client(peer: &Peer, kind: &str, address: &str, ask: &Ask) -> Result<Child> {
    let mut words = vec![peer.name.to_string(), format!("client-{kind}"), address.into()];
    words.extend(ask.to_words());
    Child::again(if peer.reach.server() == Side::Here { Side::Here } else { Side::A }, &words)
}

fn expect_ready(child: &mut Child) -> Result<String> {
    let line = child.line()?;
    match line.split_once(' ').or(Some((line.as_str(), ""))) {
        Some(("READY", address)) => Ok(address.to_string()),
        _ => bail!("expected READY, got {line:?}"),
    }
}
