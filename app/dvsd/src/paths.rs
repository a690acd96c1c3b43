//! Where a node's sockets and its lock are.
//!
//! ```text
//! $XDG_RUNTIME_DIR/dvs/NODE/   (root: /run/dvs/NODE/, without either: /tmp/dvs-UID/NODE/)
//!   lock      held as long as a daemon uses the folder
//!   session   programs connect here (DVS_SOCKET names it for those started by `dvs run`)
//!   admin     the command line connects here
//! ```
//! The folder is the user's alone (mode 0700): who may enter it may use the node.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub use dvs_linux::paths::{SOCKET_VARIABLE, admin_socket, base_dir, runtime_dir, session_socket, uid};

/// Leads to the session socket of the first node, in [`base_dir`].
pub const DEFAULT_SOCKET: &str = "dvsd.sock";

/// Where a node keeps what outlives its runs, above all its key: `/var/lib/dvs/NODE` for root, `dvs/NODE`
/// below `$XDG_DATA_HOME` or `~/.local/share` for others.
pub fn data_dir(node: &str) -> PathBuf {
    let base = match (uid(), std::env::var_os("XDG_DATA_HOME"), std::env::var_os("HOME")) {
        (0, ..) => PathBuf::from("/var/lib"),
        (_, Some(data), _) => data.into(),
        (_, None, Some(home)) => Path::new(&home).join(".local/share"),
        _ => base_dir(),
    };
    base.join("dvs").join(node)
}

/// Longest path of a Unix socket, with room for its end.
const SOCKET_PATH_MAX: usize = 107;

/// A node's folder, ours alone until dropped.
#[derive(Debug)]
pub struct Runtime {
    dir: PathBuf,
    _lock: File,
}

impl Runtime {
    /// Makes the folder, takes the lock and removes the sockets a killed daemon left.
    ///
    /// # Errors
    /// `WouldBlock` when another daemon uses it, `InvalidInput` when its path is too long for a socket,
    /// `PermissionDenied` when it belongs to another user.
    pub fn claim(dir: &Path) -> io::Result<Runtime> {
        if session_socket(dir).as_os_str().len() > SOCKET_PATH_MAX {
            let text = format!("{} is too long for a socket; choose a shorter runtime_dir", dir.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let found = std::fs::symlink_metadata(dir)?;
        if !found.is_dir() || found.uid() != uid() || found.mode() & 0o077 != 0 {
            let text = format!("{} must be a folder of this user with mode 0700", dir.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(dir.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text = format!("a daemon already runs in {}; see `dvs status`", dir.display());
                return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
            }
            Err(TryLockError::Error(e)) => return Err(e),
        }
        // Whoever held the lock before may have removed its file in the meantime; then this lock is nothing.
        let ours = lock.metadata()?;
        if !std::fs::metadata(dir.join("lock")).is_ok_and(|m| (m.dev(), m.ino()) == (ours.dev(), ours.ino()))
        {
            return Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "another daemon is just ending; try again",
            ));
        }
        for socket in [session_socket(dir), admin_socket(dir)] {
            if std::fs::symlink_metadata(&socket).is_ok_and(|m| m.file_type().is_socket()) {
                std::fs::remove_file(&socket)?;
            }
        }
        Ok(Runtime { dir: dir.into(), _lock: lock })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Runtime {
    /// Leaves nothing behind: the lock is released after the files are gone.
    fn drop(&mut self) {
        for file in ["session", "admin", "lock"] {
            let _ = std::fs::remove_file(self.dir.join(file));
        }
        let _ = std::fs::remove_dir(&self.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::Runtime;
    use std::io::ErrorKind;

    #[test]
    fn one_daemon_a_folder_and_nothing_left_behind() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("n");
        let first = Runtime::claim(&dir).unwrap();
        assert_eq!(Runtime::claim(&dir).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(first);
        assert!(!dir.exists());
        let _second = Runtime::claim(&dir).unwrap();
        let long = base.path().join("x".repeat(120));
        assert_eq!(Runtime::claim(&long).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
