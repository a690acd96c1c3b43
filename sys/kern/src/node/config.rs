//! What a node is told at its start, what it knows of its peers, and what a container is.

use dvs_abi::limits::{NAME_BYTES, NODES_MAX, PROCS_MAX, SYSPROCS_MAX, TASKS_MAX};
use dvs_abi::{Code, Endpoint, Error, NodeId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One node of the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeEntry {
    /// Its number.
    pub id: NodeId,
    /// Its name, at most `NAME_BYTES`.
    pub name: String,
    /// Where it listens; empty for a node without a network.
    pub address: String,
}

/// What a node is told at its start.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// This node.
    pub me: NodeId,
    /// Process of the daemon (the proxy's session belongs to it).
    pub pid: u32,
    /// The nodes of the system as known at the start, this one included.
    pub nodes: Vec<NodeEntry>,
    /// Where generations of user slots begin; differs from one start to the next, so that an endpoint value
    /// from before a restart is not met again.
    pub first_generation: u32,
}

impl NodeConfig {
    /// A system of one node.
    pub fn single(pid: u32) -> Self {
        let me = NodeId(0);
        let entry = NodeEntry { id: me, name: "node0".into(), address: String::new() };
        NodeConfig { me, pid, nodes: vec![entry], first_generation: 0 }
    }

    /// Whether a node is one of the system.
    pub fn knows(&self, node: u16) -> bool {
        self.nodes.iter().any(|n| n.id.0 == node)
    }
}

/// A container as its owner described it: the same on all nodes, as they take it from one log.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct DcConfig {
    /// 1 to `NAME_BYTES` letters, digits and `- _ .`.
    pub name: String,
    /// Negative slots.
    pub tasks: i32,
    /// Slots from zero up.
    pub procs: i32,
    /// Tasks and servers together.
    pub sysprocs: i32,
    /// Who is told of endpoints that end; `Endpoint::NONE` for nobody.
    pub warn: i32,
    /// Type of that message.
    pub warn_type: i32,
    /// One bit a node where it may run.
    pub nodes: u32,
    /// The epoch it was created at: tells it from an earlier container of the same number. Zero in a wish.
    pub born: u64,
}

/// Why a container cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// Its name is empty or too long.
    NameLength,
    /// Its name has this letter.
    NameLetter(char),
    /// Its limits do not go together, or are beyond those of the system.
    Limits,
    /// The endpoint that is warned is none of its table.
    Warn,
    /// It may run nowhere.
    Nowhere,
}

impl Unfit {
    /// As programs get it.
    pub fn code(self) -> Code {
        match self {
            Unfit::NameLength => Code::NAMESIZE,
            Unfit::NameLetter(_) => Code::BADVALUE,
            Unfit::Limits | Unfit::Nowhere => Code::BADRANGE,
            Unfit::Warn => Code::BADPROC,
        }
    }
}

impl From<Unfit> for Error {
    fn from(unfit: Unfit) -> Self {
        Error::early(unfit.code())
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::NameLength => write!(f, "its name has 1 to {NAME_BYTES} bytes"),
            Unfit::NameLetter(c) => write!(f, "its name may not have {c:?}; take letters, digits, - _ ."),
            Unfit::Limits => write!(
                f,
                "at most {TASKS_MAX} tasks, {PROCS_MAX} processes and a system prefix of {SYSPROCS_MAX}, and \
                 the prefix lies between the tasks and all slots"
            ),
            Unfit::Warn => write!(f, "the endpoint that is told of ends is none of its table"),
            Unfit::Nowhere => write!(f, "it needs a node it may run on"),
        }
    }
}

/// Whether a name (of a container, node or service) may be used.
///
/// # Errors
/// `NameLength`, `NameLetter`.
pub fn check_name(name: &str) -> Result<(), Unfit> {
    if name.is_empty() || name.len() > NAME_BYTES {
        return Err(Unfit::NameLength);
    }
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    name.chars().find(|c| !fine(*c)).map_or(Ok(()), |c| Err(Unfit::NameLetter(c)))
}

impl DcConfig {
    /// Whether it can be (facts §1.2).
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), Unfit> {
        check_name(&self.name)?;
        let limits = (1..=TASKS_MAX).contains(&self.tasks)
            && (1..=PROCS_MAX).contains(&self.procs)
            && (1..=SYSPROCS_MAX).contains(&self.sysprocs)
            && self.sysprocs > self.tasks
            && self.sysprocs < self.tasks + self.procs;
        if !limits {
            return Err(Unfit::Limits);
        }
        let warn = Endpoint::from_raw(self.warn);
        if warn != Endpoint::NONE && !warn.in_table(self.tasks, self.procs) {
            return Err(Unfit::Warn);
        }
        if self.nodes == 0 { Err(Unfit::Nowhere) } else { Ok(()) }
    }

    /// Whether it may run on a node.
    pub fn runs_on(&self, node: u16) -> bool {
        (node as usize) < NODES_MAX && self.nodes & 1 << node != 0
    }

    /// The first slot of user processes.
    pub fn first_user(&self) -> i32 {
        self.sysprocs - self.tasks
    }
}

/// What is known of a node of the system.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PeerState {
    /// A session with it exists (or is being resumed).
    pub up: bool,
    /// Since when, ns on this node's clock.
    pub since: u64,
}
