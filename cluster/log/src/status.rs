//! What a member knows of its group.

use dvs_abi::NodeId;

/// What a member is in its group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// It has a vote.
    Voter,
    /// It gets the log and has no vote.
    Learner,
}

/// What one member knows of its group; it may be old.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Who leads, as far as known. A leader that hears from no majority does not count.
    pub leader: Option<NodeId>,
    /// How often a leader was sought.
    pub term: u64,
    /// Entries of the log here, from one.
    pub last: u64,
    /// How many entries are decided, by the word of those that led; they may not be here yet.
    pub decided: u64,
    /// How many of them were done here.
    pub applied: u64,
    /// How many a snapshot here covers.
    pub snapshot: u64,
    /// The members, in order.
    pub members: Vec<(NodeId, Role)>,
    /// Members found without entries that they had acknowledged to this one, leading: their disk does not
    /// keep what it was told to, or their store was put back. Remove them and admit them anew.
    pub forgetful: Vec<NodeId>,
    /// Whether this member still takes part.
    pub running: bool,
}

impl Status {
    /// The members with a vote.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> {
        self.members.iter().filter(|(_, role)| *role == Role::Voter).map(|(node, _)| *node)
    }
}
