//! The client: typed calls.

use crate::protocol::{Answer, Info, Pair, Request};
use dvs::{Effect, Endpoint, Port, Timeout, Wait};
use dvs_replica::CallError;

/// The service as one caller sees it.
pub struct Client<W: Wait> {
    inner: dvs_replica::Client<W>,
}

/// Why a call has no result.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum KvError {
    /// The call did not get through; says whether it was done.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The key has another version than it was to have; it was left as it is.
    #[error("the key has version {0}, not the one that was named; not done")]
    Conflict(u64),
    /// The key is empty or too long, or the value is too long.
    #[error(
        "a key has 1 to {} bytes and a value at most {}; not done",
        dvs::limits::KV_KEY_BYTES_MAX,
        dvs::limits::KV_VALUE_BYTES_MAX
    )]
    TooLong,
    /// The store is full.
    #[error("the store is full ({} MiB); not done", dvs::limits::KV_STORE_BYTES_MAX >> 20)]
    Full,
    /// What answers is no key/value service of this version.
    #[error("what answers there is no key/value service of this version")]
    BadAnswer,
}

impl KvError {
    /// Whether it was done.
    pub fn effect(&self) -> Effect {
        match self {
            KvError::Call(e) => e.effect(),
            KvError::BadAnswer => Effect::Unknown,
            _ => Effect::No,
        }
    }
}

impl<W: Wait> Client<W> {
    /// Calls the service at `service`, with ten seconds a call.
    pub fn new(port: Port<W>, service: Endpoint) -> Self {
        Client { inner: dvs_replica::Client::new(port, service) }
    }

    /// One whose every call is one message: see [`dvs_replica::Client::plain`].
    pub fn plain(port: Port<W>, service: Endpoint) -> Self {
        Client { inner: dvs_replica::Client::plain(port, service) }
    }

    /// The same with another time for each call.
    pub fn with_timeout(self, timeout: Timeout) -> Self {
        Client { inner: self.inner.with_timeout(timeout) }
    }

    /// The calls below.
    pub fn replicas(&self) -> &dvs_replica::Client<W> {
        &self.inner
    }

    fn call(&self, request: &Request<'_>, query: bool) -> Result<Answer, KvError> {
        if !request.fits() {
            return Err(KvError::TooLong);
        }
        let bytes = request.encode();
        let answer = if query { self.inner.query(&bytes)? } else { self.inner.call(&bytes)? };
        match Answer::decode(&answer).ok_or(KvError::BadAnswer)? {
            Answer::Conflict(version) => Err(KvError::Conflict(version)),
            Answer::Full => Err(KvError::Full),
            Answer::Malformed => Err(KvError::BadAnswer),
            answer => Ok(answer),
        }
    }

    /// Sets a key; with `when`, only if it has that version (zero: is not there). Its new version.
    ///
    /// # Errors
    /// [`KvError::effect`] says whether it was done.
    pub fn put(&self, key: &[u8], value: &[u8], when: Option<u64>) -> Result<u64, KvError> {
        match self.call(&Request::Put { key, value, when }, false)? {
            Answer::Put(version) => Ok(version),
            _ => Err(KvError::BadAnswer),
        }
    }

    /// Removes a key; with `when`, only if it has that version. Whether there was one.
    ///
    /// # Errors
    /// As [`Client::put`].
    pub fn delete(&self, key: &[u8], when: Option<u64>) -> Result<bool, KvError> {
        match self.call(&Request::Delete { key, when }, false)? {
            Answer::Deleted(was) => Ok(was),
            _ => Err(KvError::BadAnswer),
        }
    }

    /// Version and value of a key; not older than anything that was answered to anybody.
    ///
    /// # Errors
    /// As [`Client::put`].
    pub fn get(&self, key: &[u8]) -> Result<Option<(u64, Vec<u8>)>, KvError> {
        match self.call(&Request::Get { key }, true)? {
            Answer::Value(value) => Ok(value),
            _ => Err(KvError::BadAnswer),
        }
    }

    /// A page of the keys with a prefix that come after `after`, and whether there are more.
    ///
    /// # Errors
    /// As [`Client::put`].
    pub fn list(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: u32,
        values: bool,
    ) -> Result<(Vec<Pair>, bool), KvError> {
        match self.call(&Request::List { prefix, after, limit, values }, true)? {
            // One that says "more" and gives nothing would keep us for ever.
            Answer::Page(page, more) if !(page.is_empty() && more) => Ok((page, more)),
            _ => Err(KvError::BadAnswer),
        }
    }

    /// How much is in the store.
    ///
    /// # Errors
    /// As [`Client::put`].
    pub fn info(&self) -> Result<Info, KvError> {
        match self.call(&Request::Info, true)? {
            Answer::Info(info) => Ok(info),
            _ => Err(KvError::BadAnswer),
        }
    }
}
