//! The memories of links: made here, handed to both sides, cleared between two uses of a lane.

use dvs_ipc::host::Memory;
use dvs_ipc::lane::Phase;
use dvs_ipc::link::{LINK_BYTES, Link};
use dvs_kern::node::link::LinkKey;
use dvs_linux::memory::Mapping;
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// One link's memory.
#[derive(Clone)]
struct Shared {
    mapping: Arc<Mapping>,
    file: Arc<OwnedFd>,
}

/// How far a call through a lane is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// Nobody has consumed it.
    Waits,
    /// The callee has the request and has not answered it.
    Consumed,
    /// It has an end, whether its caller knows or not; or there is none.
    Over,
}

/// All of them.
#[derive(Default)]
pub(crate) struct SharedLinks {
    table: HashMap<LinkKey, Shared>,
}

impl SharedLinks {
    /// Makes the memory of a link.
    pub(crate) fn create(&mut self, link: LinkKey) -> io::Result<()> {
        let (mapping, file) = Mapping::create("dvs-link", LINK_BYTES)?;
        self.table.insert(link, Shared { mapping: Arc::new(mapping), file: Arc::new(file) });
        Ok(())
    }

    /// The descriptor to hand out.
    pub(crate) fn file(&self, link: LinkKey) -> Option<Arc<OwnedFd>> {
        Some(self.table.get(&link)?.file.clone())
    }

    /// The memory, for a side that lives in the daemon.
    pub(crate) fn mapping(&self, link: LinkKey) -> Option<Arc<Mapping>> {
        Some(self.table.get(&link)?.mapping.clone())
    }

    /// Forgets a link; its memory goes when both sides have unmapped it.
    pub(crate) fn remove(&mut self, link: LinkKey) {
        self.table.remove(&link);
    }

    /// How far the call in a lane is.
    pub(crate) fn progress(&self, link: LinkKey, lane: u8) -> Progress {
        let Some(shared) = self.table.get(&link) else { return Progress::Over };
        let lane = Link::new(shared.mapping.words()).and_then(|l| l.lane(lane as usize));
        match lane.and_then(|l| l.state().phase()) {
            Some(Phase::PostedSend | Phase::PostedRequest | Phase::Carried | Phase::Recalled) => {
                Progress::Waits
            }
            Some(Phase::Taken | Phase::Copying | Phase::Leaving) => Progress::Consumed,
            _ => Progress::Over,
        }
    }

    /// Closes a lane: what is under way in it ends for whoever looks next.
    pub(crate) fn close(&self, link: LinkKey, lane: u8) {
        if let Some(shared) = self.table.get(&link)
            && let Some(lane) = Link::new(shared.mapping.words()).and_then(|l| l.lane(lane as usize))
        {
            lane.close();
        }
    }

    /// Clears a lane that neither side uses any more.
    pub(crate) fn reset(&self, link: LinkKey, lane: u8) {
        if let Some(shared) = self.table.get(&link)
            && let Some(lane) = Link::new(shared.mapping.words()).and_then(|l| l.lane(lane as usize))
        {
            lane.reset();
        }
    }
}
