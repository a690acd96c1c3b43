//! What a session and its daemon say to each other over the control socket.
//!
//! Messages between endpoints never pass here: this is the slow path that binds endpoints, opens lanes and
//! tells of deaths. One record a datagram (`SOCK_SEQPACKET`), postcard-encoded, at most `CONTROL_BYTES_MAX`
//! bytes; descriptors travel beside the record they belong to.
//!
//! ```text
//! session                                daemon
//!   Hello + [bell, status, board]  --->    checks the memories, holds a pidfd of the peer process
//!                                  <---    Answer::Welcome
//!   Request { id, .. }             --->
//!                                  <---    Reply { id, .. }      (some come much later: waits)
//!                                  <---    Event                 (any time)
//! ```
//!
//! In the session one thread reads the socket and does nothing else, so that it also learns at once when the
//! daemon ends. A lane may ring before its `LaneOpened` was read: whoever reads it then looks at the lane.

use crate::mover::{MoverAnswer, MoverAsk};
pub use crate::node::service::Kind as ServiceKind;
use dvs_abi::{Code, DcId, Effect, Endpoint, Error, Fault, NodeId, Privileges};
use serde::{Deserialize, Serialize};

/// Versions of this protocol a build speaks.
pub const VERSION: u16 = 2;

/// A request with its number; the reply carries the same number.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Numbered {
    /// Chosen by the session; zero when it does not want the reply.
    pub id: u64,
    /// What is asked.
    pub request: Request,
}

/// How an endpoint is bound (facts §2.5.1).
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum BindKind {
    /// The caller itself.
    Own,
    /// Another local process, by pid.
    Local,
    /// A process of another node, by name.
    Remote,
    /// A standby for a primary on another node; unusable until promoted.
    Backup,
    /// One of several equal instances.
    Replica,
    /// A process in user mode (user-mode kernels): as `Own`.
    UserMode,
}

