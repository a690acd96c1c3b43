//! Members of a group that share a process.

use dvs_abi::NodeId;
use dvs_log::{Group, Machine, Network};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The members of a group in one process.
pub type Members<M> = Arc<Mutex<BTreeMap<NodeId, Weak<Group<M>>>>>;

/// What one of them sends comes to the other at once.
pub struct Wire<M>(pub Members<M>, pub NodeId);

impl<M: Machine> Network for Wire<M> {
    fn send(&self, to: NodeId, message: Vec<u8>) {
        let there = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&to).and_then(Weak::upgrade);
        if let Some(group) = there {
            group.receive(self.1, message);
            // Its end is not for this thread to wait for.
            if Arc::strong_count(&group) == 1 {
                std::thread::spawn(move || drop(group));
            }
        }
    }
}
