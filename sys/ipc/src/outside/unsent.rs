//! What is said to the daemon in passing, by the control thread above all, while there is no room in the
//! socket.
//!
//! Why: a daemon does not read what a session asks as long as the session has not read what it was told. If
//! the one thread that reads waited for room in the socket, neither would go on.
//!
//! ```text
//!  control thread: read, carry in, add ──► [ FreeLane, FreeLane, Heard{9} ] ──► sent as far as there is room
//!                                              after each record that was read, and each that others sent
//! ```
//! A full socket is full of requests of this session: their answers are what is read next. So what is left is
//! sent with one of them, and at the latest with the next request.

use super::Channel;
use crate::control::{self, Numbered, Request};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Records without an answer, in their order. As many as there are lanes and requests under way, and one.
#[derive(Default)]
pub(super) struct Unsent {
    records: Mutex<VecDeque<Request>>,
}

impl Unsent {
    /// To be sent soon.
    pub fn add(&self, request: Request) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(request, Request::Heard { .. }) {
            // A later mark says what an earlier one did.
            records.retain(|r| !matches!(r, Request::Heard { .. }));
        }
        records.push_back(request);
    }

    /// Sends as much as there is room for. Never blocks.
    pub fn send(&self, channel: &dyn Channel) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(request) = records.pop_front() {
            let Ok(bytes) = control::encode(&Numbered { id: 0, request: request.clone() }) else { continue };
            match channel.try_send(&bytes) {
                Ok(true) => {}
                Ok(false) => return records.push_front(request),
                // A daemon that is gone has nothing to be told; the control thread finds the end.
                Err(_) => return records.clear(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Unsent;
    use crate::control::{self, Numbered, Request};
    use crate::outside::{Channel, Mapped, SessionMemory};
    use dvs_abi::{Code, Error, Result};
    use std::sync::Mutex;

    /// A socket with room for so many records.
    struct Narrow {
        room: Mutex<usize>,
        sent: Mutex<Vec<Request>>,
    }

    impl Channel for Narrow {
        fn hello(&self, _: &[u8]) -> Result<SessionMemory> {
            Err(Error::early(Code::NOSYS))
        }
        fn send(&self, _: &[u8]) -> Result<()> {
            panic!("the control thread must not wait for room");
        }
        fn try_send(&self, record: &[u8]) -> Result<bool> {
            let mut room = self.room.lock().unwrap();
            let left = *room;
            if left > 0 {
                *room -= 1;
                self.sent.lock().unwrap().push(control::decode::<Numbered>(record).unwrap().request);
            }
            Ok(left > 0)
        }
        fn receive(&self) -> Option<(Vec<u8>, Vec<Mapped>)> {
            None
        }
        fn end(&self) {}
    }

    #[test]
    fn what_has_no_room_goes_later_and_only_the_last_mark_counts() {
        let channel = Narrow { room: Mutex::new(1), sent: Mutex::default() };
        let unsent = Unsent::default();
        let free = |lane| Request::FreeLane { link: 0, lane };
        for request in [free(1), Request::Heard { mark: 3 }, free(2), Request::Heard { mark: 4 }] {
            unsent.add(request);
            unsent.send(&channel);
        }
        assert_eq!(*channel.sent.lock().unwrap(), [free(1)]);
        *channel.room.lock().unwrap() = 9;
        unsent.send(&channel);
        assert_eq!(*channel.sent.lock().unwrap(), [free(1), free(2), Request::Heard { mark: 4 }]);
    }
}