/// What a session asks.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[allow(missing_docs)] // fields are named after the arguments in docs/reference/calls
pub enum Request {
    /// First record, with descriptors `[bell, status, board]`. `version` is the highest spoken.
    Hello { version: u16, name: String },
    /// Binds an endpoint. `endpoint` NONE = any free user slot of this node. `board` = index of the record on
    /// the session's board (only for kinds that bind into this session).
    Bind { kind: BindKind, dc: u16, endpoint: i32, pid: u32, node: u16, name: String, board: u32 },
    /// Ends a binding; for another process: asks it to end and waits until it did.
    Unbind { dc: u16, endpoint: i32, remaining: u64 },
    /// A lane from `from` (bound in this session) to `to`. Waits while `to` is moving, at most `remaining`
    /// ns.
    OpenLane { dc: u16, from: i32, to: i32, remaining: u64 },
    /// The session forgot a lane that was closed; its number may be used again. Not answered.
    FreeLane { link: u16, lane: u8 },
    /// Tell me (`Event::Gone`) when `endpoint` ends; fails with SRCDIED if it is not bound. Not repeated.
    Watch { dc: u16, endpoint: i32 },
    /// Waits until `endpoint` is bound anywhere (SELF: until somebody binds this process, in whatever
    /// container; answered `Bound`).
    WaitBind { dc: u16, endpoint: i32, remaining: u64, board: u32 },
    /// Waits until `endpoint` is free or another generation's.
    WaitUnbind { dc: u16, endpoint: i32, remaining: u64 },
    /// Withdraws the request with this number (its waiter left). Not answered.
    Withdraw { id: u64 },
    /// The endpoint bound for a process of this node.
    GetEp { dc: u16, pid: u32 },
    /// Everything about a slot.
    ProcInfo { dc: u16, slot: i32 },
    /// Everything about a container.
    DcInfo { dc: u16 },
    /// The system's limits and this node.
    DvsInfo,
    /// A node.
    NodeInfo { node: i32 },
    /// Rights of an endpoint.
    GetPriv { dc: u16, endpoint: i32 },
    /// Changes warn, level, targets and calls.
    SetPriv { dc: u16, endpoint: i32, privileges: WirePrivileges },
    /// Releases an endpoint blocked in receive(ANY).
    Wakeup { dc: u16, endpoint: i32 },
    /// Stops traffic to an endpoint before a move.
    MigrateStart { dc: u16, endpoint: i32 },
    /// Undoes `MigrateStart`.
    MigrateRollback { dc: u16, endpoint: i32 },
    /// Ends a move: the endpoint now lives on `node` (pid 0 = the caller or the bound standby).
    MigrateCommit { dc: u16, endpoint: i32, node: u16, pid: u32 },
    /// A hardware notification from a process that may be unbound.
    HardwareNotify { dc: u16, endpoint: i32 },
    /// A notification by `from` (bound in this session) in the name of `source`.
    Notice { dc: u16, source: i32, from: i32, endpoint: i32, value: u64, timestamp: u64 },
    /// A container.
    DcInit {
        dc: u16,
        name: String,
        procs: i32,
        tasks: i32,
        sysprocs: i32,
        warn: i32,
        warn_type: i32,
        nodes: Vec<u16>,
    },
    /// Ends a container: every endpoint in it is asked to end, then forgotten.
    DcEnd { dc: u16 },
    /// Lets a container run on a node.
    AddNode { dc: u16, node: u16 },
    /// Withdraws a container from a node; its endpoints there end.
    DelNode { dc: u16, node: u16 },
    /// `endpoint` has been blocked for long: look for a circle of waits through it.
    DeadlockCheck { dc: u16, endpoint: i32, call: u64 },
    /// Moves `length` bytes where at least one side is on another node. Answered when all bytes are there.
    Copy { from: CopyPart, to: CopyPart, length: u64 },
    /// An endpoint that moved away from this session had been notified of this and had not received it:
    /// source, value, timestamp. At most `NOTICES_RECORD_MAX`. Not answered.
    CarryNotices { dc: u16, endpoint: i32, notices: Vec<(i32, u64, u64)> },
    /// The session ends in order: everything bound is unbound, and the exit notice carries this code.
    Exit { code: i32 },
    /// Everything that was said before `Event::Mark` with this number was carried in. Not answered.
    Heard { mark: u64 },
    /// This slot is a service, unless somebody has declared it already: then nothing changes. `nodes` = one
    /// bit a node where its instances may be, zero for all of the container.
    Declare { dc: u16, slot: i32, name: String, kind: ServiceKind, rule: Rule, nodes: u32 },
    /// A question of a program that moves the service at a slot.
    Mover { dc: u16, slot: i32, ask: MoverAsk },
}

/// One side of a copy.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyPart {
    /// Memory of the session itself.
    Own {
        /// First byte.
        address: u64,
    },
    /// Memory lent by the caller whose request `seq` was taken from this lane.
    Client {
        /// Link.
        link: u16,
        /// Lane in it.
        lane: u8,
        /// Call number in the lane.
        seq: u64,
        /// First byte in the caller's address space.
        address: u64,
    },
}

/// Rights in the form that travels.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct WirePrivileges {
    pub id: i32,
    pub warn: i32,
    pub level: i32,
    pub ipc_to: u128,
    pub calls: u64,
}

impl From<Privileges> for WirePrivileges {
    fn from(p: Privileges) -> Self {
        WirePrivileges {
            id: p.id,
            warn: p.warn.raw(),
            level: p.level as i32,
            ipc_to: p.ipc_to,
            calls: p.calls.0,
        }
    }
}

impl WirePrivileges {
    /// The rights; `None` when the level is no level.
    pub fn privileges(self) -> Option<Privileges> {
        Some(Privileges {
            id: self.id,
            warn: Endpoint::from_raw(self.warn),
            level: dvs_abi::Level::from_i32(self.level)?,
            ipc_to: self.ipc_to,
            calls: dvs_abi::CallSet(self.calls),
        })
    }
}

