//! Changes of the members, made by the leader, one at a time.
//!
//! ```text
//!   Voter(n):    not a member ──► learner ──► has caught up ──► voters of before and after ──► voter
//!   Learner(n):  not a member ──► learner          voter ──► voters of before and after ──► learner
//!   Remove(n):   learner ──► out                   voter ──► voters of before and after ──► out
//! ```
//! Each step looks at the members there are, so a change that was broken off is finished by asking again.

use crate::error::LogError;
use crate::machine::Machine;
use crate::message::Change;
use crate::node::{Inner, WAIT_MAX};
use crate::types::{Nid, Nothing, Runtime, Types};
use dvs_abi::Effect;
use dvs_abi::limits::{LOG_VOTERS_MAX, NODES_MAX};
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::raft::ClientWriteResponse;
use openraft::{AsyncRuntime, ChangeMembers};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

type Outcome = Result<ClientWriteResponse<Types>, RaftError<Nid, ClientWriteError<Nid, Nothing>>>;

impl<M: Machine> Inner<M> {
    /// Changes the members, this member leading.
    pub(crate) async fn change_here(&self, change: Change, within: Duration) -> Result<(), LogError> {
        let steps = async {
            let _alone = self.changing.lock().await;
            loop {
                self.may_lead()?;
                let outcome = self.step(change).await?;
                match outcome {
                    None => return Ok(()),
                    Some(Ok(_)) => {}
                    // What another leader began is on its way.
                    Some(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                        ChangeMembershipError::InProgress(_),
                    )))) => Runtime::sleep(self.timing.pause()).await,
                    Some(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(e)))) => {
                        return Err(LogError::Refused(e.to_string()));
                    }
                    // The members are looked at again by whoever leads next.
                    Some(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
                        return Err(LogError::NoLeader);
                    }
                    Some(Err(RaftError::Fatal(fatal))) => return Err(self.fatal(&fatal, Effect::Unknown)),
                }
            }
        };
        Runtime::timeout(within.min(WAIT_MAX), steps).await.unwrap_or(Err(LogError::Unknown))
    }

    /// Waits until a member has all that the log had when this began. The library takes one for caught up
    /// that lacks less than a snapshot's worth, or has said nothing yet: one that is not there at all would
    /// get a vote, and the group might wait for it.
    async fn caught_up(&self, node: Nid) -> Result<(), LogError> {
        let mut news = self.news();
        let all = news.borrow_and_update().last_log_index;
        loop {
            self.may_lead()?;
            let has = news.borrow_and_update().replication.as_ref().and_then(|r| r.get(&node).copied());
            if has.flatten().map(|id| id.index) >= all {
                return Ok(());
            }
            drop(Runtime::timeout(self.timing.pause(), news.changed()).await);
        }
    }

    /// Takes the next step towards `change`; nothing if there is none left.
    async fn step(&self, change: Change) -> Result<Option<Outcome>, LogError> {
        let stored = self.raft.metrics().borrow().membership_config.clone();
        let members = stored.membership();
        let voters: BTreeSet<Nid> = members.voter_ids().collect();
        let joint = members.get_joint_config().len() > 1;
        let (node, is_member) = match change {
            Change::Voter(n) | Change::Learner(n) | Change::Remove(n) => (n, members.get_node(&n).is_some()),
        };
        let leaves = ChangeMembers::RemoveVoters(BTreeSet::from([node]));
        Ok(Some(match change {
            Change::Voter(_) | Change::Learner(_) if !is_member => {
                if members.nodes().count() >= NODES_MAX || node >= NODES_MAX as u64 {
                    return Err(LogError::Refused(format!("a group has at most {NODES_MAX} members")));
                }
                self.raft
                    .change_membership(ChangeMembers::AddNodes(BTreeMap::from([(node, Nothing {})])), true)
                    .await
            }
            Change::Voter(_) if joint || !voters.contains(&node) => {
                if !voters.contains(&node) && voters.len() >= LOG_VOTERS_MAX {
                    return Err(LogError::Refused(format!("{LOG_VOTERS_MAX} nodes have a vote already")));
                }
                match self.raft.add_learner(node, Nothing {}, false).await {
                    Ok(_) => {
                        self.caught_up(node).await?;
                        self.raft
                            .change_membership(ChangeMembers::AddVoterIds(BTreeSet::from([node])), true)
                            .await
                    }
                    refused => refused,
                }
            }
            Change::Learner(_) | Change::Remove(_) if voters.contains(&node) && voters.len() == 1 => {
                return Err(LogError::Refused("it is the only voter of its group".to_owned()));
            }
            Change::Learner(_) if joint || voters.contains(&node) => {
                self.raft.change_membership(leaves, true).await
            }
            Change::Remove(_) if voters.contains(&node) => self.raft.change_membership(leaves, false).await,
            Change::Remove(_) if is_member => {
                self.raft.change_membership(ChangeMembers::RemoveNodes(BTreeSet::from([node])), false).await
            }
            _ => return Ok(None),
        }))
    }
}
