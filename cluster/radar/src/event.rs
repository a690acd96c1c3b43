//! What a node is told.

use dvs_abi::NodeId;
use dvs_control::change::Change;
use dvs_control::epoch::Epoch;

/// One piece of news. It comes with the replicated state as this node knows it then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// An entry of the log was applied; the state is the one after it. To be given for every entry, also if
    /// nothing changed by it. One that was given before is passed over.
    Applied {
        /// The place of the entry.
        place: Epoch,
        /// What followed from it.
        changes: &'a [Change],
    },
    /// The state is another one: the node has just started, or was sent a snapshot.
    Restored,
    /// The log has answered this daemon's `Begin` with this incarnation.
    Began {
        /// It.
        incarnation: Epoch,
    },
    /// Whether messages get through to a node, as far as is known here.
    Link {
        /// Which.
        node: NodeId,
        /// Whether.
        up: bool,
    },
    /// What another node has applied *and done* of the log: by its heartbeat, or sooner by who hands a
    /// service over to this node.
    Heard {
        /// Who.
        node: NodeId,
        /// Up to here.
        applied: Epoch,
    },
    /// The leader has answered the question, asked at `sent` by this node's clock, whether this node is still
    /// one of the system. It has done so after a quorum has confirmed, later than the question came, that it
    /// leads.
    Granted {
        /// When this node asked.
        sent: u64,
        /// What was committed of the log when the leader was asked.
        upto: Epoch,
    },
    /// Time has passed: [`crate::Radar::wake_at`].
    Tick,
}
