//! Who may use which call, and who may call whom (facts §1.8).

use crate::call::CallSet;
use crate::id::Endpoint;

/// Rank of a descriptor; informative, kept for ported programs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Level {
    #[default]
    User = 0,
    Server = 1,
    Task = 2,
    System = 3,
    Kernel = 4,
    Proxy = 5,
}

impl Level {
    /// The level with this number, if there is one.
    pub const fn from_i32(n: i32) -> Option<Level> {
        Some(match n {
            0 => Level::User,
            1 => Level::Server,
            2 => Level::Task,
            3 => Level::System,
            4 => Level::Kernel,
            5 => Level::Proxy,
            _ => return None,
        })
    }
}

/// Rights of one descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Privileges {
    /// Index among system processes, or the number of system slots for a user process.
    pub id: i32,
    /// Who is told of its end; `NONE` for nobody.
    pub warn: Endpoint,
    /// Rank.
    pub level: Level,
    /// System slots it may call: bit `slot + tasks`. User slots are not in the map.
    pub ipc_to: u128,
    /// Calls it may use.
    pub calls: CallSet,
}

impl Privileges {
    /// What a descriptor has when bound: system processes every call, user processes [`CallSet::USER`];
    /// all targets.
    pub const fn at_bind(slot: i32, tasks: i32, sysprocs: i32) -> Self {
        let index = slot + tasks;
        let system = index < sysprocs;
        Privileges {
            id: if system { index } else { sysprocs },
            warn: Endpoint::NONE,
            level: Level::User,
            ipc_to: u128::MAX,
            calls: if system { CallSet::ALL } else { CallSet::USER },
        }
    }

    /// Whether a system process with this index may be called.
    pub const fn may_call(&self, index: i32) -> bool {
        index < 0 || index >= 128 || self.ipc_to & 1 << index != 0
    }
}
