//! The table of one container on this node.

use super::config::DcConfig;
use super::descriptor::Descriptor;
use super::service::Service;
use super::wait::WaitId;
use crate::slots::Holding;
use dvs_abi::{Code, Endpoint, NodeId};
use std::collections::BTreeMap;

/// One slot, free or bound.
#[derive(Debug, Default)]
pub struct Slot {
    /// The endpoint that used it last; stays after it is freed, so that a late caller is told the right
    /// thing.
    pub last: Option<Endpoint>,
    /// The node that was lost with that endpoint.
    pub lost: Option<NodeId>,
    /// Who was told of its end.
    pub(crate) news: Option<std::sync::Arc<super::heard::News>>,
    /// It was leased to this node.
    pub leased: bool,
    /// What is bound.
    pub descriptor: Option<Box<Descriptor>>,
}

/// One container as this node sees it.
#[derive(Debug)]
pub struct Dc {
    /// What was agreed about it.
    pub config: DcConfig,
    slots: Vec<Slot>,
    /// The user slots leased to this node.
    pub(crate) holding: Holding,
    /// The last ask for more: its ticket and number.
    pub(crate) asking: Option<(u64, u64)>,
    /// The services declared in it, by slot.
    pub(crate) services: BTreeMap<i32, Service>,
    /// Requests that wait for a change of a slot, or at [`BINDS`].
    pub(crate) waiting: BTreeMap<i32, Vec<WaitId>>,
}

/// Where binds to whichever user slot wait, longest first: no slot has this number.
pub(crate) const BINDS: i32 = i32::MAX;

/// Largest generation: the endpoint value stays within 31 bits.
pub const GENERATION_MAX: u32 = i32::MAX as u32 / dvs_abi::limits::GENERATION_SIZE as u32 - 1;

impl Dc {
    /// An empty table.
    pub fn new(config: DcConfig, me: NodeId) -> Self {
        let mut slots = Vec::new();
        slots.resize_with((config.tasks + config.procs) as usize, Slot::default);
        Dc {
            config,
            slots,
            holding: Holding::new(me),
            asking: None,
            services: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    fn index(&self, slot: i32) -> Option<usize> {
        usize::try_from(slot.checked_add(self.config.tasks)?).ok().filter(|i| *i < self.slots.len())
    }

    /// A slot by number.
    pub fn slot(&self, slot: i32) -> Option<&Slot> {
        self.slots.get(self.index(slot)?)
    }

    pub(crate) fn slot_mut(&mut self, slot: i32) -> Option<&mut Slot> {
        let i = self.index(slot)?;
        self.slots.get_mut(i)
    }

    /// The descriptor bound in a slot.
    pub fn bound(&self, slot: i32) -> Option<&Descriptor> {
        self.slot(slot)?.descriptor.as_deref()
    }

    pub(crate) fn bound_mut(&mut self, slot: i32) -> Option<&mut Descriptor> {
        self.slot_mut(slot)?.descriptor.as_deref_mut()
    }

    /// Every descriptor, by slot.
    pub fn descriptors(&self) -> impl Iterator<Item = &Descriptor> {
        self.slots.iter().filter_map(|s| s.descriptor.as_deref())
    }

    /// The descriptor an endpoint value names. Generation 0 names whatever the slot holds (decision 1 of the
    /// facts §10); any other generation must be the one bound.
    ///
    /// # Errors
    /// `RANGE` outside the table, `ENDPOINT` when another generation is or was there, `DSTDIED` when the slot
    /// is free, `NOTCONN` when it is free because its node was lost.
    pub fn find(&self, endpoint: Endpoint) -> Result<&Descriptor, Code> {
        if !endpoint.in_table(self.config.tasks, self.config.procs) {
            return Err(Code::RANGE);
        }
        let slot = self.slot(endpoint.slot()).ok_or(Code::RANGE)?;
        let any = endpoint.generation() == 0;
        match (&slot.descriptor, slot.last) {
            (Some(d), _) if any || d.endpoint == endpoint => Ok(d),
            (Some(_), _) => Err(Code::ENDPOINT),
            (None, Some(last)) if !any && last != endpoint => Err(Code::ENDPOINT),
            (None, _) if slot.lost.is_some() => Err(Code::NOTCONN),
            (None, _) => Err(Code::DSTDIED),
        }
    }

    /// Whether a slot belongs to tasks or servers.
    pub fn is_system(&self, slot: i32) -> bool {
        slot < self.config.first_user()
    }

    /// The next endpoint of a user slot: a generation after the last one known.
    pub(crate) fn next_endpoint(&self, slot: i32, first_generation: u32) -> Endpoint {
        let last = self.slot(slot).and_then(|s| s.last);
        let before = last.map_or(first_generation, |e| e.generation());
        Endpoint::new(1 + before % GENERATION_MAX, slot)
    }

    /// A service declared in it.
    pub fn service(&self, slot: i32) -> Option<&Service> {
        self.services.get(&slot)
    }

    /// The slots this node was leased.
    pub fn leased(&self) -> impl Iterator<Item = i32> {
        let tasks = self.config.tasks;
        self.slots.iter().enumerate().filter(|(_, s)| s.leased).map(move |(i, _)| i as i32 - tasks)
    }

    /// This node was leased nothing.
    pub(crate) fn unlease(&mut self, me: NodeId) {
        self.slots.iter_mut().for_each(|s| s.leased = false);
        (self.holding, self.asking) = (Holding::new(me), None);
    }

    /// The binds that wait for whichever user slot.
    pub(crate) fn binds(&self) -> &[WaitId] {
        self.waiting.get(&BINDS).map_or(&[], Vec::as_slice)
    }
}
