//! The replicated state: what all nodes agree on. Applying the same entries in the same order gives the same
//! state, the same answers and the same changes on every node.
//!
//! ```text
//!   entries of the log ──► apply ──► Reply or Refusal     to whoever sent it
//!                            │
//!                            └─────► Changes              to every node, in order
//! ```
//! An entry names the incarnation of its sender, so that one that is over can do nothing any more, and a
//! number, so that one that comes twice is done once and answered twice. Time comes from the entries alone.

mod containers;
mod services;
mod switch;

pub use services::ServiceName;

use crate::change::Change;
use crate::command::{Command, Entry, Refusal, Reply};
use crate::container::{Container, check_name};
use crate::epoch::Epoch;
use crate::member::{Key, Member, NodeCard, Standing};
use crate::rules::Rules;
use dvs_abi::limits::{NODES_MAX, TOKENS_MAX};
use dvs_abi::{Code, DcId, NodeId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest address of a node.
const ADDRESS_BYTES: usize = 255;

/// What became of an entry.
pub type Answer = Result<Reply, Refusal>;

/// Who may join with a secret.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
struct Invitation {
    until: u64,
    uses: u16,
}

/// Whether an address can be kept: it is for those who connect to say whether it leads anywhere.
fn check_address(address: &str) -> Result<(), Refusal> {
    let fine = address.len() <= ADDRESS_BYTES && address.chars().all(|c| c.is_ascii_graphic());
    let text =
        || format!("an address has at most {ADDRESS_BYTES} printable bytes, for example 192.0.2.1:7400");
    if fine { Ok(()) } else { Err(Refusal::new(Code::BADVALUE, text())) }
}

/// The replicated state.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    rules: Rules,
    pub(crate) members: BTreeMap<NodeId, Member>,
    pub(crate) containers: BTreeMap<DcId, Container>,
    invitations: BTreeMap<Key, Invitation>,
    /// The answer to the last command of each node.
    answers: BTreeMap<NodeId, Answer>,
    /// The latest time an entry named.
    pub(crate) clock: u64,
    /// The place of the last entry.
    pub(crate) last: Epoch,
}

impl State {
    /// A system of one node, which its daemon has just founded.
    pub fn found(card: NodeCard) -> Self {
        let mut state = State::default();
        state.members.insert(NodeId(0), Member::new(card));
        state
    }

    /// What holds for the whole system.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// The nodes.
    pub fn members(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        self.members.iter().map(|(n, m)| (*n, m))
    }

