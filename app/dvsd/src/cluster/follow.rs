//! What this daemon does about an entry of the log.
//!
//! Until it has begun it follows the members only, to know whom to connect with: what containers and slots
//! there are it takes from the state as a whole when its `Begin` was done.

use super::clerk::Order;
use super::{Contact, For, News};
use crate::daemon::Daemon;
use crate::proxy::{self, NodeOrder};
use dvs_abi::{Code, DcId, NodeId};
use dvs_control::change::Change;
use dvs_control::command::{Command, Entry, Refusal};
use dvs_control::epoch::Epoch;
use dvs_control::member::Member;
use dvs_control::state::{Answer, State};
use dvs_kern::node::config::NodeEntry;
use dvs_kern::node::event::Event;
use dvs_linux::clock;

/// News that are taken in before the others have their turn.
const NEWS_A_TURN: usize = 256;

impl Daemon {
    /// Takes in what the log and its threads say.
    pub(crate) fn drain_news(&mut self) {
        for _ in 0..NEWS_A_TURN {
            let Ok(news) = self.plane.news.try_recv() else { return };
            match news {
                News::Applied { place, entry } => self.applied(place, &entry),
                News::Restored(state) => self.restored(*state),
                News::Unreadable { place } => {
                    let text = format!("entry {place} of the log is of a later version than this program");
                    self.fail(format!("{text}; install the version of dvs that the other nodes run"));
                }
                News::Answered { ticket, place, answer } => self.answered(ticket, place, answer),
                News::Confirmed { upto } => self.lease_confirmed(upto),
                News::Changed { step, result } => self.roster_changed(step, result),
            }
        }
        self.waker().wake();
    }

    fn applied(&mut self, place: Epoch, entry: &Entry) {
        if place <= self.plane.state.last() {
            return;
        }
        let mut changes = Vec::new();
        // Its sender is answered by the log.
        let _ = self.plane.state.apply(place, entry, &mut changes);
        let began = self.plane.incarnation;
        for change in &changes {
            self.follow(change);
        }
        if began.is_some() && began == self.plane.incarnation {
            self.radar_applied(place, &changes);
        }
        self.pass_verdicts();
        self.begin();
    }

    /// The state is that of a snapshot: this node was far behind. If it had begun, what it missed may have
    /// been about itself, so it begins anew.
    fn restored(&mut self, state: State) {
        if state.last() <= self.plane.state.last() {
            return;
        }
        let before: Vec<NodeId> = self.plane.state.members().map(|(n, _)| n).collect();
        self.plane.state = state;
        for node in before {
            if self.plane.state.member(node).is_none() {
                self.member_left(node);
            }
        }
        let members: Vec<NodeId> = self.plane.state.members().map(|(n, _)| n).collect();
        for node in members {
            self.member_known(node);
        }
        if self.plane.incarnation.is_some() {
            self.log.add("cluster", "this node was too far behind; it begins anew");
            self.reborn();
        }
        self.pass_verdicts();
        self.begin();
    }

    fn follow(&mut self, change: &Change) {
        let me = self.plane.me();
        match change {
            Change::Admitted { node } => self.member_known(*node),
            Change::Left { node } => self.member_left(*node),
            Change::Up { node, incarnation } if *node == me => self.up_here(*incarnation),
            Change::Up { node, incarnation } => {
                self.log.add("cluster", format!("{node} is up ({incarnation})"));
                self.member_known(*node);
                self.node_review(node.0);
            }
            Change::Down { node, incarnation } if *node == me => {
                // Unless it ends, or leaves by the same entry.
                let stays = self.plane.farewell.is_none() && self.plane.state.member(me).is_some();
                if self.plane.incarnation == Some(*incarnation) && stays {
                    self.log.add("cluster", "this node was taken for lost; it begins anew");
                    self.reborn();
                }
            }
            Change::Down { node, incarnation } => {
                self.log.add("cluster", format!("{node} is lost ({incarnation})"));
                self.node_over(node.0);
            }
            _ if self.plane.incarnation.is_none() => {}
            Change::Created { dc, .. } | Change::Ended { dc } | Change::Allowed { dc, .. } => {
                self.tell_container(*dc);
            }
            Change::Slots { dc, change } => self.feed(Event::Slots { dc: dc.0, change: change.clone() }),
            Change::Declared { dc, slot } | Change::Withdrawn { dc, slot } => self.tell_service(*dc, *slot),
            // Whoever offers, places or leads looks at the state; this is for whoever asks since when.
            Change::Draining { node, on } => {
                let what = if *on { "is emptied: it gets nothing new" } else { "may be used again" };
                self.log.add("cluster", format!("{node} {what}"));
            }
            // These are RADAR's.
            Change::Offered { .. } | Change::Gone { .. } | Change::Placed { .. } | Change::Held { .. } => {}
        }
    }

