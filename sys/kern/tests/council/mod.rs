//! What takes the place of the log in these tests: one list of decisions, the real replicated state, and what
//! each node is told of it, in its own time.
#![allow(dead_code)] // not every test uses all of it

use dvs_abi::{Code, DcId, NodeId};
use dvs_control::change::Change;
use dvs_control::command::{Command as Entered, Entry};
use dvs_control::epoch::Epoch;
use dvs_control::member::{Member, NodeCard};
use dvs_control::service::ServiceSpec;
use dvs_control::state::{Answer, State};
use dvs_kern::node::Node;
use dvs_kern::node::config::NodeEntry;
use dvs_kern::node::event::{Command, Event, Want};
use std::collections::{BTreeMap, VecDeque};

const TOKEN: [u8; 32] = [7; 32];

/// The log and its state.
pub struct Council {
    pub state: State,
    /// The incarnation each node knows to be its own.
    known: BTreeMap<u16, Epoch>,
    /// What was wanted and is not decided: by whom, in which incarnation.
    wanted: VecDeque<(u16, Epoch, u64, Want)>,
    /// What was decided and not told, by node.
    pub untold: Vec<VecDeque<(Event, Epoch)>>,
    begins: u32,
}

pub fn entry(n: u16) -> NodeEntry {
    NodeEntry { id: NodeId(n), name: format!("n{n}"), address: format!("n{n}:1") }
}

fn card(n: u16, life: u32) -> NodeCard {
    let mut key = [n as u8; 32];
    key[..4].copy_from_slice(&life.to_le_bytes());
    NodeCard { name: format!("n{n}"), address: format!("n{n}:1"), key, witness: false }
}

impl Council {
    /// Of nodes that serve.
    pub fn new(nodes: u16) -> Council {
        let untold = vec![VecDeque::new(); nodes as usize];
        let state = State::found(card(0, 0));
        let mut c = Council { state, known: BTreeMap::new(), wanted: VecDeque::new(), untold, begins: 0 };
        c.begin(0);
        c.enter(0, Entered::Invite { token: TOKEN, until: u64::MAX, uses: u16::MAX }).unwrap();
        for n in 1..nodes {
            c.enter(0, Entered::Admit { token: TOKEN, card: card(n, 0) }).unwrap();
            c.begin(n);
        }
        c.untold.iter_mut().for_each(VecDeque::clear);
        c.known = (0..nodes).map(|n| (n, c.incarnation(n).unwrap())).collect();
        c
    }

    /// The incarnation of a node in the log, if it is up.
    pub fn incarnation(&self, node: u16) -> Option<Epoch> {
        self.state.member(NodeId(node)).and_then(Member::incarnation)
    }

    /// Whether a node is in the incarnation it thinks it is.
    pub fn is_current(&self, node: u16) -> bool {
        self.incarnation(node).is_some() && self.known.get(&node).copied() == self.incarnation(node)
    }

    fn apply(&mut self, entry: &Entry) -> Answer {
        let mut changes = Vec::new();
        let place = Epoch(self.state.last().0 + 1);
        let answer = self.state.apply(place, entry, &mut changes);
        self.state.validate().unwrap();
        for change in &changes {
            self.spread(change);
        }
        answer
    }

    /// An entry by a node, in its present incarnation.
    pub fn enter(&mut self, from: u16, command: Entered) -> Answer {
        let incarnation = self.incarnation(from).unwrap_or_default();
        self.apply(&self.entry(from, incarnation, command))
    }

    fn entry(&self, from: u16, incarnation: Epoch, command: Entered) -> Entry {
        let number = self.state.member(NodeId(from)).map_or(0, |m| m.last) + 1;
        Entry { from: NodeId(from), incarnation, number, at: 0, command }
    }

    /// A daemon begins: another incarnation of its node.
    pub fn begin(&mut self, node: u16) {
        self.begins += 1;
        let last = self.state.member(NodeId(node)).map(Member::last_incarnation).unwrap_or_default();
        let begin = Entered::Begin { address: format!("n{node}:1"), nonce: self.begins.into() };
        self.apply(&self.entry(node, last, begin)).unwrap();
    }

    /// A node is taken for lost, by another one.
    pub fn lose(&mut self, node: u16, by: u16) -> bool {
        let Some(incarnation) = self.incarnation(node) else { return false };
        self.enter(by, Entered::Lost { node: NodeId(node), incarnation }).is_ok()
    }

