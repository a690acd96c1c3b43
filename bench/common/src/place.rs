//! Where server and clients run. On the machines we know a wake-up across cores costs 25 times a switch on
//! one core, so a figure without its placement says nothing.

use std::str::FromStr;

use anyhow::{Result, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Placement of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Not pinned: the scheduler decides.
    #[default]
    Free,
    /// Everything on the first core we may use.
    Same,
    /// The server on the second core, clients on the first.
    Apart,
}

impl Place {
    /// The word of the command line.
    pub fn name(self) -> &'static str {
        match self {
            Place::Free => "free",
            Place::Same => "same",
            Place::Apart => "apart",
        }
    }

    /// Binds the calling thread, and the threads it will start, as a server or as a client.
    ///
    /// # Errors
    /// The kernel refused, or there is no second core for [`Place::Apart`].
    pub fn take(self, server: bool) -> Result<()> {
        let allowed = sched_getaffinity(None)?;
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&c| allowed.is_set(c)).collect();
        let core = match (self, server) {
            (Place::Free, _) => return Ok(()),
            (Place::Same, _) | (Place::Apart, false) => cores.first(),
            (Place::Apart, true) => cores.get(1),
        };
        let Some(&core) = core else { bail!("placement {} needs another core", self.name()) };
        let mut set = CpuSet::new();
        set.set(core);
        sched_setaffinity(None, &set)?;
        Ok(())
    }
}

impl FromStr for Place {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "free" => Ok(Place::Free),
            "same" => Ok(Place::Same),
            "apart" => Ok(Place::Apart),
            _ => bail!("unknown placement {word:?}: free, same or apart"),
        }
    }
}
