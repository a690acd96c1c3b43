//! A hand-off in shared memory that never sleeps: the least a message between two processes can cost. With
//! spinning it needs a core each and burns both; with `sched_yield` it is the floor of two processes on one
//! core. Neither is a design, both are yardsticks.
//!
//! ```text
//!   client: request.words = m; request.turn = n ──> server waits turn == n, copies out,
//!   client waits reply.turn == n, copies out <────── reply.words = m; reply.turn = n
//! ```

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use anyhow::Result;
use dvs_bench_common::{Op, PAYLOAD_BYTES, ready};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap};

const WORDS: usize = PAYLOAD_BYTES / 8;

/// One direction. Everything in it is atomic, so a peer that writes at any time is no undefined behaviour.
///
/// The turn stands on a cache line of its own: beside the payload, the waiter that looks at it would take the
/// line away from the writer in the middle of the message.
#[repr(C)]
struct Slot {
    turn: Line<AtomicU32>,
    words: Line<[AtomicU64; WORDS]>,
}

/// Something on cache lines of its own (two: processors fetch them in pairs).
#[repr(C, align(128))]
struct Line<T>(T);

/// The whole shared memory.
#[repr(C)]
struct Pair {
    request: Slot,
    reply: Slot,
}

impl Slot {
    fn put(&self, payload: &[u64; WORDS], turn: u32) {
        for (word, value) in self.words.0.iter().zip(payload) {
            word.store(*value, Ordering::Relaxed);
        }
        self.turn.0.store(turn, Ordering::Release);
    }

    fn take(&self, payload: &mut [u64; WORDS], turn: u32, wait: fn()) {
        while self.turn.0.load(Ordering::Acquire) != turn {
            wait();
        }
        for (word, value) in self.words.0.iter().zip(payload) {
            *value = word.load(Ordering::Relaxed);
        }
    }
}

/// Maps the memory for the life of the process.
fn map(fd: impl AsFd) -> Result<&'static Pair> {
    let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::POPULATE);
    // SAFETY: a new mapping at an address the kernel chooses touches no memory of ours.
    let address = unsafe { mmap(std::ptr::null_mut(), size_of::<Pair>(), prot, flags, fd, 0)? };
    // SAFETY: the mapping is page-aligned, as large as `Pair`, never unmapped, and `Pair` is made of atomics,
    // for which every bit pattern is a value; it is only ever reached through shared references.
    Ok(unsafe { &*address.cast::<Pair>() })
}

fn serve(wait: fn()) -> Result<()> {
    let memory = memfd_create("dvs-bench", MemfdFlags::CLOEXEC)?;
    ftruncate(&memory, size_of::<Pair>() as u64)?;
    let pair = map(&memory)?;
    ready(&format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd()))?;
    let mut payload = [0; WORDS];
    let mut turn = 0_u32;
    loop {
        turn = turn.wrapping_add(1);
        pair.request.take(&mut payload, turn, wait);
        pair.reply.put(&payload, turn);
    }
}

fn connect(address: &str, wait: fn()) -> Result<Op> {
    let memory: File = OpenOptions::new().read(true).write(true).open(address)?;
    let pair = map(&memory)?;
    let mut payload = [1; WORDS];
    let mut turn = 0_u32;
    Ok(Box::new(move || {
        turn = turn.wrapping_add(1);
        pair.request.put(&payload, turn);
        pair.reply.take(&mut payload, turn, wait);
        Ok(())
    }))
}

/// Server that spins.
pub fn serve_spin(_: &str) -> Result<()> {
    serve(std::hint::spin_loop)
}

/// Client that spins.
pub fn connect_spin(address: &str) -> Result<Op> {
    connect(address, std::hint::spin_loop)
}

/// Server that yields its core while it waits.
pub fn serve_yield(_: &str) -> Result<()> {
    serve(rustix::thread::sched_yield)
}

/// Client that yields its core while it waits.
pub fn connect_yield(address: &str) -> Result<Op> {
    connect(address, rustix::thread::sched_yield)
}