    /// Tells the rules what the log says of a container.
    fn tell_container(&mut self, dc: DcId) {
        let value = self.plane.state.container(dc).map(|c| c.spec.clone());
        self.feed(Event::Container { dc: dc.0, value });
    }

    /// A node is one of the system, or another address of it is known.
    fn member_known(&mut self, node: NodeId) {
        let Some(member) = self.plane.state.member(node).cloned() else { return };
        self.feed(Event::Admitted { entry: entry(node, &member) });
        if node != self.plane.me() {
            self.keep_contact(node, &member);
            self.connect(node);
        }
    }

    /// Notes where a node is found, for the next start.
    fn keep_contact(&mut self, node: NodeId, member: &Member) {
        let card = &member.card;
        let (name, address) = (card.name.clone(), card.address.clone());
        let contact = Contact { node: node.0, name, address, key: card.key };
        let contacts = &mut self.plane.identity.contacts;
        if contacts.contains(&contact) {
            return;
        }
        contacts.retain(|c| c.node != node.0);
        contacts.push(contact);
        self.save_identity();
    }

    pub(super) fn save_identity(&mut self) {
        if let Err(e) = self.plane.identity.save(&self.plane.dir) {
            self.log.add("cluster", format!("{}: {e}", self.plane.dir.display()));
        }
    }

    /// Keeps connections with a node that is known.
    fn connect(&mut self, node: NodeId) {
        let Some(contact) = self.plane.identity.contacts.iter().find(|c| c.node == node.0) else { return };
        let address = self.config.reach.get(&contact.name).unwrap_or(&contact.address).clone();
        let key = (self.plane.security() == crate::config::Security::Tls).then_some(contact.key);
        if !address.is_empty() {
            self.order_nodes(NodeOrder::Admit { node: node.0, address, key });
        }
    }

    /// Keeps connections with all that are known.
    pub(crate) fn connect_all(&mut self) {
        let all: Vec<u16> = self.plane.identity.contacts.iter().map(|c| c.node).collect();
        for node in all {
            self.connect(NodeId(node));
        }
    }

    fn member_left(&mut self, node: NodeId) {
        if node == self.plane.me() && self.plane.incarnation.is_none() {
            // Read again: this was whoever had its number before, or itself in a former life.
            return;
        }
        if node == self.plane.me() {
            self.log.add("cluster", "this node has left the system");
            self.plane.leaving = true;
            return self.let_go();
        }
        self.log.add("cluster", format!("{node} has left the system"));
        self.plane.trims = true;
        self.node_over(node.0);
        self.feed(Event::Forgotten { node: node.0 });
        self.plane.identity.contacts.retain(|c| c.node != node.0);
        self.save_identity();
        // Its messages are still needed until it is no member of the group any more.
        if !self.plane.group.members().iter().any(|(n, _)| *n == node) {
            self.order_nodes(NodeOrder::Forget { node: node.0 });
        }
    }

