//! How the members of a group reach each other.

use dvs_abi::NodeId;

/// Carries messages to other members. Whoever has received one hands it to
/// [`Node::receive`](crate::Node::receive) of the same group, with the node it came from, which has to be
/// authentic.
///
/// Messages may be lost, late, doubled or out of order; but one may not be doubled over a restart of its
/// receiver. One has at most
/// [`LOG_MESSAGE_BYTES_MAX`](dvs_abi::limits::LOG_MESSAGE_BYTES_MAX) bytes.
pub trait Network: Send + Sync + 'static {
    /// Sends without waiting: what cannot be sent now is lost.
    fn send(&self, to: NodeId, message: Vec<u8>);
}
