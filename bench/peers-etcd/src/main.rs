//! `peers-etcd ADDRESS,ADDRESS,… CLIENTS BYTES SECONDS`: puts to etcd in a closed loop, the same load as
//! `cluster-bench` makes for ours; client `n` calls the `n`th address, round and round. Prints one line of
//! JSON.
//!
//! The client speaks gRPC over HTTP/2 by hand, with one stream at a time on a connection of its own, so that
//! it costs the two cores it shares with three servers as little as ours.
//!
//! ```text
//! connection   preface, SETTINGS            put   HEADERS (fixed), DATA = 0 | length | PutRequest
//!              ◄ SETTINGS, ack                    ◄ HEADERS, DATA, HEADERS with END_STREAM
//! ```
#![forbid(unsafe_code)]

mod h2;

use h2::Connection;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [addresses, clients, bytes, seconds] = &words[..] else {
        eprintln!("usage: peers-etcd ADDRESS,ADDRESS,… CLIENTS BYTES SECONDS");
        std::process::exit(2);
    };
    let number = |word: &str| word.parse::<u64>().map_err(std::io::Error::other);
    let addresses = addresses.split(',').map(|a| a.parse().map_err(std::io::Error::other));
    let addresses: Vec<SocketAddr> = addresses.collect::<Result<_, _>>()?;
    let (clients, bytes, seconds) = (number(clients)? as usize, number(bytes)? as usize, number(seconds)?);
    let open = |n: usize| Connection::open(addresses[n % addresses.len()]);
    let connections: Vec<Connection> = (0..clients).map(open).collect::<Result<_, _>>()?;
    let began = Instant::now();
    let end = began + Duration::from_secs(seconds);
    let mut times = Vec::new();
    let mut failed = 0;
    std::thread::scope(|s| {
        let load = |(n, c)| s.spawn(move || put(n, c, bytes, end));
        let threads: Vec<_> = connections.into_iter().enumerate().map(load).collect();
        for thread in threads {
            match thread.join() {
                Ok(Ok(t)) => times.extend(t),
                Ok(Err(e)) => {
                    eprintln!("peers-etcd: {e}");
                    failed += 1;
                }
                Err(_) => failed += 1,
            }
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    times.sort_unstable();
    let last = times.len().saturating_sub(1) as f64;
    let at = |part: f64| times.get((last * part) as usize).copied().unwrap_or(0);
    let rate = times.len() as f64 / seconds;
    let (p50, p99) = (at(0.5), at(0.99));
    print!("{{\"puts\": {}, \"failed\": {failed}, \"puts_per_second\": {rate}, ", times.len());
    println!("\"p50_us\": {p50}, \"p99_us\": {p99}}}");
    Ok(())
}

/// Puts until `end`; how long each took, in microseconds.
fn put(me: usize, mut connection: Connection, bytes: usize, end: Instant) -> std::io::Result<Vec<u64>> {
    let value = vec![b'x'; bytes];
    let mut times = Vec::new();
    let mut n = 0_u64;
    while Instant::now() < end {
        n += 1;
        let request = request(format!("bench/{me}/{}", n % 1000).as_bytes(), &value);
        let start = Instant::now();
        connection.call(&request)?;
        times.push(start.elapsed().as_micros() as u64);
    }
    Ok(times)
}

/// A PutRequest: field 1 the key, field 2 the value.
fn request(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + value.len() + 16);
    for (field, bytes) in [(1_u8, key), (2, value)] {
        out.push(field << 3 | 2);
        let mut length = bytes.len();
        while length > 127 {
            out.push(length as u8 | 128);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend_from_slice(bytes);
    }
    out
}
