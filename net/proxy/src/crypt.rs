//! TLS without a socket: bytes in, bytes out, in buffers of the caller's size.

use crate::records::Records;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, Error, ServerConfig};
use std::sync::Arc;

/// One TLS record's plain bytes.
const TLS_PLAIN: usize = 16 << 10;
/// What a TLS record adds: header, tag, content type, and room for a key update in front.
const TLS_EXTRA: usize = 64;
/// Plain bytes handed over at a time, well below the room that [`Records`] keeps.
const OPEN_BYTES: usize = 32 << 10;

enum Side {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// The state of one TLS connection.
pub(crate) struct Crypt {
    side: Side,
    /// Handshake bytes that must go out before anything else.
    pending: Vec<u8>,
    ready: bool,
}

/// What came of decrypting.
pub(crate) struct Opened {
    /// Bytes of the input that are done with.
    pub used: usize,
    /// Whether there may be more in the rest of the input.
    pub again: bool,
}

enum Step {
    Again,
    Plain,
    Wait,
    Ready,
}

impl Crypt {
    pub(crate) fn client(config: Arc<ClientConfig>) -> Result<Self, Error> {
        // names mean nothing here; the key is pinned
        let name = ServerName::try_from("dvs-node").map_err(|e| Error::General(e.to_string()))?;
        Ok(Self::new(Side::Client(UnbufferedClientConnection::new(config, name)?)))
    }

    pub(crate) fn server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self::new(Side::Server(UnbufferedServerConnection::new(config)?)))
    }

    fn new(side: Side) -> Self {
        Crypt { side, pending: Vec::new(), ready: false }
    }

    /// Whether the handshake is over on this side.
    pub(crate) const fn ready(&self) -> bool {
        self.ready
    }

    /// The other side's certificate.
    pub(crate) fn peer(&self) -> Option<CertificateDer<'static>> {
        let certs = match &self.side {
            Side::Client(c) => c.peer_certificates(),
            Side::Server(c) => c.peer_certificates(),
        };
        certs.and_then(<[_]>::first).map(|c| c.clone().into_owned())
    }

    /// Handshake bytes to be sent.
    pub(crate) fn take_pending(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    /// Decrypts some of `incoming` into `plain`.
    pub(crate) fn open(&mut self, incoming: &mut [u8], plain: &mut Records) -> Result<Opened, Error> {
        let (mut used, mut fed) = (0, 0);
        loop {
            let rest = &mut incoming[used..];
            let result = match &mut self.side {
                Side::Client(c) => handle(c.process_tls_records(rest), plain, &mut self.pending, &mut fed),
                Side::Server(c) => handle(c.process_tls_records(rest), plain, &mut self.pending, &mut fed),
            };
            if result.is_err() {
                self.alert(plain);
            }
            let (discard, step) = result?;
            used += discard;
            match step {
                Step::Again => {}
                Step::Plain if fed < OPEN_BYTES => {}
                Step::Plain => return Ok(Opened { used, again: true }),
                Step::Wait => return Ok(Opened { used, again: false }),
                Step::Ready => {
                    self.ready = true;
                    return Ok(Opened { used, again: false });
                }
            }
        }
    }

    /// After an error: the alert that tells the other side why goes to `pending`.
    fn alert(&mut self, plain: &mut Records) {
        let _ = match &mut self.side {
            Side::Client(c) => handle(c.process_tls_records(&mut []), plain, &mut self.pending, &mut 0),
            Side::Server(c) => handle(c.process_tls_records(&mut []), plain, &mut self.pending, &mut 0),
        };
    }

    /// Encrypts into `out` from `at` on; returns the end of what is there then. `out` grows as needed.
    pub(crate) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>, at: usize) -> Result<usize, Error> {
        let need = at + self.pending.len() + plain.len() + (plain.len() / TLS_PLAIN + 2) * TLS_EXTRA;
        if out.len() < need {
            out.resize(need, 0);
        }
        let mut at = at;
        loop {
            let (end, done) = match &mut self.side {
                Side::Client(c) => emit(c.process_tls_records(&mut []), plain, out, at, &mut self.pending)?,
                Side::Server(c) => emit(c.process_tls_records(&mut []), plain, out, at, &mut self.pending)?,
            };
            at = end;
            if done {
                return Ok(at);
            }
        }
    }
}

fn handle<D>(
    status: UnbufferedStatus<'_, '_, D>,
    plain: &mut Records,
    pending: &mut Vec<u8>,
    fed: &mut usize,
) -> Result<(usize, Step), Error> {
    let mut discard = status.discard;
    let step = match status.state? {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record?;
                discard += record.discard;
                if plain.feed(record.payload) != record.payload.len() {
                    return Err(Error::General("more plain bytes than a record can have".to_owned()));
                }
                *fed += record.payload.len();
            }
            Step::Plain
        }
        ConnectionState::EncodeTlsData(mut data) => {
            encode(&mut data, pending)?;
            Step::Again
        }
        ConnectionState::TransmitTlsData(data) => {
            data.done(); // they are in `pending`, which goes out before anything else
            Step::Again
        }
        ConnectionState::BlockedHandshake => Step::Wait,
        ConnectionState::WriteTraffic(_) => Step::Ready,
        ConnectionState::PeerClosed | ConnectionState::Closed => {
            return Err(Error::General("the other side closed the connection".to_owned()));
        }
        other => return Err(Error::General(format!("unexpected TLS state {other:?}"))),
    };
    Ok((discard, step))
}

