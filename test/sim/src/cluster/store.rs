//! What the servers of one service keep: a number that calls add to. It stands in for what replicates it: all
//! see the same at once, and whoever serves when it may not is found out by what it does to it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// By slot.
#[derive(Debug, Default)]
pub struct Store {
    values: BTreeMap<i32, i64>,
    done: BTreeMap<u64, i64>,
}

/// The one of all nodes of a world.
pub type Shared = Rc<RefCell<Store>>;

impl Store {
    /// Adds one for a call. `once`: the service has a table of duplicates, and a call that was done before is
    /// answered as it was then.
    pub fn add(&mut self, slot: i32, call: u64, once: bool) -> i64 {
        if let Some(before) = self.done.get(&call).filter(|_| once) {
            return *before;
        }
        let value = self.values.entry(slot).or_default();
        *value += 1;
        self.done.insert(call, *value);
        *value
    }
}
