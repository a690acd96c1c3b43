//! One process of this node and what it holds.

use super::Place;
use super::link::LinkKey;
use super::wait::WaitId;
use dvs_abi::Endpoint;
use dvs_abi::limits::SESSION_LINKS_MAX;
use std::collections::{BTreeMap, BTreeSet};

/// One process (or the proxy, or an administrator).
#[derive(Clone, Debug)]
pub struct Session {
    /// Its process; 0 for an administrator.
    pub pid: u32,
    /// Its process runs as root or as the daemon's own user: it may manage the system.
    pub operator: bool,
    /// Its program.
    pub name: String,
    /// What is bound in it (standbys included).
    pub endpoints: BTreeSet<Place>,
    /// Its links by the number it knows them by.
    pub links: BTreeMap<u16, LinkKey>,
    /// Lanes in those links that are not free again.
    pub lanes: usize,
    /// What it wants to hear the end of.
    pub watches: BTreeSet<Place>,
    /// Its requests that wait, by their number.
    pub waits: BTreeMap<u64, WaitId>,
    /// The latest event of which it was asked whether it has heard.
    pub asked: u64,
    /// The latest event of which it has heard.
    pub heard: u64,
    /// Answers that wait until it has heard of an event.
    pub hearers: BTreeSet<(u64, WaitId)>,
    /// Endpoints that moved away from it.
    pub left: BTreeSet<Place>,
    /// It said how it ends.
    pub exit: Option<i32>,
}

impl Session {
    /// A session that holds nothing.
    pub fn new(pid: u32, operator: bool, name: String) -> Self {
        Session {
            pid,
            operator,
            name,
            endpoints: BTreeSet::new(),
            links: BTreeMap::new(),
            lanes: 0,
            watches: BTreeSet::new(),
            waits: BTreeMap::new(),
            asked: 0,
            heard: 0,
            hearers: BTreeSet::new(),
            left: BTreeSet::new(),
            exit: None,
        }
    }

    /// The smallest link number it does not use. The proxy has one link with every process that talks to
    /// another node, and several with large ones, hence its bound is the whole range.
    pub fn free_link(&self) -> Option<u16> {
        let mut wanted = 0u16;
        for number in self.links.keys() {
            if *number != wanted {
                break;
            }
            wanted += 1;
        }
        ((wanted as usize) < SESSION_LINKS_MAX).then_some(wanted)
    }

    /// Its endpoints in one container.
    pub fn endpoints_in(&self, dc: u16) -> impl Iterator<Item = Endpoint> {
        self.endpoints.range((dc, Endpoint::from_raw(i32::MIN))..).take_while(move |e| e.0 == dc).map(|e| e.1)
    }
}
