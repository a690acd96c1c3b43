//! What the command line asks of a daemon.
//!
//! One [`AdminRequest`] a connection at a time; the daemon writes any number of [`AdminAnswer`]s and then
//! [`AdminAnswer::End`] (or an error, which is the last). Records as on the session socket: SEQPACKET,
//! postcard, at most `CONTROL_BYTES_MAX` bytes; long lists come in several answers.

use crate::cluster::join::TokenOrder;
use crate::log::LogEvent;
use dvs_control::service::ServiceSpec;
use dvs_ipc::control::{Answer, DcInfo, NodeInfo, ProcInfo, Request, WireError};
use dvs_kern::mover::MovePhase;
use serde::{Deserialize, Serialize};

/// A question or an order.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum AdminRequest {
    /// How the node is.
    Status,
    /// The containers.
    Containers,
    /// Any request a session may make that needs no endpoint: containers, nodes, rights, binding by pid.
    Call(Request),
    /// The endpoints of a container (`None`: of all) on all nodes.
    Ps { dc: Option<u16> },
    /// Who waits for whom, on all nodes.
    Waits { dc: Option<u16> },
    /// Asks a process (`force`: makes it) to end: that of an endpoint of this node or another.
    Kill { dc: u16, endpoint: i32, force: bool },
    /// Events from `since` on, of this node (`None`) or another; `follow` = go on until the connection is
    /// closed (this node only).
    Logs { node: Option<u16>, since: u64, follow: bool },
    /// Adds lines to the log: output of a program started by `dvs run`.
    Log { subject: String, lines: Vec<String> },
    /// A sign of life from a node.
    Ping { node: u16 },
    /// Start a program on a node. Answered by `Started`, then its output and its end, unless it is detached;
    /// when the connection is closed before, the program is ended.
    Run { node: u16, order: RunOrder },
    /// The programs that were started so, on all nodes.
    Programs,
    /// Signal a program that was started so.
    Signal { node: u16, program: u32, signal: ProgramSignal },
    /// Make a token, with which machines join the system.
    Token(TokenOrder),
    /// The nodes, as this one knows them.
    Nodes,
    /// A node leaves the system: this one, or one that is down.
    Leave { node: u16 },
    /// Whether nothing new is placed on a node.
    Drain { node: u16, on: bool },
    /// Declare a service at a slot of a container, or (`None`) withdraw it.
    Service { dc: u16, slot: i32, spec: Option<ServiceSpec> },
    /// The services, as this node knows them.
    Services,
    /// End in order.
    Shutdown,
    /// Move a service. Answered by `Moving` as it goes and `Moved`, or `Refused`; a check by `Checked`. When
    /// the connection is closed before, it is given up as long as that can be.
    Migrate(MoveOrder),
    /// A move that is under way is not to be; whether that can be is answered where it was asked for.
    CancelMove { dc: u16, slot: i32 },
    /// What the program that has an endpoint on a node was started with. Answered by `Command`.
    CommandOf { node: u16, dc: u16, endpoint: i32 },
    /// Callers of a passive service are to go to its instance on a node. Answered when this node has done
    /// it, or by `Refused`; a check by `Checked`.
    Switch { dc: u16, slot: i32, to: u16, check: bool },
}

/// A part of what is answered.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum AdminAnswer {
    Status(Status),
    Containers(Vec<DcInfo>),
    Call(Answer),
    Procs(Vec<ProcRow>),
    Waits(Vec<WaitRow>),
    Events(Vec<LogEvent>),
    Pong {
        node: u16,
    },
    /// The program runs: its number on its node, its process there.
    Started {
        program: u32,
        pid: u32,
    },
    /// What it wrote, to standard output or (`error`) to standard error.
    Output {
        error: bool,
        bytes: Vec<u8>,
    },
    /// It ended: its exit code, or 128 + N when signal N ended it.
    Ended {
        code: i32,
    },
    /// It was not started, or there is none: the error's number and the reason.
    Refused {
        code: i32,
        why: String,
    },
    Programs(Vec<ProgramRow>),
    /// For `dvs join` on another machine.
    Token(String),
    Nodes(Vec<NodeRow>),
    Services(Vec<ServiceRow>),
    /// These nodes did not answer in time; what is shown is without them.
    Silent(Vec<u16>),
    /// It failed; nothing follows.
    Error(WireError),
    /// Nothing follows.
    End,
    /// A move is here; so many bytes of this round were sent.
    Moving {
        phase: MovePhase,
        round: u32,
        bytes: u64,
    },
    /// A move is over: the service is on its new node, or where it was, and why.
    Moved {
        moved: bool,
        why: String,
        rounds: u32,
        bytes: u64,
        held_ns: u64,
    },
    /// What would hinder a move.
    Checked(MoveCheck),
    /// Program and arguments, and the folder it was started in.
    Command {
        program: Vec<String>,
        folder: Option<String>,
    },
}

