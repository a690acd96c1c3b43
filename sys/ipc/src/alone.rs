//! What a stand-alone process answers about the system from its own table: no daemon is there to be asked.

use crate::control::ProcInfo;
use crate::process::{DEFAULT_SHAPE, Held, Process};
use dvs_abi::{Code, DcId, Effect, Endpoint, Error, Privileges, Result};
use dvs_kern::rendezvous::{Filter, Ix, Phase};

/// State bits of facts §1.6 such a process shows.
mod rts {
    pub const FREE: u32 = 1;
    pub const SENDING: u32 = 1 << 2;
    pub const RECEIVING: u32 = 1 << 3;
}

fn find(core: &Held<'_>, dc: DcId, endpoint: Endpoint, outside: Code) -> Result<Ix> {
    if !endpoint.in_table(DEFAULT_SHAPE.tasks, DEFAULT_SHAPE.procs) {
        return Err(Error::early(outside).at(endpoint));
    }
    core.table.find(dc, endpoint).ok_or(Error::early(Code::DSTDIED).at(endpoint))
}

impl Process {
    /// Whether there is no daemon.
    pub fn is_alone(&self) -> bool {
        self.shared().outside().is_none()
    }

    pub(crate) fn own_wakeup(&self, dc: DcId, endpoint: Endpoint) -> Result<()> {
        let mut core = self.shared().lock();
        let ix = find(&core, dc, endpoint, Code::RANGE)?;
        let c = &mut *core;
        let done = c.table.wakeup(ix, &mut c.out);
        core.release();
        done.map_err(|c| Error::new(c, Effect::Yes).at(endpoint))
    }

    pub(crate) fn own_info(&self, dc: DcId, slot: i32) -> Result<ProcInfo> {
        if !(-DEFAULT_SHAPE.tasks..DEFAULT_SHAPE.procs).contains(&slot) {
            return Err(Error::early(Code::BADPROC));
        }
        let core = self.shared().lock();
        let none = Endpoint::NONE.raw();
        let base = ProcInfo { slot, dc: dc.0, getfrom: none, sendto: none, ..ProcInfo::default() };
        let found = core.table.iter().find(|(_, s)| s.dc == dc && s.endpoint.slot() == slot);
        let Some((_, s)) = found else {
            return Ok(ProcInfo { rts_flags: rts::FREE, endpoint: none, pid: -1, node: -1, ..base });
        };
        let (rts_flags, sendto, getfrom) = match s.phase() {
            Phase::Idle => (0, none, none),
            Phase::Sending(e) => (rts::SENDING, e.raw(), none),
            Phase::Calling(e) => (rts::SENDING | rts::RECEIVING, e.raw(), e.raw()),
            Phase::Awaiting(e) | Phase::Receiving(Filter::From(e)) => (rts::RECEIVING, none, e.raw()),
            Phase::Receiving(_) => (rts::RECEIVING, none, Endpoint::ANY.raw()),
        };
        let pid = std::process::id() as i32;
        Ok(ProcInfo { rts_flags, endpoint: s.endpoint.raw(), pid, sendto, getfrom, ..base })
    }

    pub(crate) fn own_privileges(&self, dc: DcId, endpoint: Endpoint) -> Result<Privileges> {
        let core = self.shared().lock();
        let ix = find(&core, dc, endpoint, Code::BADPROC)?;
        Ok(core.table.slot(ix).privileges)
    }

    pub(crate) fn set_own_privileges(&self, dc: DcId, endpoint: Endpoint, new: Privileges) -> Result<()> {
        let mut core = self.shared().lock();
        let ix = find(&core, dc, endpoint, Code::BADPROC)?;
        let old = &mut core.table.slot_mut(ix).privileges;
        *old = Privileges { id: old.id, ..new };
        Ok(())
    }

    pub(crate) fn own_hardware_notice(&self, dc: DcId, endpoint: Endpoint) -> Result<()> {
        let now = self.shared().host().now();
        let mut core = self.shared().lock();
        let ix = find(&core, dc, endpoint, Code::RANGE)?;
        let c = &mut *core;
        let done = c.table.notice(ix, Endpoint::HARDWARE, 0, now, &mut c.out);
        core.release();
        done.map_err(|c| Error::new(c, Effect::Yes).at(endpoint))
    }
}
