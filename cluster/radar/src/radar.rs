//! All services of all containers, as one node follows them.
//!
//! Each event changes what the node knows (log, links, lease, what others have applied); then each service it
//! may concern is compared with what was commanded for it, and the difference is what is returned. So nothing
//! is commanded twice, an event that comes twice does nothing the second time, and equal events give equal
//! commands.

use crate::command::Command;
use crate::event::Event;
use crate::lease::{Lease, Terms};
use crate::rule::Serving;
use crate::track::{Local, News, Track};
use dvs_abi::{Code, NodeId};
use dvs_control::change::Change;
use dvs_control::epoch::Epoch;
use dvs_control::member::Member;
use dvs_control::service::Service;
use dvs_control::state::{ServiceName, State};
use std::collections::{BTreeMap, BTreeSet};

/// What one node does about services. Times are ns of its own clock, which goes on while the machine sleeps.
///
/// ```
/// use dvs_abi::NodeId;
/// use dvs_control::{member::NodeCard, state::State};
/// use dvs_radar::{Event, Radar, Terms};
///
/// let card = NodeCard { name: "one".into(), address: "[::1]:7000".into(), key: [1; 32], witness: false };
/// let state = State::found(card);
/// let mut radar = Radar::new(NodeId(0), Terms::default());
/// let mut commands = Vec::new();
/// radar.event(&state, Event::Restored, 0, &mut commands);
/// assert!(commands.is_empty(), "no service is declared");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Radar {
    me: NodeId,
    incarnation: Option<Epoch>,
    /// Place of the last entry that was taken in.
    applied: Epoch,
    lease: Lease,
    /// Whether it held when the services were looked at last.
    held: bool,
    links: BTreeSet<NodeId>,
    heard: BTreeMap<NodeId, Epoch>,
    /// At most one for each slot of a service there can be.
    tracks: BTreeMap<ServiceName, Track>,
    /// What was before this time is not known: somebody may serve who is not in the state.
    blind_until: u64,
    /// Links have changed since the services were looked at.
    unseen: bool,
}

impl Radar {
    /// Of a node that has just started. It is to be told [`Event::Restored`] first.
    pub fn new(me: NodeId, terms: Terms) -> Self {
        Radar {
            me,
            incarnation: None,
            applied: Epoch::default(),
            lease: Lease::new(terms),
            held: false,
            links: BTreeSet::new(),
            heard: BTreeMap::new(),
            tracks: BTreeMap::new(),
            blind_until: 0,
            unseen: false,
        }
    }

    /// Takes in one piece of news; `state` is the replicated state as this node knows it now. What is to be
    /// done is added to `out`, to be done in that order, before this node tells others what it has applied.
    ///
    /// A state with an entry that has not been told yet decides nothing: what else is told meanwhile (a link
    /// that the same entry ends) is looked at together with it.
    pub fn event(&mut self, state: &State, event: Event<'_>, now: u64, out: &mut Vec<Command>) {
        match event {
            Event::Applied { place, .. } if place <= self.applied => {}
            Event::Applied { place, changes } => {
                self.reached(place, state);
                if changes.iter().any(|c| !matches!(c, Change::Slots { .. })) {
                    return self.review(state, Some((changes, false)), now, out);
                }
            }
            Event::Restored => {
                self.reached(state.last(), state);
                self.blind_until = now.saturating_add(self.lease.terms().wait_ns());
                return self.review(state, Some((&[], true)), now, out);
            }
            Event::Began { incarnation } => {
                self.lease.void();
                self.incarnation = Some(incarnation);
                return self.review(state, None, now, out);
            }
            Event::Link { node, up } => {
                let news = if up { self.links.insert(node) } else { self.links.remove(&node) };
                self.unseen |= news;
            }
            Event::Heard { node, applied } => {
                let heard = self.heard.entry(node).or_default();
                *heard = applied.max(*heard);
            }
            Event::Granted { sent, upto } if self.incarnation.is_some() => {
                self.lease.granted(sent, upto, now);
            }
            Event::Granted { .. } | Event::Tick => {}
        }
        if state.last() > self.applied {
            return;
        }
        let waits = self.tracks.values().any(|t| !t.before.is_empty());
        if self.unseen || waits || self.held != self.lease.holds(now) {
            self.review(state, None, now, out);
        }
    }