    /// A node.
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        self.members.get(&node)
    }

    /// The containers.
    pub fn containers(&self) -> impl Iterator<Item = (DcId, &Container)> {
        self.containers.iter().map(|(n, c)| (*n, c))
    }

    /// The place of the last entry that was applied.
    pub fn last(&self) -> Epoch {
        self.last
    }

    /// A container.
    pub fn container(&self, dc: DcId) -> Option<&Container> {
        self.containers.get(&dc)
    }

    /// Does what an entry wants. `place` in the log: greater than that of every entry before.
    pub fn apply(&mut self, place: Epoch, entry: &Entry, out: &mut Vec<Change>) -> Answer {
        debug_assert!(place > self.last, "entries come in order");
        self.last = place;
        self.clock = self.clock.max(entry.at);
        self.undo_late(place, out);
        if let Command::Found { card, rules } = &entry.command {
            return self.founded(entry.from, card, *rules, out);
        }
        let Some(member) = self.members.get_mut(&entry.from) else {
            return Err(Refusal::new(Code::BADNODEID, format!("{} is no node of this system", entry.from)));
        };
        if let Command::Begin { address, nonce } = &entry.command {
            return self.begin((entry.from, entry.incarnation), (address, *nonce), place, out);
        }
        if member.incarnation() != Some(entry.incarnation) {
            let text = format!("{} was taken for lost; its daemon has to begin anew", entry.from);
            return Err(Refusal::new(Code::STALE, text));
        }
        if entry.number <= member.last {
            let early = Refusal::new(Code::STALE, "a later command of the same node was done already");
            let answer = self.answers.get(&entry.from).filter(|_| entry.number == member.last);
            return answer.cloned().unwrap_or(Err(early));
        }
        member.last = entry.number;
        let answer = self.perform(place, entry, out);
        self.answers.insert(entry.from, answer.clone());
        answer
    }

    fn perform(&mut self, place: Epoch, entry: &Entry, out: &mut Vec<Change>) -> Answer {
        let from = entry.from;
        match &entry.command {
            Command::Begin { .. } | Command::Found { .. } => {}
            Command::Invite { token, until, uses } => self.invite(*token, *until, *uses)?,
            Command::Admit { token, card } => return self.admit(token, card, out).map(Reply::Node),
            Command::Listen { address } => {
                check_address(address)?;
                address.clone_into(&mut self.some_member(from)?.card.address);
                out.push(Change::Admitted { node: from });
            }
            Command::Lost { node, incarnation } => self.lost(*node, *incarnation, place, out)?,
            Command::Leave { node } => self.leave(from, *node, place, out)?,
            Command::Drain { node, on } => {
                self.some_member(*node)?.draining = *on;
                out.push(Change::Draining { node: *node, on: *on });
            }
            Command::Create { dc, spec } => return self.create(*dc, spec, place, out).map(Reply::Dc),
            Command::End { dc } => self.end(*dc, out)?,
            Command::Allow { dc, node, on } => self.allow(*dc, *node, *on, place, out)?,
            Command::Slots { dc, request } => self.slots(from, *dc, request, out)?,
            Command::Declare { dc, slot, spec } => self.declare(*dc, *slot, spec, place, out)?,
            Command::Withdraw { dc, slot } => self.withdraw(*dc, *slot, place, out)?,
            Command::Offer { dc, slot, in_step } => self.offer(from, *dc, *slot, *in_step, place, out)?,
            Command::Retire { dc, slot } => self.retire(from, *dc, *slot, place, out)?,
            Command::Move { dc, slot, to, deadline } => {
                return self.begin_move(*dc, *slot, *to, *deadline, place, out).map(Reply::Begun);
            }
            Command::Arrive { dc, slot, number } => self.arrive(from, *dc, *slot, *number, place, out)?,
            Command::Undo { dc, slot, number } => self.undo(*dc, *slot, *number, place, out)?,
            Command::Switch { dc, slot, to } => self.switch(*dc, *slot, *to, place, out)?,
        }
        Ok(Reply::Done)
    }

    pub(crate) fn some_member(&mut self, node: NodeId) -> Result<&mut Member, Refusal> {
        self.members.get_mut(&node).ok_or_else(|| {
            let text = format!("{node} is no node of this system; dvs nodes shows those that are");
            Refusal::new(Code::BADNODEID, text)
        })
    }

    /// A log begins once; its founder may say so again when it has not heard that it has.
    fn founded(&mut self, from: NodeId, card: &NodeCard, rules: Rules, out: &mut Vec<Change>) -> Answer {
        let first = self.members.is_empty();
        if !first && self.rules.system != rules.system {
            return Err(Refusal::new(Code::EXIST, "this log has a founder already"));
        }
        if first {
            check_name("node", &card.name)?;
            self.rules = rules;
            self.members.insert(from, Member::new(card.clone()));
            out.push(Change::Admitted { node: from });
        }
        Ok(Reply::Node(from))
    }

    fn invite(&mut self, token: Key, until: u64, uses: u16) -> Result<(), Refusal> {
        let now = self.clock;
        self.invitations.retain(|_, i| i.until > now && i.uses > 0);
        if self.invitations.len() >= TOKENS_MAX {
            let text = format!("there are {TOKENS_MAX} tokens already; wait until one is used or over");
            return Err(Refusal::new(Code::NOSPC, text));
        }
        self.invitations.insert(token, Invitation { until, uses });
        Ok(())
    }

    fn admit(&mut self, token: &Key, card: &NodeCard, out: &mut Vec<Change>) -> Result<NodeId, Refusal> {
        let now = self.clock;
        let unknown = "the token is unknown, used up or over; make another one with dvs token";
        let refused = || Refusal::new(Code::PRIVILEGES, unknown);
        let valid = self.invitations.get(token).is_some_and(|i| i.until > now && i.uses > 0);
        if !valid {
            return Err(refused());
        }
        check_name("node", &card.name)?;
        check_address(&card.address)?;
        if let Some((node, m)) = self.members.iter().find(|(_, m)| m.card.key == card.key) {
            // Its answer was lost on the way: it is told again, and the token is not used for it.
            return match m.standing {
                Standing::Joined => Ok(*node),
                _ => Err(Refusal::new(Code::EXIST, format!("this machine is {node} already"))),
            };
        }
        if let Some((node, _)) = self.members.iter().find(|(_, m)| m.card.name == card.name) {
            let text = format!("{node} is called '{}' already; give another --name", card.name);
            return Err(Refusal::new(Code::RSCBUSY, text));
        }
        let free = (0..NODES_MAX as u16).map(NodeId).find(|n| !self.members.contains_key(n));
        let node = free.ok_or_else(|| {
            Refusal::new(Code::NOSPC, format!("there are {NODES_MAX} nodes already; dvs leave makes room"))
        })?;
        self.members.insert(node, Member::new(card.clone()));
        self.answers.remove(&node);
        if let Some(i) = self.invitations.get_mut(token) {
            i.uses -= 1;
        }
        out.push(Change::Admitted { node });
        Ok(node)
    }

    /// A daemon begins, if it knows the last incarnation of its node: one that was sent before that, and
    /// comes late, must not end it. What comes twice is done once.
    fn begin(
        &mut self,
        (node, known): (NodeId, Epoch),
        (address, nonce): (&str, u64),
        place: Epoch,
        out: &mut Vec<Change>,
    ) -> Answer {
        let member = self.some_member(node)?;
        let last = member.last_incarnation();
        if let (Standing::Up(epoch), true) = (member.standing, member.begun_by == Some(nonce)) {
            return Ok(Reply::Begun(epoch));
        }
        if known != last {
            let text = format!("{node} has begun since, its last incarnation is {last}, not {known}");
            return Err(Refusal::new(Code::STALE, text));
        }
        if let Some(incarnation) = member.incarnation() {
            self.over(node, incarnation, place, out);
        }
        let member = self.some_member(node)?;
        member.standing = Standing::Up(place);
        (member.last, member.begun_by) = (0, Some(nonce));
        address.clone_into(&mut member.card.address);
        out.push(Change::Up { node, incarnation: place });
        Ok(Reply::Begun(place))
    }

    fn lost(
        &mut self,
        node: NodeId,
        incarnation: Epoch,
        place: Epoch,
        out: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        if self.some_member(node)?.incarnation() != Some(incarnation) {
            return Err(Refusal::new(Code::STALE, format!("{node} is no longer in that incarnation")));
        }
        self.over(node, incarnation, place, out);
        Ok(())
    }

    /// The incarnation of a node is over: its slots are free, its instances gone.
    fn over(&mut self, node: NodeId, incarnation: Epoch, place: Epoch, out: &mut Vec<Change>) {
        if let Some(m) = self.members.get_mut(&node) {
            m.standing = Standing::Down(incarnation);
        }
        out.push(Change::Down { node, incarnation });
        let all: Vec<DcId> = self.containers.keys().copied().collect();
        for dc in all {
            self.leave_container(dc, node, place, out);
        }
    }

    fn leave(
        &mut self,
        from: NodeId,
        node: NodeId,
        place: Epoch,
        out: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        self.some_member(node)?;
        if self.members.len() == 1 {
            let text =
                format!("{node} is the only node: nothing of the system would be left; dvs down stops it");
            return Err(Refusal::new(Code::BUSY, text));
        }
        if let Some(incarnation) = self.some_member(node)?.incarnation() {
            if from != node {
                let text = format!("{node} is up; type dvs leave there, or stop it first");
                return Err(Refusal::new(Code::NODEBUSY, text));
            }
            self.over(node, incarnation, place, out);
        }
        self.members.remove(&node);
        self.answers.remove(&node);
        for c in self.containers.values_mut() {
            c.spec.nodes &= !(1 << node.0);
            c.services.values_mut().for_each(|s| s.spec.nodes &= !(1 << node.0));
        }
        out.push(Change::Left { node });
        Ok(())
    }

    /// Whether all of its parts agree; for tests.
    ///
    /// # Errors
    /// What does not.
    pub fn validate(&self) -> Result<(), String> {
        for (dc, c) in &self.containers {
            c.pool.validate().map_err(|e| format!("{dc}: {e}"))?;
            for (node, m) in &self.members {
                if m.incarnation().is_none() && c.pool.owned(*node).next().is_some() {
                    return Err(format!("{dc}: {node} has slots and is not up"));
                }
            }
            for (slot, s) in &c.services {
                if s.spec.nodes & !c.spec.nodes != 0 {
                    return Err(format!("{dc} slot {slot}: may be where its container may not: {s:?}"));
                }
                self.validate_service(s).map_err(|e| format!("{dc} slot {slot}: {e}"))?;
            }
        }
        Ok(())
    }
}
