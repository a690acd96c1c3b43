//! Endpoints for the threads of a mount: each call takes one that is free, or a new one.

use crate::mount::MountError;
use dvs_abi::{DcId, Endpoint};
use dvs_api::Errno;
use dvs_fs::Client;
use dvs_ipc::Process;
use std::sync::{Mutex, PoisonError};

/// The endpoints of one session.
pub(crate) struct Pool {
    process: Process,
    dc: DcId,
    server: Endpoint,
    session: u64,
    free: Mutex<Vec<Client>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Pool {
    /// A new session with a server.
    pub fn new(process: Process, dc: DcId, server: Endpoint) -> Result<Self, MountError> {
        let port = process.bind(dc, Endpoint::NONE).map_err(MountError::Bind)?;
        let mut pool = Pool { process, dc, server, session: 0, free: Mutex::default() };
        let first = Client::new(port, server, 0).map_err(MountError::Server)?;
        pool.session = first.session();
        pool.give(first);
        Ok(pool)
    }

    fn client(&self) -> Result<Client, Errno> {
        let port = self.process.bind(self.dc, Endpoint::NONE).map_err(|_| Errno::NFILE)?;
        Client::new(port, self.server, self.session)
    }

    fn give(&self, client: Client) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(client);
    }

    /// Makes a call.
    pub fn with<T>(&self, call: impl FnOnce(&Client) -> Result<T, Errno>) -> Result<T, Errno> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let client = free.map_or_else(|| self.client(), Ok)?;
        let done = call(&client);
        self.give(client);
        done
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // A server that is gone has forgotten the session anyway.
        let _ = self.with(Client::bye);
    }
}
