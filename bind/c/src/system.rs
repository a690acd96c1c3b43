//! Calls about the endpoints of a container, from a bound endpoint of it.

use crate::args::{call, ep, put};
use crate::handle::{DvsPort, invalid, timeout};
use dvs::{Endpoint, NodeId};
use dvs_ipc::control::WirePrivileges;

/// `dvs_privileges` of the header. The map of targets is cut into two words, system slots from the lowest.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct DvsPrivileges {
    id: i32,
    warn: i32,
    level: i32,
    ipc_to: [u64; 2],
    calls: u64,
}

/// `dvs_proc_info` of the header.
#[repr(C)]
pub struct DvsProcInfo {
    slot: i32,
    endpoint: i32,
    rts_flags: u32,
    misc_flags: u32,
    pid: i32,
    node: i32,
    getfrom: i32,
    sendto: i32,
    sent_local: u64,
    sent_remote: u64,
    copies_local: u64,
    copies_remote: u64,
}

call! {
    /// waits until an endpoint is bound; the endpoint
    dvs_wait4bind(port: DvsPort, endpoint: i32, timeout_us: i64) match ep(endpoint) {
        Endpoint::SELF => Ok(port.endpoint().raw()),
        e => Ok(port.system().wait_bind(port.dc(), e, timeout(timeout_us))?.raw()),
    }
}
call! {
    /// waits until an endpoint is not bound
    dvs_wait4unbind(port: DvsPort, endpoint: i32, timeout_us: i64) {
        port.system().wait_unbind(port.dc(), ep(endpoint), timeout(timeout_us)).map(|()| 0)
    }
}
call! {
    /// ends the binding of another endpoint
    dvs_unbind_other(port: DvsPort, endpoint: i32, timeout_us: i64) {
        port.system().unbind(port.dc(), ep(endpoint), timeout(timeout_us)).map(|()| 0)
    }
}
call! {
    /// binds another process of this node
    dvs_bind_process(port: DvsPort, pid: u32, endpoint: i32) {
        let kind = dvs_ipc::control::BindKind::Local;
        Ok(port.system().bind_process(kind, port.dc(), pid, ep(endpoint))?.raw())
    }
}
call! {
    /// the endpoint of a process of this node
    dvs_getep(port: DvsPort, pid: u32) Ok(port.system().get_ep(port.dc(), pid)?.raw())
}
call! {
    /// ends a receive from anyone
    dvs_wakeup(port: DvsPort, endpoint: i32) port.system().wakeup(port.dc(), ep(endpoint)).map(|()| 0)
}
call! {
    /// what the table says of a slot
    dvs_getprocinfo(port: DvsPort, slot: i32, out: *mut DvsProcInfo) {
        let i = port.system().proc_info(port.dc(), slot)?;
        let info = DvsProcInfo {
            slot: i.slot,
            endpoint: i.endpoint,
            rts_flags: i.rts_flags,
            misc_flags: i.misc_flags,
            pid: i.pid,
            node: i.node,
            getfrom: i.getfrom,
            sendto: i.sendto,
            sent_local: i.sent_local,
            sent_remote: i.sent_remote,
            copies_local: i.copies_local,
            copies_remote: i.copies_remote,
        };
        // SAFETY: as the caller promises.
        unsafe { put(out, info) }
    }
}
call! {
    /// rights of an endpoint
    dvs_getpriv(port: DvsPort, endpoint: i32, out: *mut DvsPrivileges) {
        let p = port.system().privileges(port.dc(), ep(endpoint))?;
        let ipc_to = [p.ipc_to as u64, (p.ipc_to >> 64) as u64];
        let (warn, level) = (p.warn.raw(), p.level as i32);
        // SAFETY: as the caller promises.
        unsafe { put(out, DvsPrivileges { id: p.id, warn, level, ipc_to, calls: p.calls.0 }) }
    }
}
call! {
    /// changes rights
    dvs_setpriv(port: DvsPort, endpoint: i32, privileges: *const DvsPrivileges) {
        // SAFETY: as the caller promises.
        let p = unsafe { privileges.as_ref() }.ok_or_else(invalid)?;
        let ipc_to = u128::from(p.ipc_to[1]) << 64 | u128::from(p.ipc_to[0]);
        let raw = WirePrivileges { id: p.id, warn: p.warn, level: p.level, ipc_to, calls: p.calls };
        port.system().set_privileges_raw(port.dc(), ep(endpoint), raw).map(|()| 0)
    }
}
call! {
    /// first step of a move
    dvs_migr_start(port: DvsPort, endpoint: i32) {
        port.system().migrate_start(port.dc(), ep(endpoint)).map(|()| 0)
    }
}
call! {
    /// undoes it
    dvs_migr_rollback(port: DvsPort, endpoint: i32) {
        port.system().migrate_rollback(port.dc(), ep(endpoint)).map(|()| 0)
    }
}
call! {
    /// ends a move
    dvs_migr_commit(port: DvsPort, endpoint: i32, node: u16, pid: u32) {
        port.system().migrate_commit(port.dc(), ep(endpoint), NodeId(node), pid).map(|()| 0)
    }
}
