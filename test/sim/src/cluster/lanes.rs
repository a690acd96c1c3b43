//! The memory of a node's links, as its programs and its proxy share it: real lanes ([`dvs_ipc::lane`]).

use super::wire::{Key, key};
use dvs_ipc::bell::{BELL_BYTES, Ringer};
use dvs_ipc::host::{HeapMemory, Memory};
use dvs_ipc::lane::Lane;
use dvs_ipc::link::{LINK_WORDS, Link, Side};
use dvs_kern::node::event::SessionId;
use dvs_kern::node::link::LinkKey;
use dvs_proxy::route::Shore;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// One side of a link: the session, and its number for it.
type End = (SessionId, u16);

/// The links of a node.
#[derive(Default)]
pub(super) struct Lanes {
    memories: BTreeMap<LinkKey, Arc<HeapMemory>>,
    ends: BTreeMap<End, (LinkKey, Side)>,
    sides: BTreeMap<(LinkKey, bool), End>,
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.ends)
    }
}

fn side(number: u8) -> Side {
    if number == 0 { Side::A } else { Side::B }
}

impl Lanes {
    /// Makes the memory of a link.
    pub(super) fn create(&mut self, link: LinkKey) {
        self.memories.insert(link, Arc::new(HeapMemory::new(LINK_WORDS)));
    }

    /// Forgets a link.
    pub(super) fn remove(&mut self, link: LinkKey) {
        self.memories.remove(&link);
    }

    /// A session learns that it has a link, and which side it is.
    pub(super) fn attach(&mut self, end: End, link: LinkKey, number: u8) {
        self.ends.insert(end, (link, side(number)));
        self.sides.insert((link, number == 0), end);
    }

    /// It learns that it has it no more.
    pub(super) fn detach(&mut self, end: End) {
        if let Some((link, side)) = self.ends.remove(&end) {
            self.sides.remove(&(link, side == Side::A));
        }
    }

    /// A session has ended.
    pub(super) fn forget(&mut self, session: SessionId) {
        let of: Vec<End> = self.ends.keys().filter(|(s, _)| *s == session).copied().collect();
        of.into_iter().for_each(|end| self.detach(end));
    }

    /// A link as the proxy needs it. Nobody sleeps here, so nobody is rung: all look when something happens.
    pub(super) fn shore(&self, link: LinkKey, number: u8, bell_link: u16) -> Option<Shore> {
        let memory: Arc<dyn Memory> = self.memories.get(&link)?.clone();
        let bell = || Arc::new(HeapMemory::new(BELL_BYTES / 8));
        let ringer = Ringer::new(bell(), bell())?;
        Some(Shore { memory, side: side(number), ringer, bell_link })
    }

    /// The name of a session's lane.
    pub(super) fn key(&self, session: SessionId, link: u16, lane: u8) -> Option<Key> {
        self.ends.get(&(session, link)).map(|(k, _)| key(*k, lane))
    }

    /// A lane, as long as its link is there.
    pub(super) fn with<T>(&self, (link, lane): Key, look: impl FnOnce(Lane<'_>) -> T) -> Option<T> {
        let memory = self.memories.get(&LinkKey(link))?;
        Link::new(memory.words())?.lane(usize::from(lane)).map(look)
    }

    /// Tells the other side of a session's link to look at a lane; which side that is.
    pub(super) fn tell_peer(&self, session: SessionId, (link, lane): Key) -> Option<End> {
        let link = LinkKey(link);
        let (_, own) = self.ends.iter().find(|((s, _), (k, _))| *s == session && *k == link)?.1;
        let other = own.other();
        Link::new(self.memories.get(&link)?.words())?.mark(other, usize::from(lane));
        self.sides.get(&(link, other == Side::A)).copied()
    }
}