/// A service to be moved.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct MoveOrder {
    /// The container.
    pub dc: u16,
    /// The service's slot.
    pub slot: i32,
    /// There.
    pub to: u16,
    /// Only look whether it could.
    pub check: bool,
    /// How long it may take until callers are held, ms.
    pub prepare_ms: u64,
    /// How long they may be held, ms.
    pub hold_ms: u64,
    /// What to start there if nobody stands by; nothing for what runs now.
    pub program: Vec<String>,
    /// In this folder.
    pub folder: Option<String>,
}

/// What a check of a move found.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct MoveCheck {
    /// What is in the way, each with what to do about it.
    pub hindrances: Vec<String>,
    /// Bytes of state.
    pub bytes: u64,
    /// Its version.
    pub version: u32,
    /// Free memory on the node it would go to, bytes.
    pub memory: u64,
    /// Versions that one who stands by there takes over; nothing if one would be started.
    pub takes: Option<(u32, u32)>,
}

/// A program to be started by a daemon.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct RunOrder {
    /// The container.
    pub dc: u16,
    /// The endpoint it is to be; `Endpoint::NONE` for any.
    pub endpoint: i32,
    /// The program and its arguments.
    pub program: Vec<String>,
    /// The folder it starts in; that of the daemon when there is none.
    pub folder: Option<String>,
    /// Nobody waits for it.
    pub detach: bool,
}

/// A signal for a program.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ProgramSignal {
    Interrupt,
    HangUp,
    Terminate,
    Kill,
}

/// One program a daemon has started.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct ProgramRow {
    pub node: u16,
    pub program: u32,
    pub dc: u16,
    pub pid: u32,
    pub name: String,
    /// The node it was asked for at.
    pub from: u16,
    pub detached: bool,
    pub running_ms: u64,
}

/// How a node is.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub struct Status {
    pub node: u16,
    pub name: String,
    pub pid: u32,
    pub version: String,
    pub uptime_ms: u64,
    pub fingerprint: String,
    pub security: String,
    pub sessions: u32,
    pub endpoints: u32,
    pub links: u32,
    pub lanes: u32,
    pub containers: u32,
    pub resident_kib: u64,
    pub cluster: ClusterStatus,
    pub nodes: Vec<NodeInfo>,
}

/// How the system is, as one node sees it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ClusterStatus {
    /// Tells it from every other system.
    pub system: String,
    /// This daemon has begun: programs are let in.
    pub begun: bool,
    /// Its incarnation.
    pub incarnation: u64,
    /// Entries of the log that were done here.
    pub applied: u64,
    /// Who leads, as far as known.
    pub leader: Option<u16>,
    /// How often a leader was sought.
    pub term: u64,
    /// Nodes with a vote.
    pub voters: Vec<u16>,
    /// How many of these can fail and decisions are still made.
    pub spare: u32,
    /// Whether this node may serve: it was heard of by a majority, or is alone.
    pub lease: bool,
    /// How long a silent node may serve, and the others wait, ms.
    pub lease_ms: u64,
    /// Silent nodes; only the leader knows.
    pub suspected: Vec<u16>,
}

/// One node of the system.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct NodeRow {
    pub node: u16,
    pub name: String,
    pub address: String,
    /// `up`, `down`, `joined` (it has not begun yet).
    pub standing: String,
    pub incarnation: u64,
    /// `leader`, `voter`, `learner`, or `-` for one without the log.
    pub role: String,
    /// Messages get through to it from here (or it is this node).
    pub reached: bool,
    pub draining: bool,
    pub witness: bool,
    pub fingerprint: String,
}

/// One service.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct ServiceRow {
    pub dc: u16,
    pub slot: i32,
    pub spec: ServiceSpec,
    /// Where callers go; nowhere while it is vacant or moving.
    pub at: Option<u16>,
    /// Where it moves to.
    pub to: Option<u16>,
    /// What a move away from the asked node is at; of other nodes' only that callers are held.
    pub phase: Option<String>,
    pub epoch: u64,
    /// Nodes with an instance that could serve.
    pub instances: Vec<u16>,
    /// What the instance on the asked node does: `serves`, `reads`, `stopped`.
    pub here: String,
}

/// One endpoint.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub struct ProcRow {
    /// The node that says so.
    pub reporter: u16,
    pub kind: dvs_ipc::control::BindKind,
    pub info: ProcInfo,
}

/// One wait.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub struct WaitRow {
    pub node: u16,
    pub dc: u16,
    pub endpoint: i32,
    pub name: String,
    /// `sending`, `calling`, `awaiting answer`, `receiving`.
    pub state: String,
    /// `Endpoint::ANY` when nobody in particular.
    pub peer: i32,
    pub waiting_ns: u64,
    pub call: u64,
}
