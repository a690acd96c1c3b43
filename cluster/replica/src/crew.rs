//! The replicas of a service as somebody sees them who wants to change who they are.
//!
//! ```text
//!   look ─► who says what ─► may it be? ─► order ─► look again, until the list says so ─► until it is
//! carried out             ▲                  │ no: why                 │ another change was first
//!             └──────────────────┴─────────────────────────┘
//! ```
//! An order is given to whichever replica is in step, and lost with it: then it is given again. A change is
//! made once, as it stands on a version of the list.

use crate::client::Client;
use crate::list::{Change, List, Refusal};
use crate::seats::seat_of;
use crate::wire::{self, Ordered, Report};
use dvs_abi::limits::REPLICA_SEATS_MAX;
use dvs_abi::{Code, Deadline, Error, Message, NodeId, Timeout};
use dvs_ipc::wait::Wait;
use std::time::Duration;

/// How long a replica may take to say how it is.
const REPORT_WITHIN: Duration = Duration::from_millis(500);
/// Another replica leads in this time, or nobody can.
const RESIGN_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Why the list is not as it was wanted.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum CrewError {
    /// It cannot be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nobody says how it is.
    #[error("no replica of the service answers")]
    Nobody,
    /// Nobody leads the group.
    #[error("the replicas have no leader; the list was not changed")]
    NoLeader,
    /// The time is over before the group decided.
    #[error("whether the list was changed is not known")]
    Unknown,
    /// The client is at a user's slot, and such orders are taken from servers' slots only.
    #[error("who is a replica is changed from an endpoint at a servers' slot of the container")]
    NotYou,
    /// It was decided, and is not carried out yet; it goes on.
    #[error("it was decided, and is not carried out yet: {0}")]
    Late(&'static str),
    /// The call cannot be made.
    #[error("{0}")]
    Call(Error),
}

/// What replicas said at one time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Crew {
    /// The latest list that one of them knows.
    pub list: List,
    /// What each said of itself, by seat.
    pub reports: Vec<(usize, Report)>,
}

impl Crew {
    /// What the replica of a node said, if it has this seat by the latest list.
    pub fn of(&self, node: NodeId) -> Option<&Report> {
        let seat = self.list.of(node)?;
        self.reports.iter().find(|(s, r)| *s == seat && r.node == node.0).map(|(_, r)| r)
    }

    /// Who leads: by the word of whoever leads.
    pub fn leader(&self) -> Option<&Report> {
        let leads = |r: &&Report| r.leader == Some(r.node);
        self.reports.iter().map(|(_, r)| r).filter(leads).max_by_key(|r| r.term)
    }

    /// Whether the replica of a node has a vote, by the word of whoever leads.
    pub fn votes(&self, node: NodeId) -> bool {
        self.leader().is_some_and(|r| r.members.contains(&(node.0, true)))
    }

    /// Whether a node has a replica that counts and has done what the leader had.
    pub fn in_step(&self, node: NodeId) -> bool {
        let here = self.of(node).is_some_and(|r| r.leader.is_some());
        here && self.votes(node) && self.list.sitter_of(node).is_some_and(|s| !s.leaves)
    }

    /// The list after a change, if enough of those that stay are there.
    ///
    /// # Errors
    /// It makes no sense, or nothing could be decided any more.
    pub fn with(&self, change: Change) -> Result<List, Refusal> {
        let next = self.list.with(change)?;
        if let Change::Remove(node) = change {
            let of = next.staying().count();
            let there = next.staying().filter(|n| self.of(*n).is_some() && self.votes(*n)).count();
            if there * 2 <= of {
                return Err(Refusal::TooFew { node, there, of });
            }
        }
        Ok(next)
    }
}

impl<W: Wait> Client<W> {
    /// Asks all replicas how they are.
    ///
    /// # Errors
    /// None answers.
    pub fn crew(&self) -> Result<Crew, CrewError> {
        let mut reports = Vec::new();
        for seat in 0..REPLICA_SEATS_MAX {
            match self.report_within(seat, REPORT_WITHIN) {
                Ok(report) => reports.push((seat, report)),
                Err(e) if over(e.code) => return Err(CrewError::Call(e)),
                Err(_) => {}
            }
        }
        let lists = reports.iter().map(|(_, r)| &r.list).filter(|l| l.is_sound());
        let list = lists.max_by_key(|l| l.version()).cloned().ok_or(CrewError::Nobody)?;
        Ok(Crew { list, reports })
    }

    /// Changes who is a replica; returns when the group has decided it, with the list then. A new one still
    /// has to be started and to catch up ([`Client::await_added`]), one that goes still has to be out
    /// ([`Client::await_removed`]). `force`: also if too few of those that stay answer.
    ///
    /// # Errors
    /// [`CrewError::Refused`] if it cannot be, [`CrewError::NotYou`] if this client is not at a servers'
    /// slot; it may be repeated after all others.
    pub fn change(&self, change: Change, force: bool, within: Duration) -> Result<List, CrewError> {
        let until = Deadline::after(self.port().now(), Timeout::After(within));
        let (mut given, mut last) = (false, CrewError::NoLeader);
        loop {
            match self.crew() {
                Ok(crew) => {
                    let next = if force { crew.list.with(change) } else { crew.with(change) };
                    match next {
                        Ok(next) => given |= self.give(&crew, change, &next)?,
                        // It is as it was wanted, and was not when this began.
                        Err(Refusal::There(_) | Refusal::NotThere(_) | Refusal::Leaves(_)) if given => {
                            return Ok(crew.list);
                        }
                        Err(refusal) => return Err(refusal.into()),
                    }
                }
                Err(e @ CrewError::Call(_)) => return Err(e),
                Err(e) => last = e,
            }
            if until.passed(self.port().now()) {
                return Err(if given { CrewError::Unknown } else { last });
            }
            // tidy: nobody tells a caller when a list has changed
            std::thread::sleep(LOOK);
        }
    }

