//! The nodes that connections are kept with. Nodes are admitted and forgotten while connections with others
//! stand, hence every look takes a lock, shared, for as long as it takes to clone a pointer.

use crate::node::Node;
use crate::tls::Fingerprint;
use dvs_abi::NodeId;
use dvs_abi::limits::NODES_MAX;
use std::sync::{Arc, PoisonError, RwLock};

/// By id.
pub(crate) struct Table {
    places: [RwLock<Option<Arc<Node>>>; NODES_MAX],
}

impl Default for Table {
    fn default() -> Self {
        Table { places: std::array::from_fn(|_| RwLock::new(None)) }
    }
}

impl Table {
    pub fn get(&self, id: NodeId) -> Option<Arc<Node>> {
        let place = self.places.get(usize::from(id.0))?;
        place.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a node in its place, unless there is one; false then, and for an id above the highest.
    pub fn put(&self, node: &Arc<Node>) -> bool {
        let Some(place) = self.places.get(usize::from(node.id.0)) else { return false };
        let mut place = place.write().unwrap_or_else(PoisonError::into_inner);
        let free = place.is_none();
        if free {
            *place = Some(Arc::clone(node));
        }
        free
    }

    /// Takes a node out.
    pub fn take(&self, id: NodeId) -> Option<Arc<Node>> {
        let place = self.places.get(usize::from(id.0))?;
        place.write().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// All of them, by id.
    pub fn all(&self) -> impl Iterator<Item = Arc<Node>> {
        (0..NODES_MAX as u16).filter_map(|id| self.get(NodeId(id)))
    }

    /// Whether a key is that of some node.
    pub fn knows(&self, key: Fingerprint) -> bool {
        self.all().any(|n| n.fingerprint == Some(key))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::Table;
    use crate::driver::tests::stranger;
    use crate::tls::Fingerprint;
    use dvs_abi::NodeId;
    use dvs_abi::limits::NODES_MAX;
    use std::sync::Arc;

    /// A table of nodes with these keys.
    pub(crate) fn of(keys: &[Fingerprint]) -> Arc<Table> {
        let table = Arc::<Table>::default();
        for (id, key) in (1..).zip(keys) {
            assert!(table.put(&stranger(NodeId(id), Some(*key))));
        }
        table
    }

    #[test]
    fn a_place_is_taken_once_and_free_again() {
        let (first, second) = (Fingerprint([1; 32]), Fingerprint([2; 32]));
        let table = of(&[first]);
        assert!(table.knows(first) && !table.knows(second));
        assert!(!table.put(&stranger(NodeId(1), Some(second))), "taken");
        assert!(!table.put(&stranger(NodeId(NODES_MAX as u16), None)), "no such place");
        assert!(table.take(NodeId(1)).is_some() && table.take(NodeId(1)).is_none());
        assert!(table.put(&stranger(NodeId(1), Some(second))) && table.knows(second));
        assert_eq!(table.all().map(|n| n.id).collect::<Vec<_>>(), [NodeId(1)]);
    }
}
