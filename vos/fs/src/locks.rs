//! Who has which bytes of a file locked. Pure.
//!
//! Two kinds that do not see each other: ranges of bytes, of a process or an open file, and whole files
//! (`flock`), of an open file. An owner's new lock takes the place of its old ones where they overlap:
//!
//! ```text
//! had    ├──── shared ────────────────┤
//! wants           ├─ exclusive ─┤
//! has    ├ shared ┤─ exclusive ─├ shared ┤
//! ```

use crate::backend::Result;
use dvs_api::Errno;
use dvs_api::fs::{Lock, LockKind};

/// Locks of one file.
const LOCKS_MAX: usize = 4096;

/// Who has a lock: which client, and who within it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Held {
    client: u64,
    owner: u64,
    pid: u32,
    kind: LockKind,
    start: u64,
    end: u64,
    whole: bool,
}

/// The locks of one file.
#[derive(Clone, Default, Debug)]
pub struct Locks {
    held: Vec<Held>,
}

impl Locks {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// A lock of another owner that is in the way.
    pub fn in_the_way(&self, client: u64, lock: &Lock) -> Option<Lock> {
        let kind = lock.kind?;
        let found = self.held.iter().find(|h| {
            h.whole == lock.whole
                && (h.client, h.owner) != (client, lock.owner)
                && h.start <= lock.end
                && lock.start <= h.end
                && (kind == LockKind::Exclusive || h.kind == LockKind::Exclusive)
        })?;
        let Held { owner, pid, kind, start, end, whole, .. } = *found;
        Some(Lock { owner, pid, kind: Some(kind), start, end, whole })
    }

    /// Takes a lock, or gives it back.
    ///
    /// # Errors
    /// `AGAIN`: another owner's is in the way. `NOLCK`: there are too many. `INVAL`: it ends before it
    /// begins.
    pub fn set(&mut self, client: u64, lock: &Lock) -> Result<()> {
        if lock.end < lock.start {
            return Err(Errno::INVAL);
        }
        if self.in_the_way(client, lock).is_some() {
            return Err(Errno::AGAIN);
        }
        if lock.kind.is_some() && self.held.len() + 2 > LOCKS_MAX {
            return Err(Errno::NOLCK);
        }
        let mut left = Vec::with_capacity(self.held.len() + 2);
        for held in self.held.drain(..) {
            let mine = (held.client, held.owner, held.whole) == (client, lock.owner, lock.whole);
            if !mine || held.end < lock.start || lock.end < held.start {
                left.push(held);
                continue;
            }
            if held.start < lock.start {
                left.push(Held { end: lock.start - 1, ..held });
            }
            if held.end > lock.end {
                left.push(Held { start: lock.end + 1, ..held });
            }
        }
        self.held = left;
        if let Some(kind) = lock.kind {
            let Lock { owner, pid, start, end, whole, .. } = *lock;
            self.held.push(Held { client, owner, pid, kind, start, end, whole });
        }
        Ok(())
    }

    /// A client is gone.
    pub fn forget(&mut self, client: u64) {
        self.held.retain(|h| h.client != client);
    }
}

#[cfg(test)]
mod tests {
    use super::Locks;
    use dvs_api::Errno;
    use dvs_api::fs::{Lock, LockKind};

    fn lock(owner: u64, kind: Option<LockKind>, start: u64, end: u64) -> Lock {
        Lock { owner, pid: owner as u32, kind, start, end, whole: false }
    }

    #[test]
    fn a_lock_is_shared_or_not_and_given_back_in_parts() {
        let (shared, exclusive) = (Some(LockKind::Shared), Some(LockKind::Exclusive));
        let mut l = Locks::default();
        l.set(1, &lock(1, shared, 0, 99)).unwrap();
        l.set(2, &lock(1, shared, 50, u64::MAX)).unwrap();
        assert_eq!(l.set(2, &lock(1, exclusive, 90, 95)), Err(Errno::AGAIN));
        l.set(1, &lock(1, None, 90, 95)).unwrap();
        l.set(2, &lock(1, exclusive, 90, 95)).unwrap();
        let found = l.in_the_way(3, &lock(9, shared, 92, 92)).unwrap();
        assert_eq!((found.start, found.end, found.kind), (90, 95, exclusive));
        assert_eq!(l.in_the_way(3, &lock(9, shared, 96, 99)), None);
        assert_eq!(l.set(3, &lock(9, exclusive, 89, 89)), Err(Errno::AGAIN));
        let whole = Lock { whole: true, ..lock(9, exclusive, 0, u64::MAX) };
        l.set(3, &whole).unwrap();
        l.forget(1);
        l.forget(2);
        l.forget(3);
        assert!(l.is_empty());
    }

    /// Beside an array of every byte.
    #[test]
    fn random_locks_agree_with_an_array_of_every_byte() {
        let mut chance = 3_u64;
        let mut below = |n: u64| {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (chance >> 33) % n
        };
        let (mut l, mut model) = (Locks::default(), [[None; 3]; 32]);
        for _ in 0..20_000 {
            let (owner, start) = (below(3), below(32));
            let end = start + below(32 - start);
            let kind = [None, Some(LockKind::Shared), Some(LockKind::Exclusive)][below(3) as usize];
            let bytes = start as usize..=end as usize;
            let conflict = |others: &[Option<LockKind>; 3]| {
                (0..3).filter(|o| *o != owner as usize).any(|o| match (kind, others[o]) {
                    (None, _) | (_, None) => false,
                    (a, b) => a == Some(LockKind::Exclusive) || b == Some(LockKind::Exclusive),
                })
            };
            let expected = !model[bytes.clone()].iter().any(conflict);
            assert_eq!(l.set(owner, &lock(0, kind, start, end)).is_ok(), expected);
            if expected {
                model[bytes].iter_mut().for_each(|b| b[owner as usize] = kind);
            }
        }
    }
}
