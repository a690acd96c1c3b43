//! The calls an actor makes, as one object-safe trait: the suite knows nothing else of the library.
//!
//! A home (threads, coroutines, processes, another language) gives each of its actors one `Calls`. It owns at
//! most one bound endpoint; calls that need one fail with `NOTBIND` before.

use crate::word::Range;
use dvs_abi::{Endpoint, Grant, Message, Privileges, Result, Timeout};
use dvs_ipc::control::{BindKind, DcInfo, DvsInfo, NodeInfo, ProcInfo};

/// How an endpoint is to be bound.
#[derive(Clone, PartialEq, Debug)]
pub struct Binding {
    /// Which kind.
    pub kind: BindKind,
    /// Container.
    pub dc: u16,
    /// Wanted endpoint, or NONE for any free user slot.
    pub endpoint: Endpoint,
    /// Whose, for the kinds that bind another process; 0 = the caller.
    pub pid: u32,
    /// Node of the primary, for remote and backup.
    pub node: u16,
    /// Name.
    pub name: String,
}

/// A container to be made.
#[derive(Clone, PartialEq, Debug)]
pub struct DcSpec {
    /// Number.
    pub dc: u16,
    /// Name.
    pub name: String,
    /// Slots from zero up.
    pub procs: i32,
    /// Tasks and servers together.
    pub sysprocs: i32,
    /// Who is told of ends, or NONE.
    pub warn: Endpoint,
    /// Type of that message.
    pub warn_type: i32,
    /// Where it runs; empty = the caller's node only.
    pub nodes: Vec<u16>,
}

/// The end of a move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Move {
    /// Stop traffic.
    Start,
    /// Undo.
    Rollback,
    /// It lives there now; pid 0 = the caller or the standby.
    Commit {
        /// Where.
        node: u16,
        /// Whose.
        pid: u32,
    },
}

/// Every call of design §4.1, for one actor.
#[allow(missing_docs, clippy::missing_errors_doc)] // the calls and their errors are the reference's
pub trait Calls {
    fn bind(&mut self, how: &Binding) -> Result<Endpoint>;
    fn unbind(&mut self, dc: u16, endpoint: Endpoint, t: Timeout) -> Result<()>;
    /// The actor's own endpoint, or NONE.
    fn endpoint(&self) -> Endpoint;
    fn send(&mut self, dst: Endpoint, m: &mut Message, t: Timeout) -> Result<()>;
    fn receive(&mut self, src: Endpoint, m: &mut Message, t: Timeout) -> Result<()>;
    /// A request that lends `ranges` of `memory`.
    fn sendrec(
        &mut self,
        dst: Endpoint,
        m: &mut Message,
        memory: &mut [u8],
        ranges: &[Range],
        t: Timeout,
    ) -> Result<()>;
    fn rcvrqst(&mut self, m: &mut Message, t: Timeout) -> Result<()>;
    fn reply(&mut self, dst: Endpoint, m: &mut Message, t: Timeout) -> Result<()>;
    fn relay(&mut self, client: Endpoint, dst: Endpoint, m: &mut Message) -> Result<()>;
    fn notify(&mut self, src: Endpoint, dst: Endpoint, value: Option<u32>) -> Result<()>;
    fn hardware_notify(&mut self, dc: u16, dst: Endpoint) -> Result<()>;
    fn grants_of(&mut self, client: Endpoint) -> Vec<Grant>;
    fn copy_in(&mut self, src: Endpoint, address: u64, into: &mut [u8]) -> Result<()>;
    fn copy_out(&mut self, dst: Endpoint, address: u64, from: &[u8]) -> Result<()>;
    fn vcopy(&mut self, src: Endpoint, from: u64, dst: Endpoint, to: u64, bytes: u64) -> Result<()>;
    fn wait4bind(&mut self, endpoint: Endpoint, t: Timeout) -> Result<Endpoint>;
    fn wait4unbind(&mut self, endpoint: Endpoint, t: Timeout) -> Result<()>;
    fn getep(&mut self, pid: u32) -> Result<Endpoint>;
    fn wakeup(&mut self, dc: u16, endpoint: Endpoint) -> Result<()>;
    fn proc_info(&mut self, dc: u16, slot: i32) -> Result<ProcInfo>;
    fn dc_info(&mut self, dc: u16) -> Result<DcInfo>;
    fn dvs_info(&mut self) -> Result<DvsInfo>;
    fn node_info(&mut self, node: i32) -> Result<NodeInfo>;
    fn get_priv(&mut self, dc: u16, endpoint: Endpoint) -> Result<Privileges>;
    /// The level travels as a number so that a wrong one can be asked for.
    fn set_priv(&mut self, dc: u16, endpoint: Endpoint, level: i32, p: Privileges) -> Result<()>;
    fn dc_init(&mut self, spec: &DcSpec) -> Result<()>;
    fn dc_end(&mut self, dc: u16) -> Result<()>;
    fn add_node(&mut self, dc: u16, node: u16) -> Result<()>;
    fn del_node(&mut self, dc: u16, node: u16) -> Result<()>;
    fn migrate(&mut self, dc: u16, endpoint: Endpoint, step: Move) -> Result<()>;
    /// The process, for calls that name one.
    fn pid(&self) -> u32;
    /// Ends the actor's session in order; nothing may be called after it.
    fn exit(&mut self, code: i32);
}
