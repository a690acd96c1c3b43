//! The thread that has the connections with nodes begin and end. Neither the daemon's loop nor a reader may:
//! both of them can be what an end waits for.

use super::router::Router;
use super::{FromProxy, NodeOrder};
use dvs_abi::NodeId;
use dvs_proxy::{Fingerprint, NodeAddress};
use std::io::{self, Error};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Weak;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Starts the thread; it ends with the sender.
///
/// # Errors
/// The system has no thread left.
pub(super) fn start(router: Weak<Router>) -> io::Result<Sender<NodeOrder>> {
    let (to, orders) = channel();
    std::thread::Builder::new().name("dvs-nodes".into()).spawn(move || run(&router, &orders))?;
    Ok(to)
}

fn run(router: &Weak<Router>, orders: &Receiver<NodeOrder>) {
    while let Ok(order) = orders.recv() {
        let Some(router) = router.upgrade() else { return };
        match order {
            NodeOrder::Admit { node, address, key } => {
                let admitted = resolve(&address).map_err(|e| e.to_string()).and_then(|address| {
                    let fingerprint = key.map(Fingerprint);
                    let node = NodeAddress { id: NodeId(node), address, fingerprint };
                    router.peers().admit(node).map_err(|e| e.to_string())
                });
                if let Err(e) = admitted {
                    router.post(FromProxy::Log(format!("n{node} at {address}: {e}")));
                }
            }
            NodeOrder::Forget { node } => router.peers().forget(NodeId(node)),
            NodeOrder::GiveUp { node } => router.peers().give_up(NodeId(node)),
        }
    }
}

/// The address `host:port` leads to.
///
/// # Errors
/// It leads to none.
pub fn resolve(address: &str) -> io::Result<SocketAddr> {
    let none = || Error::new(io::ErrorKind::NotFound, format!("{address} leads to no address"));
    address
        .to_socket_addrs()
        .map_err(|e| Error::new(e.kind(), format!("{address}: {e}")))?
        .next()
        .ok_or_else(none)
}
