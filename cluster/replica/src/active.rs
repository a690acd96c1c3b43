//! Replication by requests: every replica does every request, in the order of the log.

use crate::bytes::Bytes;
use crate::call::{CallName, Caller, Done};
use crate::duplicates::{Duplicates, Verdict};
use crate::parts::Parts;
use crate::passive::{Planned, StateError};
use dvs_abi::limits::REPLICA_PART_BYTES;
use serde::{Deserialize, Serialize};

/// A server of which every replica does the same. No clock, no chance, no files, no order of a hash table:
/// what differs from node to node must not reach the state or an answer.
pub trait Server {
    /// Does a request; gives the answer.
    fn request(&mut self, caller: &Caller, request: &[u8]) -> Vec<u8>;

    /// The answer to a request that changes nothing; `None` if it might.
    fn query(&self, request: &[u8]) -> Option<Vec<u8>>;

    /// The whole state.
    fn snapshot(&self) -> Vec<u8>;

    /// Becomes a state that was taken on any replica, of this or an older version.
    ///
    /// # Errors
    /// These bytes are no such state.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String>;
}

/// An entry of the log.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
enum Entry {
    Call(CallName, Bytes),
    /// The caller has ended.
    Ended(Caller),
    /// A part of a large request, from this byte on.
    Part(CallName, u32, Bytes),
    /// The call whose request of so many bytes came in parts is to be done.
    Whole(CallName, u32),
}

/// The entry that has a call done.
pub fn call(name: CallName, request: Vec<u8>) -> Vec<u8> {
    encode(&Entry::Call(name, Bytes(request)))
}

/// What has to go into the log to have a call done: one entry, or several if the request is large.
pub fn entries(name: CallName, request: &[u8]) -> Planned {
    if request.len() <= REPLICA_PART_BYTES {
        return Planned::Log(call(name, request.to_vec()));
    }
    let part = |(i, bytes): (usize, &[u8])| {
        encode(&Entry::Part(name, (i * REPLICA_PART_BYTES) as u32, Bytes(bytes.to_vec())))
    };
    let mut list: Vec<Vec<u8>> = request.chunks(REPLICA_PART_BYTES).enumerate().map(part).collect();
    list.push(encode(&Entry::Whole(name, request.len() as u32)));
    Planned::Parts(list)
}

/// The entry that says that a caller has ended.
pub fn ended(caller: Caller) -> Vec<u8> {
    encode(&Entry::Ended(caller))
}

fn encode(entry: &Entry) -> Vec<u8> {
    // Plain data into memory cannot fail.
    postcard::to_stdvec(entry).unwrap_or_default()
}

/// A replica of an active server, as a state machine over a log.
#[derive(Clone, Debug)]
pub struct Active<S> {
    server: S,
    duplicates: Duplicates,
    parts: Parts,
}

impl<S: Server> Active<S> {
    /// A replica that has done nothing yet.
    pub fn new(server: S) -> Self {
        Active { server, duplicates: Duplicates::default(), parts: Parts::default() }
    }

    /// The server, to be looked at.
    pub fn server(&self) -> &S {
        &self.server
    }

    /// Does an entry of the log; gives the encoded [`Done`]. Entries that make no sense change nothing.
    pub fn apply(&mut self, entry: &[u8]) -> Vec<u8> {
        let done = match postcard::take_from_bytes(entry) {
            Ok((Entry::Call(name, Bytes(request)), [])) => self.done(&name, &request),
            Ok((Entry::Ended(caller), [])) => {
                self.duplicates.ended(&caller);
                self.parts.drop_of(&caller);
                Done::Answer(Vec::new())
            }
            Ok((Entry::Part(name, at, Bytes(bytes)), [])) => self.part(&name, at, &bytes),
            Ok((Entry::Whole(name, total), [])) => self.whole(&name, total),
            _ => Done::Malformed,
        };
        done.encode()
    }

    fn done(&mut self, name: &CallName, request: &[u8]) -> Done {
        if let Verdict::Known(done) = self.duplicates.look(name) {
            return done;
        }
        let answer = self.server.request(&name.caller, request);
        self.duplicates.keep(name, &answer);
        Done::Answer(answer)
    }

    fn part(&mut self, name: &CallName, at: u32, bytes: &[u8]) -> Done {
        if let Verdict::Known(done) = self.duplicates.look(name) {
            return done;
        }
        if self.parts.add(name, at, bytes) { Done::Answer(Vec::new()) } else { Done::Incomplete }
    }

    fn whole(&mut self, name: &CallName, total: u32) -> Done {
        if let Verdict::Known(done) = self.duplicates.look(name) {
            return done;
        }
        match self.parts.take(name, total) {
            Some(request) => self.done(name, &request),
            None => Done::Incomplete,
        }
    }

    /// The answer to a request that changes nothing, from this replica's state; the caller has made sure that
    /// this is recent enough (a read barrier of the log).
    pub fn query(&self, request: &[u8]) -> Option<Vec<u8>> {
        self.server.query(request)
    }

    /// The whole state, duplicate table included.
    pub fn snapshot(&self) -> Vec<u8> {
        // Plain data into memory cannot fail.
        postcard::to_stdvec(&(Bytes(self.server.snapshot()), &self.duplicates, &self.parts))
            .unwrap_or_default()
    }

    /// Becomes a state that was taken.
    ///
    /// # Errors
    /// These bytes are no such state; then nothing has changed but what the server changed of itself.
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<(), StateError> {
        let (Bytes(server), duplicates, parts): (Bytes, Duplicates, Parts) =
            postcard::from_bytes(snapshot).map_err(|_| StateError::Malformed)?;
        self.server.restore(&server).map_err(StateError::Server)?;
        (self.duplicates, self.parts) = (duplicates, parts);
        Ok(())
    }
}
