//! Errors: a code with the reference system's number, whose fault it was, and whether the effect happened.
//!
//! A caller needs three answers and gets them at once: *what* went wrong ([`Code`]), *who* has to act
//! ([`Fault`]), and *was it done* ([`Effect`]). Only `Effect::Unknown` forbids a blind retry.

use crate::id::Endpoint;
use core::fmt;

/// The result of a call.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Whose fault an error is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The caller's: its arguments, rights or state.
    Caller,
    /// The peer's: it died, refused or is in the wrong state.
    Peer,
    /// The system's between them: a node, connection, daemon or limit.
    System,
    /// Nobody's: time ran out or somebody asked for the wait to end.
    Nobody,
}

/// Whether the effect of the failed call happened at the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The peer never saw it; retrying is safe.
    No,
    /// The peer consumed it.
    Yes,
    /// The peer may have acted on it; only the program can know.
    Unknown,
}

macro_rules! codes {
    ($( $name:ident = $number:literal, $fault:ident, $text:literal; )*) => {
        /// What went wrong. Numbers are those of the facts §9.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[repr(i32)]
        pub enum Code { $( #[doc = $text] $name = $number, )* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// The code with this number, if there is one.
            pub const fn from_i32(n: i32) -> Option<Code> {
                match n { $( $number => Some(Code::$name), )* _ => None }
            }

            /// The name, as in the reference system without its prefix.
            pub const fn name(self) -> &'static str {
                match self { $( Code::$name => stringify!($name), )* }
            }

            /// One sentence.
            pub const fn text(self) -> &'static str {
                match self { $( Code::$name => $text, )* }
            }

            /// Whose fault it is unless the place that raises it knows better.
            pub const fn fault(self) -> Fault {
                match self { $( Code::$name => Fault::$fault, )* }
            }
        }
    };
}

codes! {
    PERM = -1, Caller, "not permitted";
    NOENT = -2, Caller, "no such thing";
    SRCH = -3, Peer, "the peer's process is gone";
    INTR = -4, Nobody, "interrupted by a signal or a cancellation";
    IO = -5, System, "input or output failed";
    TOOBIG = -7, Caller, "larger than the bound";
    AGAIN = -11, Nobody, "it would have blocked";
    NOMEM = -12, System, "no memory";
    FAULT = -14, Caller, "bad address, or memory that was not granted";
    BUSY = -16, Peer, "busy with another operation";
    EXIST = -17, Caller, "it exists already";
    INVAL = -22, Caller, "invalid argument";
    NOSPC = -28, System, "no space: a table is full";
    RANGE = -34, Caller, "number out of range";
    DEADLK = -35, Caller, "the wait would close a circle";
    NOSYS = -38, System, "no such call here, or no daemon";
    BADDEST = -55, Caller, "illegal destination";
    TIMEDOUT = -61, Nobody, "the deadline passed";
    NOTCONN = -64, System, "the node is not reachable";
    SHUTDOWN = -65, System, "the endpoint is being unbound";
    MSGSIZE = -73, Caller, "message of the wrong size";
    LOCKED = -101, Caller, "deadlock: a circle of callers wait for each other";
    BADCALL = -102, Caller, "the caller may not use this call";
    BADSRCDST = -103, Caller, "source or destination is wrong";
    CALLDENIED = -104, Caller, "the call was denied";
    DEADSRCDST = -105, Peer, "the partner of the call is dead";
    NOTREADY = -106, Caller, "the caller is not ready";
    BADREQUEST = -107, Peer, "unknown request";
    SRCDIED = -108, Peer, "the source died or unbound after it had taken the request";
    DSTDIED = -109, Peer, "the destination died, unbound or was never bound";
    TRAPDENIED = -110, Caller, "the caller may not talk to that endpoint";
    BADNODEID = -301, Caller, "no such node";
    BADDCID = -302, Caller, "no such container, or another one than the caller's";
    DCNOTRUN = -303, System, "the container is not running";
    BADPROC = -304, Caller, "no such slot";
    BADPID = -305, Caller, "no such process";
    ENDPOINT = -306, Caller, "the endpoint is another generation's, or the caller itself";
    NOPROXY = -307, System, "no connection to that node is configured";
    RMTPROC = -308, Caller, "the endpoint is remote";
    LCLPROC = -309, Caller, "the endpoint is local";
    NOTBIND = -310, Caller, "not bound";
    NODEBUSY = -315, Caller, "the node is in use already";
    NONODE = -316, System, "the endpoint is not on that node";
    DVSBUSY = -317, Caller, "the system runs already";
    DVSINIT = -318, System, "the system is not running";
    NODCNODE = -319, Caller, "the container does not run on that node";
    PROCRUN = -320, Caller, "the process is running, not waiting";
    NOMSG = -321, Nobody, "no message";
    DCRUN = -323, Caller, "the container is running";
    PROCSTS = -324, Peer, "the peer is not in the state this needs";
    NODEFREE = -325, Caller, "the node is not in use";
    DCNODE = -326, Caller, "the node is already (or not) part of the container";
    BADPROXY = -327, Caller, "not the registered proxy";
    ONCOPY = -328, Peer, "a copy is going on";
    OVERRUN = -330, Nobody, "the notification was already pending";
    MIGRATE = -332, System, "the endpoint is moving";
    PROXYFREE = -333, Caller, "the connection is not in use";
    GRPLEADER = -334, Caller, "not the thread-group leader";
    PRIVILEGES = -335, Caller, "insufficient rights";
    BINDTYPE = -336, Caller, "unknown kind of binding";
    SLOTUSED = -337, Caller, "the slot is in use";
    BADRANGE = -338, Caller, "outside the configured limits";
    BADVALUE = -339, Caller, "bad value";
    RSCBUSY = -342, Caller, "the name or number is in use";
    NAMESIZE = -343, Caller, "the name is too long";
    ALLOCMEM = -344, System, "no memory for a table";
    WOKENUP = -348, Nobody, "woken by wakeup()";
    VERSION = -501, System, "the two sides speak no common version";
    STALE = -502, System, "the epoch is out of date";
}

