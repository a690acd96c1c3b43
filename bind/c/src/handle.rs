//! Handles: a process (the session with the node's daemon) and a port (a bound endpoint).

use crate::error::answer;
use dvs::{Code, DcId, Endpoint, Error, Port, Process, Result, ThreadWait, Timeout};
use dvs_ipc::control::BindKind;
use std::ffi::{CStr, c_char};
use std::path::Path;
use std::time::Duration;

/// `dvs_process` of the header.
pub struct DvsProcess(pub(crate) Process);

/// `dvs_port` of the header.
pub struct DvsPort(pub(crate) Port<ThreadWait>);

/// Microseconds of the header: negative forever, zero at once.
pub(crate) fn timeout(us: i64) -> Timeout {
    match us {
        i64::MIN..=-1 => Timeout::Forever,
        0 => Timeout::Now,
        us => Timeout::After(Duration::from_micros(us as u64)),
    }
}

pub(crate) fn invalid() -> Error {
    Error::from(Code::INVAL)
}

/// What a handle points to.
///
/// # Safety
/// `handle` is null or came from this library and was not closed.
pub(crate) unsafe fn get<'a, T>(handle: *const T) -> Result<&'a T> {
    // SAFETY: as the caller promises; null gives None.
    unsafe { handle.as_ref() }.ok_or_else(invalid)
}

/// The text of a C string; null is the empty one.
///
/// # Safety
/// `text` is null or ends with a zero byte.
pub(crate) unsafe fn text<'a>(text: *const c_char) -> Result<&'a str> {
    if text.is_null() {
        return Ok("");
    }
    // SAFETY: not null, and it ends with a zero byte as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_str().map_err(|_| invalid())
}

/// Hands a new object out as a handle.
///
/// # Safety
/// `out` is null or may be written.
unsafe fn give<T>(out: *mut *mut T, value: T) -> Result<()> {
    if out.is_null() {
        return Err(invalid());
    }
    // SAFETY: not null, and may be written as the caller promises.
    unsafe { out.write(Box::into_raw(Box::new(value))) };
    Ok(())
}

/// Attaches to the daemon of this node; see the header.
///
/// # Safety
/// `socket` and `name` are null or C strings; `out` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dvs_attach(
    socket: *const c_char,
    name: *const c_char,
    out: *mut *mut DvsProcess,
) -> i32 {
    answer(|| {
        // SAFETY: as the caller promises.
        let (socket, name) = unsafe { (text(socket)?, text(name)?) };
        let process = match socket {
            "" => dvs::attach(name)?,
            path => dvs::attach_to(Path::new(path), name)?,
        };
        // SAFETY: as the caller promises.
        unsafe { give(out, DvsProcess(process)) }.map(|()| 0)
    })
}

/// A process without a daemon; see the header.
///
/// # Safety
/// `out` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dvs_alone(out: *mut *mut DvsProcess) -> i32 {
    // SAFETY: as the caller promises.
    answer(|| unsafe { give(out, DvsProcess(dvs::alone())) }.map(|()| 0))
}

/// Closes a process handle; its ports stay usable until they are closed.
///
/// # Safety
/// `process` is null or an open handle that nobody uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dvs_detach(process: *mut DvsProcess) {
    if !process.is_null() {
        // SAFETY: it came from Box::into_raw in `give` and is given back once, as the caller promises.
        drop(unsafe { Box::from_raw(process) });
    }
}

/// The number of this node.
///
/// # Safety
/// `process` is null or an open handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dvs_node(process: *const DvsProcess) -> i32 {
    // SAFETY: as the caller promises.
    answer(|| Ok(unsafe { get(process) }?.0.node().0.into()))
}

/// Binds the calling thread; see the header.
///
/// # Safety
/// `process` is null or an open handle; `out` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dvs_bind(
    process: *const DvsProcess,
    dc: u16,
    endpoint: i32,
    out: *mut *mut DvsPort,
) -> i32 {
    answer(|| {
        // SAFETY: as the caller promises.
        let port = unsafe { get(process) }?.0.bind(DcId(dc), Endpoint::from_raw(endpoint))?;
        let endpoint = port.endpoint().raw();
        // SAFETY: as the caller promises.
        unsafe { give(out, DvsPort(port)) }.map(|()| endpoint)
    })
}

/// Binds the calling thread as replica (4) or in user mode (5); see the header.
///
/// # Safety
/// As [`dvs_bind`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dvs_bind_as(
    process: *const DvsProcess,
    kind: i32,
    dc: u16,
    endpoint: i32,
    out: *mut *mut DvsPort,
) -> i32 {
    answer(|| {
        let kind = match kind {
            0 => BindKind::Own,
            4 => BindKind::Replica,
            5 => BindKind::UserMode,
            _ => return Err(Error::from(Code::BINDTYPE)),
        };
        // SAFETY: as the caller promises.
        let process = &unsafe { get(process) }?.0;
        let home = ThreadWait::new(process.shared().host());
        let port = process.bind_as(home, kind, DcId(dc), Endpoint::from_raw(endpoint), process.node())?;
        let endpoint = port.endpoint().raw();
        // SAFETY: as the caller promises.
        unsafe { give(out, DvsPort(port)) }.map(|()| endpoint)
    })
}

/// Waits until somebody binds this process; see the header.
///
/// # Safety
/// As [`dvs_bind`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dvs_wait_bound(
    process: *const DvsProcess,
    timeout_us: i64,
    out: *mut *mut DvsPort,
) -> i32 {
    answer(|| {
        // SAFETY: as the caller promises.
        let process = &unsafe { get(process) }?.0;
        let port = process.wait_bound(ThreadWait::new(process.shared().host()), timeout(timeout_us))?;
        let endpoint = port.endpoint().raw();
        // SAFETY: as the caller promises.
        unsafe { give(out, DvsPort(port)) }.map(|()| endpoint)
    })
}

/// Ends a binding and closes its handle.
///
/// # Safety
/// `port` is null or an open handle that nobody uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dvs_unbind(port: *mut DvsPort) -> i32 {
    answer(|| {
        if port.is_null() {
            return Err(invalid());
        }
        // SAFETY: it came from Box::into_raw in `give` and is given back once, as the caller promises.
        unsafe { Box::from_raw(port) }.0.unbind();
        Ok(0)
    })
}

/// The endpoint of a port.
///
/// # Safety
/// `port` is null or an open handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dvs_endpoint(port: *const DvsPort) -> i32 {
    // SAFETY: as the caller promises.
    answer(|| Ok(unsafe { get(port) }?.0.endpoint().raw()))
}
