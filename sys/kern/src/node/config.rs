//! What a node is told at its start, and what it knows of its peers.

use dvs_abi::NodeId;

/// One node of the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeEntry {
    /// Its number.
    pub id: NodeId,
    /// Its name, at most `NAME_BYTES`.
    pub name: String,
    /// Where it listens; empty for a node without a network.
    pub address: String,
}

/// What a node is told at its start.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// This node.
    pub me: NodeId,
    /// Process of the daemon (the proxy's session belongs to it).
    pub pid: u32,
    /// Every node of the system, this one included, in the same order on every node.
    pub nodes: Vec<NodeEntry>,
    /// Where generations of user slots begin; differs from one start to the next, so that an endpoint value
    /// from before a restart is not met again.
    pub first_generation: u32,
}

impl NodeConfig {
    /// A system of one node.
    pub fn single(pid: u32) -> Self {
        let me = NodeId(0);
        let entry = NodeEntry { id: me, name: "node0".into(), address: String::new() };
        NodeConfig { me, pid, nodes: vec![entry], first_generation: 0 }
    }

    /// The position of a node in the list.
    pub fn position(&self, node: u16) -> Option<usize> {
        self.nodes.iter().position(|n| n.id.0 == node)
    }
}

/// What is known of a configured node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PeerState {
    /// A session with it exists (or is being resumed).
    pub up: bool,
    /// Since when, ns on this node's clock.
    pub since: u64,
}
