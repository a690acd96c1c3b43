//! A container, as all nodes know it.

use crate::command::{ContainerSpec, Refusal};
use crate::epoch::Epoch;
use crate::pool::Pool;
use crate::service::Service;
use dvs_abi::limits::{NAME_BYTES, PROCS_MAX, SYSPROCS_MAX, TASKS_MAX};
use dvs_abi::{Code, NodeId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A container.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Container {
    /// As its owner described it; `nodes` follows `Allow`.
    pub spec: ContainerSpec,
    /// The command that created it.
    pub born: Epoch,
    /// Its user slots.
    pub pool: Pool,
    /// Its services, by slot.
    pub services: BTreeMap<i32, Service>,
}

impl ContainerSpec {
    /// Whether the numbers make sense (facts §1.2).
    ///
    /// # Errors
    /// `NAMESIZE` for the name, `BADRANGE` for the rest.
    pub fn check(&self) -> Result<(), Refusal> {
        check_name("container", &self.name)?;
        let limits = (1..=TASKS_MAX).contains(&self.tasks)
            && (1..=PROCS_MAX).contains(&self.procs)
            && (1..=SYSPROCS_MAX).contains(&self.sysprocs)
            && self.sysprocs > self.tasks
            && self.sysprocs < self.tasks + self.procs;
        if !limits {
            let text = format!(
                "{} tasks, {} processes and a system prefix of {} do not go together: at most {TASKS_MAX}, \
                 {PROCS_MAX} and {SYSPROCS_MAX}, and the prefix lies between the tasks and all slots",
                self.tasks, self.procs, self.sysprocs
            );
            return Err(Refusal::new(Code::BADRANGE, text));
        }
        if self.nodes == 0 {
            return Err(Refusal::new(Code::BADRANGE, "a container needs a node it may run on"));
        }
        Ok(())
    }

    /// Whether it may run on a node.
    pub fn runs_on(&self, node: NodeId) -> bool {
        u32::from(node.0) < u32::BITS && self.nodes & 1 << node.0 != 0
    }

    /// The first slot of user processes.
    pub fn first_user(&self) -> i32 {
        self.sysprocs - self.tasks
    }
}

impl Container {
    /// One without services.
    pub fn new(spec: ContainerSpec, born: Epoch) -> Self {
        let pool = Pool::new(spec.first_user(), spec.procs);
        Container { spec, born, pool, services: BTreeMap::new() }
    }
}

/// Whether a name of a `what` may be used.
///
/// # Errors
/// `NAMESIZE`: empty or too long. `BADVALUE`: other letters.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.len() > NAME_BYTES {
        let text = format!("the name of a {what} has 1 to {NAME_BYTES} bytes, '{name}' has {}", name.len());
        return Err(Refusal::new(Code::NAMESIZE, text));
    }
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    match name.chars().find(|c| !fine(*c)) {
        Some(c) => {
            let text =
                format!("the name '{name}' of a {what} may not have {c:?}; take letters, digits, - _ .");
            Err(Refusal::new(Code::BADVALUE, text))
        }
        None => Ok(()),
    }
}
