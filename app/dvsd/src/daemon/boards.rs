//! Who waits for whom: read from the boards of the programs, and from the lanes, which know more.

use super::{BOARDS_FRESH_NS, Daemon};
use crate::boards::BoardRecord;
use crate::shared::Progress;
use dvs_abi::Endpoint;
use dvs_ipc::control::{self, ProcInfo};
use dvs_kern::node::Waiting;
use dvs_kern::node::dc::Dc;
use dvs_kern::node::descriptor::Descriptor;
use dvs_kern::node::event::{Event, SessionId};
use dvs_linux::clock;

impl Daemon {
    pub(crate) fn board_record(&self, session: SessionId, index: u32) -> Option<BoardRecord> {
        self.conns.get(&session)?.memories.as_ref()?.board.record(index)
    }

    /// Reads all boards, unless that was done just now.
    pub(crate) fn refresh_boards(&mut self) {
        if clock::now().saturating_sub(self.boards_at) >= BOARDS_FRESH_NS {
            self.read_boards(false);
        }
    }

    /// `owed` = callers on other nodes that await an answer of an endpoint here, too.
    pub(super) fn read_boards(&mut self, owed: bool) {
        self.boards_at = clock::now();
        let mut waiting: Vec<Waiting> = Vec::new();
        for (dc, container) in self.node.containers() {
            for d in container.descriptors() {
                waiting.extend(self.waiting(dc, d));
                if owed {
                    waiting.extend(self.owed(dc, container, d));
                }
            }
        }
        self.feed(Event::Boards(waiting));
    }

    /// What a bound endpoint waits for. A caller does not run when its message is consumed or answered, so
    /// its board goes on saying what it was when it went to sleep: of a call through a lane, the lane says
    /// more.
    pub(crate) fn waiting(&self, dc: u16, d: &Descriptor) -> Option<Waiting> {
        let record = self.board_record(d.session?, d.board)?;
        let mut w = record.waiting(dc, d.endpoint.raw())?;
        if w.state != control::board::RECEIVING
            && let Some((link, lane)) = self.node.open_lane_of(dc, w.endpoint, w.peer)
        {
            match self.links.progress(link, lane) {
                Progress::Waits => {}
                Progress::Consumed => w.state = control::board::AWAITING,
                Progress::Over => return None,
            }
        }
        Some(w)
    }

    /// Callers on other nodes that await the answer of an endpoint here: their boards are there, but their
    /// calls are in lanes here.
    fn owed<'a>(
        &'a self,
        dc: u16,
        container: &'a Dc,
        d: &'a Descriptor,
    ) -> impl Iterator<Item = Waiting> + 'a {
        let (endpoint, state) = (d.endpoint.raw(), control::board::AWAITING);
        let lanes = d.lanes.iter().filter(|_| d.is_local());
        lanes.filter_map(move |(link, number)| {
            let lane = self.node.lane_of(*link, *number).filter(|l| l.to == endpoint)?;
            let far = container.bound(Endpoint::from_raw(lane.from).slot())?.is_remote();
            let owes = far && self.links.progress(*link, *number) == Progress::Consumed;
            owes.then_some(Waiting { dc, endpoint: lane.from, state, peer: endpoint, since: 0, call: 0 })
        })
    }

    pub(crate) fn add_counters(&self, info: &mut ProcInfo) {
        let bound = self.node.containers().find(|(n, _)| *n == info.dc).and_then(|(_, c)| c.bound(info.slot));
        let record = bound.and_then(|d| self.board_record(d.session?, d.board));
        if let Some(record) = record.filter(|r| r.endpoint == info.endpoint) {
            [info.sent_local, info.sent_remote, info.copies_local, info.copies_remote] = record.counters;
        }
    }
}
