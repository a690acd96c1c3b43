//! Calls about the system, from a bound endpoint.

use crate::error::answer;
use crate::handle::{DvsPort, DvsProcess, get, invalid, text, timeout};
use dvs::{Code, DcId, Endpoint, NodeId};
use dvs_ipc::DcPlan;
use dvs_ipc::control::WirePrivileges;
use std::ffi::c_char;

const fn ep(raw: i32) -> Endpoint {
    Endpoint::from_raw(raw)
}

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

macro_rules! call {
    ($(#[$doc:meta])* $name:ident($port:ident $(, $arg:ident: $ty:ty)*) $body:expr) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// Handles are null or open; pointers are null or valid for what the header says of them.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($port: *const DvsPort $(, $arg: $ty)*) -> i32 {
            answer(|| {
                // SAFETY: as the caller promises.
                let $port = &unsafe { get($port) }?.0;
                $body
            })
        }
    };
}

call! {
    /// waits until an endpoint is bound; the endpoint
    dvs_wait4bind(port, endpoint: i32, timeout_us: i64) match ep(endpoint) {
        Endpoint::SELF => Ok(port.endpoint().raw()),
        e => Ok(port.system().wait_bind(port.dc(), e, timeout(timeout_us))?.raw()),
    }
}
call! {
    /// waits until an endpoint is not bound
    dvs_wait4unbind(port, endpoint: i32, timeout_us: i64) {
        port.system().wait_unbind(port.dc(), ep(endpoint), timeout(timeout_us)).map(|()| 0)
    }
}
call! {
    /// ends the binding of another endpoint
    dvs_unbind_other(port, endpoint: i32, timeout_us: i64) {
        port.system().unbind(port.dc(), ep(endpoint), timeout(timeout_us)).map(|()| 0)
    }
}
call! {
    /// binds another process of this node
    dvs_bind_process(port, pid: u32, endpoint: i32) {
        let kind = dvs_ipc::control::BindKind::Local;
        Ok(port.system().bind_process(kind, port.dc(), pid, ep(endpoint))?.raw())
    }
}
call! {
    /// the endpoint of a process of this node
    dvs_getep(port, pid: u32) Ok(port.system().get_ep(port.dc(), pid)?.raw())
}
call! {
    /// ends a receive from anyone
    dvs_wakeup(port, endpoint: i32) port.system().wakeup(port.dc(), ep(endpoint)).map(|()| 0)
}
call! {
    /// what the table says of a slot
    dvs_getprocinfo(port, slot: i32, out: *mut DvsProcInfo) {
        let i = port.system().proc_info(port.dc(), slot)?;
        if out.is_null() {
            return Err(invalid());
        }
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
        // SAFETY: not null, and may be written as the caller promises.
        unsafe { out.write(info) };
        Ok(0)
    }
}
call! {
    /// rights of an endpoint
    dvs_getpriv(port, endpoint: i32, out: *mut DvsPrivileges) {
        let p = port.system().privileges(port.dc(), ep(endpoint))?;
        if out.is_null() {
            return Err(invalid());
        }
        let ipc_to = [p.ipc_to as u64, (p.ipc_to >> 64) as u64];
        let (warn, level) = (p.warn.raw(), p.level as i32);
        // SAFETY: not null, and may be written as the caller promises.
        unsafe { out.write(DvsPrivileges { id: p.id, warn, level, ipc_to, calls: p.calls.0 }) };
        Ok(0)
    }
}
call! {
    /// changes rights
    dvs_setpriv(port, endpoint: i32, privileges: *const DvsPrivileges) {
        // SAFETY: as the caller promises.
        let p = unsafe { privileges.as_ref() }.ok_or_else(invalid)?;
        let ipc_to = u128::from(p.ipc_to[1]) << 64 | u128::from(p.ipc_to[0]);
        let raw = WirePrivileges { id: p.id, warn: p.warn, level: p.level, ipc_to, calls: p.calls };
        port.system().set_privileges_raw(port.dc(), ep(endpoint), raw).map(|()| 0)
    }
}
call! {
    /// first step of a move
    dvs_migr_start(port, endpoint: i32) port.system().migrate_start(port.dc(), ep(endpoint)).map(|()| 0)
}
call! {
    /// undoes it
    dvs_migr_rollback(port, endpoint: i32) {
        port.system().migrate_rollback(port.dc(), ep(endpoint)).map(|()| 0)
    }
}
call! {
    /// ends a move
    dvs_migr_commit(port, endpoint: i32, node: u16, pid: u32) {
        port.system().migrate_commit(port.dc(), ep(endpoint), NodeId(node), pid).map(|()| 0)
    }
}

/// Makes a container with the usual limits on this node and on those of the bit map; see the header.
///
/// # Safety
/// `process` is null or an open handle, `name` null or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dvs_dc_init(
    process: *const DvsProcess,
    dc: u16,
    name: *const c_char,
    nodes: u32,
) -> i32 {
    answer(|| {
        // SAFETY: as the caller promises.
        let (process, name) = unsafe { (&get(process)?.0, text(name)?) };
        let mut plan = DcPlan::new(DcId(dc), name);
        plan.nodes = (0..32).filter(|n| nodes & 1 << n != 0).map(NodeId).collect();
        process.system().dc_init(&plan).map(|()| 0)
    })
}

/// Ends a container.
///
/// # Safety
/// `process` is null or an open handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dvs_dc_end(process: *const DvsProcess, dc: u16) -> i32 {
    // SAFETY: as the caller promises.
    answer(|| unsafe { get(process) }?.0.system().dc_end(DcId(dc)).map(|()| 0))
}

/// A hardware notification, also by a process that is not bound.
///
/// # Safety
/// `process` is null or an open handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dvs_hdw_notify(process: *const DvsProcess, dc: u16, endpoint: i32) -> i32 {
    // SAFETY: as the caller promises.
    answer(|| unsafe { get(process) }?.0.system().notify_hardware(DcId(dc), ep(endpoint)).map(|()| 0))
}

/// Ends a blocked call of an endpoint of this process with INTR; 1 when there was one.
///
/// # Safety
/// `process` is null or an open handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dvs_cancel(process: *const DvsProcess, dc: u16, endpoint: i32) -> i32 {
    // SAFETY: as the caller promises.
    answer(|| Ok(unsafe { get(process) }?.0.interrupt(DcId(dc), ep(endpoint), Code::INTR).into()))
}

/// Ends the session in order; exit notices carry `code`.
///
/// # Safety
/// `process` is null or an open handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dvs_exit(process: *const DvsProcess, code: i32) -> i32 {
    answer(|| {
        // SAFETY: as the caller promises.
        unsafe { get(process) }?.0.exit_code(code);
        Ok(0)
    })
}
