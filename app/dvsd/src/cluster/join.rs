//! Becoming a node of a system: the token that says so, the door it is shown at, and the machine that shows
//! it.
//!
//! ```text
//!   dvs token ─► Invite{digest} in the log ─► "dvs1-…"            on a node of the system
//!   dvs join  ─► knock at an address of the token, its key pinned  on the new machine
//!                  └► Admit{digest, card} in the log ─► number, contacts
//! ```
//! A machine that heard no answer knocks again, with the same key: it is given the same number.

use super::identity::Contact;
use super::{For, Identity};
use crate::config::{Config, Security};
use crate::daemon::Daemon;
use crate::desk::Wish;
use crate::proxy;
use dvs_abi::limits::{NAME_BYTES, TOKEN_ADDRESSES_MAX};
use dvs_abi::{Code, NodeId};
use dvs_control::command::{Command, Refusal};
use dvs_control::member::{Key, NodeCard};
use dvs_control::token::{Token, digest};
use dvs_kern::node::event::SessionId;
use dvs_proxy::{Answer, Fingerprint, KnockError};
use serde::{Deserialize, Serialize};
use std::io::{self, Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where a node listens unless it is told otherwise.
pub const LISTEN: &str = "0.0.0.0:7400";
/// How long a knock may take at each address.
const KNOCK: Duration = Duration::from_secs(15);
/// The key a token names in a system without keys.
const NO_KEY: Key = [0; 32];

/// What a machine says at the door.
#[derive(Serialize, Deserialize)]
enum Request {
    V1 {
        secret: [u8; 16],
        name: String,
        /// Where it is going to listen; the host may be left to whoever is asked.
        address: String,
        /// What tells it from others in a system without keys.
        key: Key,
        witness: bool,
    },
}

/// What it is told.
#[derive(Serialize, Deserialize)]
enum Welcome {
    V1 { system: u128, node: u16, address: String, contacts: Vec<Contact> },
}

/// A machine at the door that waits for the log.
pub(crate) struct Knocked {
    answer: Answer,
    address: String,
}

/// Makes this machine a node of the system of `token`. Nothing is kept here yet besides its key.
///
/// # Errors
/// What is wrong with the token, why no node of the system could be asked, or why it refused; each with what
/// to do about it.
pub fn join(config: &Config, token: &str) -> io::Result<Identity> {
    let invalid = |e: &dyn std::fmt::Display| Error::new(ErrorKind::InvalidInput, e.to_string());
    let token: Token = token.parse().map_err(|e| invalid(&e))?;
    let security = if token.key() == NO_KEY { Security::Plain } else { Security::Tls };
    let (keys, key) = match security {
        Security::Plain => (dvs_proxy::Security::Plain, random_key()?),
        Security::Tls => {
            let own = proxy::node_key(config)?;
            let key = own.fingerprint().0;
            (dvs_proxy::Security::Tls(Arc::new(own)), key)
        }
    };
    let listen = config.listen.clone().unwrap_or_else(|| LISTEN.into());
    let mut failed = Vec::new();
    for address in token.addresses() {
        let at = match proxy::resolve(address) {
            Ok(at) => at,
            Err(e) => {
                failed.push(e.to_string());
                continue;
            }
        };
        let mine = config.address.clone().unwrap_or_else(|| towards(&listen, at));
        let (secret, name) = (token.secret(), config.node.clone());
        let request = Request::V1 { secret, name, address: mine, key, witness: config.witness };
        let payload = postcard::to_stdvec(&request).map_err(|e| invalid(&e))?;
        match dvs_proxy::knock(at, &keys, Fingerprint(token.key()), &payload, KNOCK) {
            Ok(answer) => return welcomed(config, &answer, listen, security, key),
            // Nobody there: perhaps at another of its addresses.
            Err(e @ (KnockError::Connect { .. } | KnockError::Late { .. } | KnockError::Closed { .. })) => {
                failed.push(e.to_string());
            }
            Err(e) => return Err(Error::new(ErrorKind::PermissionDenied, e.to_string())),
        }
    }
    Err(Error::new(ErrorKind::NotConnected, failed.join("\n")))
}

fn welcomed(
    config: &Config,
    answer: &[u8],
    listen: String,
    security: Security,
    key: Key,
) -> io::Result<Identity> {
    let unread = |_| Error::new(ErrorKind::InvalidData, "the answer of the system cannot be read");
    let Welcome::V1 { system, node, address, contacts } = postcard::from_bytes(answer).map_err(unread)?;
    let mut identity = Identity::new(system, NodeId(node), &config.node, security, key);
    (identity.listen, identity.address) = (Some(listen), address);
    identity.witness = config.witness;
    identity.contacts = contacts;
    let dir = config.data();
    std::fs::create_dir_all(&dir)?;
    identity.save(&dir)?;
    Ok(identity)
}

/// A number that stands for a key where there are none.
pub(super) fn random_key() -> io::Result<Key> {
    let halves = [proxy::random()?.to_ne_bytes(), proxy::random()?.to_ne_bytes()].concat();
    Ok(halves.try_into().unwrap_or(NO_KEY))
}

/// `listen` as a node at `peer` sees it.
fn towards(listen: &str, peer: SocketAddr) -> String {
    let Ok(at) = listen.parse::<SocketAddr>() else { return listen.into() };
    if !at.ip().is_unspecified() {
        return listen.into();
    }
    let any = if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    // Nothing is sent: the system is asked which address it would send from.
    let here = UdpSocket::bind(any).and_then(|s| s.connect(peer).and_then(|()| s.local_addr()));
    here.map_or(listen.into(), |here| SocketAddr::new(here.ip(), at.port()).to_string())
}

/// Where others find a node that listens there: its first address that is not the machine's own.
pub(super) fn advertised(listen: &str) -> String {
    addresses(listen).into_iter().next().unwrap_or_else(|| listen.into())
}

/// All addresses others may find it at.
fn addresses(listen: &str) -> Vec<String> {
    let Ok(at) = listen.parse::<SocketAddr>() else { return vec![listen.into()] };
    if !at.ip().is_unspecified() {
        return vec![listen.into()];
    }
    let table = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let mut ips = local_addresses(&table);
    if ips.is_empty() {
        ips.push(Ipv4Addr::LOCALHOST);
    }
    let with_port = |ip: Ipv4Addr| SocketAddr::new(IpAddr::V4(ip), at.port()).to_string();
    ips.into_iter().map(with_port).take(TOKEN_ADDRESSES_MAX).collect()
}

/// The machine's addresses by its table of routes, without those that lead nowhere else.
fn local_addresses(table: &str) -> Vec<Ipv4Addr> {
    let mut found: Vec<Ipv4Addr> = Vec::new();
    let mut last = None;
    for line in table.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line.starts_with("/32 host LOCAL")
            && let Some(ip) = last.take().filter(|ip| !ip.is_loopback() && !found.contains(ip))
        {
            found.push(ip);
        }
    }
    found
}