    /// What the instance on this node may do at this moment. To be asked before an answer leaves, as it is
    /// right also when this program was stopped for long and has not been told the time yet.
    pub fn serving(&self, name: ServiceName, now: u64) -> Serving {
        self.tracks.get(&name).map_or(Serving::Stopped, |t| t.serving(self.lease.holds(now)))
    }

    /// Until when this node may go on as one of the system, ns of its clock: for whoever looks at the clock
    /// himself.
    pub fn lease_until(&self) -> u64 {
        self.lease.until()
    }

    /// Whether this node may go on as one of the system.
    pub fn holds_lease(&self, now: u64) -> bool {
        self.lease.holds(now)
    }

    /// What was taken in of the log: to be told to the others once it is done.
    pub fn applied(&self) -> Epoch {
        self.applied
    }

    /// When to be told [`Event::Tick`], if nothing else comes before.
    pub fn wake_at(&self) -> Option<u64> {
        let lease = self.held.then(|| self.lease.until());
        let before = self.tracks.values().filter_map(|t| t.before.until());
        before.chain(lease).min()
    }

    /// The log is known up to here.
    fn reached(&mut self, place: Epoch, state: &State) {
        self.applied = self.applied.max(place);
        self.lease.applied(self.applied);
        let lives = state.member(self.me).and_then(Member::incarnation);
        // Its begin may have been answered before it is applied here.
        if self.incarnation.is_some_and(|i| i <= self.applied && Some(i) != lives) {
            self.incarnation = None;
            self.lease.void();
        }
    }

    /// Looks at every service anew. `news`: changes of the log, or that they are not known.
    fn review(&mut self, state: &State, news: Option<(&[Change], bool)>, now: u64, out: &mut Vec<Command>) {
        let until = now.saturating_add(self.lease.terms().wait_ns());
        let (me, incarnation, lease) = (self.me, self.incarnation, self.lease.holds(now));
        (self.held, self.unseen) = (lease, false);
        let mut gone = news.map(|(changes, _)| lost(changes)).unwrap_or_default();
        let blind = now < self.blind_until;
        let (links, heard) = (&self.links, &self.heard);
        let local = Local { me, incarnation, lease, links, heard, state, now, until };
        for name in self.names(state, news.is_some()) {
            let news = news.map(|(_, restored)| News {
                place: self.applied,
                restored,
                gone: gone.remove(&name).unwrap_or_default(),
                others: if blind { others(state, me) } else { Vec::new() },
            });
            let track = self.tracks.entry(name).or_insert_with(|| Track::new(name));
            match find(state, me, name) {
                Ok(service) => track.review(service, news.as_ref(), &local, out),
                Err(code) => track.end(code, news.as_ref(), &local, out),
            }
        }
        self.tracks.retain(|_, t| !t.is_over());
    }

    /// The services to look at: those that are followed, and at news those of the state.
    fn names(&self, state: &State, news: bool) -> BTreeSet<ServiceName> {
        let mut names: BTreeSet<ServiceName> = self.tracks.keys().copied().collect();
        let here = state.containers().filter(|(_, c)| news && c.spec.runs_on(self.me.0));
        names.extend(here.flat_map(|(dc, c)| c.services.keys().map(move |slot| (dc, *slot))));
        names
    }
}

/// A service, if this node has to do with it; else what callers here are told.
fn find(state: &State, me: NodeId, (dc, slot): ServiceName) -> Result<&Service, Code> {
    let c = state.container(dc).ok_or(Code::DCNOTRUN)?;
    if !c.spec.runs_on(me.0) {
        return Err(Code::NODCNODE);
    }
    c.services.get(&slot).filter(|s| !s.withdrawn).ok_or(Code::DSTDIED)
}

/// The lost instances of each service.
fn lost(changes: &[Change]) -> BTreeMap<ServiceName, BTreeSet<NodeId>> {
    let mut all = BTreeMap::<_, BTreeSet<_>>::new();
    for c in changes {
        if let Change::Gone { dc, slot, node } = c {
            all.entry((*dc, *slot)).or_default().insert(*node);
        }
    }
    all
}

/// The nodes that are up, but one.
fn others(state: &State, me: NodeId) -> Vec<(NodeId, Epoch)> {
    let up = state.members().filter_map(|(n, m)| m.incarnation().map(|i| (n, i)));
    up.filter(|(n, _)| *n != me).collect()
}
