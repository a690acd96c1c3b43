//! A server's machine with the list of its replicas beside it: both are what the log has made of them.
//!
//! ```text
//!   entry  ── begins with the mark? ─ yes ─► the list, if it follows the version before
//!                                    └ no ──► the machine
//! ```
//! The mark is no number as entries and states of machines begin with one, so what was written before there
//! were lists reads as it did.

use crate::list::List;
use crate::passive::Planned;
use crate::{call::CallName, service::Service};
use dvs_log::Machine;

/// Ten bytes of ones: longer than any number is written.
const MARK: [u8; 10] = [0xff; 10];

/// A machine and the list of those that run it.
#[derive(Clone, Debug)]
pub struct Listed<M> {
    machine: M,
    list: Option<List>,
}

/// The entry that makes this the list.
pub fn entry(list: &List) -> Vec<u8> {
    // Plain data into memory cannot fail.
    [&MARK[..], &postcard::to_stdvec(list).unwrap_or_default()].concat()
}

/// What is said of an entry: whether it is the list now.
pub fn is_done(answer: &[u8]) -> bool {
    answer == [1]
}

impl<M> Listed<M> {
    /// A machine whose replicas are those it was founded with.
    pub fn new(machine: M) -> Self {
        Listed { machine, list: None }
    }

    /// The list, if it was ever changed.
    pub fn list(&self) -> Option<&List> {
        self.list.as_ref()
    }

    /// The machine, to be looked at.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    fn change(&mut self, bytes: &[u8]) -> bool {
        let version = self.list.as_ref().map_or(0, List::version);
        let next = postcard::from_bytes::<List>(bytes).ok();
        let next = next.filter(|l| l.is_sound() && Some(l.version()) == version.checked_add(1));
        let done = next.is_some();
        self.list = next.or(self.list.take());
        done
    }
}

impl<M: Machine> Machine for Listed<M> {
    fn apply(&mut self, index: u64, command: &[u8]) -> Vec<u8> {
        match command.strip_prefix(&MARK) {
            Some(list) => vec![u8::from(self.change(list))],
            None => self.machine.apply(index, command),
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        let state = self.machine.snapshot();
        let Some(list) = &self.list else { return state };
        // Plain data into memory cannot fail.
        [&MARK[..], &postcard::to_stdvec(list).unwrap_or_default(), &state].concat()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let (list, state) = match snapshot.strip_prefix(&MARK) {
            None => (None, snapshot),
            Some(rest) => {
                let (list, state) =
                    postcard::take_from_bytes::<List>(rest).map_err(|_| "a list of replicas that is none")?;
                (Some(list).filter(List::is_sound), state)
            }
        };
        self.machine.restore(state)?;
        self.list = list;
        Ok(())
    }
}

impl<M: Service> Service for Listed<M> {
    const PLANS: bool = M::PLANS;

    fn prepare(&self, name: CallName, request: &[u8]) -> Planned {
        self.machine.prepare(name, request)
    }

    fn query(&self, request: &[u8]) -> Option<Vec<u8>> {
        self.machine.query(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::Change;
    use dvs_abi::NodeId;

    struct Bytes(Vec<u8>);

    impl Machine for Bytes {
        fn apply(&mut self, _: u64, command: &[u8]) -> Vec<u8> {
            self.0.extend_from_slice(command);
            self.0.clone()
        }
        fn snapshot(&self) -> Vec<u8> {
            self.0.clone()
        }
        fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
            self.0 = snapshot.to_vec();
            Ok(())
        }
    }

    #[test]
    fn of_two_changes_wanted_at_once_one_is_done() {
        let mut m = Listed::new(Bytes(Vec::new()));
        let list = List::founding(&[NodeId(0), NodeId(1)]);
        let one = list.with(Change::Add(NodeId(2))).unwrap();
        let other = list.with(Change::Add(NodeId(3))).unwrap();
        assert!(is_done(&m.apply(1, &entry(&one))));
        assert!(!is_done(&m.apply(2, &entry(&other))));
        assert!(!is_done(&m.apply(3, &MARK)), "nonsense");
        assert_eq!(m.list(), Some(&one));
        assert_eq!(m.apply(4, b"x"), b"x");
    }

    #[test]
    fn a_state_has_the_list_and_one_of_before_there_were_lists_is_read() {
        let mut m = Listed::new(Bytes(b"old".to_vec()));
        assert_eq!(m.snapshot(), b"old", "nothing was changed");
        let list = List::founding(&[NodeId(0)]).with(Change::Add(NodeId(2))).unwrap();
        m.apply(1, &entry(&list));
        let mut new = Listed::new(Bytes(Vec::new()));
        new.restore(&m.snapshot()).unwrap();
        assert_eq!((new.list(), &new.machine().0[..]), (Some(&list), &b"old"[..]));
        new.restore(b"older").unwrap();
        assert_eq!((new.list(), &new.machine().0[..]), (None, &b"older"[..]));
        assert!(new.restore(&MARK).is_err());
    }
}
