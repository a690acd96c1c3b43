//! The lock of a process: as the standard one, but given back by a plain store.
//!
//! # Why
//! A call between two coroutines holds the lock for some ten nanoseconds, and nobody else wants it. What it
//! costs is then the two atomic exchanges of taking it and giving it back. The second is needed only to learn
//! whether somebody sleeps; here that is read from a word beside it.
//!
//! # The picture
//!
//! ```text
//!   value: [ box ]  ──swap(nothing)──>  [ nothing ]  ──store(box)──>  [ box ]
//!            free                          taken                        free, then: does anybody sleep?
//! ```
//!
//! # The algorithm
//! The lock *is* the box with what it guards: whoever swaps it out has it, whoever finds nothing waits. So no
//! unsafe code is needed to lend it out. Waiting is spinning first, then sleeping behind a condition
//! variable; sleepers are counted in `sleepers`. The one who gives back stores the box and then reads that
//! count. Without a fence in between the processor may read first: then a sleeper that counted itself in the
//! same few nanoseconds is not seen. So a sleep lasts at most [`NAP`], after which the sleeper looks itself.
//! Nothing is lost by it but, very rarely, that much time.
//!
//! It is as unfair as the standard one, and a thread that panics while it holds it gives it back.

use crossbeam_utils::atomic::AtomicCell;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Looks before a sleep. Longer than the lock is held, shorter than a sleep costs.
const SPINS: u32 = 100;
/// How long a sleeper trusts that it will be woken.
const NAP: Duration = Duration::from_micros(200);

/// The box, in a wrapper that has nothing to drop: the cell could not be written by a plain store otherwise.
type Content<T> = Option<ManuallyDrop<Box<T>>>;

/// A lock around a `T`.
pub(crate) struct Lock<T> {
    /// Nothing while it is taken.
    value: AtomicCell<Content<T>>,
    sleepers: AtomicUsize,
    door: Mutex<()>,
    opened: Condvar,
}

/// The lock, held; dropping gives it back.
pub(crate) struct Guard<'a, T> {
    lock: &'a Lock<T>,
    /// There until the drop.
    value: Content<T>,
}

impl<T> Lock<T> {
    pub fn new(value: T) -> Self {
        const { assert!(AtomicCell::<Content<T>>::is_lock_free()) };
        Lock {
            value: AtomicCell::new(Some(ManuallyDrop::new(Box::new(value)))),
            sleepers: AtomicUsize::new(0),
            door: Mutex::new(()),
            opened: Condvar::new(),
        }
    }

    /// Takes the lock.
    #[inline]
    pub fn lock(&self) -> Guard<'_, T> {
        match self.value.swap(None) {
            None => self.wait(),
            value => Guard { lock: self, value },
        }
    }

    #[cold]
    fn wait(&self) -> Guard<'_, T> {
        for _ in 0..SPINS {
            std::hint::spin_loop();
            if let Some(guard) = self.try_lock() {
                return guard;
            }
        }
        let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let guard = loop {
            if let Some(guard) = self.try_lock() {
                break guard;
            }
            door = self.opened.wait_timeout(door, NAP).unwrap_or_else(PoisonError::into_inner).0;
        };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        guard
    }

    #[inline]
    fn try_lock(&self) -> Option<Guard<'_, T>> {
        match self.value.swap(None) {
            // No guard is made of nothing: its drop would put nothing in the place of what came meanwhile.
            None => None,
            value => Some(Guard { lock: self, value }),
        }
    }

    #[cold]
    fn wake(&self) {
        // A sleeper holds the door from its last look until it sleeps.
        drop(self.door.lock().unwrap_or_else(PoisonError::into_inner));
        self.opened.notify_one();
    }
}

impl<T> Drop for Lock<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.swap(None) {
            drop(ManuallyDrop::into_inner(value));
        }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.value.store(self.value.take());
        if self.lock.sleepers.load(Ordering::Relaxed) != 0 {
            self.lock.wake();
        }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        match &self.value {
            Some(value) => value,
            None => unreachable!("the value is taken out by the drop alone"),
        }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.value {
            Some(value) => value,
            None => unreachable!("the value is taken out by the drop alone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Lock;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;

    #[test]
    fn many_threads_hold_it_one_after_the_other() {
        const THREADS: u64 = 8;
        const ROUNDS: u64 = 20_000;
        let lock = Lock::new((0u64, 0u64));
        std::thread::scope(|s| {
            for _ in 0..THREADS {
                s.spawn(|| {
                    for i in 0..ROUNDS {
                        let mut both = lock.lock();
                        assert_eq!(both.0, both.1);
                        both.0 += 1;
                        // Now and then held so long that the others sleep.
                        if i % 1000 == 0 {
                            std::thread::yield_now();
                        }
                        both.1 += 1;
                    }
                });
            }
        });
        assert_eq!(*lock.lock(), (THREADS * ROUNDS, THREADS * ROUNDS));
    }

    #[test]
    fn looking_in_vain_takes_nothing_away() {
        let lock = Lock::new(1);
        let held = lock.lock();
        assert!(lock.try_lock().is_none());
        drop(held);
        assert_eq!(lock.try_lock().map(|v| *v), Some(1));
        // Looked at by one thread all the time while another takes it and gives it back.
        let rounds = 200_000;
        std::thread::scope(|s| {
            s.spawn(|| (0..rounds).for_each(|_| *lock.lock() += 1));
            (0..rounds).for_each(|_| drop(lock.try_lock()));
        });
        assert_eq!(*lock.lock(), rounds + 1);
    }

    #[test]
    fn a_sleeper_is_woken_by_whoever_gives_it_back() {
        let lock = Lock::new(0);
        std::thread::scope(|s| {
            let mut held = lock.lock();
            let other = s.spawn(|| *lock.lock());
            while lock.sleepers.load(super::Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            *held = 7;
            drop(held);
            assert_eq!(other.join().ok(), Some(7));
        });
        assert_eq!(lock.sleepers.load(super::Ordering::SeqCst), 0);
    }

    #[test]
    fn a_panic_gives_it_back_and_the_end_drops_what_it_guards() {
        let inside = Arc::new(());
        let lock = Lock::new((inside.clone(), 1));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            lock.lock().1 = 2;
            let _held = lock.lock();
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert_eq!(lock.lock().1, 2);
        drop(lock);
        assert_eq!(Arc::strong_count(&inside), 1);
    }
}
