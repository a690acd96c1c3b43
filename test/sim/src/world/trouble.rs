//! Faults: those the seed decides, and those a scenario asks for.

use super::{Event, Trouble, World};
use crate::actor::Actor;
use crate::faults::Faults;
use crate::network::Network;
use dvs_abi::NodeId;

impl<A: Actor> World<A> {
    pub(super) fn schedule_trouble(&mut self, trouble: Trouble) {
        let every = match trouble {
            Trouble::Cut => self.faults.cut_every_ns,
            Trouble::Crash => self.faults.crash_every_ns,
            Trouble::Pause => self.faults.pause_every_ns,
            Trouble::Full => self.faults.full_every_ns,
            Trouble::Break => self.faults.break_every_ns,
        };
        if every > 0 {
            let random = if trouble == Trouble::Break { &mut self.breaks } else { &mut self.random };
            let at = self.now + 1 + random.below(2 * every);
            self.schedule(at, Event::Trouble(trouble));
        }
    }

    pub(super) fn trouble(&mut self, trouble: Trouble) {
        let nodes = self.hosts.len() as u16;
        let node = NodeId(self.random.below(u64::from(nodes)) as u16);
        match trouble {
            Trouble::Cut => {
                let links = Network::draw(nodes, self.faults.one_way, &mut self.random);
                let for_ns = self.random.within(self.faults.cut_for_ns);
                links.into_iter().for_each(|(a, b)| self.cut(a, b, for_ns));
            }
            Trouble::Crash => {
                let down = self.hosts.iter().filter(|h| h.actor.is_none()).count();
                let for_ns = self.random.within(self.faults.down_for_ns);
                if down < self.faults.down_at_once && self.actor(node).is_some() {
                    self.crash(node);
                    self.schedule(self.now + for_ns, Event::PowerOn(node));
                }
            }
            Trouble::Pause => {
                let for_ns = self.random.within(self.faults.pause_for_ns);
                if !self.hosts[usize::from(node.0)].paused {
                    self.pause(node);
                    self.schedule(self.now + for_ns, Event::Resume(node));
                }
            }
            Trouble::Full => {
                let for_ns = self.random.within(self.faults.full_for_ns);
                self.set_full(node, true);
                self.schedule(self.now + for_ns, Event::Room(node));
            }
            Trouble::Break => {}
        }
        self.schedule_trouble(trouble);
    }

    /// A direction is cut for so long; what is on its way there is lost when it arrives meanwhile.
    pub fn cut(&mut self, from: NodeId, to: NodeId, for_ns: u64) {
        self.trace.line(self.now, format_args!("{from} -> {to} cut for {} ms", for_ns / 1_000_000));
        self.network.cut((from, to), self.now.saturating_add(for_ns));
    }

    /// A node loses its power. It gets it back by [`World::restart`] or [`World::heal`].
    pub fn crash(&mut self, node: NodeId) {
        let host = &mut self.hosts[usize::from(node.0)];
        if host.actor.take().is_some() {
            host.disk.lose_power(&mut self.random, self.faults.torn);
            (host.paused, host.waking) = (false, false);
            host.held.clear();
            host.sync_due = self.now;
            // Nothing that was under way for this life reaches the next one.
            host.life += 1;
            self.trace.line(self.now, format_args!("{node} loses its power"));
        }
    }

    /// The program of a node ends; its machine goes on and starts it again after so long.
    pub fn end(&mut self, node: NodeId, again_after: u64) {
        let host = &mut self.hosts[usize::from(node.0)];
        if host.actor.take().is_some() {
            (host.paused, host.waking) = (false, false);
            host.held.clear();
            host.life += 1;
            self.trace.line(self.now, format_args!("{node} its program ends"));
            self.schedule(self.now + again_after, Event::PowerOn(node));
        }
    }

    /// A node gets its power back.
    pub fn restart(&mut self, node: NodeId) {
        self.schedule(self.now, Event::PowerOn(node));
    }

    /// A node stands still: nothing happens there, its clock goes on, messages wait.
    pub fn pause(&mut self, node: NodeId) {
        let host = &mut self.hosts[usize::from(node.0)];
        if host.actor.is_some() && !host.paused {
            host.paused = true;
            self.trace.line(self.now, format_args!("{node} stands still"));
        }
    }

    /// A node goes on; all that has waited happens now.
    pub fn resume(&mut self, node: NodeId) {
        let host = &mut self.hosts[usize::from(node.0)];
        if std::mem::take(&mut host.paused) {
            host.waking = true;
            let held = std::mem::take(&mut host.held);
            self.trace.line(self.now, format_args!("{node} goes on"));
            for (life, what) in held {
                self.schedule(self.now, Event::Happens(node, life, what));
            }
        }
    }

    /// Whether there is room on a node's disk.
    pub fn set_full(&mut self, node: NodeId, full: bool) {
        self.trace.line(self.now, format_args!("{node} disk full: {full}"));
        self.hosts[usize::from(node.0)].disk.set_full(full);
    }

    /// All faults end, for good: links, power, room on the disks, clocks that run right (they do not jump),
    /// and nothing is lost any more. What the seed had in store is dropped.
    pub fn heal(&mut self) {
        self.trace.line(self.now, format_args!("all faults end"));
        self.faults = Faults::none();
        self.queue.retain(|_, e| matches!(e, Event::Happens(..) | Event::Durable(..)));
        self.network.mend();
        for node in self.nodes() {
            self.resume(node);
            self.set_full(node, false);
            self.restart(node);
            let now = self.now;
            self.hosts[usize::from(node.0)].clock.heal(now);
        }
    }
}
