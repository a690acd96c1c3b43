//! What is replicated: the entries, in their order. What follows from them each daemon finds for itself.

use crate::control::{brief, card, genesis};
use crate::member::Voice;
use dvs_control::command::Entry;
use dvs_control::epoch::Epoch;
use dvs_control::state::State;
use dvs_log::Machine;
use std::cell::RefCell;
use std::rc::Rc;

/// What the ledger tells its council.
#[derive(Debug)]
pub(super) enum News {
    /// An entry was decided, at this place of the log.
    Applied(u64, Entry),
    /// These were, from the first on.
    Restored(Vec<Entry>),
}

/// The entries.
#[derive(Debug)]
pub struct Ledger {
    entries: Vec<Entry>,
    voice: Voice<News>,
}

impl Ledger {
    pub(super) fn new(voice: Voice<News>) -> Self {
        Ledger { entries: Vec::new(), voice }
    }
}

/// An entry for the log.
pub(super) fn encode(entry: &Entry) -> Vec<u8> {
    // Cannot fail: all of it can be written, and memory is the only bound.
    postcard::to_stdvec(entry).unwrap_or_default()
}

impl Machine for Ledger {
    fn apply(&mut self, place: u64, command: &[u8]) -> Vec<u8> {
        if let Ok(entry) = postcard::from_bytes::<Entry>(command) {
            self.entries.push(entry.clone());
            self.voice.tell(News::Applied(place, entry));
        }
        Vec::new()
    }

    fn snapshot(&self) -> Vec<u8> {
        // Cannot fail: as above.
        postcard::to_stdvec(&self.entries).unwrap_or_default()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        self.entries = postcard::from_bytes(snapshot).map_err(|e| e.to_string())?;
        self.voice.tell(News::Restored(self.entries.clone()));
        Ok(())
    }
}

/// What was decided, by whoever heard of it first; the one of all nodes of a world.
pub type Truth = Rc<RefCell<Decided>>;

/// Entries and what follows from them.
#[derive(Debug)]
pub struct Decided {
    state: State,
    log: Vec<Entry>,
    /// A place at which two nodes have other entries.
    differs: Option<u64>,
}

impl Default for Decided {
    fn default() -> Self {
        let mut all = Decided { state: State::found(card(0)), log: Vec::new(), differs: None };
        (1..).zip(genesis()).for_each(|(place, entry)| all.decide(place, &entry));
        all
    }
}

impl Decided {
    /// Somebody knows the entry at this place.
    pub(super) fn decide(&mut self, place: u64, entry: &Entry) {
        match self.log.get(place as usize - 1) {
            Some(known) if known != entry => self.differs = Some(place),
            Some(_) => {}
            None => {
                // What its sender is told is of no matter here.
                let _ = self.state.apply(Epoch(place), entry, &mut Vec::new());
                self.log.push(entry.clone());
            }
        }
    }

    /// A place at which two nodes have other entries, if there is one.
    pub fn differs(&self) -> Option<u64> {
        self.differs
    }

    /// What follows from all of them.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.log.len() as u64
    }

    /// The last of them, for messages of violations.
    pub fn tail(&self, entries: usize) -> String {
        let skip = self.log.len().saturating_sub(entries);
        let all = self.log.iter().enumerate().skip(skip);
        all.map(|(n, e)| format!("{} {}", n + 1, brief(e))).collect::<Vec<_>>().join("\n")
    }
}
