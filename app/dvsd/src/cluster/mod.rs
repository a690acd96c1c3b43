//! This node as one of a system: its part of the replicated state, and what it does about it.
//!
//! ```text
//!    programs, dvs            other daemons                     disk
//!        │ wants                   │ Log, Lease, Hello            │
//!        ▼                         ▼                              ▼
//!   ┌─────────┐  Order   ┌───────┐ propose ┌────────────────────────┐
//!   │ Daemon  │ ───────► │ clerk │ ──────► │ dvs_log::Group<Ledger> │
//!   │  State  │ ◄─────── └───────┘ ◄────── └────────────────────────┘
//!   │ (copy)  │   News: entries in their order, answers, confirmations
//!   └────┬────┘
//!        ├─► Node (the rules): containers, slots, nodes      Event
//!        └─► proxy: with whom connections are kept           NodeOrder
//! ```
//! The daemon does with its own copy of the state what each entry says, so what it does about an entry it
//! does with the state right after it. An answer that came over the network is held back until the entry it
//! belongs to was done here, so whoever hears that something is done finds it done.
//!
//! A daemon *begins* before anything else: its node is another incarnation from then on, and what an earlier
//! one had (slots, endpoints, instances) is free. Until then no program is let in. One that learns that it
//! was taken for lost ends what it had and begins anew.
//!
//! | file | subject |
//! |---|---|
//! | [`identity`] | which system this node belongs to, on its disk |
//! | `ledger` | the state under the log |
//! | `clerk` | bringing commands into the log |
//! | `post` | the log's messages between nodes |
//! | `ask` | who asked for a command, and what they are told |
//! | `follow` | what is done about an entry |
//! | `link` | which other nodes are reached (the rules: [`dvs_radar::links`]) |
//! | `beat` | whether this node counts, whether the others do |
//! | `roster` | who has a vote |
//! | `services` | what RADAR says of services, carried out |
//! | `show` | how the system is, for the command line |
//! | `join` | tokens, and the door for machines that have one |

mod ask;
mod beat;
mod clerk;
mod follow;
pub mod identity;
pub mod join;
mod ledger;
mod link;
mod post;
mod roster;
mod services;
mod show;

pub(crate) use ask::For;
pub(crate) use follow::first_generation;
pub use identity::{Contact, Identity};

use crate::config::{Config, Security};
use crate::proxy::{self, Door, Waker};
use ask::Asked;
use clerk::{Clerk, Order};
use dvs_abi::limits::NODE_LEASE_GUARD_NS;
use dvs_abi::{NodeId, limits};
use dvs_control::command::{Command, Entry};
use dvs_control::epoch::Epoch;
use dvs_control::member::NodeCard;
use dvs_control::rules::Rules;
use dvs_control::state::{Answer, State};
use dvs_kern::node::config::{NodeConfig, NodeEntry};
use dvs_kern::node::record::Record;
use dvs_linux::clock;
use dvs_log::{Group, GroupId, Store, Timing};
use dvs_radar::leases::Leases;
use dvs_radar::links::Links;
use dvs_radar::{Radar, Terms};
use ledger::Ledger;
use post::Post;
use roster::{Roster, Step};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Error, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{SystemTime, UNIX_EPOCH};

/// The group of the control plane.
const GROUP: GroupId = GroupId(0);

/// What the daemon hears from the log and its threads.
pub(crate) enum News {
    /// An entry was done.
    Applied { place: Epoch, entry: Entry },
    /// The state is another one: that of a snapshot.
    Restored(Box<State>),
    /// An entry of a later version.
    Unreadable { place: Epoch },
    /// What became of an order.
    Answered { ticket: u64, place: Epoch, answer: Answer },
    /// Whether a majority has confirmed that this node leads, and up to where.
    Confirmed { upto: Option<Epoch> },
    /// A change of the group's members ended.
    Changed { step: Step, result: Result<(), String> },
}

