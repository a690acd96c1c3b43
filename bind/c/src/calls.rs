//! The calls of an endpoint.

use crate::error::answer;
use crate::handle::{DvsPort, get, invalid, timeout};
use dvs::{Access, Code, Endpoint, Error, Lend, Message, Result, limits};
use std::slice;

/// `dvs_lend` of the header: a range of the caller's memory.
#[repr(C)]
pub struct DvsLend {
    address: *mut u8,
    length: usize,
    access: u32,
}

/// `dvs_grant` of the header.
#[repr(C)]
pub struct DvsGrant {
    address: u64,
    length: u64,
    access: u32,
}

const fn ep(raw: i32) -> Endpoint {
    Endpoint::from_raw(raw)
}

/// The message behind a pointer.
///
/// # Safety
/// `m` is null or points to a message nobody else uses.
unsafe fn message<'a>(m: *mut Message) -> Result<&'a mut Message> {
    // SAFETY: as the caller promises; any 256 bytes are a message.
    unsafe { m.as_mut() }.ok_or_else(invalid)
}

/// `length` bytes at `address`, to be read.
///
/// # Safety
/// The range may be read as long as the call lasts.
unsafe fn readable<'a>(address: *const u8, length: usize) -> Result<&'a [u8]> {
    match (address.is_null(), length) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Error::from(Code::FAULT)),
        // SAFETY: not null, and may be read as the caller promises.
        (false, n) => Ok(unsafe { slice::from_raw_parts(address, n) }),
    }
}

/// `length` bytes at `address`, to be written.
///
/// # Safety
/// The range may be written, and nobody else uses it as long as the call lasts.
unsafe fn writable<'a>(address: *mut u8, length: usize) -> Result<&'a mut [u8]> {
    match (address.is_null(), length) {
        (_, 0) => Ok(&mut []),
        (true, _) => Err(Error::from(Code::FAULT)),
        // SAFETY: not null, and only ours as the caller promises.
        (false, n) => Ok(unsafe { slice::from_raw_parts_mut(address, n) }),
    }
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
    /// send
    dvs_send(port, dst: i32, m: *mut Message, timeout_us: i64) {
        // SAFETY: as the caller promises.
        port.send(ep(dst), unsafe { message(m) }?, timeout(timeout_us)).map(|()| 0)
    }
}
call! {
    /// receive
    dvs_receive(port, src: i32, m: *mut Message, timeout_us: i64) {
        // SAFETY: as the caller promises.
        port.receive(ep(src), unsafe { message(m) }?, timeout(timeout_us)).map(|()| 0)
    }
}
call! {
    /// sendrec
    dvs_sendrec(port, dst: i32, m: *mut Message, timeout_us: i64) {
        // SAFETY: as the caller promises.
        port.sendrec(ep(dst), unsafe { message(m) }?, timeout(timeout_us)).map(|()| 0)
    }
}
call! {
    /// sendrec that lends memory
    dvs_sendrec_with(port, dst: i32, m: *mut Message, lends: *const DvsLend, n: usize, timeout_us: i64) {
        if n > limits::GRANTS_PER_CALL {
            return Err(Error::from(Code::TOOBIG));
        }
        if lends.is_null() && n > 0 {
            return Err(invalid());
        }
        let mut list = Vec::with_capacity(n);
        for i in 0..n {
            // SAFETY: the caller promises `n` of them; i < n.
            let l = unsafe { &*lends.add(i) };
            // SAFETY: the caller promises that the range is its own for the time of the call.
            list.push(match u8::try_from(l.access).ok().and_then(Access::from_u8) {
                // SAFETY: as above.
                Some(Access::Read) => Lend::Read(unsafe { readable(l.address, l.length) }?),
                // SAFETY: as above.
                Some(_) => Lend::Write(unsafe { writable(l.address, l.length) }?),
                None => return Err(invalid()),
            });
        }
        // SAFETY: as the caller promises.
        port.sendrec_with(ep(dst), unsafe { message(m) }?, &mut list, timeout(timeout_us)).map(|()| 0)
    }
}
call! {
    /// rcvrqst
    dvs_rcvrqst(port, m: *mut Message, timeout_us: i64) {
        // SAFETY: as the caller promises.
        port.rcvrqst(unsafe { message(m) }?, timeout(timeout_us)).map(|()| 0)
    }
}
call! {
    /// reply
    dvs_reply(port, dst: i32, m: *mut Message, timeout_us: i64) {
        // SAFETY: as the caller promises.
        port.reply(ep(dst), unsafe { message(m) }?, timeout(timeout_us)).map(|()| 0)
    }
}
call! {
    /// relay
    dvs_relay(port, client: i32, dst: i32, m: *mut Message) {
        // SAFETY: as the caller promises.
        port.relay(ep(client), ep(dst), unsafe { message(m) }?).map(|()| 0)
    }
}
call! {
    /// notify
    dvs_notify(port, dst: i32) port.notify(ep(dst)).map(|()| 0)
}
call! {
    /// notify in another's name, with value bits
    dvs_notify_value(port, src: i32, dst: i32, value: u64) {
        port.notify_value(ep(src), ep(dst), value).map(|()| 0)
    }
}
call! {
    /// copy out of what a client lent
    dvs_copy_in(port, src: i32, address: u64, into: *mut u8, length: usize) {
        // SAFETY: as the caller promises.
        port.copy_in(ep(src), address, unsafe { writable(into, length) }?).map(|()| 0)
    }
}
call! {
    /// copy into what a client lent
    dvs_copy_out(port, dst: i32, address: u64, from: *const u8, length: usize) {
        // SAFETY: as the caller promises.
        port.copy_out(ep(dst), address, unsafe { readable(from, length) }?).map(|()| 0)
    }
}
call! {
    /// vcopy; SELF on one side means the caller's own memory
    dvs_vcopy(port, src: i32, src_address: u64, dst: i32, dst_address: u64, length: u64) {
        let (src, dst, bytes) = (ep(src), ep(dst), usize::try_from(length).unwrap_or(usize::MAX));
        if length > limits::COPY_BYTES_MAX {
            return Err(Error::from(Code::RANGE));
        }
        match (src == Endpoint::SELF, dst == Endpoint::SELF) {
            (false, true) => {
                // SAFETY: the caller promises that the range is its own.
                let into = unsafe { writable(dst_address as *mut u8, bytes) }?;
                port.copy_in(src, src_address, into).map(|()| 0)
            }
            (true, false) => {
                // SAFETY: as above.
                let from = unsafe { readable(src_address as *const u8, bytes) }?;
                port.copy_out(dst, dst_address, from).map(|()| 0)
            }
            _ => port.vcopy((src, src_address), (dst, dst_address), length).map(|()| 0),
        }
    }
}
call! {
    /// what a client lent: at most `room` grants; how many there are
    dvs_grants(port, client: i32, into: *mut DvsGrant, room: usize) {
        let grants = port.grants_of(ep(client));
        if into.is_null() && room > 0 {
            return Err(invalid());
        }
        for (i, g) in grants.iter().take(room).enumerate() {
            let grant = DvsGrant { address: g.address, length: g.length, access: g.access as u32 };
            // SAFETY: the caller promises room for `room` of them; i < room.
            unsafe { into.add(i).write(grant) };
        }
        Ok(grants.len() as i32)
    }
}
