//! The news that a process ended, for the endpoint that wants to know (facts §2.5.3).
//!
//! The reference system has the dying process call its warn endpoint. Here it is gone by then, so the system
//! says it in its name: an ordinary message in the queue, which waits for its turn like every other, but
//! whose sender waits for nothing. It needs no answer.

use super::slot::{Entry, Warning};
use super::{Cmd, Ix, Outcome, Party, Rendezvous};
use dvs_abi::limits::WARNINGS_MAX;
use dvs_abi::{Code, Endpoint, Kind, Message};

impl Rendezvous {
    /// The process of `source` ended with `code`: `dst` receives a message of type `mtype` with the code in
    /// its first word and -1 in its second.
    ///
    /// # Errors
    /// `NOSPC` when `dst` has as many of them waiting as it may.
    pub fn warn(
        &mut self,
        dst: Ix,
        source: Endpoint,
        mtype: i32,
        code: i32,
        out: &mut Vec<Cmd>,
    ) -> Result<(), Code> {
        let s = &mut self.slots[dst as usize];
        let warning = Warning { source, mtype, code };
        if s.outcome.is_none() && s.accepts(source) {
            *s.mailbox = message_of(s.endpoint, warning);
            self.end(dst, Outcome::Message, out);
            return Ok(());
        }
        if s.warnings.len() >= WARNINGS_MAX {
            return Err(Code::NOSPC);
        }
        s.warnings.push_back(warning);
        s.queue.push_back(Entry { source, party: Party::Ended, kind: Kind::Send });
        Ok(())
    }

    /// What an entry of [`Party::Ended`] says.
    pub(super) fn take_warning(&mut self, me: Ix, source: Endpoint, into: &mut Message) {
        let s = &mut self.slots[me as usize];
        let first = s.warnings.iter().position(|w| w.source == source);
        if let Some(warning) = first.and_then(|at| s.warnings.remove(at)) {
            *into = message_of(s.endpoint, warning);
        }
    }
}

fn message_of(to: Endpoint, w: Warning) -> Message {
    let mut m = Message::new(w.mtype);
    m.set_route(w.source, to);
    m.set_kind(Kind::Send);
    m.set_word(0, i64::from(w.code) as u64);
    m.set_word(1, -1i64 as u64);
    m
}

#[cfg(test)]
mod tests {
    use crate::rendezvous::{Cmd, Filter, Outcome, Received, Rendezvous, Shape, Slot, Step};
    use dvs_abi::limits::WARNINGS_MAX;
    use dvs_abi::{Code, DcId, Endpoint, Message, Privileges};

    fn table() -> Rendezvous {
        let mut r = Rendezvous::new();
        let shape = Shape { tasks: 35, procs: 221, sysprocs: 64 };
        r.bind(Slot::new(DcId(0), Endpoint::new(0, 0), shape, Privileges::at_bind(0, 35, 64))).unwrap();
        r
    }

    const DEAD: Endpoint = Endpoint::new(0, 9);

    fn says(m: &Message) -> (Endpoint, i32, i64, i64) {
        (m.source(), m.mtype(), m.word(0) as i64, m.word(1) as i64)
    }

    #[test]
    fn a_waiting_receiver_is_told_at_once() {
        let (mut r, mut out, mut m) = (table(), vec![], Message::default());
        r.receive(0, Filter::Requests, &mut m, true, &mut out).unwrap();
        r.warn(0, DEAD, 77, 9, &mut out).unwrap();
        assert_eq!(out, [Cmd::Wake(0)]);
        assert_eq!(r.finish(0, &mut m), Some(Outcome::Message));
        assert_eq!(says(&m), (DEAD, 77, 9, -1));
    }

    #[test]
    fn ends_of_one_slot_are_told_one_by_one_and_outlive_its_notifications() {
        let (mut r, mut out, mut m) = (table(), vec![], Message::default());
        r.warn(0, DEAD, 77, 1, &mut out).unwrap();
        r.gone(DcId(0), DEAD, &mut out);
        r.warn(0, DEAD, 77, -1, &mut out).unwrap();
        for code in [1, -1] {
            assert_eq!(r.receive(0, Filter::Any, &mut m, true, &mut out), Ok(Step::Done(Received::Message)));
            assert_eq!(says(&m), (DEAD, 77, code, -1));
        }
        assert_eq!(r.receive(0, Filter::Any, &mut m, true, &mut out), Ok(Step::Wait));
    }

    #[test]
    fn they_are_bounded() {
        let (mut r, mut out) = (table(), vec![]);
        (0..WARNINGS_MAX).for_each(|_| r.warn(0, DEAD, 77, 1, &mut out).unwrap());
        assert_eq!(r.warn(0, DEAD, 77, 1, &mut out), Err(Code::NOSPC));
        r.unbind(0, false, &mut out);
        assert!(out.is_empty(), "nobody waits for them: {out:?}");
    }
}