    /// Has the log say that this daemon serves for its node from here on, unless that is under way.
    pub(super) fn begin(&mut self) {
        let plane = &mut self.plane;
        let Some(member) = plane.state.member(plane.me()) else { return };
        // While the log is read again its number may be that of another machine.
        if member.card.key != plane.identity.key {
            return;
        }
        let ends = plane.leaving || plane.farewell.is_some();
        if plane.incarnation.is_some() || plane.beginning.is_some() || ends {
            return;
        }
        let Ok(nonce) = proxy::random() else { return };
        let nonce = nonce as u64;
        plane.tickets += 1;
        plane.beginning = Some((plane.tickets, nonce));
        let command = Command::Begin { address: plane.identity.address.clone(), nonce };
        let follows = Some(member.last_incarnation());
        plane.clerk.order(Order { ticket: plane.tickets, follows, of: None, here: false, command });
    }

    /// The answer to it; if it was done, the entry has said so already.
    pub(super) fn begin_answered(&mut self, answer: Answer) {
        if let Err(e) = answer {
            // Its node's last incarnation was not the one known here: by now it is.
            self.log.add("cluster", format!("to begin was refused: {}", e.text));
            self.plane.beginning = None;
            self.begin();
        }
    }

    /// The log says that a daemon of this node begins.
    fn up_here(&mut self, incarnation: Epoch) {
        let me = self.plane.me();
        let by = self.plane.state.member(me).and_then(|m| m.begun_by);
        let ours = self.plane.beginning.is_some_and(|(_, nonce)| by == Some(nonce));
        if ours {
            return self.begun(incarnation);
        }
        if self.plane.incarnation.is_some() {
            self.fail("another daemon has begun as this node; its folder was copied".into());
        }
    }

    fn begun(&mut self, incarnation: Epoch) {
        self.plane.incarnation = Some(incarnation);
        self.plane.beginning = None;
        self.log.add("cluster", format!("{} begins ({incarnation})", self.plane.me()));
        // Before anything is told that may be followed by a new wish: an instance that was offered while this
        // node had not begun, and ends as it does, is retired after it was offered.
        for order in std::mem::take(&mut self.plane.held) {
            let ticket = order.ticket;
            if !self.plane.clerk.order(order) {
                let e = Refusal { code: Code::AGAIN as i32, text: "too much waits".into() };
                self.answered(ticket, Epoch::default(), Err(e));
            }
        }
        let dcs: Vec<DcId> = self.plane.state.containers().map(|(dc, _)| dc).collect();
        for dc in dcs {
            self.tell_container(dc);
        }
        self.radar_begin(incarnation);
        self.greet_all();
        self.node_review_all();
        self.open_to_programs();
    }

    /// What this daemon had as the incarnation that is over is nothing any more.
    fn reborn(&mut self) {
        self.plane.incarnation = None;
        let dropped = self.plane.clerk.clear();
        let held = std::mem::take(&mut self.plane.held).into_iter().map(|order| order.ticket);
        self.drop_tickets(dropped.into_iter().chain(held));
        let first_generation = first_generation(clock::now());
        self.feed(Event::Reborn { first_generation });
        self.unlink_rules();
        self.begin();
    }

    /// The daemon ends: the others are told so by the log.
    pub(crate) fn farewell(&mut self) {
        let node = self.plane.me();
        let others = self.plane.others().next().is_some() && self.plane.group.failure().is_none();
        if let Some(incarnation) = self.plane.incarnation.filter(|_| others && !self.plane.leaving) {
            // Set before the answer can come.
            self.plane.farewell = Some(self.plane.tickets + 1);
            self.decide(Command::Lost { node, incarnation }, For::Own("the last word"));
        }
    }

    /// Ends the daemon with an error.
    pub(super) fn fail(&mut self, text: String) {
        self.log.add("daemon", text.clone());
        self.failed = Some(text);
        self.stopper().stop();
    }
}

/// Where generations of user slots begin: differs from one start to the next, so that endpoint values of the
/// last run are not met again.
pub(crate) fn first_generation(now: u64) -> u32 {
    (now / 1_000_000_000 % 1000) as u32
}

/// A node as the rules know it.
fn entry(node: NodeId, member: &Member) -> NodeEntry {
    NodeEntry { id: node, name: member.card.name.clone(), address: member.card.address.clone() }
}
