//! The clock and the processor: both without entering the kernel, as they are read for every call.

use dvs_abi::Deadline;
use dvs_ipc::host::SLICE_NS;
use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::sync::OnceLock;

const NS_PER_S: u64 = 1_000_000_000;

/// Nanoseconds since the machine was started, those included in which it slept: what others do without a node
/// that is silent, they do by clocks that go on. Equal for all processes of the node.
pub fn now() -> u64 {
    read(ClockId::Boottime)
}

fn read(clock: ClockId) -> u64 {
    let t = clock_gettime(clock);
    // Both clocks start at boot: neither part is ever negative.
    t.tv_sec as u64 * NS_PER_S + t.tv_nsec as u64
}

/// The processor this thread runs on; 0 where the system cannot tell.
pub fn cpu() -> u32 {
    // SAFETY: takes no pointers and has no precondition. The C library reads it from memory the kernel keeps
    // up to date (rseq or vdso); rustix would make a system call.
    let cpu = unsafe { libc::sched_getcpu() };
    u32::try_from(cpu).unwrap_or(0)
}

/// How long the system lets a program compute before another one has its turn, ns; [`SLICE_NS`] where it does
/// not say (before Linux 6.12).
pub fn slice() -> u64 {
    static SLICE: OnceLock<u64> = OnceLock::new();
    *SLICE.get_or_init(|| {
        let mut attributes = [0_u64; 7];
        let bytes = size_of_val(&attributes);
        // SAFETY: the kernel writes at most `bytes` bytes to `attributes`, which has them and may hold any;
        // the other arguments are numbers (this thread, no flags).
        let done = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, bytes, 0) };
        // size and policy, flags, nice and priority, runtime (of others: the slice), …
        let told = if done == 0 { attributes[3] } else { 0 };
        if told == 0 { SLICE_NS } else { told.clamp(SLICE_NS / 2, 4 * SLICE_NS) }
    })
}

/// Binds the calling thread to one processor, for measurements.
///
/// # Errors
/// `INVAL` when there is no such processor or it is not permitted.
pub fn pin(cpu: u32) -> Result<(), Errno> {
    let mut set = CpuSet::new();
    let cpu = cpu as usize;
    if cpu >= CpuSet::MAX_CPU {
        return Err(Errno::INVAL);
    }
    set.set(cpu);
    sched_setaffinity(None, &set)
}

fn timespec(ns: u64) -> Option<Timespec> {
    let seconds = i64::try_from(ns / NS_PER_S).ok()?;
    Some(Timespec { tv_sec: seconds, tv_nsec: (ns % NS_PER_S) as _ })
}

/// A deadline as absolute time of the clock by which the kernel has sleepers wait, which stands still while
/// the machine sleeps; `None` for never.
pub(crate) fn absolute(deadline: Deadline) -> Option<Timespec> {
    let left = (deadline != Deadline::NEVER).then(|| deadline.remaining(now()))?;
    timespec(read(ClockId::Monotonic).saturating_add(left))
}

/// What is left until a deadline as the kernel's relative time; `None` for never.
pub(crate) fn relative(deadline: Deadline) -> Option<Timespec> {
    (deadline != Deadline::NEVER).then(|| timespec(deadline.remaining(now())))?
}

#[cfg(test)]
mod tests {
    use super::{ClockId, CpuSet, NS_PER_S, absolute, cpu, now, read, relative, slice};
    use dvs_abi::Deadline;

    #[test]
    fn time_moves_forward_and_the_processor_exists() {
        let a = now();
        assert!(now() >= a && a > 0);
        assert!((cpu() as usize) < CpuSet::MAX_CPU);
        assert!((100_000..10_000_000).contains(&slice()), "{}", slice());
    }

    #[test]
    fn never_has_no_time_and_the_past_none_left() {
        assert!(absolute(Deadline::NEVER).is_none() && relative(Deadline::NEVER).is_none());
        let early = read(ClockId::Monotonic);
        let t = absolute(Deadline::from_ns(now() + 3 * NS_PER_S)).unwrap();
        let at = t.tv_sec as u64 * NS_PER_S + t.tv_nsec as u64;
        let late = read(ClockId::Monotonic);
        assert!((early + 2 * NS_PER_S..=late + 3 * NS_PER_S).contains(&at), "{early} {at} {late}");
        let t = relative(Deadline::from_ns(1)).unwrap();
        assert_eq!((t.tv_sec, t.tv_nsec), (0, 0));
    }
}