/// This node's part of the control plane.
pub(crate) struct ControlPlane {
    pub(crate) identity: Identity,
    dir: PathBuf,
    /// As far as this node has done what the log says.
    pub(crate) state: State,
    news: Receiver<News>,
    // Before the group: their threads ask it.
    clerk: Clerk,
    roster: Roster,
    group: Arc<Group<Ledger>>,
    post: Post,
    /// This daemon's own, once it has begun.
    incarnation: Option<Epoch>,
    /// Of the `Begin` that is under way: its ticket and what tells it from that of another daemon.
    beginning: Option<(u64, u64)>,
    tickets: u64,
    asked: HashMap<u64, Asked>,
    /// Orders for after the begin.
    held: Vec<Order>,
    /// Answers to entries that were not done here yet.
    verdicts: BTreeMap<Epoch, Vec<(u64, Answer)>>,
    links: Links<Record>,
    leases: Leases,
    /// Where callers of services go, and whether instances here serve. Of this incarnation.
    radar: Radar,
    /// Nodes that are being declared lost, by the ticket of that.
    losing: BTreeMap<u64, (NodeId, Epoch)>,
    /// This node is to leave: it ends when the others have let it go.
    leaving: bool,
    /// The daemon ends: the ticket of what it says last, until that is answered.
    farewell: Option<u64>,
    /// A node that has left may still be a member of the group.
    trims: bool,
    leader: Option<NodeId>,
}

impl ControlPlane {
    /// Takes up what the node's folder says; without anything there the node joins the system its
    /// configuration names, or founds one.
    ///
    /// # Errors
    /// The folder cannot be used, is damaged, belongs to another node, or is in use; the system it is to join
    /// cannot be reached or does not want it.
    pub(crate) fn start(config: &Config, waker: &Waker) -> io::Result<Self> {
        let dir = config.data();
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let (mut identity, founds) = who(config, &dir)?;
        if let Some(listen) = &config.listen {
            identity.listen = Some(listen.clone());
            identity.address = config.address.clone().unwrap_or_else(|| join::advertised(listen));
        }
        let file = identity::log_file(&dir);
        let store = match (file.exists(), identity.began) {
            (true, _) => Store::open(&file, GROUP, identity.id()),
            (false, false) => Store::create(&file, GROUP, identity.id()),
            (false, true) => return Err(lost_log(&file, &identity)),
        };
        let store = store.map_err(|e| Error::new(ErrorKind::InvalidData, e.to_string()))?;
        identity.began = true;
        identity.save(&dir)?;
        let (to, news) = channel();
        let post = Post::default();
        let ledger = Ledger::new(to.clone(), waker.clone());
        let group = Group::open(store, ledger, post.clone(), Timing::default()).map_err(Error::other)?;
        let group = Arc::new(group);
        let clerk = Clerk::start(identity.id(), group.clone(), to.clone(), waker.clone())?;
        let roster = Roster::start(&group, &to, waker)?;
        let now = clock::now();
        let terms = terms(config.timeouts.lease_ms.saturating_mul(1_000_000));
        let mut plane = ControlPlane {
            leases: Leases::new(identity.id(), terms, now),
            radar: Radar::new(identity.id(), terms),
            links: Links::default(),
            identity,
            dir,
            state: State::default(),
            news,
            clerk,
            roster,
            group,
            post,
            incarnation: None,
            beginning: None,
            tickets: 0,
            asked: HashMap::new(),
            held: Vec::new(),
            verdicts: BTreeMap::new(),
            losing: BTreeMap::new(),
            leaving: false,
            farewell: None,
            trims: false,
            leader: None,
        };
        if founds {
            plane.found(config)?;
        }
        Ok(plane)
    }

    /// Founds the system of the identity; doing so twice is doing so once.
    fn found(&mut self, config: &Config) -> io::Result<()> {
        self.group.found().map_err(Error::other)?;
        let lease_ns = config.timeouts.lease_ms.saturating_mul(1_000_000);
        let rules = Rules { system: self.identity.system, lease_ns };
        let command = Command::Found { card: self.card(), rules };
        self.tickets += 1;
        let order =
            Order { ticket: self.tickets, follows: Some(Epoch::default()), of: None, here: false, command };
        self.clerk.order(order);
        Ok(())
    }

    fn card(&self) -> NodeCard {
        let Identity { name, address, key, witness, .. } = &self.identity;
        NodeCard { name: name.clone(), address: address.clone(), key: *key, witness: *witness }
    }

    /// The proxy, if this node listens.
    ///
    /// # Errors
    /// As [`proxy::start`].
    pub(crate) fn open(&self, config: &Config, waker: &Waker) -> io::Result<Option<Door>> {
        let Some(listen) = &self.identity.listen else { return Ok(None) };
        let door = proxy::start(config, &self.identity, listen, waker)?;
        self.post.opened(&door);
        Ok(Some(door))
    }

