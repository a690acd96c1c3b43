//! The calls of an endpoint.

use crate::args::{call, ep, message, readable, writable};
use crate::handle::{DvsPort, invalid, timeout};
use dvs::{Access, Code, Endpoint, Error, Lend, Message, limits};

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

call! {
    /// send
    dvs_send(port: DvsPort, dst: i32, m: *mut Message, timeout_us: i64) {
        // SAFETY: as the caller promises.
        port.send(ep(dst), unsafe { message(m) }?, timeout(timeout_us)).map(|()| 0)
    }
}
call! {
    /// receive
    dvs_receive(port: DvsPort, src: i32, m: *mut Message, timeout_us: i64) {
        // SAFETY: as the caller promises.
        port.receive(ep(src), unsafe { message(m) }?, timeout(timeout_us)).map(|()| 0)
    }
}
call! {
    /// sendrec
    dvs_sendrec(port: DvsPort, dst: i32, m: *mut Message, timeout_us: i64) {
        // SAFETY: as the caller promises.
        port.sendrec(ep(dst), unsafe { message(m) }?, timeout(timeout_us)).map(|()| 0)
    }
}
call! {
    /// sendrec that lends memory
    dvs_sendrec_with(
        port: DvsPort, dst: i32, m: *mut Message, lends: *const DvsLend, n: usize, timeout_us: i64
    ) {
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
    dvs_rcvrqst(port: DvsPort, m: *mut Message, timeout_us: i64) {
        // SAFETY: as the caller promises.
        port.rcvrqst(unsafe { message(m) }?, timeout(timeout_us)).map(|()| 0)
    }
}
call! {
    /// reply
    dvs_reply(port: DvsPort, dst: i32, m: *mut Message, timeout_us: i64) {
        // SAFETY: as the caller promises.
        port.reply(ep(dst), unsafe { message(m) }?, timeout(timeout_us)).map(|()| 0)
    }
}
call! {
    /// relay
    dvs_relay(port: DvsPort, client: i32, dst: i32, m: *mut Message) {
        // SAFETY: as the caller promises.
        port.relay(ep(client), ep(dst), unsafe { message(m) }?).map(|()| 0)
    }
}
call! {
    /// notify
    dvs_notify(port: DvsPort, dst: i32) port.notify(ep(dst)).map(|()| 0)
}
call! {
    /// notify in another's name, with value bits
    dvs_notify_value(port: DvsPort, src: i32, dst: i32, value: u64) {
        port.notify_value(ep(src), ep(dst), value).map(|()| 0)
    }
}
call! {
    /// copy out of what a client lent
    dvs_copy_in(port: DvsPort, src: i32, address: u64, into: *mut u8, length: usize) {
        // SAFETY: as the caller promises.
        port.copy_in(ep(src), address, unsafe { writable(into, length) }?).map(|()| 0)
    }
}
call! {
    /// copy into what a client lent
    dvs_copy_out(port: DvsPort, dst: i32, address: u64, from: *const u8, length: usize) {
        // SAFETY: as the caller promises.
        port.copy_out(ep(dst), address, unsafe { readable(from, length) }?).map(|()| 0)
    }
}
call! {
    /// vcopy; SELF on one side means the caller's own memory
    dvs_vcopy(port: DvsPort, src: i32, src_address: u64, dst: i32, dst_address: u64, length: u64) {
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
    dvs_grants(port: DvsPort, client: i32, into: *mut DvsGrant, room: usize) {
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
