//! The control plane of the system in a world: several nodes that run its replicated state
//! ([`dvs_control::state::State`]) and their slots ([`dvs_control::slots::Holding`]) over one log.
//!
//! ```text
//!   n0   n1   n2   n3   n4     daemons: bind programs, offer, move and retire services,
//!    │    │    │    │    │     create and end containers, all at random
//!    └────┴────┼────┴────┘
//!       Propose▼ ▲ Entries, Renewed
//!             n5               the order of all entries, on its disk; leases, and who is lost
//! ```
//! Each node may lose its power or stand still, the order's too.

pub mod daemon;
mod instances;
pub mod moves;
pub mod order;
mod programs;
pub mod scenario;
pub mod wire;

use dvs_abi::limits::CLOCK_DRIFT_PPM;
use dvs_abi::{DcId, Endpoint, NodeId};
use dvs_control::command::{Command, Entry};
use dvs_control::container::DcConfig;
use dvs_control::epoch::Epoch;
use dvs_control::member::NodeCard;
use dvs_control::service::{Kind, PartitionRule, ServiceSpec};
use dvs_control::slots::SlotRequest;
use dvs_radar::Terms;

pub(crate) const MS: u64 = 1_000_000;
/// How long a node may serve after it has asked for its lease, by its own clock.
pub const LEASE_NS: u64 = 2_000 * MS;
/// What all agree on about leases: the order waits so much longer as clocks may differ.
pub fn terms() -> Terms {
    Terms::new(LEASE_NS, 0, CLOCK_DRIFT_PPM).unwrap_or_default()
}

/// Daemons in [`scenario`].
pub const DAEMONS: u16 = 5;
/// The node of the order.
pub const ORDER: NodeId = NodeId(DAEMONS);
/// The container in which programs are bound.
pub const MAIN: DcId = DcId(0);
/// Its services: two of which there is one, one whose instances follow, one where all serve.
pub const SERVICES: [(i32, Kind); 4] =
    [(0, Kind::Single), (1, Kind::Single), (2, Kind::Passive), (3, Kind::Active)];

pub(crate) fn everywhere() -> u32 {
    (1 << DAEMONS) - 1
}

pub(crate) fn card(node: u16) -> NodeCard {
    NodeCard {
        name: format!("n{node}"),
        address: format!("n{node}:1"),
        key: [node as u8; 32],
        witness: false,
    }
}

pub(crate) fn container(name: String) -> DcConfig {
    let (warn, warn_type) = (Endpoint::NONE.raw(), 0);
    DcConfig { name, tasks: 4, procs: 46, sysprocs: 18, warn, warn_type, nodes: everywhere(), born: 0 }
}

pub(crate) fn service(slot: i32, kind: Kind) -> ServiceSpec {
    ServiceSpec { name: format!("s{slot}"), kind, nodes: everywhere(), rule: PartitionRule::Stop }
}

/// What every log begins with: all nodes are admitted, the container and its services are there.
pub fn genesis() -> Vec<Entry> {
    let mut commands = vec![Command::Invite { token: [9; 32], until: u64::MAX, uses: DAEMONS + 1 }];
    commands.extend((1..=DAEMONS).map(|n| Command::Admit { token: [9; 32], card: card(n) }));
    commands.push(Command::Create { dc: Some(MAIN), spec: container("main".into()) });
    commands.extend(SERVICES.map(|(slot, kind)| Command::Declare {
        dc: MAIN,
        slot,
        spec: service(slot, kind),
    }));
    let founder =
        |number, incarnation, command| Entry { from: NodeId(0), incarnation, number, at: 0, command };
    let mut log = vec![founder(0, Epoch(0), Command::Begin { address: String::new(), nonce: 0 })];
    let rest = commands.into_iter().zip(1..).map(|(c, number)| founder(number, Epoch(1), c));
    log.extend(rest);
    log
}

/// A command in few words, for the trace.
pub(crate) fn brief(entry: &Entry) -> String {
    let Entry { from, incarnation, number, command, .. } = entry;
    let what = match command {
        Command::Found { .. } => "found".to_owned(),
        Command::Begin { .. } => "begin".to_owned(),
        Command::Lost { node, incarnation } => format!("lost {node} {incarnation}"),
        Command::Create { dc, .. } => format!("create {dc:?}"),
        Command::Slots { request: SlotRequest::Ask(a), .. } => {
            format!("ask {} slots {}{}", a.number, a.slots, if a.urgent { " now" } else { "" })
        }
        Command::Slots { request: SlotRequest::Give { round, slots }, .. } => {
            format!("give {slots:?} round {round}")
        }
        Command::Declare { slot, .. } => format!("declare {slot}"),
        other => format!("{other:?}"),
    };
    format!("{from} {incarnation} #{number}: {what}")
}

/// A node of this world.
pub type Node = crate::node::Node<daemon::Daemon>;