    /// The proxy is about to end.
    pub(crate) fn closed(&self) {
        self.post.closed();
    }

    /// The daemon ends: nobody waits for the log any more.
    pub(crate) fn halt(&self) {
        self.group.halt();
    }

    /// What the rules are told at the start.
    pub(crate) fn node_config(&self, pid: u32, first_generation: u32) -> NodeConfig {
        let Identity { node, name, address, contacts, .. } = &self.identity;
        let entry = |id: u16, name: &String, address: &String| NodeEntry {
            id: NodeId(id),
            name: name.clone(),
            address: address.clone(),
        };
        let mut nodes: Vec<NodeEntry> = contacts.iter().map(|c| entry(c.node, &c.name, &c.address)).collect();
        nodes.push(entry(*node, name, address));
        nodes.sort_by_key(|n| n.id);
        NodeConfig { me: self.me(), pid, nodes, first_generation }
    }

    /// Of this node's key; empty in a system without.
    pub(crate) fn fingerprint(&self) -> String {
        match self.security() {
            Security::Tls => identity::hex(&self.identity.key),
            Security::Plain => String::new(),
        }
    }

    /// This node's number.
    pub(crate) fn me(&self) -> NodeId {
        self.identity.id()
    }

    /// How connections are protected.
    pub(crate) fn security(&self) -> Security {
        self.identity.security
    }

    /// The numbers of the other nodes.
    pub(crate) fn others(&self) -> impl Iterator<Item = u16> {
        let me = self.me();
        self.state.members().map(|(n, _)| n).filter(move |n| *n != me).map(|n| n.0)
    }

    /// Whether what this daemon said last was not answered yet.
    pub(crate) fn says_farewell(&self) -> bool {
        self.farewell.is_some_and(|ticket| self.asked.contains_key(&ticket))
    }

    /// Whether there is something to do now and then: a node that is alone has nobody to ask, and only looks
    /// whether what waits for its log may go on waiting.
    fn beats(&self) -> bool {
        self.trims
            || self.leaving
            || !self.asked.is_empty()
            || self.state.members().count() > 1
            || self.has_services()
    }

    fn has_services(&self) -> bool {
        self.state.containers().any(|(_, c)| !c.services.is_empty())
    }

    /// When [`crate::daemon::Daemon`] has to look at it again.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let beat = self.beats().then(|| self.leases.next_beat());
        let asked = self.asked.values().map(|a| a.until).filter(|t| *t != u64::MAX).min();
        let radar = self.radar.wake_at().filter(|_| self.incarnation.is_some());
        [beat, asked, radar].into_iter().flatten().min()
    }
}

/// The time by which moves end, as entries of the log name it: ns since 1970.
pub(crate) fn wall_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
}

/// What all nodes have agreed on about leases.
fn terms(lease_ns: u64) -> Terms {
    let guard = NODE_LEASE_GUARD_NS.min(lease_ns / 4);
    Terms::new(lease_ns, guard, limits::CLOCK_DRIFT_PPM).unwrap_or_default()
}

/// Who this node is, and whether it is to found the system.
fn who(config: &Config, dir: &Path) -> io::Result<(Identity, bool)> {
    if let Some(identity) = Identity::load(dir)? {
        if identity.name != config.node {
            let text = format!(
                "{} belongs to node {}, not {}; name another data_dir, or that node",
                dir.display(),
                identity.name,
                config.node
            );
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let founds = identity.founder;
        return Ok((identity, founds));
    }
    if let Some(token) = &config.join {
        return Ok((join::join(config, token)?, false));
    }
    let key = match config.security {
        Security::Tls => proxy::node_key(config)?.fingerprint().0,
        Security::Plain => join::random_key()?,
    };
    let mut identity = Identity::new(proxy::random()?, NodeId(0), &config.node, config.security, key);
    identity.founder = true;
    identity.save(dir)?;
    Ok((identity, true))
}

fn lost_log(file: &Path, identity: &Identity) -> Error {
    let text = format!(
        "{} is gone: this node has forgotten what it promised the others. Type dvs leave {} on another node, \
         remove {} here, and join again",
        file.display(),
        identity.name,
        file.with_file_name("system.toml").display()
    );
    Error::new(ErrorKind::NotFound, text)
}
