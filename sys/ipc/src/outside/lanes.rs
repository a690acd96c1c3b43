//! The lanes in use: which endpoint of ours, which peer, what is under way.

use crate::bell::Ringer;
use crate::host::{Host, Memory};
use crate::lane::{GrantList, Lane};
use crate::link::{Link, Side};
use dvs_abi::limits::{LINK_LANES_MAX, SESSION_LINKS_MAX};
use dvs_abi::{CallSet, Code, DcId, Endpoint, Error, Grant, Message};
use dvs_kern::rendezvous::{Ix, LaneKey};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// Memory shared with one other session.
pub(super) struct Shore {
    pub memory: Arc<dyn Memory>,
    pub side: Side,
    pub ringer: Ringer,
    /// Number the peer has for this link.
    pub bell_link: u16,
}

/// What a lane is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Use {
    /// `ix` of ours calls `to`; `seq` of the call under way, zero for none. `relays`: `to` is known to be
    /// allowed to hand our requests on.
    Out { ix: Ix, to: Endpoint, remote: bool, epoch: u64, seq: u64, closed: Option<Code>, relays: bool },
    /// `from` calls `ix` of ours.
    In { ix: Ix, from: Endpoint, peer: Peer, seen: u64, taken: u64, grants: GrantList },
    /// `from` calls `to`, which is bound here for the daemon but not entered into our table yet (or not any
    /// more).
    Early { dc: DcId, to: Endpoint, from: Endpoint, peer: Peer },
    /// Our endpoint is gone; the daemon has not closed the lane yet.
    Dead,
}

/// What the daemon says of who calls through a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// It is on another node: the daemon itself writes into the lane.
    pub remote: bool,
    pub pid: u32,
    pub may: CallSet,
    /// Which binding of its endpoint it is.
    pub binding: u64,
}

impl Use {
    /// A lane of which nothing was seen yet.
    pub fn incoming(ix: Ix, from: Endpoint, peer: Peer) -> Use {
        Use::In { ix, from, peer, seen: 0, taken: 0, grants: GrantList::default() }
    }
}

/// Everything about lanes of one session.
#[derive(Default)]
pub(super) struct Lanes {
    shores: Vec<Option<Shore>>,
    uses: Vec<Option<Use>>,
    by_target: HashMap<(Ix, Endpoint), LaneKey, BuildHasherDefault<Numbers>>,
    /// Per endpoint of ours: the lane of the call it is in.
    current: Vec<Option<LaneKey>>,
    /// Why calls under way are to be left that could not be left at once.
    leaving: HashMap<Ix, Error>,
    last_link: Option<u16>,
    /// Lanes that rang before they were known.
    puzzles: HashSet<LaneKey>,
    /// Answers that wait until their instance may answer again; at most one a lane.
    withheld: Vec<Withheld>,
}

/// An answer of an instance that may not answer at the moment.
pub(super) struct Withheld {
    pub ix: Ix,
    pub key: LaneKey,
    /// The call.
    pub seq: u64,
    /// Where it is sent on to, if it is not answered.
    pub on: Option<Endpoint>,
    pub message: Message,
}

/// Hashes small numbers the system gave out, not an attacker, so one multiplication each is hash enough.
#[derive(Default)]
pub(super) struct Numbers(u64);

impl Hasher for Numbers {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.write_u32(u32::from(*b));
        }
    }

    fn write_u32(&mut self, n: u32) {
        // Fibonacci hashing: the high bits, which the table uses for its tags, depend on all of `n`.
        self.0 = (self.0.rotate_left(5) ^ u64::from(n)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }

    fn write_i32(&mut self, n: i32) {
        self.write_u32(n as u32);
    }
}

/// The key of a lane: link and number in it.
pub(super) const fn key(link: u16, lane: u8) -> LaneKey {
    link as u32 * LINK_LANES_MAX as u32 + lane as u32
}

/// Link and number of a key.
pub(crate) const fn parts(key: LaneKey) -> (u16, u8) {
    ((key / LINK_LANES_MAX as u32) as u16, (key % LINK_LANES_MAX as u32) as u8)
}

impl Lanes {
    pub fn add_shore(&mut self, link: u16, shore: Shore) {
        let at = link as usize;
        if at >= SESSION_LINKS_MAX {
            return;
        }
        if self.shores.len() <= at {
            self.shores.resize_with(at + 1, || None);
        }
        self.shores[at] = Some(shore);
    }

    pub fn remove_shore(&mut self, link: u16) {
        if let Some(s) = self.shores.get_mut(link as usize) {
            *s = None;
        }
    }

    pub fn shore(&self, link: u16) -> Option<&Shore> {
        self.shores.get(link as usize)?.as_ref()
    }

    /// Numbers of all links.
    pub fn links(&self) -> Vec<u16> {
        (0..self.shores.len() as u16).filter(|&l| self.shores[l as usize].is_some()).collect()
    }

    /// Keys of all lanes in use.
    pub fn keys(&self) -> Vec<LaneKey> {
        (0..self.uses.len() as u32).filter(|&k| self.uses[k as usize].is_some()).collect()
    }

    pub fn enter(&mut self, key: LaneKey, new: Use) {
        let at = key as usize;
        if at >= SESSION_LINKS_MAX * LINK_LANES_MAX {
            return;
        }
        if self.uses.len() <= at {
            self.uses.resize(at + 1, None);
        }
        self.puzzles.remove(&key);
        if let Use::Out { ix, to, .. } = new {
            self.by_target.insert((ix, to), key);
        }
        self.uses[at] = Some(new);
    }

    /// Remembers that an unknown lane rang; false when that is remembered already.
    pub fn puzzles(&mut self, key: LaneKey) -> bool {
        (key as usize) < SESSION_LINKS_MAX * LINK_LANES_MAX && self.puzzles.insert(key)
    }