    /// Gives the order to a replica that takes it, the leader first; whether one did.
    fn give(&self, crew: &Crew, change: Change, next: &List) -> Result<bool, CrewError> {
        let mut seats: Vec<&(usize, Report)> =
            crew.reports.iter().filter(|(_, r)| r.leader.is_some()).collect();
        seats.sort_by_key(|(_, r)| r.leader != Some(r.node));
        for (seat, _) in seats {
            let mut m = wire::encode_change(change, next.version().saturating_sub(1));
            let at = seat_of(self.service(), *seat);
            let sent = self.port().sendrec(at, &mut m, Timeout::After(REPORT_WITHIN));
            match wire::decode_ordered(&m) {
                // One that does not answer may have taken it.
                _ if sent.is_err() => return Ok(true),
                Some(Ordered::Begun) => return Ok(true),
                Some(Ordered::NotYou) => return Err(CrewError::NotYou),
                _ => {}
            }
        }
        Ok(false)
    }

    /// Has another replica lead, if that of this node does; returns when that is so. It may lead again later.
    ///
    /// # Errors
    /// [`CrewError::Refused`] if it has none, [`CrewError::Late`] if nobody else can, [`CrewError::NotYou`]
    /// as with
    /// [`Client::change`].
    pub fn resign(&self, node: NodeId) -> Result<(), CrewError> {
        let until = Deadline::after(self.port().now(), Timeout::After(RESIGN_WITHIN));
        loop {
            let crew = self.crew()?;
            let seat = crew.list.of(node).ok_or(Refusal::NotThere(node))?;
            match crew.leader() {
                Some(leader) if leader.node != node.0 => return Ok(()),
                Some(_) => {
                    let mut m = Message::new(wire::RESIGN);
                    // If it did not hear this it is told again.
                    let at = seat_of(self.service(), seat);
                    let sent = self.port().sendrec(at, &mut m, Timeout::After(REPORT_WITHIN));
                    if sent.is_ok() && wire::decode_ordered(&m) == Some(Ordered::NotYou) {
                        return Err(CrewError::NotYou);
                    }
                }
                None => {}
            }
            if until.passed(self.port().now()) {
                return Err(CrewError::Late("no other replica leads"));
            }
            // tidy: nobody tells a caller who leads
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until the replica of a node has all and a vote.
    ///
    /// # Errors
    /// [`CrewError::Late`] when the time is over.
    pub fn await_added(&self, node: NodeId, within: Duration) -> Result<Crew, CrewError> {
        self.await_crew(within, "the new replica does not run, or has not caught up", |c| c.in_step(node))
    }

    /// Waits until the replica of a node is out of the list.
    ///
    /// # Errors
    /// [`CrewError::Late`] when the time is over.
    pub fn await_removed(&self, node: NodeId, within: Duration) -> Result<Crew, CrewError> {
        self.await_crew(within, "the replica that goes is not out yet", |c| c.list.of(node).is_none())
    }

    fn await_crew(
        &self,
        within: Duration,
        late: &'static str,
        holds: impl Fn(&Crew) -> bool,
    ) -> Result<Crew, CrewError> {
        let until = Deadline::after(self.port().now(), Timeout::After(within));
        loop {
            match self.crew() {
                Ok(crew) if holds(&crew) => return Ok(crew),
                Err(e @ CrewError::Call(_)) => return Err(e),
                _ if until.passed(self.port().now()) => return Err(CrewError::Late(late)),
                _ => {}
            }
            // tidy: nobody tells a caller how far the replicas are
            std::thread::sleep(LOOK);
        }
    }
}

/// After which the client's own port is of no use.
fn over(code: Code) -> bool {
    matches!(code, Code::SHUTDOWN | Code::NOTBIND | Code::DVSINIT | Code::DCNOTRUN | Code::BADDCID)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crew(runs: &[u16]) -> Crew {
        let nodes = [NodeId(0), NodeId(1), NodeId(2)];
        let list = List::founding(&nodes);
        let report = |n: &u16| {
            let members = nodes.iter().map(|n| (n.0, true)).collect();
            let (leader, list) = (Some(runs[0]), list.clone());
            (
                *n as usize,
                Report { node: *n, leader, term: 1, last: 9, applied: 9, members, waiting: 0, list },
            )
        };
        Crew { reports: runs.iter().map(report).collect(), list: list.clone() }
    }

    #[test]
    fn whoever_is_needed_stays() {
        let n = NodeId;
        assert!(crew(&[0, 1, 2]).with(Change::Remove(n(1))).is_ok());
        assert!(crew(&[0, 1]).with(Change::Remove(n(2))).is_ok(), "the lost one goes");
        let refused = crew(&[0, 1]).with(Change::Remove(n(1)));
        assert_eq!(refused, Err(Refusal::TooFew { node: n(1), there: 1, of: 2 }));
        assert!(crew(&[0, 1]).with(Change::Add(n(3))).is_ok());
        assert_eq!(crew(&[0, 1]).with(Change::Add(n(1))), Err(Refusal::There(n(1))));
        assert!(crew(&[0, 1]).in_step(n(1)) && !crew(&[0, 1]).in_step(n(2)));
    }
}