/// An error of a call.
///
/// ```
/// use dvs_abi::{Code, Effect, Error, Endpoint};
/// let e = Error::new(Code::SRCDIED, Effect::Unknown).at(Endpoint::new(0, 30));
/// let text = "the source died or unbound after it had taken the request; peer 30; effect unknown";
/// assert_eq!(e.to_string(), format!("SRCDIED (-108): {text}"));
/// assert!(!e.safe_to_retry());
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// What went wrong.
    pub code: Code,
    /// Whose fault it is.
    pub fault: Fault,
    /// Whether the effect happened.
    pub effect: Effect,
    /// The endpoint it is about, or `NONE`.
    pub peer: Endpoint,
    /// The circle of a deadlock, in order of waiting.
    pub cycle: Option<Box<[Endpoint]>>,
}

impl Error {
    /// An error whose fault follows from the code.
    pub const fn new(code: Code, effect: Effect) -> Self {
        Error { code, fault: code.fault(), effect, peer: Endpoint::NONE, cycle: None }
    }

    /// An error raised before anything happened.
    pub const fn early(code: Code) -> Self {
        Self::new(code, Effect::No)
    }

    /// The same about `peer`.
    pub fn at(mut self, peer: Endpoint) -> Self {
        self.peer = peer;
        self
    }

    /// The deadlock error.
    pub fn deadlock(cycle: Vec<Endpoint>) -> Self {
        let mut e = Self::early(Code::LOCKED);
        e.cycle = Some(cycle.into_boxed_slice());
        e
    }

    /// Whether the same call may be made again without risk of doing it twice.
    pub const fn safe_to_retry(&self) -> bool {
        matches!(self.effect, Effect::No)
    }
}

impl From<Code> for Error {
    fn from(code: Code) -> Self {
        Error::early(code)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.name(), *self as i32, self.text())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if self.peer != Endpoint::NONE {
            write!(f, "; peer {}", self.peer)?;
        }
        if let Some(cycle) = &self.cycle {
            f.write_str("; circle ")?;
            for e in cycle {
                write!(f, "{e} -> ")?;
            }
            write!(f, "{}", cycle.first().copied().unwrap_or(Endpoint::NONE))?;
        }
        f.write_str(match self.effect {
            Effect::No => "; not done",
            Effect::Yes => "; done",
            Effect::Unknown => "; effect unknown",
        })
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_come_back() {
        for (i, c) in Code::ALL.iter().enumerate() {
            assert_eq!(Code::from_i32(*c as i32), Some(*c));
            assert!(!Code::ALL[..i].contains(c));
        }
        assert_eq!(Code::from_i32(0), None);
    }
}
