//! Who asked for a command, and what they are told.

use super::clerk::Order;
use super::join::Knocked;
use crate::daemon::Daemon;
use crate::desk::Wish;
use dvs_abi::limits::DECISIONS_MAX;
use dvs_abi::{Code, DcId, NodeId};
use dvs_control::command::{Command, Refusal, Reply};
use dvs_control::epoch::Epoch;
use dvs_control::state::Answer;
use dvs_kern::node::event::{Event, SessionId, Want};
use dvs_linux::clock;

/// How long an administrator, or a machine at the door, waits for a majority.
const PATIENCE_NS: u64 = 10_000_000_000;

/// Who asked.
pub(crate) enum For {
    /// The rules, under this number of theirs.
    Rules(u64),
    /// An administrator.
    Admin(SessionId, Wish),
    /// A machine at the door.
    Knock(Knocked),
    /// This daemon itself; what for.
    Own(&'static str),
}

/// A question that is under way.
pub(super) struct Asked {
    by: For,
    /// Until when they wait, ns; `u64::MAX` without end.
    pub(super) until: u64,
}

impl Daemon {
    /// Brings a command into the log, and tells its asker what became of it.
    pub(crate) fn decide(&mut self, command: Command, by: For) {
        self.order(command, by, false);
    }

    /// The same for what a leader has seen: only as long as this node leads.
    pub(crate) fn decide_here(&mut self, command: Command, why: &'static str) -> u64 {
        self.order(command, For::Own(why), true)
    }

    fn order(&mut self, command: Command, by: For, here: bool) -> u64 {
        let plane = &mut self.plane;
        plane.tickets += 1;
        let ticket = plane.tickets;
        let rules = matches!(by, For::Rules(_));
        let patient = rules || matches!(by, For::Own(_));
        let until = if patient { u64::MAX } else { clock::now() + PATIENCE_NS };
        let full = plane.asked.len() >= DECISIONS_MAX;
        plane.asked.insert(ticket, Asked { by, until });
        let of = plane.incarnation.filter(|_| rules);
        let order = Order { ticket, follows: None, of, here, command };
        let taken = match plane.incarnation {
            _ if full => false,
            Some(_) => plane.clerk.order(order),
            None => {
                plane.held.push(order);
                true
            }
        };
        if !taken {
            let text = "too much waits for a decision already; try again in a while".to_owned();
            self.decided(ticket, Err(Refusal { code: Code::AGAIN as i32, text }));
        }
        ticket
    }

    /// What the rules want decided.
    pub(crate) fn decide_want(&mut self, ticket: u64, want: Want) {
        let command = match want {
            Want::Create { dc, config } => Command::Create { dc: Some(DcId(dc)), spec: config },
            Want::End { dc } => Command::End { dc: DcId(dc) },
            Want::Allow { dc, node, on } => Command::Allow { dc: DcId(dc), node: NodeId(node), on },
            Want::Declare { dc, slot, name, kind, rule, nodes } => {
                self.declaration(DcId(dc), slot, name, kind, rule, nodes)
            }
            Want::Offer { dc, slot } => Command::Offer { dc: DcId(dc), slot, in_step: true },
            Want::Retire { dc, slot } => Command::Retire { dc: DcId(dc), slot },
            Want::Move { dc, slot, to, hold_ns } => {
                let deadline = super::wall_clock().saturating_add(hold_ns);
                Command::Move { dc: DcId(dc), slot, to: NodeId(to), deadline }
            }
            Want::Undo { dc, slot, number } => Command::Undo { dc: DcId(dc), slot, number: Epoch(number) },
            Want::Arrive { dc, slot, number } => {
                Command::Arrive { dc: DcId(dc), slot, number: Epoch(number) }
            }
            Want::Slots { dc, request } => Command::Slots { dc: DcId(dc), request },
        };
        self.decide(command, For::Rules(ticket));
    }

    /// An answer came. It waits until its entry was done here.
    pub(super) fn answered(&mut self, ticket: u64, place: Epoch, answer: Answer) {
        if place > self.plane.state.last() {
            self.plane.verdicts.entry(place).or_default().push((ticket, answer));
        } else {
            self.decided(ticket, answer);
        }
    }

    /// Tells those whose entries were done here by now.
    pub(super) fn pass_verdicts(&mut self) {
        while let Some(entry) = self.plane.verdicts.first_entry()
            && *entry.key() <= self.plane.state.last()
        {
            for (ticket, answer) in entry.remove() {
                self.decided(ticket, answer);
            }
        }
    }

    fn decided(&mut self, ticket: u64, answer: Answer) {
        if self.plane.beginning.is_some_and(|(t, _)| t == ticket) {
            return self.begin_answered(answer);
        }
        let Some(asked) = self.plane.asked.remove(&ticket) else { return };
        match asked.by {
            For::Rules(ticket) => {
                let refused = |e: Refusal| Code::from_i32(e.code).unwrap_or(Code::INVAL);
                // One of the rules' tickets that begins something is that of a move.
                if let Ok(Reply::Begun(number)) = answer {
                    return self.feed(Event::MoveBegun { ticket, number: number.0 });
                }
                self.feed(Event::Decided { ticket, result: answer.map(|_| ()).map_err(refused) });
            }
            For::Admin(s, wish) => self.admin_decided(s, wish, answer),
            For::Knock(knocked) => {
                let node = answer.map(|reply| match reply {
                    Reply::Node(node) => node,
                    _ => self.plane.me(),
                });
                self.knock_decided(knocked, node);
            }
            For::Own(why) => {
                if let Err(e) = answer {
                    self.log.add("cluster", format!("{why}: {}", e.text));
                }
            }
        }
        // If it was refused, it is said again: by then this node may lead once more.
        self.plane.losing.remove(&ticket);
    }

    /// What was to be decided for an incarnation that is over will not be. The rules know that by themselves.
    pub(super) fn drop_tickets(&mut self, tickets: impl Iterator<Item = u64>) {
        for ticket in tickets {
            if matches!(self.plane.asked.get(&ticket), Some(Asked { by: For::Rules(_), .. })) {
                self.plane.asked.remove(&ticket);
                continue;
            }
            let text = "this node was taken for lost; it begins anew, try again".to_owned();
            self.decided(ticket, Err(Refusal { code: Code::STALE as i32, text }));
        }
    }

    /// Those who have waited long enough are told so.
    pub(super) fn asked_expire(&mut self, now: u64) {
        let over: Vec<u64> =
            self.plane.asked.iter().filter(|(_, a)| a.until <= now).map(|(t, _)| *t).collect();
        for ticket in over {
            let text = "no majority of the nodes has answered in 10 s; it may still be done, see dvs status";
            self.decided(ticket, Err(Refusal { code: Code::TIMEDOUT as i32, text: text.to_owned() }));
        }
    }
}
