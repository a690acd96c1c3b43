//! The facade a Rust program links.
//!
//! ```no_run
//! use dvs::{DcId, Endpoint, Message, Timeout};
//!
//! let process = dvs::attach("clock-server")?; // the daemon of this node
//! let port = process.bind(DcId(0), Endpoint::new(0, 5))?;
//! let mut m = Message::default();
//! loop {
//!     port.receive(Endpoint::ANY, &mut m, Timeout::Forever)?;
//!     m.set_word(0, port.now());
//!     // A client that went away meanwhile is not the server's problem.
//!     let _ = port.reply(m.source(), &mut m, Timeout::Forever);
//! }
//! # #[allow(unreachable_code)]
//! # Ok::<_, dvs::Error>(())
//! ```
#![forbid(unsafe_code)]

pub use dvs_abi::{
    Access, Call, CallSet, Code, DcId, Deadline, Effect, Endpoint, Error, Fault, Grant, Kind, Level, Message,
    NodeId, Privileges, Result, Timeout, limits,
};
pub use dvs_ipc::control::{BindKind, DcInfo, Duty, DvsInfo, NodeInfo, ProcInfo, Rule, ServiceKind};
pub use dvs_ipc::coroutine::{Co, Scheduler};
pub use dvs_ipc::wait::{ThreadWait, Wait};
pub use dvs_ipc::{DcPlan, Lend, Port, Process, ServicePlan, System};
pub use dvs_linux::LinuxHost;

use dvs_linux::channel::LinuxChannel;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The variable that names the daemon's socket, for programs not on the default node.
pub const SOCKET_VARIABLE: &str = dvs_linux::paths::SOCKET_VARIABLE;

/// The variable that names the node, for machines that run several.
pub const NODE_VARIABLE: &str = "DVS_NODE";

/// Where the daemon of this node listens: `$DVS_SOCKET`, else `dvs/NODE/session` below `/run` for root and
/// below `$XDG_RUNTIME_DIR` (or `/tmp/dvs-UID`) for others, with `$DVS_NODE` or `node0` for NODE.
pub fn socket_path() -> PathBuf {
    if let Some(path) = std::env::var_os(SOCKET_VARIABLE) {
        return path.into();
    }
    let node = std::env::var(NODE_VARIABLE).unwrap_or_else(|_| "node0".to_string());
    dvs_linux::paths::session_socket(&dvs_linux::paths::runtime_dir(&node))
}

/// A stand-alone process: its endpoints reach each other, nobody else.
pub fn alone() -> Process {
    Process::alone(Arc::new(LinuxHost))
}

/// A process attached to the daemon of this node; `name` shows up in displays.
///
/// # Errors
/// `DVSINIT` when no daemon listens at [`socket_path`].
pub fn attach(name: &str) -> Result<Process> {
    attach_to(&socket_path(), name)
}

/// The same with the path of the daemon's socket.
///
/// # Errors
/// `DVSINIT` when no daemon listens there, `PERM` when it may not be used, `VERSION`, `NOSPC`.
pub fn attach_to(socket: &Path, name: &str) -> Result<Process> {
    let channel = LinuxChannel::connect(socket).map_err(|e| match e.kind() {
        std::io::ErrorKind::PermissionDenied => Error::early(Code::PERM),
        _ => Error::early(Code::DVSINIT),
    })?;
    Process::attach(Arc::new(LinuxHost), Arc::new(channel), name)
}

/// The port a program started by `dvs run` is to have: attaches to its node and binds where it was told.
///
/// # Errors
/// `INVAL` when it was not started by `dvs run` (`DVS_DC` is not set); else as [`attach`] and
/// [`Process::bind_in`].
pub fn port_of_run(name: &str) -> Result<Port> {
    let number = |variable: &str| std::env::var(variable).ok().and_then(|v| v.parse::<i32>().ok());
    let dc = number("DVS_DC").and_then(|n| u16::try_from(n).ok()).ok_or(Error::early(Code::INVAL))?;
    let endpoint = number("DVS_ENDPOINT").map_or(Endpoint::NONE, Endpoint::from_raw);
    attach(name)?.bind(DcId(dc), endpoint)
}

#[cfg(test)]
mod tests {
    use super::{DcId, Endpoint, alone};
    use std::collections::BTreeSet;
    use std::sync::Barrier;

    #[test]
    fn threads_that_bind_any_free_slot_at_once_get_one_each() {
        let (process, start) = (alone(), Barrier::new(8));
        let bind = || {
            start.wait();
            // All are kept, so that the next search is longer and the others wait for its end.
            let ports = (0..200).map(|_| process.bind(DcId(0), Endpoint::NONE));
            ports.collect::<crate::Result<Vec<_>>>().unwrap()
        };
        let ports: Vec<_> = std::thread::scope(|s| {
            let threads: Vec<_> = (0..8).map(|_| s.spawn(bind)).collect();
            threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(ports.iter().map(|p| p.endpoint().raw()).collect::<BTreeSet<_>>().len(), 1600);
    }
}
