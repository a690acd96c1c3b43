//! What this crate asks of the operating system, as traits: the real one is `host/linux`, tests and the model
//! checker bring their own.
//!
//! Shared memory is seen as a slice of 64-bit atomics and nothing else. There is no reference to plain data
//! another process could change under our feet, hence no `unsafe` here: every value is copied out with atomic
//! loads and looked at afterwards.

use crate::sync::{AtomicU64, Ordering};
use dvs_abi::{Code, Deadline};

/// Shared memory that can only be read: the status page of a peer, sealed by its owner.
pub trait View: Send + Sync {
    /// The word with this index, loaded relaxed (the only load that is sound on read-only pages); zero
    /// outside.
    fn load(&self, index: usize) -> u64;
}

/// Shared memory that can be read and written.
pub trait Memory: View {
    /// All of it, as words.
    fn words(&self) -> &[AtomicU64];
}

/// How a wait on a futex ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wake {
    /// Somebody woke it (or nobody: wakes may be spurious; look again).
    Woken,
    /// The deadline passed.
    TimedOut,
    /// A signal handler ran.
    Interrupted,
    /// The word had another value than expected; it did not sleep.
    Changed,
}

/// Whose memory an address is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    /// This process.
    Own,
    /// The process with this id.
    Pid(u32),
}

/// The slice of a system that does not say how long its slices are.
pub const SLICE_NS: u64 = 1_400_000;

/// The operating system.
pub trait Host: Send + Sync {
    /// The monotonic clock in nanoseconds, the same for every process of the node.
    fn now(&self) -> u64;

    /// The processor this thread runs on; old as soon as it is returned, good for hints only.
    fn cpu(&self) -> u32;

    /// Lets another thread that could run on this processor do so.
    fn give_way(&self) {
        std::thread::yield_now();
    }

    /// How long the system lets a program compute before another one of the same processor has its turn, ns.
    fn slice(&self) -> u64 {
        SLICE_NS
    }

    /// Sleeps while the low 32 bits of `word` are `expect`, until woken or the deadline.
    ///
    /// `shared` is set when the word lies in memory shared between processes.
    fn futex_wait(&self, word: &AtomicU64, expect: u32, deadline: Deadline, shared: bool) -> Wake;

    /// Wakes up to `n` that sleep on the low 32 bits of `word`.
    fn futex_wake(&self, word: &AtomicU64, n: u32, shared: bool);

    /// Copies from a peer's memory into `into`.
    ///
    /// # Errors
    /// `FAULT` for an address the peer does not have (a part may have been copied), `SRCH` when the peer is
    /// gone, `PERM` when the system forbids it.
    fn read_peer(&self, pid: u32, address: u64, into: &mut [u8]) -> Result<(), Code>;

    /// Copies `from` into a peer's memory; errors as [`Host::read_peer`].
    ///
    /// # Errors
    /// As [`Host::read_peer`].
    fn write_peer(&self, pid: u32, address: u64, from: &[u8]) -> Result<(), Code>;

    /// Copies `length` bytes between two address spaces; either may be this process.
    ///
    /// Addresses are checked by the kernel, a bad one is `FAULT` and never a signal. An own destination must
    /// be memory the program lent for this purpose, as with a write to `/proc/self/mem`: callers pass what a
    /// grant covers, nothing else. Ranges in one space must not overlap.
    ///
    /// # Errors
    /// As [`Host::read_peer`].
    fn copy(
        &self,
        from: Space,
        from_address: u64,
        to: Space,
        to_address: u64,
        length: u64,
    ) -> Result<(), Code>;
}

/// Memory of this process in the shape of shared memory, for tests and for lanes within one process.
///
/// ```
/// use dvs_ipc::host::{HeapMemory, Memory, View};
/// use dvs_ipc::sync::Ordering;
/// let m = HeapMemory::new(8);
/// m.words()[3].store(7, Ordering::Relaxed);
/// assert_eq!((m.load(3), m.load(99)), (7, 0));
/// ```
#[derive(Debug)]
pub struct HeapMemory {
    words: Box<[AtomicU64]>,
}

impl HeapMemory {
    /// So many words, all zero.
    pub fn new(words: usize) -> Self {
        HeapMemory { words: (0..words).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl View for HeapMemory {
    fn load(&self, index: usize) -> u64 {
        self.words.get(index).map_or(0, |w| w.load(Ordering::Relaxed))
    }
}

impl Memory for HeapMemory {
    fn words(&self) -> &[AtomicU64] {
        &self.words
    }
}
