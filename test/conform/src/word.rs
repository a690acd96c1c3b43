//! The words of the line protocol: how each value of an act or of what was seen is written and read.
//!
//! One line is one record; words are separated by one space; every word after the first is `key=value`.
//! A value holds no space. That is all an actor in another language has to split:
//!
//! ```text
//! sendrec dst=10 m=7:68656c6c6f lends=r:0:4096,w:8192:100 t=20000000
//! ```

use dvs_abi::{Access, Endpoint, Timeout};
use dvs_ipc::control::BindKind;
use std::time::Duration;

/// A value that is one word.
pub trait Word: Sized {
    /// The word.
    fn put(&self) -> String;
    /// The value of a word, if it is one.
    fn take(word: &str) -> Option<Self>;
}

macro_rules! plain {
    ($($ty:ty),*) => { $(
        impl Word for $ty {
            fn put(&self) -> String { self.to_string() }
            fn take(word: &str) -> Option<Self> { word.parse().ok() }
        }
    )* };
}
plain!(i32, u16, u32, u64, u128, bool);

/// A name: letters, digits, `-`, `_` and `.`; the empty one is `-`.
impl Word for String {
    fn put(&self) -> String {
        if self.is_empty() { "-".into() } else { self.replace([' ', '='], "_") }
    }
    fn take(word: &str) -> Option<Self> {
        Some(if word == "-" { String::new() } else { word.into() })
    }
}

/// The raw number.
impl Word for Endpoint {
    fn put(&self) -> String {
        self.raw().to_string()
    }
    fn take(word: &str) -> Option<Self> {
        word.parse().ok().map(Endpoint::from_raw)
    }
}

/// Microseconds; `-1` is forever, `0` at once.
impl Word for Timeout {
    fn put(&self) -> String {
        match self {
            Timeout::Now => "0".into(),
            Timeout::After(d) => d.as_micros().to_string(),
            Timeout::Forever => "-1".into(),
        }
    }
    fn take(word: &str) -> Option<Self> {
        Some(match word.parse::<i64>().ok()? {
            i64::MIN..=-1 => Timeout::Forever,
            0 => Timeout::Now,
            us => Timeout::After(Duration::from_micros(us as u64)),
        })
    }
}

/// The number of the reference system.
impl Word for BindKind {
    fn put(&self) -> String {
        (match self {
            BindKind::Own => "0",
            BindKind::Local => "1",
            BindKind::Remote => "2",
            BindKind::Backup => "3",
            BindKind::Replica => "4",
            BindKind::UserMode => "5",
        })
        .into()
    }
    fn take(word: &str) -> Option<Self> {
        Some(match word {
            "0" => BindKind::Own,
            "1" => BindKind::Local,
            "2" => BindKind::Remote,
            "3" => BindKind::Backup,
            "4" => BindKind::Replica,
            "5" => BindKind::UserMode,
            _ => return None,
        })
    }
}

impl<T: Word> Word for Option<T> {
    fn put(&self) -> String {
        self.as_ref().map_or_else(|| "none".into(), T::put)
    }
    fn take(word: &str) -> Option<Self> {
        if word == "none" { Some(None) } else { T::take(word).map(Some) }
    }
}

/// Elements separated by commas; the empty list is the empty word.
impl<T: Word> Word for Vec<T> {
    fn put(&self) -> String {
        self.iter().map(T::put).collect::<Vec<_>>().join(",")
    }
    fn take(word: &str) -> Option<Self> {
        if word.is_empty() { Some(Vec::new()) } else { word.split(',').map(T::take).collect() }
    }
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The bytes of hexadecimal digits.
pub fn unhex(word: &str) -> Option<Vec<u8>> {
    let digits = word.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let nibble = |c: u8| (c as char).to_digit(16);
    digits.chunks(2).map(|p| Some((nibble(p[0])? << 4 | nibble(p[1])?) as u8)).collect()
}

/// What the program puts into a message: `type:hex`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payload {
    /// Type.
    pub mtype: i32,
    /// Inline bytes, at most 192.
    pub bytes: Vec<u8>,
}

impl Word for Payload {
    fn put(&self) -> String {
        format!("{}:{}", self.mtype, hex(&self.bytes))
    }
    fn take(word: &str) -> Option<Self> {
        let (mtype, bytes) = word.split_once(':')?;
        Some(Payload { mtype: mtype.parse().ok()?, bytes: unhex(bytes)? })
    }
}

/// A range of the actor's memory lent for a call: `r:offset:length`, `w:…` or `b:…` (both).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// What the callee may do.
    pub access: Access,
    /// First byte, in the actor's memory.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

impl Word for Range {
    fn put(&self) -> String {
        let access = match self.access {
            Access::Read => 'r',
            Access::Write => 'w',
            Access::ReadWrite => 'b',
        };
        format!("{access}:{}:{}", self.offset, self.length)
    }
    fn take(word: &str) -> Option<Self> {
        let mut parts = word.split(':');
        let access = match parts.next()? {
            "r" => Access::Read,
            "w" => Access::Write,
            "b" => Access::ReadWrite,
            _ => return None,
        };
        let range =
            Range { access, offset: parts.next()?.parse().ok()?, length: parts.next()?.parse().ok()? };
        parts.next().is_none().then_some(range)
    }
}

/// Where a copy starts: in a grant of the other party, or in the actor's own memory, or anywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// `gN+offset`: so far into the party's `N`th grant.
    Grant(u32, u64),
    /// `m+offset`: in the actor's own memory.
    Own(u64),
    /// `a+address`: a plain address (for the wrong ones).
    Address(u64),
}

impl Word for At {
    fn put(&self) -> String {
        match self {
            At::Grant(n, offset) => format!("g{n}+{offset}"),
            At::Own(offset) => format!("m+{offset}"),
            At::Address(address) => format!("a+{address}"),
        }
    }
    fn take(word: &str) -> Option<Self> {
        let (base, offset) = word.split_once('+')?;
        let offset = offset.parse().ok()?;
        Some(match base {
            "m" => At::Own(offset),
            "a" => At::Address(offset),
            _ => At::Grant(base.strip_prefix('g')?.parse().ok()?, offset),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back<T: Word + PartialEq + std::fmt::Debug>(value: T) {
        assert_eq!(T::take(&value.put()).as_ref(), Some(&value), "{}", value.put());
    }

    #[test]
    fn every_word_comes_back() {
        back(Payload { mtype: -7, bytes: vec![0, 255, 16] });
        back(vec![Range { access: Access::ReadWrite, offset: 9, length: 1 << 40 }]);
        back(Vec::<u16>::new());
        back(At::Grant(2, 7));
        back(At::Own(0));
        back(At::Address(u64::MAX));
        back(Timeout::After(Duration::from_millis(3)));
        back(Timeout::Forever);
        back(Some(Endpoint::ANY));
        back(None::<u32>);
        back(String::new());
        back(BindKind::Replica);
    }

    #[test]
    fn garbage_is_refused() {
        assert_eq!(Payload::take("7"), None);
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("zz"), None);
        assert_eq!(Range::take("r:1:2:3"), None);
        assert_eq!(At::take("x+1"), None);
    }
}
