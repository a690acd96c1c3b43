//! Memory lent to the callee for the time of a call.
//!
//! A granted range is all a server can reach of its client: every copy names an endpoint, an address and a
//! length, and is refused with `FAULT` unless the range lies inside one grant of that endpoint's current call
//! with the right access.

/// What the callee may do with the range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Access {
    /// Copy out of it.
    Read = 1,
    /// Copy into it.
    Write = 2,
    /// Both.
    ReadWrite = 3,
}

impl Access {
    /// The access with this number, if there is one.
    pub const fn from_u8(n: u8) -> Option<Access> {
        Some(match n {
            1 => Access::Read,
            2 => Access::Write,
            3 => Access::ReadWrite,
            _ => return None,
        })
    }

    /// Whether this allows all that `wanted` asks.
    pub const fn allows(self, wanted: Access) -> bool {
        self as u8 & wanted as u8 == wanted as u8
    }
}

/// One range of the caller's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// First byte, in the caller's address space.
    pub address: u64,
    /// Bytes.
    pub length: u64,
    /// What the callee may do with it.
    pub access: Access,
}

impl Grant {
    /// Whether `[address, address + length)` lies inside and `wanted` is allowed. Never wraps.
    ///
    /// ```
    /// use dvs_abi::{Access, Grant};
    /// let g = Grant { address: 100, length: 50, access: Access::Read };
    /// assert!(g.covers(100, 50, Access::Read) && !g.covers(100, 50, Access::Write));
    /// assert!(!g.covers(149, 2, Access::Read) && !g.covers(99, 1, Access::Read));
    /// assert!(!g.covers(u64::MAX, 2, Access::Read));
    /// ```
    pub const fn covers(&self, address: u64, length: u64, wanted: Access) -> bool {
        if !self.access.allows(wanted) || address < self.address {
            return false;
        }
        let offset = address - self.address;
        offset <= self.length && length <= self.length - offset
    }
}
