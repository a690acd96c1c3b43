//! Notifications: never wait, coalesce by source, come before messages.

use super::slot::Notice;
use super::{Cmd, Filter, Ix, Outcome, Phase, Rendezvous};
use dvs_abi::message::NOTIFY_TYPE;
use dvs_abi::{Code, Endpoint, Kind, Message};
use std::collections::btree_map::Entry as Place;

impl Rendezvous {
    /// A notification of `source` for `dst`: delivered if `dst` waits for it (also as the end of a request
    /// whose answer it awaits from `source`), else pending; values of one source are or'ed.
    ///
    /// # Errors
    /// `OVERRUN` when one of this source was pending already and the endpoint is being moved (else that is no
    /// error).
    pub fn notice(
        &mut self,
        dst: Ix,
        source: Endpoint,
        value: u64,
        timestamp: u64,
        out: &mut Vec<Cmd>,
    ) -> Result<(), Code> {
        let s = &mut self.slots[dst as usize];
        let waits = s.outcome.is_none()
            && !s.frozen
            && match s.phase {
                Phase::Receiving(f) => f.takes_notices() && f.takes(source),
                Phase::Awaiting(from) => from == source,
                _ => false,
            };
        if waits {
            *s.mailbox = message_of(source, s.endpoint, Notice { source, value, timestamp });
            if let Phase::Awaiting(from) = s.phase {
                let mine = s.endpoint;
                let dc = s.dc;
                if let Some(ix) = self.find(dc, from) {
                    self.slots[ix as usize].clients.remove(&mine);
                }
            }
            self.end(dst, Outcome::Message, out);
            return Ok(());
        }
        let frozen = s.frozen;
        match s.notices.entry(source.slot()) {
            Place::Vacant(v) => {
                v.insert(Notice { source, value, timestamp });
                Ok(())
            }
            Place::Occupied(mut o) => {
                o.get_mut().value |= value;
                o.get_mut().source = source;
                if frozen { Err(Code::OVERRUN) } else { Ok(()) }
            }
        }
    }

    /// Remembers that an endpoint notified somebody, so that its end looks for what is pending.
    pub fn mark_notifier(&mut self, me: Ix) {
        self.slots[me as usize].has_notified = true;
    }

    pub(super) fn take_notice(&mut self, me: Ix, filter: Filter, into: &mut Message) -> bool {
        if !filter.takes_notices() {
            return false;
        }
        let s = &mut self.slots[me as usize];
        // A source that was heard since the last message waits its turn like everybody, or a flood of its
        // notifications would keep every sender waiting.
        let waiting = s.queue.iter().any(|e| filter.takes(e.source));
        let turn = |n: &&Notice| filter.takes(n.source) && !(waiting && s.noticed.contains(&n.source.slot()));
        let Some(slot) = s.notices.values().find(turn).map(|n| n.source.slot()) else {
            return false;
        };
        let Some(n) = s.notices.remove(&slot) else { return false };
        if waiting {
            s.noticed.insert(slot);
        }
        *into = message_of(n.source, s.endpoint, n);
        true
    }

    /// Pending notifications, lowest slot first: what travels when the endpoint moves.
    pub fn pending(&self, ix: Ix) -> impl Iterator<Item = (Endpoint, u64, u64)> {
        self.slots[ix as usize].notices.values().map(|n| (n.source, n.value, n.timestamp))
    }
}

fn message_of(source: Endpoint, to: Endpoint, n: Notice) -> Message {
    let mut m = Message::new(NOTIFY_TYPE | source.slot());
    m.set_route(source, to);
    m.set_kind(Kind::Notify);
    m.set_value(n.value);
    m.set_timestamp(n.timestamp);
    m
}