/// What the daemon writes.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub enum FromDaemon {
    /// The reply to request `id`.
    Reply {
        /// Number of the request.
        id: u64,
        /// The answer or the error.
        result: Result<Answer, WireError>,
    },
    /// Something happened.
    Event(Event),
}

/// An error in the form that travels.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct WireError {
    pub code: i32,
    pub effect: u8,
    pub peer: i32,
    pub cycle: Vec<i32>,
}

impl From<Error> for WireError {
    fn from(e: Error) -> Self {
        let cycle = e.cycle.iter().flat_map(|c| c.iter()).map(|e| e.raw()).collect();
        WireError { code: e.code as i32, effect: e.effect as u8, peer: e.peer.raw(), cycle }
    }
}

impl From<WireError> for Error {
    fn from(w: WireError) -> Self {
        let code = Code::from_i32(w.code).unwrap_or(Code::BADREQUEST);
        let effect = match w.effect {
            0 => Effect::No,
            1 => Effect::Yes,
            _ => Effect::Unknown,
        };
        let mut e = Error::new(code, effect).at(Endpoint::from_raw(w.peer));
        if Code::from_i32(w.code).is_none() {
            e.fault = Fault::System;
        }
        if !w.cycle.is_empty() {
            e.cycle = Some(w.cycle.into_iter().map(Endpoint::from_raw).collect());
        }
        e
    }
}

/// What is answered.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum Answer {
    /// Done; nothing to say.
    Done,
    /// To `Hello`.
    Welcome { version: u16, session: u32, node: u16 },
    /// To `Bind`, `WaitBind`: what is now bound (for SELF: in this session, usable), with its rights.
    Bound {
        dc: u16,
        endpoint: i32,
        kind: BindKind,
        tasks: i32,
        procs: i32,
        sysprocs: i32,
        privileges: WirePrivileges,
    },
    /// To `OpenLane`: lane number `lane` of link `link`; `Event::Link` for the link came before if it is new.
    /// `to` = the endpoint it leads to (generation 0 in the request names whatever the slot holds).
    /// `epoch` = of the place of the service it leads to; zero if it is none.
    Lane { link: u16, lane: u8, peer_pid: u32, remote: bool, to: i32, epoch: u64 },
    /// To `GetEp`.
    Endpoint { endpoint: i32 },
    /// To `ProcInfo`.
    Proc(ProcInfo),
    /// To `DcInfo`.
    Dc(DcInfo),
    /// To `DvsInfo`.
    Dvs(DvsInfo),
    /// To `NodeInfo`.
    Node(NodeInfo),
    /// To `GetPriv`.
    Privileges(WirePrivileges),
    /// To `Mover`.
    Mover(MoverAnswer),
}

