//! The pairs of a single server, in its memory: without replicas, and movable while it serves.
//!
//! ```text
//!   calls as of a replicated service ──► Alone ──► Store       the same client
//!                                          │ keys and callers touched since the last round
//!                                          └──► parts of a round ──► Alone of another process
//! ```
//! What it has dies with its process; what moves is for planned moves. It remembers the last call of each
//! caller, as replicas do, so that a call that is repeated is done once, on either side of a move.

use crate::protocol::{Answer, Request};
use crate::store::Store;
use dvs::{Access, DcId, Endpoint, Grant, Message, Port};
use dvs_migrate::HandOver;
use dvs_replica::active::Server;
use dvs_replica::call::{CallName, Caller, Done};
use dvs_replica::duplicates::{Duplicates, Verdict};
use dvs_replica::service::Outcome;
use dvs_replica::wire::{self, Call, Told};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The version of what it says when it moves.
const VERSION: u32 = 1;

/// What is left to be said of a round.
#[derive(Debug)]
enum Round {
    /// All keys behind this one.
    All(Option<Vec<u8>>),
    /// These.
    Keys(BTreeSet<Vec<u8>>),
}

/// What has changed since the last round began.
#[derive(Debug, Default)]
struct Changed {
    keys: BTreeSet<Vec<u8>>,
    callers: BTreeSet<Caller>,
}

