//! Sleeping on a word of memory. The kernel's futex has 32 bits: it acts on the low half of our 64-bit words.

use crate::clock::absolute;
use core::num::NonZeroU32;
use core::sync::atomic::{AtomicU32, AtomicU64};
use dvs_abi::Deadline;
use dvs_ipc::host::Wake;
use rustix::io::Errno;
use rustix::thread::futex::{Flags, wait_bitset, wake as kernel_wake};

/// Sleeps while the low 32 bits of `word` are `expect`, until woken, a signal, or the deadline.
///
/// `shared`: the word lies in memory other processes map; without it the kernel looks it up faster.
pub fn wait(word: &AtomicU64, expect: u32, deadline: Deadline, shared: bool) -> Wake {
    let until = absolute(deadline);
    // The bit set form, since only it takes an absolute time: what passes before the kernel sleeps counts.
    match wait_bitset(low_half(word), flags(shared), expect, until.as_ref(), NonZeroU32::MAX) {
        Ok(()) => Wake::Woken,
        Err(Errno::TIMEDOUT) => Wake::TimedOut,
        Err(Errno::INTR) => Wake::Interrupted,
        // AGAIN: the word changed. Anything else cannot come of a valid reference; looking again is right,
        // too.
        Err(_) => Wake::Changed,
    }
}

/// Wakes up to `n` sleepers and gives back how many slept.
pub fn wake(word: &AtomicU64, n: u32, shared: bool) -> usize {
    // The kernel takes the number as signed.
    kernel_wake(low_half(word), flags(shared), n.min(i32::MAX as u32)).unwrap_or(0)
}

const fn flags(shared: bool) -> Flags {
    if shared { Flags::empty() } else { Flags::PRIVATE }
}

fn low_half(word: &AtomicU64) -> &AtomicU32 {
    let low = core::ptr::from_ref(word).cast::<AtomicU32>();
    // SAFETY: the low half of a word is at its own address on a little-endian machine (checked in dvs-abi);
    // it is within the word, aligned, and lives as long. No Rust code accesses memory through the result,
    // whose halves would then race with whole-word accesses: it is only passed to the kernel.
    unsafe { &*low }
}

#[cfg(test)]
mod tests {
    use super::{wait, wake};
    use crate::clock::now;
    use core::sync::atomic::{AtomicU64, Ordering};
    use dvs_abi::Deadline;
    use dvs_ipc::host::Wake;

    #[test]
    fn another_value_does_not_sleep_and_the_upper_half_does_not_count() {
        let word = AtomicU64::new(5);
        assert_eq!(wait(&word, 4, Deadline::NEVER, false), Wake::Changed);
        word.store(7 << 32 | 5, Ordering::Relaxed);
        assert_eq!(wait(&word, 5, Deadline::NOW, true), Wake::TimedOut);
    }

    #[test]
    fn sleeps_until_the_deadline_not_shorter() {
        let (word, until) = (AtomicU64::new(0), now() + 2_000_000);
        while wait(&word, 0, Deadline::from_ns(until), false) != Wake::TimedOut {}
        assert!(now() >= until);
    }

    #[test]
    fn a_sleeper_is_woken() {
        let word = AtomicU64::new(0);
        std::thread::scope(|s| {
            s.spawn(|| {
                while word.load(Ordering::Acquire) == 0 {
                    wait(&word, 0, Deadline::NEVER, false);
                }
            });
            // Until it sleeps a wake finds nobody; then exactly one.
            while wake(&word, 1, false) == 0 {
                std::thread::yield_now();
            }
            word.store(1, Ordering::Release);
            wake(&word, 1, false);
        });
    }
}
