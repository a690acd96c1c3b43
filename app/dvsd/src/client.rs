//! The command line's end of the administration socket.

use crate::admin::{AdminAnswer, AdminRequest};
use crate::cluster::join::TokenOrder;
use dvs_abi::{Code, Deadline, Error};
use dvs_ipc::control;
use dvs_linux::clock;
use dvs_linux::socket::Socket;
use std::path::Path;
use std::time::Duration;

/// A connection to a daemon.
pub struct AdminClient {
    socket: Socket,
    deadline: Duration,
}

impl AdminClient {
    /// Connects.
    ///
    /// # Errors
    /// `DVSINIT` when no daemon listens at `admin_socket`.
    pub fn connect(admin_socket: &Path) -> Result<AdminClient, Error> {
        let socket = Socket::connect(admin_socket).map_err(|e| match e.kind() {
            std::io::ErrorKind::PermissionDenied => Error::early(Code::PERM),
            _ => Error::early(Code::DVSINIT),
        })?;
        Ok(AdminClient { socket, deadline: Duration::from_secs(30) })
    }

    /// How long to wait for each part of an answer (30 s unless changed).
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// Asks, and hands each part of the answer to `each` until it says stop (`false`) or the answer ends.
    ///
    /// # Errors
    /// What the daemon answered, `TIMEDOUT`, or `DVSINIT` when the daemon went away.
    pub fn ask(
        &mut self,
        request: &AdminRequest,
        mut each: impl FnMut(AdminAnswer) -> bool,
    ) -> Result<(), Error> {
        let gone = |_| Error::early(Code::DVSINIT);
        self.socket.send(&control::encode(request)?, &[], self.until()).map_err(gone)?;
        loop {
            let received = self.socket.receive(self.until()).map_err(|e| match e.kind() {
                std::io::ErrorKind::TimedOut => Error::early(Code::TIMEDOUT),
                _ => Error::early(Code::DVSINIT),
            })?;
            let received = received.ok_or(Error::early(Code::DVSINIT))?;
            match control::decode(&received.bytes)? {
                AdminAnswer::End => return Ok(()),
                AdminAnswer::Error(e) => return Err(e.into()),
                part => {
                    if !each(part) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Asks for everything at once.
    ///
    /// # Errors
    /// As [`AdminClient::ask`].
    pub fn all(&mut self, request: &AdminRequest) -> Result<Vec<AdminAnswer>, Error> {
        let mut parts = Vec::new();
        self.ask(request, |part| {
            parts.push(part);
            true
        })?;
        Ok(parts)
    }

    /// A token with which so many machines can join the node's system, within an hour. The node has to
    /// listen.
    ///
    /// # Errors
    /// As [`AdminClient::ask`]; `DVSINIT` when it made none.
    pub fn token(&mut self, uses: u16) -> Result<String, Error> {
        let order = TokenOrder { uses, seconds: 3600, listen: None, address: None };
        let parts = self.all(&AdminRequest::Token(order))?;
        let token = parts.into_iter().find_map(|p| match p {
            AdminAnswer::Token(token) => Some(token),
            _ => None,
        });
        token.ok_or(Error::early(Code::DVSINIT))
    }

    fn until(&self) -> Deadline {
        Deadline::from_ns(clock::now().saturating_add(self.deadline.as_nanos() as u64))
    }
}
