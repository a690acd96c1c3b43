//! What the daemon and its proxy, which stands in for the endpoints of other nodes, tell each other. To the
//! state machine the proxy is one more session.

use super::Daemon;
use crate::desk::NodeRecord;
use crate::proxy::{CopyEnd, Door, FromProxy, ToProxy};
use dvs_abi::limits::PROXY_TURN_MAX;
use dvs_abi::{Endpoint, NodeId};
use dvs_ipc::bell::Ringer;
use dvs_ipc::control::{self, Answer, Event as Told, Request, WireError};
use dvs_kern::node::event::{Attach, CopySide, Event, PROXY};
use dvs_linux::memory::Mapping;
use std::sync::Arc;

impl Daemon {
    pub(super) fn tell_proxy(&mut self, event: Told, attach: Option<Attach>) {
        let message = match (event, attach) {
            (Told::Link { link, side, bell_link, peer_pid }, Some(attach)) => {
                let Some((memory, ringer)) = self.proxy_link(attach) else { return };
                ToProxy::Link { number: link, side, bell_link, peer_pid, memory, ringer }
            }
            (event, _) => {
                let node = self.callee_node(&event);
                ToProxy::Told(event, node)
            }
        };
        self.post(message);
    }

    /// Where the callee of a lane that was opened is.
    fn callee_node(&self, event: &Told) -> Option<NodeId> {
        let Told::LaneOpened { dc, to, .. } = event else { return None };
        let container = self.node.containers().find(|(n, _)| n == dc)?.1;
        Some(container.find(Endpoint::from_raw(*to)).ok()?.node)
    }

    fn proxy_link(&self, attach: Attach) -> Option<(Arc<Mapping>, Ringer)> {
        let memory: Arc<Mapping> = self.links.mapping(attach.link)?;
        Some((memory, self.conns.get(&attach.peer)?.memories.as_ref()?.ringer.clone()))
    }

    pub(super) fn copy_end(&self, side: CopySide) -> Option<CopyEnd> {
        Some(match side {
            CopySide::Own { pid, address } => CopyEnd::Own { pid, address },
            CopySide::Here { pid, link, lane, seq, address } => {
                CopyEnd::Here { pid, memory: self.links.mapping(link)?, lane, seq, address }
            }
            CopySide::There { number, lane, seq, address } => CopyEnd::There { number, lane, seq, address },
        })
    }

    pub(super) fn post(&mut self, message: ToProxy) {
        if let Some(door) = &self.door
            && !door.tell(message)
        {
            self.log.add("node", "the proxy ended");
            self.plane.closed();
            self.door = None;
            self.unlink_all();
        }
    }

    pub(crate) fn send_node(&mut self, node: u16, record: &NodeRecord) {
        match control::encode(record) {
            Ok(bytes) => self.post(ToProxy::Control { node, bytes }),
            Err(e) => self.log.add("node", format!("a record to node {node} is too long: {e}")),
        }
    }

    pub(super) fn drain_proxy(&mut self) {
        for _ in 0..PROXY_TURN_MAX {
            let Some(message) = self.door.as_ref().and_then(Door::next) else { return };
            match message {
                FromProxy::Up { node } => self.node_linked(node),
                FromProxy::Down { node } => self.node_unlinked(node),
                FromProxy::Knock { key, from, payload, answer } => self.knocked(key, from, &payload, answer),
                FromProxy::Control { node, bytes } => match control::decode(&bytes) {
                    Ok(record) => self.on_node_record(node, record),
                    Err(_) => self.log.add("node", format!("node {node} sent something that is no record")),
                },
                FromProxy::Open { id, node, dc, from, to, remaining } => {
                    self.feed(Event::ProxyOpen { id, node, dc, from, to, remaining });
                }
                FromProxy::Notice { dc, from, to, value } => {
                    self.feed(Event::ProxyNotice { dc, source: from, endpoint: to, value });
                }
                FromProxy::Free { link, lane } => {
                    let request = Request::FreeLane { link, lane };
                    self.feed(Event::Request { session: PROXY, id: 0, request });
                }
                FromProxy::Copied { session, id, result } => {
                    self.answer(session, id, result.map(|()| Answer::Done).map_err(WireError::from));
                }
                FromProxy::Log(text) => self.log.add("node", text),
            }
        }
        // The rest after the others had their turn.
        self.waker.wake();
    }
}
