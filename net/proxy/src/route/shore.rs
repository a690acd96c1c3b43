//! The proxy's side of the links: memory it shares with each program that talks to other nodes.

use super::{Cmd, Place, Step};
use dvs_abi::limits::{LINK_LANES_MAX, SESSION_LINKS_MAX};
use dvs_ipc::bell::Ringer;
use dvs_ipc::host::Memory;
use dvs_ipc::lane::Lane;
use dvs_ipc::link::{Link, Side};
use dvs_kern::rendezvous::LaneKey;
use std::fmt;
use std::sync::Arc;

/// Memory shared with one program.
pub struct Shore {
    /// The link.
    pub memory: Arc<dyn Memory>,
    /// Which side the proxy is.
    pub side: Side,
    /// Rings the program.
    pub ringer: Ringer,
    /// The number the program has for the link.
    pub bell_link: u16,
}

impl fmt::Debug for Shore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shore").field("side", &self.side).field("bell_link", &self.bell_link).finish()
    }
}

/// All links, by the proxy's number for them.
#[derive(Default)]
pub struct Shores {
    table: Vec<Option<Arc<Shore>>>,
}

/// The key of a lane: link and number in it.
pub(super) const fn key(link: u16, lane: u8) -> LaneKey {
    link as u32 * LINK_LANES_MAX as u32 + lane as u32
}

pub(super) const fn parts(key: LaneKey) -> (usize, usize) {
    (key as usize / LINK_LANES_MAX, key as usize % LINK_LANES_MAX)
}

impl Shores {
    pub(super) fn add(&mut self, number: u16, shore: Shore) {
        let at = number as usize;
        if at >= SESSION_LINKS_MAX {
            return;
        }
        if self.table.len() <= at {
            self.table.resize_with(at + 1, || None);
        }
        self.table[at] = Some(Arc::new(shore));
    }

    pub(super) fn remove(&mut self, number: u16) {
        if let Some(s) = self.table.get_mut(number as usize) {
            *s = None;
        }
    }

    /// The link with a number.
    pub fn get(&self, number: u16) -> Option<Arc<Shore>> {
        self.table.get(number as usize)?.clone()
    }

    /// Where the program at the other side of a link last ran.
    pub fn peer_cpu(&self, number: u16) -> Option<u32> {
        let shore = self.table.get(number as usize)?.as_ref()?;
        Link::new(shore.memory.words())?.cpu(shore.side.other())
    }

    /// A lane.
    pub(super) fn lane(&self, key: LaneKey) -> Option<Lane<'_>> {
        let (link, lane) = parts(key);
        Link::new(self.table.get(link)?.as_ref()?.memory.words())?.lane(lane)
    }

    /// The memory lent by the caller of request `seq` in a lane that ends here.
    pub(super) fn client(&self, key: LaneKey, pid: u32, seq: u64) -> Option<Place> {
        let (link, lane) = parts(key);
        let shore = self.table.get(link)?.as_ref()?;
        Some(Place::Client { pid, memory: shore.memory.clone(), lane, seq, shore: Some(shore.clone()) })
    }

    /// Tells the program to look at a lane.
    pub(super) fn tell(&self, key: LaneKey, step: &mut Step<'_>) {
        let (link, lane) = parts(key);
        let Some(shore) = self.table.get(link).and_then(|s| s.as_ref()) else { return };
        let Some(l) = Link::new(shore.memory.words()) else { return };
        l.set_cpu(shore.side, step.cpu);
        l.mark(shore.side.other(), lane);
        // One ring after the step serves all lanes of the link.
        let rung = |c: &Cmd| matches!(c, Cmd::Ring(s) if Arc::ptr_eq(s, shore));
        if !step.out.iter().rev().take(2).any(rung) {
            step.out.push(Cmd::Ring(shore.clone()));
        }
    }
}