    pub fn get(&self, key: LaneKey) -> Option<&Use> {
        self.uses.get(key as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, key: LaneKey) -> Option<&mut Use> {
        self.uses.get_mut(key as usize)?.as_mut()
    }

    /// Forgets a lane; it may be used for another pair afterwards.
    pub fn remove(&mut self, key: LaneKey) {
        if let Some(&Use::Out { ix, to, .. }) = self.get(key) {
            if self.by_target.get(&(ix, to)) == Some(&key) {
                self.by_target.remove(&(ix, to));
            }
            if let Some(c) = self.current.get_mut(ix as usize).filter(|c| **c == Some(key)) {
                *c = None;
            }
        }
        self.withheld.retain(|w| w.key != key);
        if let Some(u) = self.uses.get_mut(key as usize) {
            *u = None;
        }
    }

    /// Keeps an answer. One to an earlier call of its lane has nobody who waits for it.
    pub fn withhold(&mut self, answer: Withheld) {
        self.withheld.retain(|w| w.key != answer.key);
        self.withheld.push(answer);
    }

    /// Takes the answers that wait, of this endpoint of ours or of all.
    pub fn take_withheld(&mut self, of: Option<Ix>) -> Vec<Withheld> {
        self.withheld.extract_if(.., |w| of.is_none_or(|ix| ix == w.ix)).collect()
    }

    /// The lane from `ix` to `to`.
    pub fn to(&self, ix: Ix, to: Endpoint) -> Option<LaneKey> {
        self.by_target.get(&(ix, to)).copied()
    }

    /// The lane and number of the call `ix` is in.
    pub fn current(&self, ix: Ix) -> Option<(LaneKey, u64)> {
        let key = (*self.current.get(ix as usize)?)?;
        match *self.get(key)? {
            Use::Out { seq, .. } if seq != 0 => Some((key, seq)),
            _ => None,
        }
    }

    /// A call of `ix` through `key` began.
    pub fn begin(&mut self, ix: Ix, key: LaneKey, call: u64) {
        let at = ix as usize;
        if self.current.len() <= at {
            // Indices are those of the process' table, which is bounded.
            self.current.resize(at + 1, None);
        }
        self.leaving.remove(&ix);
        self.current[at] = Some(key);
        if let Some(Use::Out { seq, .. }) = self.get_mut(key) {
            *seq = call;
        }
    }

    /// The call of `ix` is over.
    pub fn end(&mut self, ix: Ix) {
        if let Some(key) = self.current.get_mut(ix as usize).and_then(Option::take)
            && let Some(Use::Out { seq, .. }) = self.get_mut(key)
        {
            *seq = 0;
        }
        self.leaving.remove(&ix);
    }

    /// The call of `ix` is to be left as soon as its lane lets it go; false when that was said before.
    pub fn leave(&mut self, ix: Ix, why: &Error) -> bool {
        let first = !self.leaving.contains_key(&ix);
        if first {
            self.leaving.insert(ix, why.clone());
        }
        first
    }

    /// Why the call of `ix` is to be left.
    pub fn leaving(&self, ix: Ix) -> Option<&Error> {
        self.leaving.get(&ix)
    }

    /// Does something with the words of a lane.
    pub fn with_lane<T>(&self, key: LaneKey, f: impl FnOnce(Lane<'_>) -> T) -> Option<T> {
        let (link, lane) = parts(key);
        let words = self.shore(link)?.memory.words();
        Some(f(Link::new(words)?.lane(lane as usize)?))
    }

    /// Tells the other side of a lane to look at it.
    pub fn tell_peer(&self, host: &dyn Host, key: LaneKey) {
        let (link, lane) = parts(key);
        let Some(shore) = self.shore(link) else { return };
        if let Some(l) = Link::new(shore.memory.words()) {
            l.set_cpu(shore.side, host.cpu());
            l.mark(shore.side.other(), lane as usize);
            shore.ringer.ring(host, shore.bell_link as usize);
        }
    }

    /// Where the peer that rang last last ran: it is the one most likely to ring next.
    pub fn last_peer_cpu(&self) -> Option<u32> {
        let shore = self.shore(self.last_link?)?;
        Link::new(shore.memory.words())?.cpu(shore.side.other())
    }

    /// Remembers which link rang last.
    pub fn set_last_link(&mut self, link: u16) {
        self.last_link = Some(link);
    }

    /// What the caller of `seq` lent.
    pub fn grants(&self, key: LaneKey, seq: u64) -> Vec<Grant> {
        match self.get(key) {
            Some(Use::In { taken, grants, .. }) if *taken == seq => grants.as_slice().to_vec(),
            _ => Vec::new(),
        }
    }

    /// An endpoint was entered into the table: the lanes the daemon opened to it before that are its own now.
    pub fn adopt(&mut self, mine: DcId, endpoint: Endpoint, ix: Ix) -> Vec<LaneKey> {
        let mut keys = Vec::new();
        for (key, used) in self.uses.iter_mut().enumerate() {
            if let Some(Use::Early { dc, to, from, peer }) = *used
                && (dc, to) == (mine, endpoint)
            {
                *used = Some(Use::incoming(ix, from, peer));
                keys.push(key as LaneKey);
            }
        }
        keys
    }

    /// Keys of the lanes of an endpoint of ours.
    pub fn of(&self, mine: Ix) -> Vec<LaneKey> {
        let belongs = |u: &Option<Use>| match u {
            Some(Use::Out { ix, .. } | Use::In { ix, .. }) => *ix == mine,
            _ => false,
        };
        (0..self.uses.len() as u32).filter(|&k| belongs(&self.uses[k as usize])).collect()
    }
}
