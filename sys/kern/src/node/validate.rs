//! What must hold between any two events. Tests call it after each.

use super::Node;
use super::event::PROXY;
use super::wait::WaitFor;
use dvs_abi::Endpoint;

macro_rules! ensure {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err(format!($($text)+));
        }
    };
}

impl Node {
    /// Checks the tables against each other.
    ///
    /// # Errors
    /// Names the first relation that does not hold.
    pub fn validate(&self) -> Result<(), String> {
        self.validate_descriptors()?;
        self.validate_links()?;
        self.validate_slots()?;
        self.validate_waits()
    }

    fn validate_descriptors(&self) -> Result<(), String> {
        let mut here = 0;
        for (dc, c) in &self.dcs {
            for d in c.descriptors() {
                let place = (*dc, d.endpoint);
                let held = d.pid != 0;
                here += usize::from(held);
                ensure!(
                    !d.is_local() || (held && d.node == self.config.me),
                    "{place:?} is local without a process"
                );
                // Unless its process ended in the middle of a move.
                let orphan = d.dead && d.moving;
                ensure!(
                    d.is_local() || orphan || d.service || d.node != self.config.me,
                    "{place:?} is remote and here"
                );
                if let Some(s) = d.session {
                    let holder = self.sessions.get(&s).ok_or(format!("{place:?} has a dead session"))?;
                    ensure!(holder.endpoints.contains(&place), "session {s} does not know {place:?}");
                    ensure!(holder.pid == d.pid, "{place:?} has another pid than its session");
                } else if held {
                    let known = self.orphans.get(&d.pid).is_some_and(|l| l.contains(&place));
                    ensure!(known, "{place:?} has no owner");
                }
                for (link, lane) in &d.lanes {
                    let lane = self.links.get(link).and_then(|l| l.lane(*lane));
                    ensure!(lane.is_some_and(|l| l.open), "{place:?} lists a lane that is not open");
                }
                for w in &d.watchers {
                    let s = self.sessions.get(w).ok_or(format!("{place:?} watched by a dead session"))?;
                    ensure!(
                        s.watches.contains(&place),
                        "session {w} does not know that it watches {place:?}"
                    );
                }
            }
        }
        for (dc, c) in &self.dcs {
            for (slot, s) in &c.services {
                let d =
                    c.bound(*slot).filter(|d| d.service).ok_or(format!("service {slot} of {dc} unknown"))?;
                ensure!(
                    d.is_remote() || (s.node == Some(d.node)),
                    "{slot} of {dc} is here and at {:?}",
                    s.node
                );
                ensure!(s.retiring.is_none() || d.pid == 0, "{slot} of {dc} retires and is bound");
                let goes = matches!(s.callers, super::service::Callers::Go);
                ensure!(!goes || !d.moving, "callers of {slot} of {dc} go and wait");
            }
            let services = c.descriptors().filter(|d| d.service).count();
            ensure!(
                services == c.services.len(),
                "{services} services of dc{dc}, declared {}",
                c.services.len()
            );
        }
        ensure!(here == self.bound_here, "{here} endpoints are bound here, counted {}", self.bound_here);
        for (n, s) in &self.sessions {
            for (dc, e) in &s.endpoints {
                let d = self.dcs.get(dc).and_then(|c| c.bound(e.slot()));
                ensure!(d.is_some_and(|d| d.session == Some(*n)), "session {n} claims {e} in dc{dc}");
            }
        }
        Ok(())
    }

    fn validate_links(&self) -> Result<(), String> {
        for (key, link) in &self.links {
            let mut open = 0;
            for (side, s) in link.sides.iter().enumerate() {
                let Some(session) = self.sessions.get(s) else {
                    ensure!(link.gone, "{key:?} has a dead side");
                    continue;
                };
                let known = session.links.get(&link.numbers[side]) == Some(key);
                ensure!(known, "session {s} does not know {key:?}");
            }
            ensure!(!link.gone || link.lanes().next().is_some(), "{key:?} is gone and still here");
            ensure!(!link.gone || link.lanes().all(|(_, l)| !l.open), "{key:?} is gone with an open lane");
            for (n, lane) in link.lanes().filter(|(_, l)| l.open) {
                // What a retired lane leads to is gone; its caller may have another lane to what took its
                // place.
                let retired = lane.retired.is_some();
                open += usize::from(!retired);
                let place = self.open.get(&(lane.dc, lane.from, lane.to));
                ensure!((place == Some(&(*key, n))) != retired, "open lane {n} of {key:?} is not listed");
                for e in [lane.from, lane.to].into_iter().take(if retired { 1 } else { 2 }) {
                    let d = self.dcs.get(&lane.dc).and_then(|c| c.bound(Endpoint::from_raw(e).slot()));
                    let good = d.is_some_and(|d| d.endpoint.raw() == e && d.lanes.contains(&(*key, n)));
                    ensure!(good, "lane {n} of {key:?} without its end {e}");
                }
            }
            ensure!(open <= dvs_abi::limits::LINK_LANES_MAX, "{key:?} has {open} lanes");
        }
        for (n, s) in &self.sessions {
            let lanes: usize =
                s.links.values().filter_map(|k| self.links.get(k)).map(|l| l.lanes().count()).sum();
            ensure!(lanes == s.lanes, "session {n} has {lanes} lanes, counted {}", s.lanes);
        }
        for (key, (link, lane)) in &self.open {
            let lane = self.links.get(link).and_then(|l| l.lane(*lane));
            let good = lane.is_some_and(|l| l.open && (l.dc, l.from, l.to) == *key);
            ensure!(good, "{key:?} is listed as open and is not");
        }
        Ok(())
    }

    fn validate_waits(&self) -> Result<(), String> {
        for (id, w) in &self.waits.table {
            let s = self.sessions.get(&w.session).ok_or(format!("wait {id} of a dead session"))?;
            ensure!(s.waits.get(&w.id) == Some(id), "session {} does not know wait {id}", w.session);
            // One that claims a slot may wait for the node that has it, after its ticket was answered.
            let decision = matches!(w.what, WaitFor::Decision | WaitFor::Offer { .. });
            ensure!(!decision || self.tickets.has(*id), "wait {id} has no ticket");
            if let Some(slot) = w.slot {
                let list = self.dcs.get(&w.dc).and_then(|c| c.waiting.get(&slot));
                ensure!(list.is_some_and(|l| l.contains(id)), "wait {id} hangs nowhere");
            }
        }
        for (wait, hearing) in &self.hearings.held {
            let parked = self.waits.table.get(wait).is_some_and(|w| w.what == WaitFor::Heard);
            ensure!(parked && !hearing.awaited.is_empty(), "hearing {wait} waits for nothing");
            for (s, mark) in &hearing.awaited {
                let known = self.sessions.get(s).is_some_and(|x| x.hearers.contains(&(*mark, *wait)));
                ensure!(known, "session {s} does not know that {wait} waits for it");
            }
        }
        let hearers: usize = self.sessions.values().map(|s| s.hearers.len()).sum();
        let awaited: usize = self.hearings.held.values().map(|h| h.awaited.len()).sum();
        ensure!(hearers == awaited, "{hearers} hearings of sessions, {awaited} in all");
        let waits: usize = self.sessions.values().map(|s| s.waits.len()).sum();
        ensure!(
            waits == self.waits.table.len(),
            "{waits} waits of sessions, {} in all",
            self.waits.table.len()
        );
        ensure!(self.sessions.contains_key(&PROXY), "the proxy's session is gone");
        Ok(())
    }
}
