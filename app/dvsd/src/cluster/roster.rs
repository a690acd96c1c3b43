//! Who is a member of the group that holds the log, and who of them has a vote: the leader's duty.
//!
//! Every node of the system gets the log. As many have a vote as is odd and at most [`LOG_VOTERS_MAX`]: with
//! an even number one more would have to be there and none more could be missed. Whoever has a vote keeps it
//! while it is up; the vote of a node that has been down for long goes to one that is up.

use super::News;
use super::ledger::Ledger;
use crate::proxy::Waker;
use dvs_abi::NodeId;
use dvs_abi::limits::LOG_VOTERS_MAX;
use dvs_control::epoch::Epoch;
use dvs_control::state::State;
use dvs_log::{Group, Role};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long one step may take.
const STEP: Duration = Duration::from_secs(10);
/// A vote is taken from a node that has been down for so long.
pub(super) const ABSENT_NS: u64 = 30_000_000_000;

/// One change of the members.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Admit(NodeId, Role),
    Remove(NodeId),
}

/// The next change that brings the members closer to what they should be. `absent` = nodes that have been
/// down for long.
pub(super) fn next_step(state: &State, members: &[(NodeId, Role)], absent: &[NodeId]) -> Option<Step> {
    let role = |n: NodeId| members.iter().find(|(m, _)| *m == n).map(|(_, r)| *r);
    let all: Vec<NodeId> = state.members().map(|(n, _)| n).collect();
    if let Some(new) = all.iter().find(|n| role(**n).is_none()) {
        return Some(Step::Admit(*new, Role::Learner));
    }
    let up = |n: NodeId| state.member(n).is_some_and(|m| m.incarnation().is_some());
    let wanted = voters_of(all.len());
    // Those that keep their vote, then those that are up, each by number.
    let mut ranked: Vec<(bool, bool, NodeId)> = all
        .iter()
        .filter(|n| role(**n) == Some(Role::Voter) || up(**n))
        .map(|n| (absent.contains(n), role(*n) != Some(Role::Voter), *n))
        .collect();
    ranked.sort_unstable();
    let chosen: Vec<NodeId> = ranked.iter().take(wanted).map(|(.., n)| *n).collect();
    if let Some(n) = chosen.iter().find(|n| role(**n) == Some(Role::Learner)) {
        return Some(Step::Admit(*n, Role::Voter));
    }
    if let Some((gone, _)) = members.iter().find(|(n, _)| !all.contains(n)) {
        return Some(Step::Remove(*gone));
    }
    let extra = |(n, r): &&(NodeId, Role)| *r == Role::Voter && !chosen.contains(n);
    members.iter().find(extra).filter(|_| !chosen.is_empty()).map(|(n, _)| Step::Admit(*n, Role::Learner))
}

/// How many of so many nodes have a vote.
pub(super) fn voters_of(nodes: usize) -> usize {
    let odd = if nodes.is_multiple_of(2) { nodes.saturating_sub(1) } else { nodes };
    odd.clamp(1, LOG_VOTERS_MAX)
}

/// What is asked of the thread.
enum Task {
    Change(Step),
    /// Have a majority confirm that this member leads.
    Confirm,
}

/// The thread that waits for the log's members.
pub(super) struct Roster {
    steps: Option<Sender<Task>>,
    confirms: Option<Sender<Task>>,
    threads: Vec<JoinHandle<()>>,
    /// A change is under way.
    pub(super) busy: bool,
    absent_since: BTreeMap<NodeId, u64>,
}

impl Roster {
    /// Starts the threads: a change of members may wait for a node that catches up, a confirmation must not
    /// wait for that.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start(
        group: &Arc<Group<Ledger>>,
        news: &Sender<News>,
        waker: &Waker,
    ) -> std::io::Result<Self> {
        let mut threads = Vec::new();
        let mut way = |name: &str| {
            let (to, tasks) = channel();
            let (group, news, waker) = (group.clone(), news.clone(), waker.clone());
            let work = move || run(&group, &tasks, &news, &waker);
            threads.push(std::thread::Builder::new().name(name.into()).spawn(work)?);
            std::io::Result::Ok(Some(to))
        };
        let (steps, confirms) = (way("dvs-roster")?, way("dvs-confirm")?);
        Ok(Roster { steps, confirms, threads, busy: false, absent_since: BTreeMap::new() })
    }

    /// Takes the next step, unless one is under way.
    pub(super) fn review(&mut self, state: &State, members: &[(NodeId, Role)], now: u64) {
        let down = |n: &NodeId| state.member(*n).is_some_and(|m| m.incarnation().is_none());
        self.absent_since.retain(|n, _| down(n));
        for (n, _) in state.members().filter(|(n, _)| down(n)) {
            self.absent_since.entry(n).or_insert(now);
        }
        let long = |since: &u64| now.saturating_sub(*since) >= ABSENT_NS;
        let absent: Vec<NodeId> =
            self.absent_since.iter().filter(|(_, s)| long(s)).map(|(n, _)| *n).collect();
        if !self.busy
            && let Some(step) = next_step(state, members, &absent)
            && let Some(steps) = &self.steps
        {
            self.busy = steps.send(Task::Change(step)).is_ok();
        }
    }

    /// Has a majority confirm that this member leads; answered by [`News::Confirmed`].
    pub(super) fn confirm(&self) {
        if let Some(confirms) = &self.confirms {
            let _ = confirms.send(Task::Confirm);
        }
    }
}

