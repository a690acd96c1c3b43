//! Which containers exist and on which nodes they may run, agreed by all nodes.
//!
//! Each container number is a register that every node holds; the greatest `(version, node that wrote it)`
//! wins, whatever the order in which writes arrive. So all nodes end with the same containers. It is not a
//! consensus: two operators who create the same number at the same moment on two nodes both get an answer and
//! one of the two containers is ended again. A replicated control plane takes the place of this type; nothing
//! outside it knows how agreement comes about.

use dvs_abi::limits::{NAME_BYTES, PROCS_MAX, SYSPROCS_MAX, TASKS_MAX};
use dvs_abi::{Code, Endpoint};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A container as its owner described it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct DcConfig {
    /// Its name.
    pub name: String,
    /// Negative slots.
    pub tasks: i32,
    /// Slots from zero up.
    pub procs: i32,
    /// Tasks and servers together.
    pub sysprocs: i32,
    /// Who is told of endpoints that end; `Endpoint::NONE` for nobody.
    pub warn: i32,
    /// Type of that message.
    pub warn_type: i32,
    /// One bit a node where it may run.
    pub nodes: u32,
    /// The write that created it: tells it from an earlier container of the same number and description,
    /// whose end a node may never have heard of.
    pub born: (u64, u16),
}

impl DcConfig {
    /// Whether the numbers make sense (facts §1.2).
    ///
    /// # Errors
    /// `BADRANGE` for limits, `NAMESIZE` for the name, `BADPROC` for the endpoint that is warned.
    pub fn check(&self) -> Result<(), Code> {
        if self.name.len() > NAME_BYTES {
            return Err(Code::NAMESIZE);
        }
        let limits = (1..=TASKS_MAX).contains(&self.tasks)
            && (1..=PROCS_MAX).contains(&self.procs)
            && (1..=SYSPROCS_MAX).contains(&self.sysprocs)
            && self.sysprocs > self.tasks
            && self.sysprocs < self.tasks + self.procs;
        if !limits {
            return Err(Code::BADRANGE);
        }
        let warn = Endpoint::from_raw(self.warn);
        if warn != Endpoint::NONE && !warn.in_table(self.tasks, self.procs) {
            return Err(Code::BADPROC);
        }
        Ok(())
    }

    /// Whether it may run on a node.
    pub fn runs_on(&self, node: u16) -> bool {
        (node as usize) < dvs_abi::limits::NODES_MAX && self.nodes & 1 << node != 0
    }

    /// The first slot of user processes.
    pub fn first_user(&self) -> i32 {
        self.sysprocs - self.tasks
    }
}

/// The state of one container number.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Register {
    /// Rises with each write.
    pub version: u64,
    /// The node that wrote it.
    pub origin: u16,
    /// The container; `None` when it ended.
    pub value: Option<DcConfig>,
}

/// All container numbers.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    registers: BTreeMap<u16, Register>,
}

impl Cluster {
    /// Writes a container; gives back the register to tell the other nodes.
    pub fn write(&mut self, dc: u16, origin: u16, value: Option<DcConfig>) -> Register {
        let register = self.registers.entry(dc).or_default();
        *register = Register { version: register.version + 1, origin, value };
        register.clone()
    }

    /// Takes in what another node wrote; true when it is news. The caller has bounded `dc`.
    pub fn merge(&mut self, dc: u16, theirs: Register) -> bool {
        let ours = self.registers.entry(dc).or_default();
        let newer = (theirs.version, theirs.origin) > (ours.version, ours.origin);
        if newer {
            *ours = theirs;
        }
        newer
    }

    /// The register of a container; one that was never written has version 0.
    pub fn register(&self, dc: u16) -> Register {
        self.registers.get(&dc).cloned().unwrap_or_default()
    }

    /// Every register that was ever written.
    pub fn registers(&self) -> impl Iterator<Item = (u16, &Register)> {
        self.registers.iter().map(|(n, r)| (*n, r))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_agree_whatever_the_order() {
        let dc = |name: &str| DcConfig {
            name: name.into(),
            tasks: 35,
            procs: 100,
            sysprocs: 64,
            warn: Endpoint::NONE.raw(),
            warn_type: 0,
            nodes: 1,
            born: (1, 0),
        };
        let (mut a, mut b) = (Cluster::default(), Cluster::default());
        let from_a = a.write(3, 0, Some(dc("a")));
        let from_b = b.write(3, 1, Some(dc("b")));
        assert!(a.merge(3, from_b.clone()) && !b.merge(3, from_a));
        assert_eq!(a.registers().collect::<Vec<_>>(), b.registers().collect::<Vec<_>>());
        let ended = b.write(3, 1, None);
        assert!(a.merge(3, ended) && !a.merge(3, from_b));
        assert_eq!(a.registers().next().unwrap().1.value, None);
    }
}
