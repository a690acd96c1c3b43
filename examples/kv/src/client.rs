//! The client: typed calls.

use crate::protocol::{Answer, Request, encode, read_answer};
use dvs::{Endpoint, Message, Port, Timeout, Wait};
use std::fmt;
use std::time::Duration;

/// A server as one client sees it.
pub struct Client<W: Wait> {
    port: Port<W>,
    server: Endpoint,
    timeout: Timeout,
}

/// Why a call failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KvError {
    /// The message did not get through; says whether the request was done.
    Call(dvs::Error),
    /// The key is empty, or it or the value too long.
    TooLong,
    /// The server has no room.
    Full,
    /// The server's answer was not understood.
    BadAnswer,
}

impl fmt::Display for KvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KvError::Call(e) => e.fmt(f),
            KvError::TooLong => f.write_str("the key is empty, or it or the value is too long"),
            KvError::Full => f.write_str("the server has no room"),
            KvError::BadAnswer => f.write_str("the answer was not understood"),
        }
    }
}

impl std::error::Error for KvError {}

impl<W: Wait> Client<W> {
    /// Calls `server`, with ten seconds a call.
    pub fn new(port: Port<W>, server: Endpoint) -> Self {
        Client { port, server, timeout: Timeout::After(Duration::from_secs(10)) }
    }

    /// The port it calls from.
    pub fn port(&self) -> &Port<W> {
        &self.port
    }

    /// Turns to another server: the same one started again, with another generation.
    pub fn set_server(&mut self, server: Endpoint) {
        self.server = server;
    }

    fn call(&self, request: &Request<'_>) -> Result<Message, KvError> {
        let mut m = encode(request).ok_or(KvError::TooLong)?;
        self.port.sendrec(self.server, &mut m, self.timeout).map_err(KvError::Call)?;
        Ok(m)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// `Call`, `TooLong`, `BadAnswer`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        match read_answer(&self.call(&Request::Get(key))?) {
            Some(Answer::Ok(v)) => Ok(Some(v.to_vec())),
            Some(Answer::None) => Ok(None),
            _ => Err(KvError::BadAnswer),
        }
    }

    /// Sets a key.
    ///
    /// # Errors
    /// `Call`, `TooLong`, `Full`, `BadAnswer`.
    pub fn set(&self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        match read_answer(&self.call(&Request::Set(key, value))?) {
            Some(Answer::Ok(_)) => Ok(()),
            Some(Answer::Full) => Err(KvError::Full),
            _ => Err(KvError::BadAnswer),
        }
    }

    /// Removes a key; whether it was there.
    ///
    /// # Errors
    /// `Call`, `TooLong`, `BadAnswer`.
    pub fn remove(&self, key: &[u8]) -> Result<bool, KvError> {
        match read_answer(&self.call(&Request::Remove(key))?) {
            Some(Answer::Ok(_)) => Ok(true),
            Some(Answer::None) => Ok(false),
            _ => Err(KvError::BadAnswer),
        }
    }
}
