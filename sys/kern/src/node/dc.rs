//! The table of one container on this node.

use super::cluster::DcConfig;
use super::descriptor::Descriptor;
use super::lease::SlotLease;
use super::wait::WaitId;
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
    /// Generations handed out here.
    pub generation: u32,
    /// What is bound.
    pub descriptor: Option<Box<Descriptor>>,
}

/// One container as this node sees it.
#[derive(Debug)]
pub struct Dc {
    /// What was agreed about it.
    pub config: DcConfig,
    slots: Vec<Slot>,
    pub(crate) lease: SlotLease,
    /// Requests that wait for a change of a slot.
    pub(crate) waiting: BTreeMap<i32, Vec<WaitId>>,
}

/// Largest generation: the endpoint value stays within 31 bits.
pub const GENERATION_MAX: u32 = i32::MAX as u32 / dvs_abi::limits::GENERATION_SIZE as u32 - 1;

impl Dc {
    /// An empty table.
    pub fn new(config: DcConfig, lease: SlotLease) -> Self {
        let mut slots = Vec::new();
        slots.resize_with((config.tasks + config.procs) as usize, Slot::default);
        Dc { config, slots, lease, waiting: BTreeMap::new() }
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

    /// A free slot of this node's lease with its next generation.
    pub(crate) fn allocate(&mut self, first_generation: u32) -> Option<Endpoint> {
        let (slots, tasks) = (&self.slots, self.config.tasks);
        let number = self.lease.take(|n| slots[(n + tasks) as usize].descriptor.is_none())?;
        let slot = self.slot_mut(number)?;
        slot.generation = slot.generation.wrapping_add(1) % GENERATION_MAX;
        let generation = 1 + (first_generation + slot.generation) % GENERATION_MAX;
        Some(Endpoint::new(generation, number))
    }
}
