//! A file system in a few lines, and random calls to both.

use super::{NOW, at, read, volume};
use crate::backend::{Backend, Result};
use crate::volume::Volume;
use dvs_api::Errno;
use dvs_api::fs::{Allocate, FileKind, Ino, Rename, Seek, SetAttr, What, Who};
use std::collections::BTreeMap;

/// Files of one directory, each of bytes.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Model {
    pub files: BTreeMap<String, Vec<u8>>,
}

/// A little generator, so that a failure can be repeated.
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// One random call to both; what they say must be the same.
pub fn step(v: &mut Volume, m: &mut Model, chance: &mut Chance) {
    let name = format!("f{}", chance.below(6));
    let other = format!("f{}", chance.below(6));
    let ino = v.lookup(at(Ino::ROOT, &name)).map(|a| a.ino);
    assert_eq!(ino.is_ok(), m.files.contains_key(&name));
    let (offset, length) = (chance.below(300_000), chance.below(40_000));
    match (chance.below(10), ino) {
        (0 | 1, Err(_)) => {
            let what = What { kind: FileKind::File, mode: 0o600, rdev: 0, who: Who::default() };
            if v.make(at(Ino::ROOT, &name), &what, b"", NOW).is_ok() {
                m.files.insert(name, Vec::new());
            }
        }
        (0..=3, Ok(ino)) => {
            let byte = 1 + chance.below(255) as u8;
            let data = vec![byte; length as usize];
            let done = v.write(ino, Some(offset), &data, NOW).map(|_| ());
            if done == Err(Errno::NOSPC) {
                return;
            }
            done.unwrap();
            let file = m.files.get_mut(&name).unwrap();
            let end = (offset + length) as usize;
            if file.len() < end && length > 0 {
                file.resize(end, 0);
            }
            if length > 0 {
                file[offset as usize..end].copy_from_slice(&data);
            }
        }
        (4, Ok(ino)) => {
            let set = SetAttr { size: Some(offset), ..SetAttr::default() };
            if v.set_attr(ino, &set, NOW).is_ok() {
                m.files.get_mut(&name).unwrap().resize(offset as usize, 0);
            }
        }
        (5, Ok(ino)) => allocate(v, m.files.get_mut(&name), ino, (offset, length + 1), chance),
        (6, Ok(_)) => {
            v.unlink(at(Ino::ROOT, &name), NOW).unwrap();
            m.files.remove(&name);
        }
        (7, Ok(_)) => {
            let done: Result<()> =
                v.rename(at(Ino::ROOT, &name), at(Ino::ROOT, &other), Rename::Replace, NOW);
            if done.is_ok() {
                let file = m.files.remove(&name).unwrap();
                m.files.insert(other, file);
            }
        }
        (_, Ok(ino)) => {
            let file = &m.files[&name];
            let from = (offset as usize).min(file.len());
            let to = (from + length as usize).min(file.len());
            assert!(read(v, ino, offset, length as usize) == file[from..to], "{name} at {offset}");
            if let Ok(data) = v.seek(ino, offset, Seek::Data) {
                let gap = &file[offset as usize..data as usize];
                assert!(gap.iter().all(|b| *b == 0), "a hole has bytes");
            }
        }
        _ => {}
    }
}

/// A range is cleared, or promised.
fn allocate(
    v: &mut Volume,
    file: Option<&mut Vec<u8>>,
    ino: Ino,
    (offset, length): (u64, u64),
    chance: &mut Chance,
) {
    let how = [Allocate::Punch, Allocate::Zero, Allocate::Keep][chance.below(3) as usize];
    let done = v.allocate(ino, offset, length, how, NOW).is_ok();
    let Some(file) = file.filter(|_| done && how != Allocate::Keep) else { return };
    let end = (offset + length) as usize;
    if how == Allocate::Zero && file.len() < end {
        file.resize(end, 0);
    }
    let end = end.min(file.len());
    file[(offset as usize).min(end)..end].fill(0);
}

/// Both have the same files with the same bytes.
pub fn same(v: &mut Volume, m: &Model) -> std::result::Result<(), String> {
    let mut names = Vec::new();
    v.read_dir(Ino::ROOT, 0, &mut |entry, name| {
        names.push((String::from_utf8(name.to_vec()).unwrap(), entry.ino));
        true
    })
    .map_err(|e| e.to_string())?;
    names.sort();
    if !names.iter().map(|n| &n.0).eq(m.files.keys()) {
        return Err(format!("names {names:?}, not {:?}", m.files.keys()));
    }
    for (name, ino) in names {
        let want = &m.files[&name];
        let mut bytes = vec![0; want.len() + 1];
        let n = v.read(ino, 0, &mut bytes, NOW).map_err(|e| format!("{name}: {e}"))?;
        if bytes[..n] != want[..] {
            let first = (0..n.min(want.len())).find(|i| bytes[*i] != want[*i]);
            return Err(format!("{name}: {n} bytes, not {}; differs at {first:?}", want.len()));
        }
    }
    Ok(())
}

#[test]
fn random_calls_do_what_a_simple_model_does() {
    for seed in 0..20 {
        let (mut v, mut m, mut chance) = (volume(8 << 20), Model::default(), Chance(seed));
        for _ in 0..1500 {
            step(&mut v, &mut m, &mut chance);
            if chance.below(40) == 0 {
                v.commit().unwrap();
            }
        }
        same(&mut v, &m).unwrap();
        assert_eq!(v.check().unwrap().wrong, Vec::<String>::new());
    }
}