impl Daemon {
    /// Makes a token. A node that listens nowhere begins to, at `listen`.
    pub(crate) fn token(&mut self, s: SessionId, order: &TokenOrder) {
        if let Err(e) = self.listen_now(order) {
            return self.refuse(s, Code::INVAL, &e.to_string());
        }
        let listen = self.plane.identity.listen.clone().unwrap_or_default();
        let mut at = addresses(&listen);
        let known = &self.plane.identity.address;
        at.retain(|a| a != known);
        at.insert(0, known.clone());
        at.truncate(TOKEN_ADDRESSES_MAX);
        let key = match self.plane.security() {
            Security::Tls => self.plane.identity.key,
            Security::Plain => NO_KEY,
        };
        let secret = match proxy::random() {
            Ok(secret) => secret.to_ne_bytes(),
            Err(e) => return self.refuse(s, Code::INVAL, &e.to_string()),
        };
        let token = match Token::new(secret, key, at) {
            Ok(token) => token,
            Err(e) => return self.refuse(s, Code::INVAL, &e.to_string()),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let until = now.saturating_add(Duration::from_secs(order.seconds)).as_nanos() as u64;
        let command = Command::Invite { token: token.digest(), until, uses: order.uses };
        self.decide(command, For::Admin(s, Wish::Token(token.to_string())));
    }

    /// Listens, unless this node does already.
    fn listen_now(&mut self, order: &TokenOrder) -> io::Result<()> {
        if self.door.is_some() {
            return match &order.listen {
                Some(listen) if Some(listen) != self.plane.identity.listen.as_ref() => {
                    let at = self.plane.identity.listen.clone().unwrap_or_default();
                    let text = format!("this node listens at {at} already; its configuration says where");
                    Err(Error::new(ErrorKind::AddrInUse, text))
                }
                _ => Ok(()),
            };
        }
        let listen = order.listen.clone().unwrap_or_else(|| LISTEN.into());
        let address = order.address.clone().unwrap_or_else(|| advertised(&listen));
        (self.plane.identity.listen, self.plane.identity.address) = (Some(listen), address.clone());
        match self.open_door() {
            Ok(()) => {
                self.save_identity();
                self.decide(Command::Listen { address }, For::Own("to say where this node listens"));
                Ok(())
            }
            Err(e) => {
                (self.plane.identity.listen, self.plane.identity.address) = (None, String::new());
                Err(e)
            }
        }
    }

    /// A machine knocked.
    pub(crate) fn knocked(
        &mut self,
        proved: Option<Fingerprint>,
        from: SocketAddr,
        payload: &[u8],
        answer: Answer,
    ) {
        let Ok(Request::V1 { secret, name, address, key, witness }) = postcard::from_bytes(payload) else {
            // It has left if it did not wait.
            let _ = answer.refuse("this request to join cannot be read here");
            return;
        };
        let name: String = name.chars().take(NAME_BYTES + 1).collect();
        let address = match address.parse::<SocketAddr>() {
            Ok(at) if at.ip().is_unspecified() => SocketAddr::new(from.ip(), at.port()).to_string(),
            _ => address,
        };
        let key = proved.map_or(key, |f| f.0);
        self.log.add("cluster", format!("{name} at {address} ({}) wants to join", from.ip()));
        let card = NodeCard { name, address: address.clone(), key, witness };
        let command = Command::Admit { token: digest(&secret), card };
        self.decide(command, For::Knock(Knocked { answer, address }));
    }

    pub(super) fn knock_decided(&mut self, knocked: Knocked, node: Result<NodeId, Refusal>) {
        let node = match node {
            Ok(node) => node,
            Err(e) => {
                self.log.add("cluster", format!("a machine was not let in: {}", e.text));
                let _ = knocked.answer.refuse(&e.text);
                return;
            }
        };
        let contact = |(n, m): (NodeId, &dvs_control::member::Member)| Contact {
            node: n.0,
            name: m.card.name.clone(),
            address: m.card.address.clone(),
            key: m.card.key,
        };
        let contacts = self.plane.state.members().filter(|(n, _)| *n != node).map(contact).collect();
        let system = self.plane.state.rules().system;
        let welcome = Welcome::V1 { system, node: node.0, address: knocked.address, contacts };
        let bytes = postcard::to_stdvec(&welcome).unwrap_or_default();
        // It asks again if it did not hear it.
        let _ = knocked.answer.send(bytes);
    }

    fn refuse(&mut self, s: SessionId, code: Code, why: &str) {
        self.admin_decided(s, Wish::Done, Err(Refusal { code: code as i32, text: why.to_owned() }));
    }
}

/// What a token is to be like.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct TokenOrder {
    /// How many machines may use it.
    pub uses: u16,
    /// For how long, s.
    pub seconds: u64,
    /// Where this node is to listen if it does not yet.
    pub listen: Option<String>,
    /// Where others find it, if that is not where it listens.
    pub address: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::{addresses, local_addresses, towards};
    use std::net::Ipv4Addr;

    #[test]
    fn a_machine_knows_its_addresses() {
        let table = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     \
                     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 192.0.2.7\n        /32 host LOCAL\n     \
                     |-- 192.0.2.255\n        /32 link BROADCAST\nLocal:\n     |-- 192.0.2.7\n        \
                     /32 host LOCAL\n";
        assert_eq!(local_addresses(table), [Ipv4Addr::new(192, 0, 2, 7)]);
        assert_eq!(addresses("192.0.2.1:7"), ["192.0.2.1:7"]);
        assert!(!addresses("0.0.0.0:7").is_empty());
        assert_eq!(towards("0.0.0.0:7400", "127.0.0.1:9".parse().unwrap()), "127.0.0.1:7400");
    }
}
