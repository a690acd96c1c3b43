//! A host made of the standard library alone, for examples and tests of the crates above `host`.

use crate::host::{Host, Space, Wake};
use crate::sync::{AtomicU64, Ordering};
use dvs_abi::{Code, Deadline};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// Sleeps on one condition variable for all words: right, and slow. It cannot copy between processes.
#[derive(Debug)]
pub struct TestHost {
    start: Instant,
    lock: Mutex<()>,
    rung: Condvar,
}

impl Default for TestHost {
    fn default() -> Self {
        TestHost { start: Instant::now(), lock: Mutex::new(()), rung: Condvar::new() }
    }
}

impl Host for TestHost {
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64 + 1
    }

    fn cpu(&self) -> u32 {
        0
    }

    fn futex_wait(&self, word: &AtomicU64, expect: u32, deadline: Deadline, _shared: bool) -> Wake {
        let guard = self.lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if word.load(Ordering::SeqCst) as u32 != expect {
            return Wake::Changed;
        }
        let left = match deadline.remaining(self.now()) {
            u64::MAX => {
                drop(self.rung.wait(guard));
                return Wake::Woken;
            }
            left => Duration::from_nanos(left),
        };
        match self.rung.wait_timeout(guard, left) {
            Ok((_, timeout)) if timeout.timed_out() => Wake::TimedOut,
            _ => Wake::Woken,
        }
    }

    fn futex_wake(&self, _word: &AtomicU64, _n: u32, _shared: bool) {
        let _guard = self.lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.rung.notify_all();
    }

    fn read_peer(&self, _pid: u32, _address: u64, _into: &mut [u8]) -> Result<(), Code> {
        Err(Code::NOSYS)
    }

    fn write_peer(&self, _pid: u32, _address: u64, _from: &[u8]) -> Result<(), Code> {
        Err(Code::NOSYS)
    }

    fn copy(&self, _: Space, _: u64, _: Space, _: u64, _: u64) -> Result<(), Code> {
        Err(Code::NOSYS)
    }
}
