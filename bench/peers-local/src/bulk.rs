//! Copies: out of another process by `process_vm_readv`, and inside one process by `memcpy`. In GB/s (10^9
//! bytes).
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::io::{IoSliceMut, Read};

use anyhow::{Context, Result, bail};
use dvs_bench_common::{Ask, Child, Place, Side, ready, time_batch};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

/// GB/s of one copy of `bytes` that takes `us` microseconds.
fn rate(bytes: usize, us: f64) -> f64 {
    bytes as f64 / us / 1e3
}

/// Reads a buffer of a child that sleeps. Children may be read without privileges.
pub fn vm_read(ask: &Ask) -> Result<f64> {
    let words = ["vm-hold", "--bytes", &ask.bytes.to_string()].map(String::from);
    let mut holder = Child::again(Side::Here, &words)?;
    let line = holder.line()?;
    let base = line.strip_prefix("READY ").with_context(|| format!("expected READY, got {line:?}"))?;
    let remote = [RemoteIoVec { base: base.parse()?, len: ask.bytes }];
    let pid = Pid::from_raw(i32::try_from(holder.pid())?);
    let mut buffer = vec![0_u8; ask.bytes];
    ask.place.take(false)?;
    let mean = time_batch(
        &mut || match process_vm_readv(pid, &mut [IoSliceMut::new(&mut buffer)], &remote)? {
            bytes if bytes == ask.bytes => Ok(()),
            bytes => bail!("{bytes} of {} bytes were read", ask.bytes),
        },
        ask.window,
    )?;
    if buffer.iter().any(|&byte| byte != 2) {
        bail!("wrong bytes were read");
    }
    Ok(rate(ask.bytes, mean))
}

/// The child of [`vm_read`]: holds a buffer until its input ends.
pub fn vm_hold(ask: &Ask) -> Result<f64> {
    let buffer = black_box(vec![2_u8; ask.bytes]);
    ready(&(buffer.as_ptr() as usize).to_string())?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(f64::from(black_box(&buffer)[0]))
}

/// Copies from one buffer to another of one process.
pub fn memcpy(ask: &Ask) -> Result<f64> {
    Place::Same.take(false)?;
    let (from, mut to) = (vec![1_u8; ask.bytes], vec![2_u8; ask.bytes]);
    let mean = time_batch(
        &mut || {
            black_box(&mut to).copy_from_slice(black_box(&from));
            Ok(())
        },
        ask.window,
    )?;
    Ok(rate(ask.bytes, mean))
}
