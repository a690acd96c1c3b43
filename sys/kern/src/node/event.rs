//! What comes into a node and what it wants done.

use super::config::{DcConfig, NodeEntry};
use super::deadlock::Waiting;
use super::link::LinkKey;
use super::mover::Placed;
use super::record::Record;
use super::service::{Action, Kind};
use crate::control::{Answer, Event as Told, Request, Rule, WireError};
use crate::mover::{MoverAnswer, MoverReport};
use crate::slots::{SlotChange, SlotRequest};
use dvs_abi::{Code, Endpoint};

/// Number of a session on its node.
pub type SessionId = u32;

/// The session inside the daemon that stands in for the endpoints of other nodes.
pub const PROXY: SessionId = 0;

/// Something that happened.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum Event {
    /// A process said hello (request `id`) and its memories were found good; or an administrator came
    /// (`pid` 0). `operator`: it runs as root or as the daemon's user.
    Connected { session: SessionId, id: u64, pid: u32, operator: bool, name: String },
    /// It asks.
    Request { session: SessionId, id: u64, request: Request },
    /// Its process or its socket is gone; the exit code if it is known.
    Died { session: SessionId, code: Option<i32> },
    /// A process that was asked for by [`Command::WatchPid`] is gone.
    PidGone { pid: u32 },
    /// There is a session with a node that was down.
    NodeUp { node: u16 },
    /// A node was declared dead.
    NodeDown { node: u16 },
    /// A node said something.
    Record { node: u16, record: Record },
    /// Who waits for whom in this node, read from the boards just now.
    Boards(Vec<Waiting>),
    /// The memory of a link could not be made.
    LinkFailed { link: LinkKey },
    /// A notification came from another node for an endpoint that moved away from here meanwhile.
    ProxyNotice { dc: u16, source: Endpoint, endpoint: Endpoint, value: u64 },
    /// The proxy wants a lane for a message that came from `from` on `node`.
    ProxyOpen { id: u64, node: u16, dc: u16, from: i32, to: i32, remaining: u64 },
    /// A node is one of the system, or its name or address is another.
    Admitted { entry: NodeEntry },
    /// A node is none of the system any more.
    Forgotten { node: u16 },
    /// What was agreed about a container, in the order in which it was; `None` when it ended. Once is enough,
    /// twice does no harm.
    Container { dc: u16, value: Option<DcConfig> },
    /// What was agreed about slots of a container, for whichever node.
    Slots { dc: u16, change: SlotChange },
    /// What became of a [`Command::Decide`]. All that it changed was told before.
    Decided { ticket: u64, result: Result<(), Code> },
    /// The same of a [`Want::Move`] that is in the log, under this number.
    MoveBegun { ticket: u64, number: u64 },
    /// A service of a container was declared, or is no more (`None`). Before any step of it.
    Service { dc: u16, slot: i32, name: String, kind: Option<Kind> },
    /// What is to be done with the callers or the instance of a service.
    Route { dc: u16, slot: i32, epoch: u64, action: Action },
    /// The log says where a service is; the steps that follow from it were told.
    ServicePlace { dc: u16, slot: i32, placed: Placed },
    /// A program that waits for a word about a move gets it.
    MoverOrder { dc: u16, slot: i32, answer: MoverAnswer },
    /// This node was taken for lost and begins anew: what is bound here ends, what it was leased is gone.
    Reborn { first_generation: u32 },
    /// Time passed.
    Tick,
}

/// The descriptors beside an [`Told::Link`]: memory of `link`, bell and status of session `peer`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Attach {
    pub link: LinkKey,
    pub peer: SessionId,
}

/// One side of a copy, as the proxy finds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum CopySide {
    /// Memory of the process that asks.
    Own { pid: u32, address: u64 },
    /// Memory lent by a caller of this node: the grants of request `seq` in its lane say what may be touched.
    Here { pid: u32, link: LinkKey, lane: u8, seq: u64, address: u64 },
    /// Memory lent by a caller of another node. `number` = what the proxy calls the link.
    There { number: u16, lane: u8, seq: u64, address: u64 },
}

/// What is to be agreed on by all nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Want {
    /// A container begins.
    Create { dc: u16, config: DcConfig },
    /// A container ends.
    End { dc: u16 },
    /// Whether a container may run on a node.
    Allow { dc: u16, node: u16, on: bool },
    /// Slots of a container. These reach the log in the order in which they were wanted; one that is lost is
    /// repeated, one that is refused is not.
    Slots { dc: u16, request: SlotRequest },
    /// A slot is a service; `nodes` = one bit a node, zero for all of the container.
    Declare { dc: u16, slot: i32, name: String, kind: Kind, rule: Rule, nodes: u32 },
    /// This node has an instance of a service.
    Offer { dc: u16, slot: i32 },
    /// It has ended, with all it had taken up. After its offer, and not repeated when it is refused.
    Retire { dc: u16, slot: i32 },
    /// The instance of a service is to be on another node; callers are held for so long at most.
    Move { dc: u16, slot: i32, to: u16, hold_ns: u64 },
    /// That is not to be.
    Undo { dc: u16, slot: i32, number: u64 },
    /// This node has the instance to which a service moves, with all there is.
    Arrive { dc: u16, slot: i32, number: u64 },
}

/// Something to be done. The order is part of the meaning.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum Command {
    /// Answer a request.
    Reply { session: SessionId, id: u64, result: Result<Answer, WireError> },
    /// Tell a session.
    Tell { session: SessionId, event: Told, attach: Option<Attach> },
    /// Make the memory of a link; [`Event::LinkFailed`] when that fails.
    CreateLink { link: LinkKey },
    /// Both sides were told that the link is gone: forget its memory.
    DropLink { link: LinkKey },
    /// Close a lane in its memory: one of its endpoints ended, and the other side must not
    /// need its news to know.
    CloseLane { link: LinkKey, lane: u8 },
    /// Clear the memory of a lane: neither side uses it any more.
    ResetLane { link: LinkKey, lane: u8 },
    /// Have this agreed on by all nodes, and say [`Event::Decided`].
    Decide { ticket: u64, want: Want },
    /// Tell a node.
    Control { node: u16, record: Record },
    /// Move bytes where at least one side is on another node; the driver answers the request.
    Copy { session: SessionId, id: u64, from: CopySide, to: CopySide, length: u64 },
    /// A program stands by for a service.
    StandsBy { dc: u16, slot: i32 },
    /// How far a move is; the driver answers the request.
    MoveReport { session: SessionId, request: u64, id: u64, report: MoverReport },
    /// Ask a process to end (SIGTERM).
    Signal { pid: u32 },
    /// Say [`Event::PidGone`] when this process ends or if there is none.
    WatchPid { pid: u32 },
    /// Drop a session that breaks the protocol or a bound.
    Close { session: SessionId, why: &'static str },
    /// Worth a line in the log.
    Log(String),
}
