//! Short forms of the acts scripts use most. Without a time in the name they wait forever (the suite's
//! watchdog ends what hangs).

use crate::act::Act;
use crate::word::{At, Payload, Range};
use crate::world::DC;
use dvs_abi::{Access, Endpoint, Timeout};
use dvs_ipc::control::BindKind;
use std::time::Duration;

/// A time-out in milliseconds.
pub const fn ms(n: u64) -> Timeout {
    Timeout::After(Duration::from_millis(n))
}

/// The endpoint of `slot` in generation 0.
pub const fn ep(slot: i32) -> Endpoint {
    Endpoint::new(0, slot)
}

/// What a program puts into a message.
pub fn msg(mtype: i32, bytes: &[u8]) -> Payload {
    Payload { mtype, bytes: bytes.to_vec() }
}

/// send
pub fn send(dst: Endpoint, m: Payload) -> Act {
    Act::Send { dst, m, t: Timeout::Forever }
}

/// send with a time-out
pub fn send_t(dst: Endpoint, m: Payload, t: Timeout) -> Act {
    Act::Send { dst, m, t }
}

/// receive from one source or ANY
pub fn receive(src: Endpoint) -> Act {
    Act::Receive { src, t: Timeout::Forever }
}

/// receive with a time-out
pub fn receive_t(src: Endpoint, t: Timeout) -> Act {
    Act::Receive { src, t }
}

/// receive from anyone
pub fn any() -> Act {
    receive(Endpoint::ANY)
}

/// receive from anyone without blocking: shows that a queue is empty
pub fn poll() -> Act {
    receive_t(Endpoint::ANY, Timeout::Now)
}

/// sendrec without grants
pub fn call(dst: Endpoint, m: Payload) -> Act {
    Act::Sendrec { dst, m, lends: Vec::new(), t: Timeout::Forever }
}

/// sendrec with a time-out
pub fn call_t(dst: Endpoint, m: Payload, t: Timeout) -> Act {
    Act::Sendrec { dst, m, lends: Vec::new(), t }
}

/// sendrec with grants
pub fn lend(dst: Endpoint, m: Payload, lends: &[Range]) -> Act {
    Act::Sendrec { dst, m, lends: lends.to_vec(), t: Timeout::Forever }
}

/// A range the callee may read.
pub const fn readable(offset: u64, length: u64) -> Range {
    Range { access: Access::Read, offset, length }
}

/// A range the callee may write.
pub const fn writable(offset: u64, length: u64) -> Range {
    Range { access: Access::Write, offset, length }
}

/// rcvrqst
pub fn rcvrqst() -> Act {
    Act::Rcvrqst { t: Timeout::Forever }
}

/// reply
pub fn reply(dst: Endpoint, m: Payload) -> Act {
    Act::Reply { dst, m, t: Timeout::Forever }
}

/// notify in the caller's own name
pub fn notify(dst: Endpoint) -> Act {
    Act::Notify { src: Endpoint::SELF, dst, value: None }
}

/// unbind the actor itself
pub fn leave() -> Act {
    Act::Unbind { dc: DC, endpoint: Endpoint::SELF, t: Timeout::Forever }
}

/// unbind another
pub fn unbind(endpoint: Endpoint, t: Timeout) -> Act {
    Act::Unbind { dc: DC, endpoint, t }
}

/// wait until an endpoint is bound
pub fn wait4bind(endpoint: Endpoint, t: Timeout) -> Act {
    Act::Wait4bind { endpoint, t }
}

/// wait until it is not
pub fn wait4unbind(endpoint: Endpoint, t: Timeout) -> Act {
    Act::Wait4unbind { endpoint, t }
}

/// bind another process, or as another kind
pub fn bind_as(kind: BindKind, endpoint: Endpoint, pid: u32, node: u16) -> Act {
    Act::Bind { kind, dc: DC, endpoint, pid, node, name: "other".into() }
}

/// read the rights of an endpoint
pub fn get_priv(endpoint: Endpoint) -> Act {
    Act::GetPriv { dc: DC, endpoint }
}

/// write rights
pub fn set_priv(endpoint: Endpoint, warn: Endpoint, level: i32, ipc_to: u128, calls: u64) -> Act {
    Act::SetPriv { dc: DC, endpoint, warn, level, ipc_to, calls }
}

/// fill memory with a pattern
pub fn fill(at: u64, len: u64, seed: u64) -> Act {
    Act::Fill { at, len, seed }
}

/// hash memory
pub fn hash(at: u64, len: u64) -> Act {
    Act::Hash { at, len }
}

/// vcopy
pub fn vcopy(src: Endpoint, from: At, dst: Endpoint, to: At, len: u64) -> Act {
    Act::Vcopy { src, from, dst, to, len }
}

/// first step of a move
pub fn move_start(endpoint: Endpoint) -> Act {
    Act::MigrateStart { dc: DC, endpoint }
}

/// undo a move
pub fn move_back(endpoint: Endpoint) -> Act {
    Act::MigrateRollback { dc: DC, endpoint }
}

/// end a move; the pid 0 is the caller
pub fn move_to(endpoint: Endpoint, node: u16, pid: u32) -> Act {
    Act::MigrateCommit { dc: DC, endpoint, node, pid }
}
