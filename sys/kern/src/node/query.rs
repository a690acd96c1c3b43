//! What programs can ask about slots, containers, nodes and the system (facts §1.5, §1.6).

use super::Node;
use super::descriptor::Descriptor;
use super::wait::WaitFor;
use crate::control::{BindKind, DcInfo, DvsInfo, NodeInfo, ProcInfo, board};
use dvs_abi::limits::{COPY_BYTES_MAX, DCS_MAX, NODES_MAX, PROCS_MAX, SYSPROCS_MAX, TASKS_MAX};
use dvs_abi::{Code, Endpoint};

/// State bits of facts §1.6.
mod rts {
    pub const SLOT_FREE: u32 = 1;
    pub const SENDING: u32 = 1 << 2;
    pub const RECEIVING: u32 = 1 << 3;
    pub const MIGRATE: u32 = 1 << 11;
    pub const REMOTE: u32 = 1 << 12;
    pub const WAITMIGR: u32 = 1 << 15;
    pub const RMTOPER: u32 = 1 << 13;
}

/// Flags of facts §1.6.
mod misc {
    pub const RMTBACKUP: u32 = 1 << 4;
    pub const GRPLEADER: u32 = 1 << 5;
    pub const REPLICATED: u32 = 1 << 7;
    pub const KILLED: u32 = 1 << 8;
    pub const USERMODE: u32 = 1 << 10;
}

/// Flags of a node (facts §1.5): attached, sender connected, receiver connected.
const ATTACHED: u32 = 2;
const CONNECTED: u32 = 4 | 8;

impl Node {
    /// A slot, free or bound. Counters and the present wait come from the boards as last read.
    ///
    /// # Errors
    /// `BADDCID`, `DCNOTRUN`; `BADPROC` for a slot outside the table.
    pub fn proc_info(&self, dc: u16, slot: i32) -> Result<ProcInfo, Code> {
        let s = self.dc(dc)?.slot(slot).ok_or(Code::BADPROC)?;
        let none = Endpoint::NONE.raw();
        let Some(d) = &s.descriptor else {
            let endpoint = s.last.map_or(none, Endpoint::raw);
            let (getfrom, sendto) = (none, none);
            let rts_flags = rts::SLOT_FREE;
            let base = ProcInfo { slot, endpoint, dc, rts_flags, getfrom, sendto, ..ProcInfo::default() };
            return Ok(ProcInfo { pid: -1, node: -1, ..base });
        };
        let mut info = ProcInfo {
            slot,
            endpoint: d.endpoint.raw(),
            dc,
            rts_flags: 0,
            misc_flags: misc_flags(d),
            pid: if d.pid == 0 { -1 } else { d.pid as i32 },
            node: d.node.0 as i32,
            getfrom: none,
            sendto: none,
            name: d.name.clone(),
            ..ProcInfo::default()
        };
        if d.is_remote() {
            info.rts_flags |= rts::REMOTE;
        }
        if d.moving {
            info.rts_flags |= rts::MIGRATE;
        }
        if d.session.is_some() {
            self.add_wait(&mut info);
        }
        let held = |w: &super::wait::Wait| matches!(w.what, WaitFor::Lane { from, .. } if from == d.endpoint);
        if self.waits.table.values().any(|w| w.dc == dc && held(w)) {
            info.rts_flags |= rts::WAITMIGR;
        }
        Ok(info)
    }

    fn add_wait(&self, info: &mut ProcInfo) {
        let Some(w) = self.boards.get(&(info.dc, info.endpoint)) else { return };
        match w.state {
            board::SENDING => {
                info.rts_flags |= rts::SENDING;
                info.sendto = w.peer;
            }
            board::CALLING => {
                info.rts_flags |= rts::SENDING | rts::RECEIVING;
                info.sendto = w.peer;
                info.getfrom = w.peer;
            }
            board::AWAITING | board::RECEIVING => {
                info.rts_flags |= rts::RECEIVING;
                info.getfrom = w.peer;
            }
            _ => return,
        }
        info.waiting_ns = self.now.saturating_sub(w.since);
        let peer = self.dcs.get(&info.dc).and_then(|c| c.bound(Endpoint::from_raw(w.peer).slot()));
        if w.state != board::RECEIVING && peer.is_some_and(|d| d.is_remote()) {
            info.rts_flags |= rts::RMTOPER;
        }
    }

    /// A container, running or not.
    ///
    /// # Errors
    /// `BADDCID`.
    pub fn dc_info(&self, dc: u16) -> Result<DcInfo, Code> {
        if dc as usize >= DCS_MAX {
            return Err(Code::BADDCID);
        }
        let Some(c) = self.dcs.get(&dc).map(|c| &c.config) else {
            return Ok(DcInfo { dc, flags: 2, warn: Endpoint::NONE.raw(), ..DcInfo::default() });
        };
        Ok(DcInfo {
            dc,
            flags: 0,
            procs: c.procs,
            tasks: c.tasks,
            sysprocs: c.sysprocs,
            nodes: c.nodes,
            warn: c.warn,
            warn_type: c.warn_type,
            name: c.name.clone(),
        })
    }

    /// The limits of the system and this node's number.
    pub fn dvs_info(&self) -> DvsInfo {
        DvsInfo {
            node: self.config.me.0,
            nodes: NODES_MAX as u32,
            dcs: DCS_MAX as u32,
            procs: PROCS_MAX,
            tasks: TASKS_MAX,
            sysprocs: SYSPROCS_MAX,
            copy_bytes: COPY_BYTES_MAX,
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    /// A node, negative = this one. Traffic counters are the driver's to fill in.
    ///
    /// # Errors
    /// `BADNODEID` outside `0..NODES_MAX`.
    pub fn node_info(&self, node: i32) -> Result<NodeInfo, Code> {
        let node = if node < 0 { self.config.me.0 } else { u16::try_from(node).unwrap_or(u16::MAX) };
        if node as usize >= NODES_MAX {
            return Err(Code::BADNODEID);
        }
        let Some(entry) = self.config.nodes.iter().find(|n| n.id.0 == node) else {
            return Ok(NodeInfo { node, ..NodeInfo::default() });
        };
        let flags = match self.peers.get(&node) {
            _ if node == self.config.me.0 => ATTACHED | 4,
            Some(p) if p.up => ATTACHED | CONNECTED,
            _ => ATTACHED,
        };
        let runs = self.dcs.iter().filter(|(_, c)| c.config.runs_on(node));
        let dcs = runs.fold(0u32, |bits, (n, _)| bits | 1 << n);
        let (name, address) = (entry.name.clone(), entry.address.clone());
        Ok(NodeInfo { node, flags, dcs, name, address, ..NodeInfo::default() })
    }
}

fn misc_flags(d: &Descriptor) -> u32 {
    let kind = match d.kind {
        BindKind::Own | BindKind::Local => misc::GRPLEADER,
        BindKind::Remote => 0,
        BindKind::Backup => misc::RMTBACKUP | misc::GRPLEADER,
        BindKind::Replica => misc::REPLICATED | misc::GRPLEADER,
        BindKind::UserMode => misc::USERMODE | misc::GRPLEADER,
    };
    kind | if d.asked { misc::KILLED } else { 0 }
}
