//! Making the proxy of a node.

use super::nodes::{self, resolve};
use super::router::{Channels, Ear, Router};
use super::{Backlog, Door, FromProxy, ToProxy, Waker};
use crate::cluster::Identity;
use crate::config::{Config, Security};
use dvs_ipc::bell::{BELL_BYTES, Bell};
use dvs_linux::memory::Mapping;
use dvs_proxy::{NodeKey, Peers, Timing};
use rustix::rand::{GetRandomFlags, getrandom};
use std::io::{self, Error, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use std::sync::mpsc::channel;

/// Without a connection a session with a node goes on for so many leases: whether the node is lost is for the
/// log to say. Who is cut off from the majority does not hear that, and gives up then.
const PATIENCE_LEASES: u64 = 2;
/// But so long at least, ms.
const PATIENCE_MS: u64 = 5_000;

/// This node's key, made when there is none.
///
/// # Errors
/// The folder cannot be made, or what is in it is no key.
pub fn node_key(config: &Config) -> io::Result<NodeKey> {
    let dir = config.data();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    NodeKey::load_or_generate(&dir).map_err(Error::other)
}

/// Starts the proxy of a node that listens; with which nodes it keeps connections it is told later.
///
/// # Errors
/// An address that cannot be used or found, a key that is none, out of threads or memory.
pub fn start(config: &Config, identity: &Identity, listen: &str, waker: &Waker) -> io::Result<Door> {
    let security = match identity.security {
        Security::Plain => dvs_proxy::Security::Plain,
        Security::Tls => dvs_proxy::Security::Tls(Arc::new(node_key(config)?)),
    };
    let me = identity.id();
    let (boot, first_call) = (random()?, random()? as u64);
    let mut net = dvs_proxy::Config::new(me, boot, resolve(listen)?, Vec::new(), security);
    net.timing = timing(config);
    net.system = identity.system;

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
    let nodes = nodes::start(Arc::downgrade(&router))?;
    let thread = std::thread::Builder::new().name("dvs-proxy".into()).spawn(move || router.run(bell))?;
    let (bell, status) = (Arc::new(bell_file), Arc::new(status_file));
    Ok(Door { bell, status, to, from, backlog, ringer, nodes, thread: Some(thread) })
}

fn timing(config: &Config) -> Timing {
    let ns = |ms: u64| ms.saturating_mul(1_000_000);
    let t = config.timeouts;
    Timing {
        ping_every: ns(t.heartbeat_ms),
        silence_max: ns(t.broken_ms),
        dead_after: ns(PATIENCE_LEASES * t.lease_ms.max(t.broken_ms)).max(ns(PATIENCE_MS)),
        ..Timing::default()
    }
}

/// A number nobody can guess.
///
/// # Errors
/// Of the system.
pub fn random() -> io::Result<u128> {
    let mut bytes = [0; 16];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(u128::from_ne_bytes(bytes))
}
