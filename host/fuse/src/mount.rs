//! A mount: begun, used, ended.

use crate::files::Files;
use crate::pool::Pool;
use dvs_abi::{DcId, Endpoint};
use dvs_api::Errno;
use dvs_ipc::Process;
use fuser::{BackgroundSession, Config, MountOption, SessionACL};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How to mount.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name that `mount` shows.
    pub name: String,
    /// How long the kernel may believe attributes and names it was told.
    pub ttl: Duration,
    /// The kernel may keep what was written until a file is closed or synced. It then believes what it knows
    /// of a file's length, and does not see what other nodes write: for files that one node uses.
    pub writeback: bool,
    /// Threads that serve the kernel.
    pub threads: usize,
    /// Other users than the one who mounts may use it.
    pub others: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            name: "dvs".to_owned(),
            ttl: Duration::from_secs(1),
            writeback: false,
            threads: 4,
            others: true,
        }
    }
}

/// Why it is not mounted.
#[derive(Debug)]
pub enum MountError {
    /// This program may not have an endpoint in the container.
    Bind(dvs_abi::Error),
    /// No session with the file server.
    Server(Errno),
    /// The kernel refuses.
    Host(PathBuf, io::Error),
}

impl std::fmt::Display for MountError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MountError::Bind(e) => write!(f, "{e}"),
            MountError::Server(e) => write!(f, "the file server: {e}"),
            MountError::Host(path, e) => write!(f, "mounting on {}: {e}", path.display()),
        }
    }
}

impl std::error::Error for MountError {}

/// A directory of the host with the files of a container. It ends when this is dropped.
///
/// What a program of one node has written and closed (or synced), a program of another sees when it opens
/// the file after that, but for the time ([`Options::ttl`]) its kernel may believe what it knows of the file.
#[derive(Debug)]
pub struct Mount {
    session: Option<BackgroundSession>,
}

impl Mount {
    /// Mounts the files of `server` on a directory.
    ///
    /// # Errors
    /// Nobody serves there; or the kernel refuses: no such directory, no right to mount.
    pub fn new(
        process: &Process,
        (dc, server): (DcId, Endpoint),
        path: &Path,
        options: &Options,
    ) -> Result<Self, MountError> {
        let pool = Pool::new(process.clone(), dc, server)?;
        let files = Files { pool, ttl: options.ttl, writeback: options.writeback };
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName(options.name.clone()),
            MountOption::Subtype("dvs".to_owned()),
            MountOption::DefaultPermissions,
            MountOption::Dev,
            MountOption::Suid,
        ];
        config.acl = if options.others { SessionACL::All } else { SessionACL::Owner };
        config.n_threads = Some(options.threads.max(1));
        config.clone_fd = true;
        let session =
            fuser::spawn_mount(files, path, &config).map_err(|e| MountError::Host(path.to_owned(), e))?;
        Ok(Mount { session: Some(session) })
    }

    /// Ends it.
    ///
    /// # Errors
    /// The kernel refuses: something there is in use.
    pub fn unmount(mut self) -> io::Result<()> {
        self.session.take().map_or(Ok(()), BackgroundSession::umount_and_join)
    }

    /// Waits until it is ended, by whoever.
    ///
    /// # Errors
    /// Of the last request.
    pub fn wait(mut self) -> io::Result<()> {
        self.session.take().map_or(Ok(()), BackgroundSession::join)
    }
}
