//! What an actor is told to do: one call of the API with its arguments, as a value and as a line.

use crate::word::{At, Payload, Range, Word};
use dvs_abi::{Endpoint, Timeout};
use dvs_ipc::control::BindKind;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

macro_rules! acts {
    ($( $(#[$doc:meta])* $name:ident = $word:literal { $( $field:ident : $ty:ty ),* } )*) => {
        /// One step of an actor. The line form is the word, then `field=value` for every field.
        #[derive(Clone, PartialEq, Debug)]
        #[allow(missing_docs)] // fields are the arguments of the call
        pub enum Act { $( $(#[$doc])* $name { $( $field: $ty ),* } ),* }

        impl fmt::Display for Act {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $( Act::$name { $( $field ),* } => {
                    f.write_str($word)?;
                    $( write!(f, " {}={}", stringify!($field), $field.put())?; )*
                    Ok(())
                } )* }
            }
        }

        impl FromStr for Act {
            type Err = String;

            fn from_str(line: &str) -> Result<Act, String> {
                let (word, fields) = split(line).ok_or_else(|| format!("no act: {line}"))?;
                match word { $( $word => {
                    let _ = &fields;
                    Ok(Act::$name { $( $field: field(&fields, stringify!($field))? ),* })
                } )*
                    _ => Err(format!("unknown act: {word}")),
                }
            }
        }
    };
}

/// The first word and the `key=value` pairs of a line.
pub fn split(line: &str) -> Option<(&str, BTreeMap<&str, &str>)> {
    let mut words = line.split_whitespace();
    let first = words.next()?;
    Some((first, words.map(|w| w.split_once('=')).collect::<Option<_>>()?))
}

/// The value of one field.
fn field<T: Word>(fields: &BTreeMap<&str, &str>, key: &str) -> Result<T, String> {
    let word = fields.get(key).ok_or_else(|| format!("{key} is missing"))?;
    T::take(word).ok_or_else(|| format!("{key}={word} is no such value"))
}

acts! {
    /// Binds (facts §2.5.1); endpoint NONE = any free user slot.
    Bind = "bind" { kind: BindKind, dc: u16, endpoint: Endpoint, pid: u32, node: u16, name: String }
    /// Unbinds; endpoint SELF = the actor's own.
    Unbind = "unbind" { dc: u16, endpoint: Endpoint, t: Timeout }
    Send = "send" { dst: Endpoint, m: Payload, t: Timeout }
    Receive = "receive" { src: Endpoint, t: Timeout }
    /// A request, lending ranges of the actor's memory.
    Sendrec = "sendrec" { dst: Endpoint, m: Payload, lends: Vec<Range>, t: Timeout }
    Rcvrqst = "rcvrqst" { t: Timeout }
    Reply = "reply" { dst: Endpoint, m: Payload, t: Timeout }
    /// Hands the request received last from `client` to `dst`.
    Relay = "relay" { client: Endpoint, dst: Endpoint }
    Notify = "notify" { src: Endpoint, dst: Endpoint, value: Option<u32> }
    /// A hardware notification.
    HardwareNotify = "hwnotify" { dc: u16, dst: Endpoint }
    /// Writes the bytes of a seed into the actor's memory.
    Fill = "fill" { at: u64, len: u64, seed: u64 }
    /// The hash of a range of the actor's memory.
    Hash = "hash" { at: u64, len: u64 }
    /// From a caller's grant into the actor's memory.
    CopyIn = "copyin" { src: Endpoint, from: At, to: u64, len: u64 }
    /// From the actor's memory into a caller's grant.
    CopyOut = "copyout" { dst: Endpoint, to: At, from: u64, len: u64 }
    /// Between two parties.
    Vcopy = "vcopy" { src: Endpoint, from: At, dst: Endpoint, to: At, len: u64 }
    /// What a caller has lent.
    Grants = "grants" { client: Endpoint }
    Wait4bind = "wait4bind" { endpoint: Endpoint, t: Timeout }
    Wait4unbind = "wait4unbind" { endpoint: Endpoint, t: Timeout }
    Getep = "getep" { pid: u32 }
    Wakeup = "wakeup" { dc: u16, endpoint: Endpoint }
    ProcInfo = "procinfo" { dc: u16, slot: i32 }
    DcInfo = "dcinfo" { dc: u16 }
    DvsInfo = "dvsinfo" {}
    NodeInfo = "nodeinfo" { node: i32 }
    GetPriv = "getpriv" { dc: u16, endpoint: Endpoint }
    SetPriv = "setpriv" { dc: u16, endpoint: Endpoint, warn: Endpoint, level: i32, ipc_to: u128, calls: u64 }
    DcInit = "dcinit" {
        dc: u16, name: String, procs: i32, sysprocs: i32, warn: Endpoint, warn_type: i32,
        nodes: Vec<u16>
    }
    DcEnd = "dcend" { dc: u16 }
    AddNode = "addnode" { dc: u16, node: u16 }
    DelNode = "delnode" { dc: u16, node: u16 }
    MigrateStart = "migrstart" { dc: u16, endpoint: Endpoint }
    MigrateRollback = "migrback" { dc: u16, endpoint: Endpoint }
    MigrateCommit = "migrcommit" { dc: u16, endpoint: Endpoint, node: u16, pid: u32 }
    /// The process id and the endpoint, for the script.
    Whoami = "whoami" {}
    /// Ends the actor in order.
    Exit = "exit" { code: i32 }
    /// Answers `count` requests: same type, first word plus one. `send` = with send instead of reply.
    Serve = "serve" { count: u64, send: bool }
    /// Makes `count` requests with rising numbers and checks every answer.
    Call = "call" { dst: Endpoint, count: u64, t: Timeout }
    /// Sends `count` numbered messages.
    Post = "post" { dst: Endpoint, count: u64, t: Timeout }
    /// Receives `count` messages and checks that each source's numbers rise by one.
    Drain = "drain" { count: u64, t: Timeout }
    /// Hands each of `count` tokens received to `next`; the actor told to start sends the first.
    Ring = "ring" { next: Endpoint, count: u64, start: bool }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dvs_abi::Access;

    #[test]
    fn an_act_comes_back_from_its_line() {
        let act = Act::Sendrec {
            dst: Endpoint::new(0, 10),
            m: Payload { mtype: 7, bytes: b"hello".to_vec() },
            lends: vec![Range { access: Access::Read, offset: 0, length: 4096 }],
            t: Timeout::Forever,
        };
        let line = act.to_string();
        assert_eq!(line, "sendrec dst=10 m=7:68656c6c6f lends=r:0:4096 t=-1");
        assert_eq!(line.parse::<Act>(), Ok(act));
        assert!("sendrec dst=10".parse::<Act>().unwrap_err().contains("missing"));
        assert!("sing".parse::<Act>().is_err());
        assert!("receive src t=0".parse::<Act>().is_err());
    }
}
