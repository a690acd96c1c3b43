//! What members of the group say to each other travels as control records between daemons.

use crate::desk::NodeRecord;
use crate::proxy::{Door, ToProxy};
use dvs_abi::NodeId;
use dvs_ipc::bell::Ringer;
use dvs_ipc::control;
use dvs_linux::LinuxHost;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

/// The way to the proxy, once there is one.
#[derive(Clone, Default)]
pub(super) struct Post(Arc<Mutex<Option<Way>>>);

type Way = (Sender<ToProxy>, Ringer);

impl Post {
    /// From now on there is a proxy.
    pub(super) fn opened(&self, door: &Door) {
        let way = (door.to.clone(), door.ringer.clone());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(way);
    }

    /// There is none any more.
    pub(super) fn closed(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl dvs_log::Network for Post {
    fn send(&self, to: NodeId, message: Vec<u8>) {
        let Ok(bytes) = control::encode(&NodeRecord::Log { bytes: message }) else { return };
        let way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((proxy, ringer)) = &*way
            && proxy.send(ToProxy::Log { node: to.0, bytes }).is_ok()
        {
            ringer.ring_own(&LinuxHost);
        }
    }
}
