//! Memory shared by two sessions and the lanes in it.

use super::event::SessionId;
use dvs_abi::limits::LINK_LANES_MAX;
use dvs_abi::{Code, NodeId};

/// Number of a link on its node; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkKey(pub u64);

/// One directed pair caller → callee.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Lane {
    pub dc: u16,
    pub from: i32,
    pub to: i32,
    /// Where `to` was when it was opened.
    pub node: NodeId,
    /// Where `from` was.
    pub source: NodeId,
    /// Which side of the link calls.
    pub caller: u8,
    /// Both sides may use it.
    pub open: bool,
    /// What it leads to is not there any more; it is closed with this code when the proxy has forgotten it.
    pub retired: Option<Code>,
    /// Which sides have said that they forgot it.
    pub freed: [bool; 2],
}

impl Lane {
    pub(crate) const fn new(dc: u16, (from, source): (i32, NodeId), (to, node): (i32, NodeId)) -> Lane {
        Lane { dc, from, to, node, source, caller: 0, open: true, retired: None, freed: [false; 2] }
    }
}

/// One shared memory.
#[derive(Clone, Debug)]
pub struct Link {
    /// The two sessions.
    pub sides: [SessionId; 2],
    /// The number each of them knows it by (and is rung with).
    pub numbers: [u16; 2],
    /// One of the two has ended; no further lane comes in.
    pub gone: bool,
    lanes: Vec<Option<Lane>>,
}

impl Link {
    /// A link without lanes.
    pub fn new(sides: [SessionId; 2], numbers: [u16; 2]) -> Self {
        Link { sides, numbers, gone: false, lanes: vec![None; LINK_LANES_MAX] }
    }

    /// Which side a session is.
    pub fn side_of(&self, session: SessionId) -> usize {
        usize::from(self.sides[0] != session)
    }

    /// A lane number nobody uses.
    pub fn free_lane(&self) -> Option<u8> {
        self.lanes.iter().position(Option::is_none).map(|n| n as u8)
    }

    /// The lane with a number.
    pub fn lane(&self, lane: u8) -> Option<&Lane> {
        self.lanes.get(lane as usize)?.as_ref()
    }

    pub(crate) fn lane_mut(&mut self, lane: u8) -> Option<&mut Lane> {
        self.lanes.get_mut(lane as usize)?.as_mut()
    }

    pub(crate) fn set_lane(&mut self, number: u8, lane: Option<Lane>) {
        if let Some(place) = self.lanes.get_mut(number as usize) {
            *place = lane;
        }
    }

    /// The lanes in use, with their numbers.
    pub fn lanes(&self) -> impl Iterator<Item = (u8, &Lane)> {
        self.lanes.iter().enumerate().filter_map(|(n, l)| Some((n as u8, l.as_ref()?)))
    }
}
