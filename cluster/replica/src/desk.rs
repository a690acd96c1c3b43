//! What a replica says at its seat to whoever is no other replica: how it is, and what it takes on.
//!
//! Anybody is told how it is. Orders about the list, or to have another one lead, are taken from endpoints at
//! servers' slots only: the source of a message is the system's word, and such a slot is bound by operators
//! alone (root and the daemon's user), as those of the replicas themselves are.

use crate::answers::Answers;
use crate::carrier::Carrier;
use crate::list::{Change, List};
use crate::listed::Listed;
use crate::member::Order;
use crate::service::Service;
use crate::wire::{self, Ordered, RESIGN, Report, STATUS};
use dvs_abi::limits::REPLICA_SEATS_MAX;
use dvs_abi::{Endpoint, Message, NodeId};
use dvs_log::{Node, Role};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::mpsc::WeakSender;

/// The desk of one replica.
pub(crate) struct Desk<M> {
    pub node: Node<Listed<M>>,
    pub me: NodeId,
    /// How many callers wait.
    pub waiting: Arc<AtomicU32>,
    pub carrier: Arc<Carrier>,
    pub answers: Arc<Answers>,
    /// To the member; it does not keep that alive.
    pub orders: WeakSender<Order>,
    /// Where the container's servers' slots end.
    pub first_user: i32,
}

impl<M: Service> Desk<M> {
    /// The answer to a message; nothing if it is none of a desk's.
    pub fn answer(&self, m: &Message) -> Option<Message> {
        let change = wire::decode_change(m);
        let orders = change.is_some() || m.mtype() == RESIGN;
        if orders && !may_order(m.source(), self.first_user) {
            return Some(wire::encode_ordered(Ordered::NotYou));
        }
        if let Some((change, version)) = change {
            return Some(wire::encode_ordered(self.change(change, version)));
        }
        match m.mtype() {
            RESIGN => {
                // Whoever wants it looks who leads.
                let (tell, _) = std::sync::mpsc::channel();
                Some(wire::encode_ordered(self.order(Order::HandOver(tell))))
            }
            STATUS => Some(wire::encode_report(&self.report())),
            _ => None,
        }
    }

    fn order(&self, order: Order) -> Ordered {
        let taken = self.orders.upgrade().is_some_and(|o| o.try_send(order).is_ok());
        if taken { Ordered::Begun } else { Ordered::NotNow }
    }

    /// A change of the list as it was in this version.
    fn change(&self, change: Change, version: u64) -> Ordered {
        let list = self.carrier.list();
        match list.with(change) {
            _ if !self.answers.is_ready() => Ordered::NotNow,
            Ok(_) if list.version() == version => self.order(Order::Change(change, version)),
            _ => Ordered::Refused,
        }
    }

    fn report(&self) -> Report {
        let status = self.node.status();
        let members = status.members.iter().take(REPLICA_SEATS_MAX);
        Report {
            node: self.me.0,
            leader: status.leader.map(|n| n.0),
            term: status.term,
            last: status.last,
            applied: status.applied,
            members: members.map(|(n, role)| (n.0, *role == Role::Voter)).collect(),
            waiting: self.waiting.load(Ordering::Relaxed),
            list: List::clone(&self.carrier.list()),
        }
    }
}

/// Whether orders are taken from an endpoint.
fn may_order(source: Endpoint, first_user: i32) -> bool {
    source != Endpoint::NONE && source.slot() < first_user
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_taken_from_servers_slots_only() {
        assert!(may_order(Endpoint::new(0, 28), 29) && may_order(Endpoint::new(0, -3), 29));
        assert!(!may_order(Endpoint::new(0, 29), 29) && !may_order(Endpoint::new(3, 700), 29));
        assert!(!may_order(Endpoint::NONE, 29));
    }
}
