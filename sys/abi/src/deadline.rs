//! Deadlines instead of per-hop time-outs: one point in time, inherited by calls made on a caller's behalf.

use core::time::Duration;

/// How long a call may take, as the program says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Timeout {
    /// Do not block: `AGAIN` instead.
    Now,
    /// At most so long: `TIMEDOUT` after it.
    After(Duration),
    /// As long as it takes (or as long as the request being served still has).
    #[default]
    Forever,
}

impl Timeout {
    /// From the reference system's milliseconds: negative forever, zero at once.
    pub const fn from_millis(ms: i64) -> Self {
        match ms {
            i64::MIN..=-1 => Timeout::Forever,
            0 => Timeout::Now,
            _ => Timeout::After(Duration::from_millis(ms as u64)),
        }
    }
}

/// A point on the node's clock in nanoseconds, which goes on while the machine sleeps; all ones is never.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Deadline(u64);

impl Deadline {
    /// Never.
    pub const NEVER: Deadline = Deadline(u64::MAX);
    /// Already over: the call must not block.
    pub const NOW: Deadline = Deadline(0);

    /// The point at `ns`.
    pub const fn from_ns(ns: u64) -> Self {
        Deadline(ns)
    }

    /// The point in nanoseconds.
    pub const fn ns(self) -> u64 {
        self.0
    }

    /// The end of `timeout` that starts at `now`.
    pub const fn after(now: u64, timeout: Timeout) -> Self {
        match timeout {
            Timeout::Now => Deadline::NOW,
            Timeout::Forever => Deadline::NEVER,
            Timeout::After(d) => Deadline(now.saturating_add(d.as_nanos() as u64)),
        }
    }

    /// The earlier of the two.
    pub fn min(self, other: Deadline) -> Deadline {
        if other.0 < self.0 { other } else { self }
    }

    /// Whether it has passed at `now`.
    pub const fn passed(self, now: u64) -> bool {
        now >= self.0
    }

    /// What is left at `now`, in ns; `u64::MAX` for never. This is the form that travels between nodes.
    pub const fn remaining(self, now: u64) -> u64 {
        if self.0 == u64::MAX { u64::MAX } else { self.0.saturating_sub(now) }
    }

    /// The point `remaining` after `now`: the inverse of [`Deadline::remaining`] on another node's clock.
    pub const fn from_remaining(now: u64, remaining: u64) -> Self {
        if remaining == u64::MAX { Deadline::NEVER } else { Deadline(now.saturating_add(remaining)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remaining_travels() {
        let d = Deadline::after(1_000, Timeout::After(Duration::from_nanos(500)));
        assert_eq!(Deadline::from_remaining(70_000, d.remaining(1_200)), Deadline::from_ns(70_300));
        assert_eq!(Deadline::from_remaining(5, Deadline::NEVER.remaining(9)), Deadline::NEVER);
        assert_eq!(d.remaining(9_999), 0);
        assert!(Deadline::NOW.passed(0));
    }
}
