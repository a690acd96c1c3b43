//! One node's tables and rules: who is bound where, who may open a lane to whom, who waits for what.
//!
//! Why pure: every rule of the facts (§2.2–2.5, §5, §6) is decided here from `(state, event, now)`, so that
//! it can be tested by the million without a socket. The driver (`app/dvsd`) carries out the commands.
//!
//! ```text
//!  sessions ── Request ──►┌──────────────────────────────┐──► Reply / Tell     (to a session)
//!  pidfds  ── Died ──────►│ Node                         │──► CreateLink …     (shared memory)
//!  peers   ── Record ────►│  dcs: slots → descriptors    │──► Control          (to a peer node)
//!  boards  ── Boards ────►│  sessions, links → lanes     │──► Signal, WatchPid (to the system)
//!  log     ── Container ─►│  tickets                     │──► Decide           (by all nodes)
//!  clock   ── Tick ──────►│  waits with deadlines        │──► Log
//!                         └──────────────────────────────┘
//! ```
//!
//! The order of commands matters and is kept by the driver: a callee is told of a lane before its caller is
//! answered, lanes are closed before their link, and records to one node arrive in the order they were given.
//!
//! | file | subject |
//! |---|---|
//! | [`config`], [`event`], [`record`] | what comes in, what goes out, what nodes tell each other |
//! | `decide`, `members`, `container`, `slots` | what all nodes agree on: asking for it, and doing it here |
//! | [`dc`], [`descriptor`] | the table of a container, one entry of it |
//! | [`service`], `route`, `instance` | declared services: where callers go, what a program bound here may |
//! | [`session`], [`link`] | processes of this node and the memory they share |
//! | `authority` | who may ask for what concerns others |
//! | `bind`, `lanes`, `wait`, `heard`, `privileges`, `migrate`, `directory`, `deadlock`, `query` | the rules, by subject |

pub mod config;
pub mod dc;
pub mod descriptor;
pub mod event;
pub mod link;
pub mod record;
pub mod service;
pub mod session;

mod authority;
mod bind;
mod container;
mod deadlock;
mod decide;
mod directory;
mod dispatch;
mod heard;
mod instance;
mod lanes;
mod members;
mod migrate;
pub mod mover;
mod notices;
mod privileges;
mod query;
mod route;
mod slots;
mod validate;
mod wait;

use crate::control;
use config::{NodeConfig, PeerState};
use dc::Dc;
use decide::Tickets;
use dvs_abi::{Code, Endpoint, NodeId};
use event::{Command, Event, PROXY, SessionId};
use heard::Hearings;
use link::{Link, LinkKey};
use session::Session;
use std::collections::{BTreeMap, BTreeSet};
use wait::Waits;

pub use deadlock::Waiting;
pub use notices::HeldNotice;

/// Container and endpoint: the name of a descriptor.
pub type Place = (u16, Endpoint);

/// One node.
pub struct Node {
    pub(crate) config: NodeConfig,
    pub(crate) dcs: BTreeMap<u16, Dc>,
    pub(crate) peers: BTreeMap<u16, PeerState>,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) links: BTreeMap<LinkKey, Link>,
    pub(crate) next_link: u64,
    /// Links of a pair of sessions, smaller number first.
    pub(crate) pairs: BTreeMap<(SessionId, SessionId), Vec<LinkKey>>,
    /// The open lane of a caller to a callee.
    pub(crate) open: BTreeMap<(u16, i32, i32), (LinkKey, u8)>,
    pub(crate) waits: Waits,
    pub(crate) tickets: Tickets,
    /// Containers in which slots became free here by this event.
    pub(crate) refill: BTreeSet<u16>,
    pub(crate) hearings: Hearings,
    /// Endpoints bound for processes that have no session yet, by pid.
    pub(crate) orphans: BTreeMap<u32, Vec<Place>>,
    /// Endpoints bound on this node.
    pub(crate) bound_here: usize,
    /// Who waits for whom among the sessions of this node, as last read.
    pub(crate) boards: BTreeMap<(u16, i32), Waiting>,
    /// Circles of waits this node decided about.
    pub(crate) judged: deadlock::Judged,
    /// Endpoints that sessions have just taken.
    pub(crate) taken: Vec<Place>,
    pub(crate) now: u64,
    pub(crate) out: Vec<Command>,
}

impl Node {
    /// A node that knows no container yet. The proxy's session exists from the start.
    pub fn new(config: NodeConfig) -> Self {
        let peers = config.nodes.iter().map(|n| (n.id.0, PeerState::default())).collect();
        let mut sessions = BTreeMap::new();
        sessions.insert(PROXY, Session::new(config.pid, true, "proxy".into()));
        Node {
            config,
            dcs: BTreeMap::new(),
            peers,
            sessions,
            links: BTreeMap::new(),
            next_link: 1,
            pairs: BTreeMap::new(),
            open: BTreeMap::new(),
            waits: Waits::default(),
            tickets: Tickets::default(),
            refill: BTreeSet::new(),
            hearings: Hearings::default(),
            orphans: BTreeMap::new(),
            bound_here: 0,
            boards: BTreeMap::new(),
            judged: deadlock::Judged::default(),
            taken: Vec::new(),
            now: 0,
            out: Vec::new(),
        }
    }

