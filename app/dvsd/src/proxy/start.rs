//! Making the proxy of the configuration.

use super::router::{Channels, Ear, Router};
use super::{Backlog, Door, FromProxy, ToProxy, Waker};
use crate::config::{Config, Security};
use crate::paths;
use dvs_abi::NodeId;
use dvs_ipc::bell::{BELL_BYTES, Bell};
use dvs_linux::memory::Mapping;
use dvs_proxy::{Fingerprint, NodeAddress, NodeKey, Peers, Timing};
use rustix::rand::{GetRandomFlags, getrandom};
use std::io::{self, Error, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use std::sync::mpsc::channel;

/// This node's key, made when there is none.
///
/// # Errors
/// The folder cannot be made, or what is in it is no key.
pub fn node_key(config: &Config) -> io::Result<NodeKey> {
    let dir = config.data_dir.clone().unwrap_or_else(|| paths::data_dir(&config.node));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    NodeKey::load_or_generate(&dir).map_err(Error::other)
}

/// Starts the proxy of a node in a system of several; nothing in a system of one. Gives back the fingerprint
/// of the node's key, too.
///
/// # Errors
/// An address that cannot be used or found, a key that is none, out of threads or memory.
pub fn start(config: &Config, waker: &Waker) -> io::Result<(Option<Door>, String)> {
    if config.nodes.len() < 2 {
        return Ok((None, String::new()));
    }
    let (security, fingerprint) = security(config)?;
    let me = NodeId(config.me().id);
    let listen = config.listen.as_ref().unwrap_or(&config.me().address);
    let (boot, first_call) = (random()?, random()? as u64);
    let others = config.nodes.iter().filter(|n| n.id != me.0);
    let nodes: io::Result<Vec<NodeAddress>> = others
        .map(|n| {
            let fingerprint = match n.fingerprint.as_str() {
                "" => None,
                text => Some(text.parse::<Fingerprint>().map_err(invalid)?),
            };
            Ok(NodeAddress { id: NodeId(n.id), address: resolve(&n.address)?, fingerprint })
        })
        .collect();
    let mut net = dvs_proxy::Config::new(me, boot, resolve(listen)?, nodes?, security);
    net.timing = timing(config);

    let (bell, bell_file) = Mapping::create("dvs-bell", BELL_BYTES)?;
    let (status, status_file) = Mapping::create_status("dvs-status", BELL_BYTES)?;
    let bell = Bell::new(Arc::new(bell), Arc::new(status)).ok_or(ErrorKind::OutOfMemory)?;
    let (to, from_daemon) = channel::<ToProxy>();
    let (to_daemon, from) = channel::<FromProxy>();
    let ringer = bell.ringer();
    let (backlog, waker) = (Arc::new(Backlog::new()), waker.clone());
    let channels = Channels { to: to_daemon, from: from_daemon, waker, backlog: backlog.clone() };
    let router = Router::new(me, first_call, channels, bell.deputy());
    let peers = Peers::start(net, Arc::new(Ear::of(&router))).map_err(Error::other)?;
    router.join(peers);
    let thread = std::thread::Builder::new().name("dvs-proxy".into()).spawn(move || router.run(bell))?;
    let (bell, status) = (Arc::new(bell_file), Arc::new(status_file));
    Ok((Some(Door { bell, status, to, from, backlog, ringer, thread: Some(thread) }), fingerprint))
}

fn security(config: &Config) -> io::Result<(dvs_proxy::Security, String)> {
    match config.security {
        Security::Plain => Ok((dvs_proxy::Security::Plain, String::new())),
        Security::Tls => {
            let key = node_key(config)?;
            let (ours, listed) = (key.fingerprint().to_string(), &config.me().fingerprint);
            if ours != *listed {
                let text = format!(
                    "the list of nodes gives {} the fingerprint {listed}, but its key has {ours}; \
                     copy this one into the list on every node",
                    config.node
                );
                return Err(Error::new(ErrorKind::InvalidInput, text));
            }
            Ok((dvs_proxy::Security::Tls(Arc::new(key)), ours))
        }
    }
}

fn timing(config: &Config) -> Timing {
    let ns = |ms: u64| ms.saturating_mul(1_000_000);
    let t = config.timeouts;
    Timing {
        ping_every: ns(t.heartbeat_ms),
        silence_max: ns(t.broken_ms),
        dead_after: ns(t.dead_ms),
        ..Timing::default()
    }
}

fn resolve(address: &str) -> io::Result<SocketAddr> {
    let none = || Error::new(ErrorKind::NotFound, format!("{address} leads to no address"));
    address
        .to_socket_addrs()
        .map_err(|e| Error::new(e.kind(), format!("{address}: {e}")))?
        .next()
        .ok_or_else(none)
}

fn invalid(e: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidInput, e.to_string())
}

fn random() -> io::Result<u128> {
    let mut bytes = [0; 16];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(u128::from_ne_bytes(bytes))
}
