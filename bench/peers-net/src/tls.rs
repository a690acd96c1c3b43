//! TLS 1.3 by rustls over blocking TCP, one thread a side: a ping-pong, and one long stream.
//!
//! The server makes a certificate for the run and hands it to the client with its address
//! (`IP:PORT/CERTIFICATE-IN-HEX`): both are ours, there is nobody to be deceived.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use dvs_bench_common::{Ask, Child, Op, Side, net_address, ready};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::tcp;

const NAME: &str = "bench.invalid";
/// One write of the stream: what a program that sends bulk data would take.
const CHUNK_BYTES: usize = 256 << 10;
/// A stream is measured longer than a ping-pong: TCP needs time to open its window.
const STREAM_FACTOR: u32 = 4;

type ServerStream = StreamOwned<ServerConnection, TcpStream>;
type ClientStream = StreamOwned<ClientConnection, TcpStream>;

fn accept(ip: &str) -> Result<ServerStream> {
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_string()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())?;
    // Tickets to resume a session would lie unread in the sender's socket, and reset the stream when it
    // closes.
    config.send_tls13_tickets = 0;
    let listener = TcpListener::bind((ip, 0))?;
    let mut address = format!("{}/", listener.local_addr()?);
    for byte in made.cert.der().iter() {
        write!(address, "{byte:02x}")?;
    }
    ready(&address)?;
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    Ok(StreamOwned::new(ServerConnection::new(Arc::new(config))?, stream))
}

fn open(address: &str) -> Result<ClientStream> {
    let (address, hex) = address.split_once('/').context("an address without certificate")?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(unhex(hex)?))?;
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(StreamOwned::new(ClientConnection::new(Arc::new(config), ServerName::try_from(NAME)?)?, stream))
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?)).collect()
}

/// Serves one client.
pub fn serve(ip: &str) -> Result<()> {
    tcp::echo(&mut accept(ip)?)
}

/// A client.
pub fn connect(address: &str) -> Result<Op> {
    Ok(tcp::call(open(address)?))
}

/// The receiving end of the stream, a process of its own: GB/s, the first quarter of the time not counted.
pub fn sink(ask: &Ask) -> Result<f64> {
    let mut stream = accept(&ask.of)?;
    let mut buffer = vec![0_u8; CHUNK_BYTES];
    let (start, warm) = (Instant::now(), ask.window / 4);
    let (mut bytes, mut from) = (0_u64, None);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes += count as u64,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error.into()),
        }
        if from.is_none() && start.elapsed() >= warm {
            (bytes, from) = (0, Some(Instant::now()));
        }
    }
    let from = from.context("the stream ended before it was warm")?;
    Ok(bytes as f64 / from.elapsed().as_secs_f64() / 1e9)
}

/// The sending end of the stream, a process of its own.
pub fn source(ask: &Ask) -> Result<f64> {
    let mut stream = open(&ask.of)?;
    let chunk = vec![7_u8; CHUNK_BYTES];
    let (start, mut bytes) = (Instant::now(), 0_u64);
    while start.elapsed() < ask.window {
        stream.write_all(&chunk)?;
        bytes += chunk.len() as u64;
    }
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(bytes as f64 / start.elapsed().as_secs_f64() / 1e9)
}

/// GB/s of a one-way stream, as its receiver sees them.
pub fn stream(ask: &Ask) -> Result<f64> {
    let ms = (ask.window * STREAM_FACTOR).as_millis().to_string();
    let words = |name: &str, of: &str| [name, "--of", of, "--ms", &ms].map(String::from);
    let mut sink = Child::again(Side::B, &words("tls-sink", &net_address()))?;
    let line = sink.line()?;
    let Some(address) = line.strip_prefix("READY ") else { bail!("expected READY, got {line:?}") };
    Child::again(Side::A, &words("tls-source", address))?.rest()?;
    let number = sink.line()?;
    number.parse().with_context(|| format!("{number:?} is not a number"))
}