/// What happens without being asked.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum Event {
    /// New shared memory with another session; descriptors `[memory, peer bell, peer status]`. `bell_link` is
    /// the number to ring the peer with.
    Link { link: u16, side: u8, bell_link: u16, peer_pid: u32 },
    /// `from` may now call `to` (bound here) through this lane. `may` = call set bits of the caller.
    /// `binding` tells the caller's process from others that had its endpoint before; through the proxy each
    /// message says it.
    LaneOpened {
        link: u16,
        lane: u8,
        dc: u16,
        from: i32,
        to: i32,
        remote: bool,
        may: u64,
        peer_pid: u32,
        binding: u64,
    },
    /// The lane is dead, both directions: the peer endpoint ended (`DSTDIED`/`SRCDIED` is chosen by the
    /// library from what was outstanding), its node was lost (`NOTCONN`), it moved (`MIGRATE`: open a new
    /// lane and repeat what was not consumed), the instance of a service is over and others know of what it
    /// had consumed (`STALE`: repeat all that was not answered, under its number) or rights were withdrawn
    /// (`TRAPDENIED`).
    LaneClosed { link: u16, lane: u8, code: i32 },
    /// The link is gone with its peer. It comes when the session has freed every lane in it; only then is its
    /// number used again.
    LinkClosed { link: u16 },
    /// A watched endpoint ended.
    Gone { dc: u16, endpoint: i32 },
    /// Somebody wants this endpoint unbound: end its blocked call with SHUTDOWN.
    Unbind { dc: u16, endpoint: i32 },
    /// wakeup() for this endpoint.
    Wakeup { dc: u16, endpoint: i32 },
    /// The endpoint is being moved: it takes no request and its calls wait until `Thaw`.
    Freeze { dc: u16, endpoint: i32 },
    /// Undoes `Freeze`.
    Thaw { dc: u16, endpoint: i32 },
    /// The endpoint moved away: its binding here is over, calls end with RMTPROC.
    Moved { dc: u16, endpoint: i32 },
    /// Rights changed.
    Privileges { dc: u16, endpoint: i32, privileges: WirePrivileges },
    /// The blocked call of `endpoint` closes a circle of waits and fails with it.
    Deadlock { dc: u16, endpoint: i32, call: u64, cycle: Vec<i32> },
    /// A notification from the system or from a source without a lane.
    Notice { dc: u16, source: i32, endpoint: i32, value: u64, timestamp: u64 },
    /// The container ended.
    DcEnded { dc: u16 },
    /// The daemon is going down in order.
    Closing,
    /// To the proxy: what the lane leads to goes on elsewhere. It is forgotten as soon as the call in it that
    /// was sent to another node has ended, so that its caller learns whether to repeat it; nothing more is
    /// taken out of it.
    LaneRetired { link: u16, lane: u8 },
    /// The process of `from` ended with `code`, and `to` (bound here) is to know: a message of type `mtype`
    /// in the name of the dead.
    Ended { dc: u16, from: i32, to: i32, mtype: i32, code: i32 },
    /// Say `Request::Heard` with this number when everything said before is carried in: somebody waits for
    /// that.
    Mark { mark: u64 },
    /// The endpoint is over: its node was taken for lost. Its calls end with NOTBIND, and nobody is to be
    /// told when its process lets go of it: its place may be another's by then.
    Withdrawn { dc: u16, endpoint: i32 },
    /// What the instance of a service at `endpoint` (bound here) may answer: `may` as long as the node's
    /// lease holds (the word `board::LEASE_BACK`), `after` when it is over.
    Instance { dc: u16, endpoint: i32, may: Duty, after: Duty },
    /// The node's lease was over for a moment that nobody was told of, and holds again.
    LeasedAgain,
}

/// What an instance does that is cut off from the majority of the nodes.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// It stops.
    Stop,
    /// It answers what changes nothing.
    Reads,
    /// It goes on: for services without state, and for those whose own log decides.
    Continue,
}

/// What an instance of a service may answer.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Duty {
    /// Nothing.
    Stopped,
    /// What changes nothing.
    Reads,
    /// Everything.
    Full,
}

/// A slot as programs see it (facts §1.5).
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
#[allow(missing_docs)]
pub struct ProcInfo {
    pub slot: i32,
    pub endpoint: i32,
    pub dc: u16,
    /// State bits of facts §1.6.
    pub rts_flags: u32,
    pub misc_flags: u32,
    pub pid: i32,
    pub node: i32,
    /// Source a receive waits for, NONE otherwise.
    pub getfrom: i32,
    /// Destination a send waits on, NONE otherwise.
    pub sendto: i32,
    /// How long the present wait has lasted, ns.
    pub waiting_ns: u64,
    pub sent_local: u64,
    pub sent_remote: u64,
    pub copies_local: u64,
    pub copies_remote: u64,
    pub name: String,
}

/// A container as programs see it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
#[allow(missing_docs)]
pub struct DcInfo {
    pub dc: u16,
    /// 0 running, 2 free.
    pub flags: u32,
    pub procs: i32,
    pub tasks: i32,
    pub sysprocs: i32,
    pub nodes: u32,
    pub warn: i32,
    pub warn_type: i32,
    pub name: String,
}

