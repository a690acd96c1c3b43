//! How far a copy is, how fast, and how long it will take. Pure.

use std::time::Duration;

/// How far a copy is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Files to be copied.
    pub files: u64,
    /// Files in place.
    pub files_done: u64,
    /// Bytes to be copied.
    pub bytes: u64,
    /// Bytes copied, or found in an unfinished copy.
    pub bytes_done: u64,
    /// Of these, found in an unfinished copy.
    pub resumed: u64,
}

/// A speed that follows the last few seconds.
///
/// ```
/// use dvs_files::Rate;
/// let mut rate = Rate::default();
/// let second = 1_000_000_000;
/// for i in 0..=10 {
///     rate.update(i * second, i * 50);
/// }
/// assert!((rate.bytes_per_second() - 50.0).abs() < 0.1);
/// assert_eq!(rate.remaining(500).unwrap().as_secs(), 10);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    last: Option<(u64, u64)>,
    per_second: f64,
}

/// Time after which an observation counts for a third.
const MEMORY_SECONDS: f64 = 3.0;

impl Rate {
    /// At `now_ns`, `bytes` were done in all.
    pub fn update(&mut self, now_ns: u64, bytes: u64) {
        let Some((then, before)) = self.last else {
            self.last = Some((now_ns, bytes));
            return;
        };
        let seconds = now_ns.saturating_sub(then) as f64 / 1e9;
        if seconds <= 0.0 {
            return;
        }
        let observed = bytes.saturating_sub(before) as f64 / seconds;
        let keep = if self.per_second == 0.0 { 0.0 } else { (-seconds / MEMORY_SECONDS).exp() };
        self.per_second = keep * self.per_second + (1.0 - keep) * observed;
        self.last = Some((now_ns, bytes));
    }

    /// Bytes a second.
    pub fn bytes_per_second(&self) -> f64 {
        self.per_second
    }

    /// How long so many bytes will take; `None` while nothing moves.
    pub fn remaining(&self, bytes: u64) -> Option<Duration> {
        let seconds = bytes as f64 / self.per_second;
        Duration::try_from_secs_f64(seconds).ok().filter(|_| self.per_second > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_and_clocks_that_stand_still() {
        let mut r = Rate::default();
        assert_eq!(r.remaining(5), None);
        r.update(5, 5);
        r.update(5, 50);
        assert_eq!(r.remaining(5), None);
    }
}
