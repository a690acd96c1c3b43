//! What happens to nodes, and what they want done.

use super::{Event, Happening, Trouble, World};
use crate::actor::{Actor, Effects, Wish};
use dvs_abi::NodeId;

/// Which node acted, and what it noted.
type Acted<N> = (Option<NodeId>, Vec<N>);

impl<A: Actor> World<A> {
    pub(super) fn perform(&mut self, event: Event) -> Acted<A::Note> {
        match event {
            Event::Happens(node, life, what) => return self.happen(node, life, what),
            Event::Durable(node, life, mark) => {
                let host = &mut self.hosts[usize::from(node.0)];
                if host.life == life {
                    host.disk.sync_to(mark);
                }
            }
            Event::PowerOn(node) => return self.power_on(node),
            Event::Resume(node) => self.resume(node),
            Event::Room(node) => self.set_full(node, false),
            Event::Trouble(Trouble::Break) => return self.break_connections(),
            Event::Trouble(trouble) => self.trouble(trouble),
        }
        (None, Vec::new())
    }

    fn happen(&mut self, node: NodeId, life: u32, what: Happening) -> Acted<A::Note> {
        let nothing = (None, Vec::new());
        let host = &mut self.hosts[usize::from(node.0)];
        if host.actor.is_none() || !matches!(what, Happening::Message { .. }) && host.life != life {
            return nothing;
        }
        if host.paused {
            host.held.push_back((life, what));
            return nothing;
        }
        match &what {
            Happening::Message { from, bytes } => {
                if self.network.is_cut((*from, node), self.now) {
                    self.trace.line(self.now, format_args!("{node} <- {from} cut off on the way"));
                    return nothing;
                }
                let words = || format!("{node} <- {from} {}", A::describe(bytes));
                self.trace.known(self.now, &[u64::from(node.0), u64::from(from.0)], bytes, words);
            }
            Happening::Synced { .. } => self.trace.line(self.now, format_args!("{node} {what:?}")),
            Happening::Timer { .. } => {}
        }
        let timer = if let Happening::Timer { id } = what { Some(id) } else { None };
        self.act(node, timer, |actor, fx| match what {
            Happening::Message { from, bytes } => actor.message(from, &bytes, fx),
            Happening::Timer { id } => actor.timer(id, fx),
            Happening::Synced { id } => actor.synced(id, fx),
        })
    }

    /// What is between two nodes forgets their connections, and one of them hears so.
    fn break_connections(&mut self) -> Acted<A::Note> {
        let nodes = self.hosts.len() as u64;
        let (node, other) = (self.breaks.below(nodes) as u16, self.breaks.below(nodes) as u16);
        self.schedule_trouble(Trouble::Break);
        let (node, other) = (NodeId(node), NodeId(other));
        if node == other || self.hosts[usize::from(node.0)].paused {
            return (None, Vec::new());
        }
        self.trace.line(self.now, format_args!("{node} <- {other} connections break"));
        self.act(node, None, |actor, fx| actor.broken(other, fx))
    }

    fn power_on(&mut self, node: NodeId) -> Acted<A::Note> {
        let host = &mut self.hosts[usize::from(node.0)];
        if host.actor.is_some() {
            return (None, Vec::new());
        }
        host.life += 1;
        host.actor = Some((self.make)(node));
        self.trace.line(self.now, format_args!("{node} power on, life {}", host.life));
        self.act(node, None, |actor, fx| actor.start(fx))
    }

    /// Lets a node act, and does what it wants.
    fn act(
        &mut self,
        node: NodeId,
        timer: Option<u64>,
        call: impl FnOnce(&mut A, &mut Effects<'_, A::Note>),
    ) -> Acted<A::Note> {
        let host = &mut self.hosts[usize::from(node.0)];
        let now = host.clock.read(self.now);
        host.waking = false;
        let Some(actor) = host.actor.as_mut() else { return (None, Vec::new()) };
        let mut fx = Effects::new(node, now, &mut host.random, &mut host.disk);
        call(actor, &mut fx);
        let wishes = fx.wishes;
        // One that only sets itself again is not worth a line.
        if let Some(id) = timer.filter(|_| wishes.iter().any(|w| !matches!(w, Wish::Timer(..)))) {
            self.trace.line(self.now, format_args!("{node} timer {id}"));
        }
        let mut notes = Vec::new();
        for wish in wishes {
            match wish {
                Wish::Send(to, bytes) => self.send(node, to, bytes),
                Wish::Timer(ns, id) => {
                    let host = &self.hosts[usize::from(node.0)];
                    let (at, life) = (self.now.saturating_add(host.clock.takes(ns)), host.life);
                    self.schedule(at, Event::Happens(node, life, Happening::Timer { id }));
                }
                Wish::Sync(id) => self.sync(node, id),
                Wish::End(again_after) => {
                    // What it wanted after that, it did not.
                    self.end(node, again_after);
                    break;
                }
                Wish::Note(note) => {
                    self.trace.line(self.now, format_args!("{node} {note:?}"));
                    notes.push(note);
                }
            }
        }
        (Some(node), notes)
    }

    fn send(&mut self, from: NodeId, to: NodeId, bytes: Vec<u8>) {
        if usize::from(to.0) >= self.hosts.len() {
            return;
        }
        for at in self.network.arrivals((from, to), self.now, &self.faults, &mut self.random) {
            let message = Happening::Message { from, bytes: bytes.clone() };
            self.schedule(at, Event::Happens(to, 0, message));
        }
    }

    fn sync(&mut self, node: NodeId, id: u64) {
        let mut takes = self.random.within(self.faults.sync_ns);
        if self.random.odds(self.faults.slow_sync) {
            takes += self.random.within(self.faults.slow_sync_ns);
        }
        let host = &mut self.hosts[usize::from(node.0)];
        let due = (self.now + takes).max(host.sync_due);
        host.sync_due = due;
        let (life, mark) = (host.life, host.disk.mark());
        // The disk works while its node stands still.
        self.schedule(due, Event::Durable(node, life, mark));
        self.schedule(due, Event::Happens(node, life, Happening::Synced { id }));
    }
}