    /// This node's number.
    pub fn me(&self) -> NodeId {
        self.config.me
    }

    /// The node's configuration.
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// Takes in one event; gives back what must be done, in order.
    pub fn handle(&mut self, event: Event, now: u64) -> Vec<Command> {
        self.now = now;
        self.next_turn();
        match event {
            Event::Connected { session, id, pid, operator, name } => {
                self.connected(session, id, Session::new(pid, operator, name));
            }
            Event::Request { session, id, request } => self.request(session, id, request),
            Event::Died { session, code } => self.session_died(session, code),
            Event::PidGone { pid } => self.pid_gone(pid),
            Event::NodeUp { node } => self.node_up(node),
            Event::NodeDown { node } => self.node_down(node),
            Event::Record { node, record } => self.record(node, record),
            Event::Boards(waiting) => self.set_boards(waiting),
            Event::LinkFailed { link } => self.link_failed(link),
            Event::ProxyNotice { dc, source, endpoint, value } => {
                let notice = HeldNotice { source, value, timestamp: now };
                self.forward_notice(dc, endpoint, notice);
            }
            Event::ProxyOpen { id, node, dc, from, to, remaining } => {
                self.proxy_open(id, node, dc, from, to, remaining)
            }
            Event::Admitted { entry } => self.admitted(entry),
            Event::Forgotten { node } => self.forgotten(node),
            Event::Container { dc, value } => self.container(dc, value),
            Event::Slots { dc, change } => self.slots_changed(dc, &change),
            Event::Decided { ticket, result } => self.decided(ticket, result),
            Event::MoveBegun { ticket, number } => self.move_begun(ticket, number),
            Event::ServicePlace { dc, slot, placed } => self.service_place(dc, slot, placed),
            Event::MoverOrder { dc, slot, answer } => self.mover_order(dc, slot, answer),
            Event::Service { dc, slot, name, kind } => self.service(dc, slot, name, kind),
            Event::Route { dc, slot, epoch, action } => self.route(dc, slot, epoch, action),
            Event::Reborn { first_generation } => self.reborn(first_generation),
            Event::Tick => {
                self.expire();
                self.tick_slots();
            }
        }
        self.serve_binds();
        self.spread();
        std::mem::take(&mut self.out)
    }

    /// When the driver must call again with [`Event::Tick`], ns; `None` when nothing waits with a deadline.
    pub fn next_deadline(&self) -> Option<u64> {
        self.waits.next_deadline().into_iter().chain(self.slots_wake_at()).min()
    }

    /// The running containers, by number.
    pub fn containers(&self) -> impl Iterator<Item = (u16, &Dc)> {
        self.dcs.iter().map(|(n, d)| (*n, d))
    }

    /// The sessions, by number; the proxy's is number 0.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions.iter().map(|(n, s)| (*n, s))
    }

    /// The open lane of a caller to a callee.
    pub fn open_lane_of(&self, dc: u16, from: i32, to: i32) -> Option<(LinkKey, u8)> {
        self.open.get(&(dc, from, to)).copied()
    }

    /// A lane, open or not.
    pub fn lane_of(&self, link: LinkKey, lane: u8) -> Option<&link::Lane> {
        self.links.get(&link)?.lane(lane)
    }

    /// How many links and how many open lanes there are.
    pub fn lane_counts(&self) -> (usize, usize) {
        (self.links.len(), self.open.len())
    }

    /// What is known of a node of the system.
    pub fn peer(&self, node: u16) -> Option<&PeerState> {
        self.peers.get(&node)
    }

    pub(crate) fn tell(&mut self, session: SessionId, event: control::Event) {
        self.out.push(Command::Tell { session, event, attach: None });
    }

    /// The running container `dc`.
    pub(crate) fn dc(&self, dc: u16) -> Result<&Dc, Code> {
        if dc as usize >= dvs_abi::limits::DCS_MAX {
            return Err(Code::BADDCID);
        }
        self.dcs.get(&dc).ok_or(Code::DCNOTRUN)
    }

    pub(crate) fn dc_mut(&mut self, dc: u16) -> Result<&mut Dc, Code> {
        if dc as usize >= dvs_abi::limits::DCS_MAX {
            return Err(Code::BADDCID);
        }
        self.dcs.get_mut(&dc).ok_or(Code::DCNOTRUN)
    }
}
