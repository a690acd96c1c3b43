//! A passive server that is no use but to be found out: a sum. What a request changes is what the sum is
//! then, so one that is lost, done twice or done on an old state shows in all answers after it.

use dvs_replica::call::Caller;
use dvs_replica::passive::{Plan, Server};

/// The sum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bank {
    sum: i64,
    changes: u64,
}

/// To add one. Anything else asks for the sum.
pub(super) const ADD: &[u8] = b"add";

impl Bank {
    /// How often something was added.
    pub fn changes(&self) -> u64 {
        self.changes
    }
}

fn number(bytes: &[u8]) -> i64 {
    bytes.try_into().map_or(0, i64::from_le_bytes)
}

impl Server for Bank {
    fn plan(&self, _: &Caller, request: &[u8]) -> Plan {
        let sum = self.sum + i64::from(request == ADD);
        let change = (request == ADD).then(|| sum.to_le_bytes().to_vec());
        Plan { change, answer: sum.to_le_bytes().to_vec() }
    }

    fn change(&mut self, change: &[u8]) {
        self.sum = number(change);
        self.changes += 1;
    }

    fn snapshot(&self) -> Vec<u8> {
        [self.sum.to_le_bytes(), self.changes.to_le_bytes()].concat()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let (sum, changes) = snapshot.split_at_checked(8).ok_or("sixteen bytes are a sum")?;
        *self = Bank { sum: number(sum), changes: number(changes) as u64 };
        Ok(())
    }
}