fn encode<D>(
    data: &mut rustls::unbuffered::EncodeTlsData<'_, D>,
    pending: &mut Vec<u8>,
) -> Result<(), Error> {
    let start = pending.len();
    let mut size = 4096;
    loop {
        pending.resize(start + size, 0);
        match data.encode(&mut pending[start..]) {
            Ok(n) => {
                pending.truncate(start + n);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(e)) if e.required_size > size => size = e.required_size,
            Err(e) => return Err(Error::General(e.to_string())),
        }
    }
}

/// One step of sealing; true when `plain` is in `out`.
fn emit<D>(
    status: UnbufferedStatus<'_, '_, D>,
    plain: &[u8],
    out: &mut Vec<u8>,
    at: usize,
    pending: &mut Vec<u8>,
) -> Result<(usize, bool), Error> {
    match status.state? {
        ConnectionState::EncodeTlsData(mut data) => {
            encode(&mut data, pending)?;
            Ok((at, false))
        }
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok((at, false))
        }
        ConnectionState::WriteTraffic(mut traffic) => {
            let start = at + pending.len();
            if out.len() < start {
                out.resize(start, 0);
            }
            out[at..start].copy_from_slice(pending);
            pending.clear();
            loop {
                match traffic.encrypt(plain, &mut out[start..]) {
                    Ok(n) => return Ok((start + n, true)),
                    Err(EncryptError::InsufficientSize(e)) if start + e.required_size > out.len() => {
                        out.resize(start + e.required_size, 0);
                    }
                    Err(e) => return Err(Error::General(e.to_string())),
                }
            }
        }
        other => Err(Error::General(format!("cannot send in TLS state {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::Crypt;
    use crate::records::Records;
    use crate::tls::NodeKey;

    fn pair() -> (Crypt, Crypt) {
        let (a, b) = (NodeKey::ephemeral().unwrap(), NodeKey::ephemeral().unwrap());
        let client = Crypt::client(a.client(b.fingerprint()).unwrap()).unwrap();
        let server = Crypt::server(b.server().unwrap()).unwrap();
        (client, server)
    }

    fn pass(from: &mut Crypt, to: &mut Crypt, records: &mut Records) {
        let mut bytes = from.take_pending();
        let mut at = 0;
        while at < bytes.len() {
            let used = to.open(&mut bytes[at..], records).unwrap().used;
            assert!(used > 0, "whole flights make progress");
            at += used;
        }
    }

    fn shake(client: &mut Crypt, server: &mut Crypt, records: &mut Records) {
        client.open(&mut [], records).unwrap();
        while !(client.ready() && server.ready()) {
            pass(client, server, records);
            pass(server, client, records);
        }
    }

    #[test]
    fn what_is_sealed_opens_again_at_every_size() {
        let (mut client, mut server) = pair();
        let mut records = Records::new();
        shake(&mut client, &mut server, &mut records);
        assert!(client.peer().is_some() && server.peer().is_some());
        let (mut out, mut got) = (Vec::new(), 0);
        for size in [1usize, 24, 16_383, 16_384, 16_385, 50_000] {
            // a session record of this size stands for any bytes: what matters is that they come out whole
            let head = dvs_wire::RecordHead { length: size as u32, first: 1, ..Default::default() };
            let mut plain = head.encode().to_vec();
            plain.resize(24 + size, size as u8);
            let end = client.seal(&plain, &mut out, 0).unwrap();
            let mut at = 0;
            while at < end {
                at += server.open(&mut out[at..end], &mut records).unwrap().used;
            }
            while server.open(&mut [], &mut records).unwrap().again {}
            let (head, payload) = records.next_record().unwrap().unwrap();
            assert!(head.length as usize == size && payload.iter().all(|b| *b == size as u8));
            got += 1;
        }
        assert_eq!(got, 6);
    }

    /// Keys are renewed after 2^24 records; run with `--ignored`, takes about ten seconds.
    #[test]
    #[ignore = "17 million records"]
    fn the_keys_are_renewed_under_way() {
        let (mut client, mut server) = pair();
        let mut records = Records::new();
        shake(&mut client, &mut server, &mut records);
        let head = dvs_wire::RecordHead { ack: 7, ..Default::default() }.encode();
        let mut out = Vec::new();
        for n in 0..(1u64 << 24) + 100_000 {
            let end = client.seal(&head, &mut out, 0).unwrap();
            let mut at = 0;
            while at < end {
                at +=
                    server.open(&mut out[at..end], &mut records).unwrap_or_else(|e| panic!("{n}: {e}")).used;
            }
            assert_eq!(records.next_record().unwrap().map(|r| r.0.ack), Some(7));
        }
    }
}
