//! A disk that loses what was not flushed, and what a volume is after that.

use super::NOW;
use super::model::{Chance, Model, same, step};
use crate::volume::Volume;
use dvs_api::Errno;
use dvs_api::disk::{BLOCK_BYTES, Device};
use dvs_disk::Memory;
use std::sync::{Arc, Mutex};

/// Everything ever asked of the disk, in its order.
#[derive(Clone, Debug)]
enum Asked {
    Write(u64, Vec<u8>),
    Flush,
}

#[derive(Debug)]
struct Recorded {
    disk: Memory,
    log: Mutex<Vec<Asked>>,
}

impl Device for Recorded {
    fn length(&self) -> u64 {
        self.disk.length()
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        self.disk.read(offset, into)
    }

    fn write(&self, offset: u64, from: &[u8]) -> Result<(), Errno> {
        self.log.lock().unwrap().push(Asked::Write(offset, from.to_vec()));
        self.disk.write(offset, from)
    }

    fn flush(&self) -> Result<(), Errno> {
        self.log.lock().unwrap().push(Asked::Flush);
        Ok(())
    }
}

const BYTES: u64 = 8 << 20;

/// A disk on which all up to the last flush is, and of what came since each block or not, by chance.
fn after_crash(log: &[Asked], chance: &mut Chance) -> Arc<Memory> {
    let disk = Memory::new(BYTES);
    let flushed = log.iter().rposition(|a| matches!(a, Asked::Flush)).unwrap_or(0);
    let kind = chance.below(3);
    for (n, asked) in log.iter().enumerate() {
        let Asked::Write(offset, bytes) = asked else { continue };
        let (mut at, end) = (*offset, offset + bytes.len() as u64);
        while at < end {
            let next = ((at / BLOCK_BYTES + 1) * BLOCK_BYTES).min(end);
            let kept = n < flushed || kind == 0 || kind == 1 && chance.below(2) == 0;
            if kept {
                disk.write(at, &bytes[(at - offset) as usize..(next - offset) as usize]).unwrap();
            }
            at = next;
        }
    }
    Arc::new(disk)
}

#[test]
fn after_a_crash_at_any_moment_the_volume_is_as_at_its_last_commit_or_the_one_under_way() {
    for seed in 0..12 {
        let mut chance = Chance(seed * 77 + 1);
        let disk = Arc::new(Recorded { disk: Memory::new(BYTES), log: Mutex::default() });
        let mut v = Volume::format(disk.clone(), NOW).unwrap();
        // What the volume was at each commit, and where in the log that was over.
        let (mut model, mut states) =
            (Model::default(), vec![(disk.log.lock().unwrap().len(), Model::default())]);
        for _ in 0..250 {
            step(&mut v, &mut model, &mut chance);
            if chance.below(12) == 0 {
                v.commit().unwrap();
                states.push((disk.log.lock().unwrap().len(), model.clone()));
            }
        }
        let log = disk.log.lock().unwrap().clone();
        for _ in 0..60 {
            let first = states[0].0;
            let moment = first + chance.below((log.len() - first) as u64 + 1) as usize;
            let crashed = after_crash(&log[..moment], &mut chance);
            let mut v = Volume::open(crashed).unwrap_or_else(|e| panic!("seed {seed}, after {moment}: {e}"));
            assert_eq!(v.check().unwrap().wrong, Vec::<String>::new(), "seed {seed}, after {moment}");
            let last = states.iter().rposition(|(end, _)| *end <= moment).unwrap();
            let old = same(&mut v, &states[last].1);
            let new = states.get(last + 1).map(|(_, m)| same(&mut v, m));
            // The calls in between may have committed by themselves, when the disk was full.
            if old.is_err() && new.as_ref().is_none_or(|n| n.is_err()) {
                panic!("seed {seed}, after {moment} of {}: {old:?}, {new:?}", log.len());
            }
        }
    }
}