impl Drop for Roster {
    fn drop(&mut self) {
        (self.steps, self.confirms) = (None, None);
        for thread in self.threads.drain(..) {
            // A panic there was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn run(group: &Group<Ledger>, tasks: &Receiver<Task>, news: &Sender<News>, waker: &Waker) {
    while let Ok(task) = tasks.recv() {
        let told = match task {
            Task::Change(step) => {
                let result = match step {
                    Step::Admit(node, role) => group.admit(node, role, STEP),
                    Step::Remove(node) => group.remove(node, STEP),
                };
                News::Changed { step, result: result.map_err(|e| e.to_string()) }
            }
            Task::Confirm => News::Confirmed { upto: confirm(group) },
        };
        let _ = news.send(told);
        waker.wake();
    }
}

/// Up to where a node has to have done what the log says for its lease to count: all that was decided when a
/// majority confirmed that this member leads.
fn confirm(group: &Group<Ledger>) -> Option<Epoch> {
    let wait = Duration::from_secs(1);
    let decided = group.confirm(wait).ok()?;
    let done = group.wait(move |s| s.applied >= decided, wait)?;
    (done.applied >= decided).then(|| group.read(Ledger::last))
}

#[cfg(test)]
mod tests {
    use super::{Step, next_step, voters_of};
    use dvs_abi::NodeId;
    use dvs_control::command::{Command, Entry};
    use dvs_control::epoch::Epoch;
    use dvs_control::member::NodeCard;
    use dvs_control::rules::Rules;
    use dvs_control::state::State;
    use dvs_log::Role;

    fn card(n: u16) -> NodeCard {
        NodeCard { name: format!("n{n}"), address: String::new(), key: [n as u8; 32], witness: false }
    }

    /// A system of so many nodes, all of them up.
    fn system(count: u16) -> State {
        let mut state = State::default();
        let mut place = 0;
        let mut apply = |from, incarnation, number, command| {
            place += 1;
            let entry = Entry { from: NodeId(from), incarnation: Epoch(incarnation), number, at: 0, command };
            state.apply(Epoch(place), &entry, &mut Vec::new()).unwrap();
        };
        apply(0, 0, 0, Command::Found { card: card(0), rules: Rules::default() });
        apply(0, 0, 0, Command::Begin { address: String::new(), nonce: 0 });
        apply(0, 2, 1, Command::Invite { token: [1; 32], until: u64::MAX, uses: 99 });
        for n in 1..count {
            apply(0, 2, 1 + u64::from(n), Command::Admit { token: [1; 32], card: card(n) });
        }
        (1..count).for_each(|n| apply(n, 0, 0, Command::Begin { address: String::new(), nonce: 0 }));
        state
    }

    /// Takes all steps there are.
    fn settle(state: &State, mut members: Vec<(NodeId, Role)>, absent: &[NodeId]) -> Vec<(NodeId, Role)> {
        for _ in 0..100 {
            let Some(step) = next_step(state, &members, absent) else { return members };
            match step {
                Step::Admit(n, role) => {
                    members.retain(|(m, _)| *m != n);
                    members.push((n, role));
                }
                Step::Remove(n) => members.retain(|(m, _)| *m != n),
            }
            members.sort_by_key(|(n, _)| *n);
            assert!(members.iter().any(|(_, r)| *r == Role::Voter), "somebody always has a vote");
        }
        panic!("it goes round in a circle: {members:?}");
    }

    fn voters(members: &[(NodeId, Role)]) -> Vec<u16> {
        members.iter().filter(|(_, r)| *r == Role::Voter).map(|(n, _)| n.0).collect()
    }

    #[test]
    fn votes_are_odd_and_at_most_five() {
        let first = vec![(NodeId(0), Role::Voter)];
        for (nodes, votes) in [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (7, 5)] {
            assert_eq!(voters_of(nodes), votes);
            let members = settle(&system(nodes as u16), first.clone(), &[]);
            assert_eq!((members.len(), voters(&members).len()), (nodes, votes), "{members:?}");
        }
    }

    #[test]
    fn a_vote_goes_from_who_is_gone_to_who_is_there() {
        let state = system(4);
        let mut members = settle(&state, vec![(NodeId(0), Role::Voter)], &[]);
        assert_eq!(voters(&members), [0, 1, 2]);
        members = settle(&state, members, &[NodeId(1)]);
        assert_eq!(voters(&members), [0, 2, 3]);
        assert_eq!(members.len(), 4, "it still gets the log");
        members.push((NodeId(9), Role::Voter));
        assert_eq!(voters(&settle(&state, members, &[])), [0, 2, 3], "who has left has no vote");
    }
}