/// A key; version and value, unless it is gone.
type Pair<'a> = (&'a [u8], Option<(u64, &'a [u8])>);

/// A part of a round.
#[derive(Serialize, Deserialize, Default)]
struct Part<'a> {
    revision: u64,
    /// What became of keys.
    #[serde(borrow)]
    pairs: Vec<Pair<'a>>,
    /// The last call of callers.
    #[serde(borrow)]
    calls: Vec<(Caller, u64, &'a [u8])>,
}

/// The server.
#[derive(Debug)]
pub struct Alone {
    store: Store,
    done: Duplicates,
    /// While it moves.
    changed: Option<Changed>,
    round: Option<(Round, BTreeSet<Caller>)>,
}

impl Default for Alone {
    fn default() -> Self {
        // An earlier instance may have known callers; nobody can say.
        Alone { store: Store::default(), done: Duplicates::forgetful(), changed: None, round: None }
    }
}

impl Alone {
    /// Does a request of a caller; what it is told.
    pub fn call(&mut self, name: Option<CallName>, request: &[u8]) -> Outcome {
        let Some(name) = name else {
            return self.store.query(request).map_or(Outcome::Malformed, Outcome::Answer);
        };
        match self.done.look(&name) {
            Verdict::Known(Done::Answer(answer)) => return Outcome::Answer(answer),
            Verdict::Known(_) => return Outcome::Unknown,
            Verdict::New => {}
        }
        let parsed = Request::decode(request);
        let answer = parsed.as_ref().map_or(Answer::Malformed, |r| self.store.change(r)).encode();
        self.done.keep(&name, &answer);
        if let Some(changed) = &mut self.changed {
            changed.callers.insert(name.caller);
            if let Some(Request::Put { key, .. } | Request::Delete { key, .. }) = parsed {
                changed.keys.insert(key.to_vec());
            }
        }
        Outcome::Answer(answer)
    }

    fn worded(&self, port: &Port, client: Endpoint, room: Option<Grant>, outcome: Outcome) -> Told {
        let Outcome::Answer(bytes) = &outcome else { return Told::Outcome(outcome) };
        if bytes.len() <= wire::INLINE_MAX {
            return Told::Outcome(outcome);
        }
        match room.filter(|g| g.length >= bytes.len() as u64) {
            Some(grant) => match port.copy_out(client, grant.address, bytes) {
                Ok(()) => Told::Lent(bytes.len()),
                // It is gone, or its node is.
                Err(_) => Told::Outcome(Outcome::Unknown),
            },
            None => Told::NoRoom(bytes.len()),
        }
    }

    /// Bytes of a round.
    fn bytes_of(&self, keys: &BTreeSet<Vec<u8>>) -> u64 {
        let one = |key: &Vec<u8>| key.len() + self.store.pair(key).map_or(0, |(_, value)| value.len());
        keys.iter().map(|key| one(key) as u64).sum()
    }
}

/// The request, from the message or from the caller's memory.
fn request_of(port: &Port, m: &Message, call: &Call, grants: &[Grant]) -> Option<Vec<u8>> {
    if call.inline {
        return Some(wire::inline_request(m, call).to_vec());
    }
    let grant = grants.get(1).filter(|g| g.length >= call.length as u64)?;
    let mut request = vec![0; call.length];
    port.copy_in(m.source(), grant.address, &mut request).ok()?;
    Some(request)
}

fn name_of(dc: DcId, endpoint: Endpoint, call: &Call) -> Option<CallName> {
    let caller = Caller { dc, endpoint, binding: call.binding };
    (!call.query).then_some(CallName { caller, number: call.number, again: call.again })
}

impl HandOver for Alone {
    fn request(&mut self, port: &Port, m: &mut Message) {
        let client = m.source();
        let grants = port.grants_of(client);
        let room = grants.first().copied().filter(|g| g.access == Access::ReadWrite);
        let outcome = match wire::decode_call(m) {
            Some(call) => match request_of(port, m, &call, &grants) {
                Some(request) => {
                    let mut name = name_of(port.dc(), client, &call);
                    // The system says so, too, when it is the one that repeats.
                    if let Some(name) = &mut name {
                        name.again |= m.again();
                    }
                    self.call(name, &request)
                }
                None => Outcome::Malformed,
            },
            None => Outcome::Malformed,
        };
        *m = wire::encode_told(&self.worded(port, client, room, outcome));
    }

    fn version(&self) -> u32 {
        VERSION
    }

    fn bytes(&self) -> u64 {
        self.store.bytes()
    }

    fn round(&mut self, first: bool) -> u64 {
        let changed = self.changed.replace(Changed::default());
        let (round, callers) = match changed.filter(|_| !first) {
            Some(changed) => (Round::Keys(changed.keys), changed.callers),
            None => (Round::All(None), self.done.known().copied().collect()),
        };
        let bytes = match &round {
            Round::All(_) => self.store.bytes(),
            Round::Keys(keys) => self.bytes_of(keys),
        };
        self.round = Some((round, callers));
        bytes
    }

    fn part(&mut self, out: &mut Vec<u8>, room: usize) -> bool {
        let Some((round, callers)) = &mut self.round else { return false };
        let mut part = Part { revision: self.store.revision(), ..Part::default() };
        let (mut bytes, mut keys) = (0, Vec::new());
        match round {
            Round::All(after) => {
                for key in self.store.keys_after(after.as_deref()) {
                    if bytes >= room {
                        break;
                    }
                    bytes += key.len() + self.store.pair(key).map_or(0, |(_, value)| value.len());
                    keys.push(key.to_vec());
                }
                if let Some(last) = keys.last() {
                    *after = Some(last.clone());
                }
            }
            Round::Keys(left) => {
                while bytes < room
                    && let Some(key) = left.pop_first()
                {
                    bytes += key.len() + self.store.pair(&key).map_or(0, |(_, value)| value.len());
                    keys.push(key);
                }
            }
        }
        part.pairs = keys.iter().map(|key| (key.as_slice(), self.store.pair(key))).collect();
        while bytes < room
            && let Some(caller) = callers.pop_first()
        {
            if let Some((number, answer)) = self.done.last(&caller) {
                bytes += answer.len();
                part.calls.push((caller, number, answer));
            }
        }
        // Plain data into memory cannot fail.
        out.extend(postcard::to_stdvec(&part).unwrap_or_default());
        let more = match round {
            Round::All(after) => self.store.keys_after(after.as_deref()).next().is_some(),
            Round::Keys(left) => !left.is_empty(),
        };
        more || !callers.is_empty()
    }

    fn take(&mut self, version: u32, part: &[u8]) -> Result<(), String> {
        if version != VERSION {
            return Err(format!("pairs of version {version}; this program knows {VERSION}"));
        }
        let part: Part<'_> = postcard::from_bytes(part).map_err(|e| format!("pairs: {e}"))?;
        for (key, pair) in part.pairs {
            if !self.store.adopt(key, pair, part.revision) {
                return Err("a pair is too long, or there are too many".to_owned());
            }
        }
        self.store.adopt(&[], None, part.revision);
        for (caller, number, answer) in part.calls {
            self.done.keep(&CallName { caller, number, again: false }, answer);
        }
        Ok(())
    }

    fn reset(&mut self) {
        *self = Alone::default();
    }

    fn stays(&mut self) {
        (self.changed, self.round) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    fn caller(n: u64) -> Caller {
        Caller { dc: DcId(0), endpoint: Endpoint::new(0, 40), binding: n }
    }

    fn put(server: &mut Alone, who: u64, number: u64, key: &[u8], value: &[u8]) -> Outcome {
        let name = CallName { caller: caller(who), number, again: false };
        server.call(Some(name), &Request::Put { key, value, when: None }.encode())
    }

    fn send_round(from: &mut Alone, to: &mut Alone, first: bool, room: usize) -> u64 {
        let bytes = from.round(first);
        loop {
            let mut part = Vec::new();
            let more = from.part(&mut part, room);
            to.take(VERSION, &part).unwrap();
            if !more {
                return bytes;
            }
        }
    }

    #[test]
    fn what_was_done_before_a_move_is_known_after_it() {
        let (mut old, mut new) = (Alone::default(), Alone::default());
        let first = put(&mut old, 1, 1, b"a", b"1");
        send_round(&mut old, &mut new, true, 1 << 20);
        let name = CallName { caller: caller(1), number: 1, again: true };
        let request = Request::Put { key: b"a", value: b"1", when: None }.encode();
        assert_eq!(new.call(Some(name), &request), first, "it is answered, and not done again");
        let lost = CallName { caller: caller(9), number: 4, again: true };
        assert_eq!(new.call(Some(lost), &request), Outcome::Unknown, "nobody can say");
    }

    proptest! {
        #[test]
        fn rounds_say_all_whatever_is_done_between_their_parts(
            steps in proptest::collection::vec((any::<u8>(), any::<u8>(), 0..4_u8), 1..200),
            room in 1..400_usize,
        ) {
            let (mut old, mut new) = (Alone::default(), Alone::default());
            let (mut number, mut round) = (0, 0);
            for (key, value, what) in steps {
                number += 1;
                match what {
                    0 | 1 => drop(put(&mut old, 1, number, &[key % 16], &[value])),
                    2 => {
                        let name = CallName { caller: caller(1), number, again: false };
                        old.call(Some(name), &Request::Delete { key: &[key % 16], when: None }.encode());
                    }
                    _ => {
                        let mut part = Vec::new();
                        if round == 0 || !old.part(&mut part, room) {
                            if !part.is_empty() {
                                new.take(VERSION, &part).unwrap();
                            }
                            old.round(round == 0);
                            round += 1;
                        } else {
                            new.take(VERSION, &part).unwrap();
                        }
                    }
                }
            }
            if round == 0 {
                old.round(true);
            }
            loop {
                let mut part = Vec::new();
                let more = old.part(&mut part, room);
                new.take(VERSION, &part).unwrap();
                if !more {
                    break;
                }
            }
            send_round(&mut old, &mut new, false, room);
            assert_eq!(new.store, old.store);
            assert_eq!(new.done.last(&caller(1)), old.done.last(&caller(1)));
        }

        #[test]
        fn any_part_is_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut server = Alone::default();
            let _ = server.take(VERSION, &bytes);
            assert!(server.take(7, &bytes).is_err());
        }
    }
}