/// The system as programs see it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
#[allow(missing_docs)]
pub struct DvsInfo {
    pub node: u16,
    pub nodes: u32,
    pub dcs: u32,
    pub procs: i32,
    pub tasks: i32,
    pub sysprocs: i32,
    pub copy_bytes: u64,
    pub version: String,
}

/// A node as programs see it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
#[allow(missing_docs)]
pub struct NodeInfo {
    pub node: u16,
    /// Bits of facts §1.5: 2 attached, 4 sender connected, 8 receiver connected; 0 free.
    pub flags: u32,
    pub dcs: u32,
    pub name: String,
    pub address: String,
    pub sent: u64,
    pub received: u64,
    pub last_sent_ns: u64,
    pub last_received_ns: u64,
}

/// One record of the board: eight words the session writes and its daemon reads, so that `dvs ps` and the
/// search for deadlocks cost the message path two stores.
pub mod board {
    /// In no call.
    pub const IDLE: u8 = 0;
    /// A send that was not consumed yet.
    pub const SENDING: u8 = 1;
    /// A call that was not consumed yet.
    pub const CALLING: u8 = 2;
    /// A call that was consumed and not answered yet.
    pub const AWAITING: u8 = 3;
    /// A receive.
    pub const RECEIVING: u8 = 4;
    /// Words of a record.
    pub const RECORD_WORDS: usize = 8;
    /// The last record of a board is the daemon's. In its first word, so many words before the end: until
    /// when the node's lease holds, ns on the node's clock.
    pub const LEASE_BACK: usize = RECORD_WORDS;
    /// `endpoint (32) | state (8)`, from the low end.
    pub const STATE: usize = 0;
    /// Endpoint waited for (ANY when none in particular).
    pub const PEER: usize = 1;
    /// Since when, ns on the node's clock.
    pub const SINCE: usize = 2;
    /// Call number of the wait.
    pub const CALL: usize = 3;
    /// Messages sent to endpoints of this node.
    pub const SENT_LOCAL: usize = 4;
    /// Messages sent to other nodes.
    pub const SENT_REMOTE: usize = 5;
    /// Copies within the node.
    pub const COPIES_LOCAL: usize = 6;
    /// Copies with other nodes.
    pub const COPIES_REMOTE: usize = 7;
}

/// Encodes a record.
///
/// # Errors
/// `TOOBIG` when it is longer than [`dvs_abi::limits::CONTROL_BYTES_MAX`].
pub fn encode<T: Serialize>(record: &T) -> dvs_abi::Result<Vec<u8>> {
    let bytes = postcard::to_stdvec(record).map_err(|_| Error::early(Code::INVAL))?;
    if bytes.len() > dvs_abi::limits::CONTROL_BYTES_MAX {
        return Err(Error::early(Code::TOOBIG));
    }
    Ok(bytes)
}

/// Decodes a record; trailing bytes are an error.
///
/// # Errors
/// `BADREQUEST` for anything that is not exactly one record.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> dvs_abi::Result<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((record, [])) => Ok(record),
        _ => Err(Error::early(Code::BADREQUEST)),
    }
}

/// Node of a `u16` field.
pub const fn node(n: u16) -> NodeId {
    NodeId(n)
}

/// Container of a `u16` field.
pub const fn dc(n: u16) -> DcId {
    DcId(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_garbage_does_not() {
        let n =
            Numbered { id: 7, request: Request::OpenLane { dc: 1, from: 2, to: -3, remaining: u64::MAX } };
        let bytes = encode(&n).unwrap();
        assert_eq!(decode::<Numbered>(&bytes).unwrap(), n);
        assert!(decode::<Numbered>(&[bytes.as_slice(), &[0]].concat()).is_err());
        assert!(decode::<Numbered>(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn errors_travel_whole() {
        let e = Error::deadlock(vec![Endpoint::new(0, 1), Endpoint::new(0, 2)]);
        assert_eq!(Error::from(WireError::from(e.clone())), e);
    }
}
