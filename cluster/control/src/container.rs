//! A container, as all nodes know it.

use crate::command::Refusal;
use crate::epoch::Epoch;
use crate::pool::Pool;
use crate::service::Service;
use dvs_abi::limits::NAME_BYTES;
use dvs_kern::node::config::{self, Unfit};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use dvs_kern::node::config::DcConfig;

/// A container.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Container {
    /// As its owner described it; `nodes` follows `Allow`.
    pub spec: DcConfig,
    /// Its user slots.
    pub pool: Pool,
    /// Its services, by slot.
    pub services: BTreeMap<i32, Service>,
}

impl Container {
    /// One without services, created by the command at `born`.
    pub fn new(spec: DcConfig, born: Epoch) -> Self {
        let pool = Pool::new(spec.first_user(), spec.procs);
        Container { spec: DcConfig { born: born.0, ..spec }, pool, services: BTreeMap::new() }
    }
}

/// Whether a container can be as it is wished.
///
/// # Errors
/// As [`DcConfig::check`] has it.
pub(crate) fn check(spec: &DcConfig) -> Result<(), Refusal> {
    let text = |unfit: Unfit| match unfit {
        Unfit::NameLength | Unfit::NameLetter(_) => name_text("container", &spec.name, unfit),
        Unfit::Limits => format!(
            "{} tasks, {} processes and a system prefix of {} do not go together: {unfit}",
            spec.tasks, spec.procs, spec.sysprocs
        ),
        Unfit::Warn | Unfit::Nowhere => format!("container '{}' cannot be: {unfit}", spec.name),
    };
    spec.check().map_err(|unfit| Refusal::new(unfit.code(), text(unfit)))
}

/// Whether a name of a `what` may be used.
///
/// # Errors
/// `NAMESIZE`: empty or too long. `BADVALUE`: other letters.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), Refusal> {
    config::check_name(name).map_err(|unfit| Refusal::new(unfit.code(), name_text(what, name, unfit)))
}

fn name_text(what: &str, name: &str, unfit: Unfit) -> String {
    match unfit {
        Unfit::NameLetter(c) => {
            format!("the name '{name}' of a {what} may not have {c:?}; take letters, digits, - _ .")
        }
        _ => format!("the name of a {what} has 1 to {NAME_BYTES} bytes, '{name}' has {}", name.len()),
    }
}