    /// A node is none any more, then one that has just been admitted and begun, and knows nothing.
    pub fn leave_and_join(&mut self, node: u16, by: u16) {
        self.lose(node, by);
        self.enter(by, Entered::Leave { node: NodeId(node) }).unwrap();
        self.begins += 1;
        let admit = Entered::Admit { token: TOKEN, card: card(node, self.begins) };
        self.enter(by, admit).unwrap();
    }

    /// The daemon of a node is another one, which is told what there is.
    pub fn restart(&mut self, node: u16) {
        self.begin(node);
        let containers = self.state.containers();
        let told = containers.map(|(dc, c)| Event::Container { dc: dc.0, value: Some(c.spec.clone()) });
        self.known.insert(node, self.incarnation(node).unwrap());
        self.untold[node as usize] = told.map(|e| (e, Epoch::default())).collect();
    }

    /// What a node wants.
    pub fn want(&mut self, node: u16, ticket: u64, want: Want) {
        let incarnation = self.known.get(&node).copied().unwrap_or_default();
        self.wanted.push_back((node, incarnation, ticket, want));
    }

    /// Decides what has been wanted longest; false if nothing is.
    pub fn decide(&mut self) -> bool {
        let Some((node, incarnation, ticket, want)) = self.wanted.pop_front() else { return false };
        let command = match want {
            Want::Create { dc, config } => Entered::Create { dc: Some(DcId(dc)), spec: config },
            Want::End { dc } => Entered::End { dc: DcId(dc) },
            Want::Allow { dc, node, on } => Entered::Allow { dc: DcId(dc), node: NodeId(node), on },
            Want::Slots { dc, request } => Entered::Slots { dc: DcId(dc), request },
            Want::Declare { dc, slot, name, kind, rule, nodes } => {
                let spec = ServiceSpec { name, kind, nodes, rule };
                Entered::Declare { dc: DcId(dc), slot, spec }
            }
            Want::Offer { dc, slot } => Entered::Offer { dc: DcId(dc), slot, in_step: true },
            Want::Retire { dc, slot } => Entered::Retire { dc: DcId(dc), slot },
            Want::Move { dc, slot, to, .. } => {
                Entered::Move { dc: DcId(dc), slot, to: NodeId(to), deadline: u64::MAX }
            }
            Want::Undo { dc, slot, number } => Entered::Undo { dc: DcId(dc), slot, number: Epoch(number) },
            Want::Arrive { dc, slot, number } => {
                Entered::Arrive { dc: DcId(dc), slot, number: Epoch(number) }
            }
        };
        let answer = self.apply(&self.entry(node, incarnation, command));
        let result = answer.map(|_| ()).map_err(|r| Code::from_i32(r.code).unwrap());
        // A daemon of an incarnation that is over is told so, and not this.
        if self.incarnation(node) == Some(incarnation) {
            self.untold[node as usize].push_back((Event::Decided { ticket, result }, Epoch::default()));
        }
        true
    }

    fn spread(&mut self, change: &Change) {
        let value = |dc: &DcId| self.state.container(*dc).map(|c| c.spec.clone());
        let event = match change {
            Change::Created { dc, .. } | Change::Ended { dc } | Change::Allowed { dc, .. } => {
                Event::Container { dc: dc.0, value: value(dc) }
            }
            Change::Slots { dc, change } => Event::Slots { dc: dc.0, change: change.clone() },
            Change::Admitted { node } => Event::Admitted { entry: entry(node.0) },
            Change::Left { node } => Event::Forgotten { node: node.0 },
            Change::Up { node, incarnation } => {
                let event = Event::Reborn { first_generation: self.begins };
                return self.untold[node.0 as usize].push_back((event, *incarnation));
            }
            _ => return,
        };
        self.untold.iter_mut().for_each(|q| q.push_back((event.clone(), Epoch::default())));
    }

    /// The next thing a node is told.
    pub fn tell(&mut self, node: u16) -> Option<Event> {
        let (event, begun) = self.untold[node as usize].pop_front()?;
        if matches!(event, Event::Reborn { .. }) {
            self.known.insert(node, begun);
        }
        Some(event)
    }

    /// Decides everything and tells a system of one node; gives back what else is to be done.
    pub fn at_once(&mut self, node: &mut Node, commands: Vec<Command>, now: u64) -> Vec<Command> {
        let mut out = Vec::new();
        let mut commands = VecDeque::from(commands);
        loop {
            match commands.pop_front() {
                Some(Command::Decide { ticket, want }) => self.want(0, ticket, want),
                Some(command) => out.push(command),
                None => match self.tell(0) {
                    Some(event) => commands = node.handle(event, now).into(),
                    None if self.decide() => {}
                    None => return out,
                },
            }
        }
    }
}
