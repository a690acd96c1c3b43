//! What a process holds, as the kernel says it.

use std::fs;
use std::path::PathBuf;

/// Descriptors of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// All.
    pub fds: usize,
    /// Shared-memory objects among them.
    pub memfds: usize,
    /// Shared-memory objects mapped.
    pub mapped: usize,
}

fn of(pid: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

/// What a process holds now.
pub fn held(pid: u32) -> Held {
    let links = fs::read_dir(of(pid, "fd")).into_iter().flatten().flatten();
    let targets: Vec<PathBuf> = links.filter_map(|l| fs::read_link(l.path()).ok()).collect();
    let memfd = |t: &&PathBuf| t.to_string_lossy().starts_with("/memfd:");
    let maps = fs::read_to_string(of(pid, "maps")).unwrap_or_default();
    Held {
        fds: targets.len(),
        memfds: targets.iter().filter(memfd).count(),
        mapped: maps.lines().filter(|l| l.contains("/memfd:")).count(),
    }
}

/// A line of `status`, KiB.
fn kib(pid: u32, field: &str) -> u64 {
    let text = fs::read_to_string(of(pid, "status")).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(field));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Resident memory, KiB.
pub fn resident_kib(pid: u32) -> u64 {
    kib(pid, "VmRSS:")
}

/// Resident memory that is the process' own, KiB: what it would give back.
pub fn anonymous_kib(pid: u32) -> u64 {
    kib(pid, "RssAnon:")
}

/// Fields of `stat` from the third (the state) on.
fn stat(pid: u32) -> Vec<String> {
    let text = fs::read_to_string(of(pid, "stat")).unwrap_or_default();
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace().map(String::from).collect()
}

/// Processor time used so far, in ticks of ten milliseconds.
pub fn cpu_ticks(pid: u32) -> u64 {
    let fields = stat(pid);
    let number = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    number(11) + number(12)
}

/// Children of a process that ended and were not waited for.
pub fn zombies_of(parent: u32) -> usize {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|e| e.file_name().to_string_lossy().parse::<u32>().ok());
    let zombie = |pid: &u32| {
        let fields = stat(*pid);
        let of = fields.get(1).and_then(|p| p.parse::<u32>().ok()) == Some(parent);
        of && fields.first().is_some_and(|s| s == "Z")
    };
    pids.filter(zombie).count()
}
