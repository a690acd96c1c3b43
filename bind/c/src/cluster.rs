//! Calls about containers, nodes and the system, from a process: no endpoint is needed.

use crate::args::{call, ep, field, put, readable};
use crate::handle::{DvsProcess, invalid, text, timeout};
use dvs::{Code, DcId, NodeId};
use dvs_ipc::DcPlan;
use std::ffi::c_char;

/// `dvs_dc_plan` of the header.
#[repr(C)]
pub struct DvsDcPlan {
    name: *const c_char,
    procs: i32,
    sysprocs: i32,
    warn: i32,
    warn_type: i32,
    nodes: *const u16,
    node_count: usize,
}

/// `dvs_dc_info` of the header.
#[repr(C)]
pub struct DvsDcInfo {
    flags: u32,
    nodes: u32,
    procs: i32,
    tasks: i32,
    sysprocs: i32,
    warn: i32,
    warn_type: i32,
    dc: u16,
    name: [c_char; 16],
}

/// `dvs_info` of the header.
#[repr(C)]
pub struct DvsSystemInfo {
    copy_bytes: u64,
    nodes: u32,
    dcs: u32,
    procs: i32,
    tasks: i32,
    sysprocs: i32,
    node: u16,
    version: [c_char; 32],
}

/// `dvs_node_info` of the header.
#[repr(C)]
pub struct DvsNodeInfo {
    sent: u64,
    received: u64,
    last_sent_ns: u64,
    last_received_ns: u64,
    flags: u32,
    dcs: u32,
    node: u16,
    name: [c_char; 16],
    address: [c_char; 128],
}

call! {
    /// makes a container with the usual limits on this node and on those of the bit map
    dvs_dc_init(process: DvsProcess, dc: u16, name: *const c_char, nodes: u32) {
        // SAFETY: as the caller promises.
        let mut plan = DcPlan::new(DcId(dc), unsafe { text(name) }?);
        plan.nodes = (0..32).filter(|n| nodes & 1 << n != 0).map(NodeId).collect();
        process.system().dc_init(&plan).map(|()| 0)
    }
}
call! {
    /// makes a container as it is planned
    dvs_dc_init_with(process: DvsProcess, dc: u16, plan: *const DvsDcPlan) {
        // SAFETY: as the caller promises.
        let p = unsafe { plan.as_ref() }.ok_or_else(invalid)?;
        if p.node_count > dvs::limits::NODES_MAX {
            return Err(Code::BADNODEID.into());
        }
        // SAFETY: as the caller promises of what the plan points to.
        let (name, nodes) = unsafe { (text(p.name)?, readable(p.nodes, p.node_count)?) };
        let mut whole = DcPlan::new(DcId(dc), name);
        (whole.procs, whole.sysprocs) = (p.procs, p.sysprocs);
        (whole.warn, whole.warn_type) = (ep(p.warn), p.warn_type);
        whole.nodes = nodes.iter().map(|n| NodeId(*n)).collect();
        process.system().dc_init(&whole).map(|()| 0)
    }
}
call! {
    /// ends a container
    dvs_dc_end(process: DvsProcess, dc: u16) process.system().dc_end(DcId(dc)).map(|()| 0)
}
call! {
    /// lets a container run on a node
    dvs_add_node(process: DvsProcess, dc: u16, node: u16) {
        process.system().add_node(DcId(dc), NodeId(node)).map(|()| 0)
    }
}
call! {
    /// withdraws a container from a node
    dvs_del_node(process: DvsProcess, dc: u16, node: u16) {
        process.system().del_node(DcId(dc), NodeId(node)).map(|()| 0)
    }
}
call! {
    /// what is known of a container
    dvs_getdcinfo(process: DvsProcess, dc: u16, out: *mut DvsDcInfo) {
        let i = process.system().dc_info(DcId(dc))?;
        let info = DvsDcInfo {
            flags: i.flags,
            nodes: i.nodes,
            procs: i.procs,
            tasks: i.tasks,
            sysprocs: i.sysprocs,
            warn: i.warn,
            warn_type: i.warn_type,
            dc: i.dc,
            name: field(&i.name),
        };
        // SAFETY: as the caller promises.
        unsafe { put(out, info) }
    }
}
call! {
    /// the system's bounds, and this node
    dvs_getdvsinfo(process: DvsProcess, out: *mut DvsSystemInfo) {
        let i = process.system().dvs_info()?;
        let info = DvsSystemInfo {
            copy_bytes: i.copy_bytes,
            nodes: i.nodes,
            dcs: i.dcs,
            procs: i.procs,
            tasks: i.tasks,
            sysprocs: i.sysprocs,
            node: i.node,
            version: field(&i.version),
        };
        // SAFETY: as the caller promises.
        unsafe { put(out, info) }
    }
}
call! {
    /// what is known of a node; negative: of this one
    dvs_getnodeinfo(process: DvsProcess, node: i32, out: *mut DvsNodeInfo) {
        let node = u16::try_from(node).map(NodeId).ok();
        let i = process.system().node_info(node)?;
        let info = DvsNodeInfo {
            sent: i.sent,
            received: i.received,
            last_sent_ns: i.last_sent_ns,
            last_received_ns: i.last_received_ns,
            flags: i.flags,
            dcs: i.dcs,
            node: i.node,
            name: field(&i.name),
            address: field(&i.address),
        };
        // SAFETY: as the caller promises.
        unsafe { put(out, info) }
    }
}
call! {
    /// registers an endpoint of another node
    dvs_bind_remote(process: DvsProcess, dc: u16, name: *const c_char, endpoint: i32, node: u16) {
        // SAFETY: as the caller promises.
        let name = unsafe { text(name) }?;
        Ok(process.system().bind_remote(DcId(dc), name, ep(endpoint), NodeId(node))?.raw())
    }
}
call! {
    /// makes a process of this node (0: the caller's) the standby of a primary on a node
    dvs_bind_standby(process: DvsProcess, dc: u16, pid: u32, endpoint: i32, node: u16) {
        Ok(process.system().bind_standby(DcId(dc), pid, ep(endpoint), NodeId(node))?.raw())
    }
}
call! {
    /// ends the binding of an endpoint, also by a process that is not bound (which cannot wait for it)
    dvs_unbind_of(process: DvsProcess, dc: u16, endpoint: i32, timeout_us: i64) {
        process.system().unbind(DcId(dc), ep(endpoint), timeout(timeout_us)).map(|()| 0)
    }
}
call! {
    /// a hardware notification, also by a process that is not bound
    dvs_hdw_notify(process: DvsProcess, dc: u16, endpoint: i32) {
        process.system().notify_hardware(DcId(dc), ep(endpoint)).map(|()| 0)
    }
}
call! {
    /// ends a blocked call of an endpoint of this process with INTR; 1 when there was one
    dvs_cancel(process: DvsProcess, dc: u16, endpoint: i32) {
        Ok(process.interrupt(DcId(dc), ep(endpoint), Code::INTR).into())
    }
}
call! {
    /// ends the session in order; exit notices carry `code`
    dvs_exit(process: DvsProcess, code: i32) {
        process.exit_code(code);
        Ok(0)
    }
}
