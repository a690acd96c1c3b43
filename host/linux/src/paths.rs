//! Where a node's sockets are, for programs and daemon alike.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Environment variable that names the session socket.
pub const SOCKET_VARIABLE: &str = "DVS_SOCKET";

/// The user this process belongs to.
pub fn uid() -> u32 {
    std::fs::metadata("/proc/self").map_or(u32::MAX, |m| m.uid())
}

/// The folder all nodes of this user are under.
pub fn base_dir() -> PathBuf {
    match (uid(), std::env::var_os("XDG_RUNTIME_DIR").filter(|d| !d.is_empty())) {
        (0, _) => "/run/dvs".into(),
        (_, Some(dir)) => Path::new(&dir).join("dvs"),
        (uid, None) => format!("/tmp/dvs-{uid}").into(),
    }
}

/// The folder of a node.
pub fn runtime_dir(node: &str) -> PathBuf {
    base_dir().join(node)
}

/// The session socket in a node's folder.
pub fn session_socket(dir: &Path) -> PathBuf {
    dir.join("session")
}

/// The administration socket in a node's folder.
pub fn admin_socket(dir: &Path) -> PathBuf {
    dir.join("admin")
}
