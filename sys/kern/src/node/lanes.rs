//! Who may open a lane to whom, and when lanes are closed and their numbers free again.
//!
//! ```text
//!  (none) ──open_lane──► open ──close: unbind, death, move, rights──► closed ──both sides freed it──► (none)
//! ```
//!
//! A number is given out again only when both sides have said that they forgot the lane (or the link is gone
//! with one of them), and its memory is cleared in between: so neither can mistake a new lane for the old.

use super::Node;
use super::dispatch::Outcome;
use super::event::{Attach, Command, PROXY, SessionId};
use super::link::{Lane, Link, LinkKey};
use super::wait::WaitFor;
use crate::control::{Answer, BindKind, Event as Told};
use dvs_abi::limits::{PAIR_LINKS_MAX, SESSION_LANES_MAX};
use dvs_abi::{Code, Endpoint, Error, NodeId};

/// The other side of a lane to be opened.
enum Target {
    /// This session takes the messages.
    Session(SessionId, Endpoint),
    /// Not now.
    Wait,
}

impl Node {
    pub(crate) fn open_lane(
        &mut self,
        s: SessionId,
        id: u64,
        dc: u16,
        from: Endpoint,
        to: Endpoint,
        remaining: u64,
    ) -> Result<Outcome, Error> {
        match self.try_lane(s, dc, from, to)? {
            Outcome::Later => self.park(s, id, dc, Some(to.slot()), WaitFor::Lane { from, to }, remaining),
            outcome => Ok(outcome),
        }
    }

    pub(crate) fn try_lane(
        &mut self,
        s: SessionId,
        dc: u16,
        from: Endpoint,
        to: Endpoint,
    ) -> Result<Outcome, Error> {
        match self.target(s, dc, from, to).map_err(|code| Error::early(code).at(to))? {
            Target::Wait => Ok(Outcome::Later),
            Target::Session(callee, to) => self.lane(s, callee, dc, (from, self.config.me), to),
        }
    }

    /// The checks of facts §2.6, in their order.
    fn target(&self, s: SessionId, dc: u16, from: Endpoint, to: Endpoint) -> Result<Target, Code> {
        let session = self.sessions.get(&s).ok_or(Code::NOTBIND)?;
        if !session.endpoints.contains(&(dc, from)) {
            return Err(Code::NOTBIND);
        }
        let c = self.dc(dc)?;
        let caller = c.find(from)?;
        if caller.kind == BindKind::Backup {
            return Err(Code::RMTPROC);
        }
        if to.slot() == Endpoint::HARDWARE.slot() {
            return Err(Code::BADDEST);
        }
        if !to.in_table(c.config.tasks, c.config.procs) {
            return Err(Code::RANGE);
        }
        if to == from {
            return Err(Code::ENDPOINT);
        }
        let system = c.is_system(to.slot());
        if system && !caller.privileges.may_call(to.slot() + c.config.tasks) {
            return Err(Code::TRAPDENIED);
        }
        let callee = c.find(to)?;
        let open = self.service_open(dc, callee).transpose()?;
        if callee.moving || open == Some(false) {
            return Ok(Target::Wait);
        }
        if callee.is_local() {
            return match callee.receiver() {
                Some(holder) if holder == s => Err(Code::LCLPROC),
                Some(holder) => Ok(Target::Session(holder, callee.endpoint)),
                None => Ok(Target::Wait),
            };
        }
        if !system && !c.is_system(from.slot()) {
            return Err(Code::TRAPDENIED);
        }
        if !c.config.runs_on(callee.node.0) {
            return Err(Code::NODCNODE);
        }
        match self.peers.get(&callee.node.0) {
            None => Err(Code::NOPROXY),
            Some(peer) if !peer.up => Err(Code::NOTCONN),
            Some(_) => Ok(Target::Session(PROXY, callee.endpoint)),
        }
    }

    /// The open lane of this pair, or a new one.
    fn lane(
        &mut self,
        s: SessionId,
        callee: SessionId,
        dc: u16,
        (from, source): (Endpoint, NodeId),
        to: Endpoint,
    ) -> Result<Outcome, Error> {
        let remote = callee == PROXY || s == PROXY;
        let key = (dc, from.raw(), to.raw());
        let (link, lane) = match self.open.get(&key) {
            // Replicas bear one name; each has lanes of its own node only.
            Some((link, n))
                if self.links.get(link).and_then(|l| l.lane(*n)).map(|l| l.source) != Some(source) =>
            {
                return Err(Error::early(Code::LCLPROC).at(from));
            }
            Some(place) => *place,
            None => {
                let me = self.config.me;
                let place = if callee == PROXY { self.dc(dc)?.find(to)?.node } else { me };
                let lane = Lane::new(dc, (from.raw(), source), (to.raw(), place));
                let place = self.place_lane(s, callee, lane, remote)?;
                self.open.insert(key, place);
                self.note_lane(dc, from, place);
                self.note_lane(dc, to, place);
                place
            }
        };
        let peer_pid = self.sessions.get(&callee).map_or(0, |x| x.pid);
        let number = self.links.get(&link).map_or(0, |l| l.numbers[l.side_of(s)]);
        let epoch = self.service_of(dc, to.slot()).map_or(0, |s| s.epoch);
        Ok(Outcome::Answer(Answer::Lane { link: number, lane, peer_pid, remote, to: to.raw(), epoch }))
    }

    fn note_lane(&mut self, dc: u16, endpoint: Endpoint, place: (LinkKey, u8)) {
        if let Some(d) = self.dcs.get_mut(&dc).and_then(|c| c.bound_mut(endpoint.slot())) {
            d.lanes.insert(place);
        }
    }

    /// Finds room for a lane in a link of the two sessions and tells the callee of it.
    fn place_lane(
        &mut self,
        caller: SessionId,
        callee: SessionId,
        mut lane: Lane,
        remote: bool,
    ) -> Result<(LinkKey, u8), Error> {
        for s in [caller, callee] {
            let session = self.sessions.get(&s).ok_or(Code::DSTDIED)?;
            if s != PROXY && session.lanes >= SESSION_LANES_MAX {
                return Err(Code::NOSPC.into());
            }
        }
        let pair = (caller.min(callee), caller.max(callee));
        let room = |key: &LinkKey| Some((*key, self.links.get(key)?.free_lane()?));
        let found = self.pairs.get(&pair).and_then(|links| links.iter().rev().find_map(room));
        let (key, number) = match found {
            Some(place) => place,
            None => (self.new_link(caller, callee, pair)?, 0),
        };
        let may = self.dc(lane.dc)?.find(Endpoint::from_raw(lane.from)).map_or(0, |d| d.privileges.calls.0);
        let peer_pid = self.sessions.get(&caller).map_or(0, |s| s.pid);
        let (dc, from, to) = (lane.dc, lane.from, lane.to);
        let link = self.links.get_mut(&key).ok_or(Code::NOSPC)?;
        lane.caller = link.side_of(caller) as u8;
        link.set_lane(number, Some(lane));
        let theirs = link.numbers[link.side_of(callee)];
        for s in [caller, callee] {
            if let Some(session) = self.sessions.get_mut(&s) {
                session.lanes += 1;
            }
        }
        // The driver makes it one that no other life of this node has.
        let binding = u64::from(caller);
        self.tell(
            callee,
            Told::LaneOpened { link: theirs, lane: number, dc, from, to, remote, may, peer_pid, binding },
        );
        Ok((key, number))
    }

    fn new_link(
        &mut self,
        caller: SessionId,
        callee: SessionId,
        pair: (SessionId, SessionId),
    ) -> Result<LinkKey, Error> {
        if self.pairs.get(&pair).is_some_and(|l| l.len() >= PAIR_LINKS_MAX) {
            return Err(Code::NOSPC.into());
        }
        let number = |s: SessionId| self.sessions.get(&s).and_then(|x| x.free_link()).ok_or(Code::NOSPC);
        let sides = [caller, callee];
        let numbers = [number(caller)?, number(callee)?];
        let key = LinkKey(self.next_link);
        self.next_link += 1;
        self.links.insert(key, Link::new(sides, numbers));
        self.pairs.entry(pair).or_default().push(key);
        self.out.push(Command::CreateLink { link: key });
        for (side, s) in sides.iter().enumerate().rev() {
            let (mine, other) = (numbers[side], 1 - side);
            if let Some(session) = self.sessions.get_mut(s) {
                session.links.insert(mine, key);
            }
            let peer_pid = self.sessions.get(&sides[other]).map_or(0, |x| x.pid);
            let event = Told::Link { link: mine, side: side as u8, bell_link: numbers[other], peer_pid };
            let attach = Some(Attach { link: key, peer: sides[other] });
            self.out.push(Command::Tell { session: *s, event, attach });
        }
        Ok(key)
    }

    /// Ends a lane for both sides. `spare` is not told (it knows, or it is gone).
    pub(crate) fn close_lane_but(&mut self, key: LinkKey, number: u8, code: Code, spare: Option<SessionId>) {
        let Some(link) = self.links.get_mut(&key) else { return };
        let (sides, numbers) = (link.sides, link.numbers);
        let Some(lane) = link.lane_mut(number).filter(|l| l.open) else { return };
        lane.open = false;
        let (dc, from, to) = (lane.dc, lane.from, lane.to);
        if code == Code::DSTDIED {
            self.out.push(Command::CloseLane { link: key, lane: number });
        }
        if self.open.get(&(dc, from, to)) == Some(&(key, number)) {
            self.open.remove(&(dc, from, to));
        }
        for endpoint in [from, to] {
            let slot = Endpoint::from_raw(endpoint).slot();
            if let Some(d) = self.dcs.get_mut(&dc).and_then(|c| c.bound_mut(slot)) {
                d.lanes.remove(&(key, number));
            }
        }
        for (s, mine) in sides.into_iter().zip(numbers) {
            if Some(s) != spare && self.sessions.contains_key(&s) {
                self.tell(s, Told::LaneClosed { link: mine, lane: number, code: code as i32 });
            }
        }
    }

    pub(crate) fn close_lane(&mut self, key: LinkKey, number: u8, code: Code) {
        self.close_lane_but(key, number, code, None);
    }

    /// What a lane leads to has moved or ended. Through the proxy a call may be on its way there: the lane is
    /// closed when the other node has said how that ended. Any other lane is closed at once.
    pub(crate) fn retire_lane(&mut self, key: LinkKey, number: u8, code: Code) {
        let Some(link) = self.links.get_mut(&key) else { return };
        let (sides, numbers) = (link.sides, link.numbers);
        let Some(lane) = link.lane_mut(number).filter(|l| l.open && l.retired.is_none()) else { return };
        let callee = 1 - (lane.caller as usize & 1);
        if sides[callee] != PROXY {
            return self.close_lane(key, number, code);
        }
        lane.retired = Some(code);
        let name = (lane.dc, lane.from, lane.to);
        if self.open.get(&name) == Some(&(key, number)) {
            self.open.remove(&name);
        }
        self.tell(PROXY, Told::LaneRetired { link: numbers[callee], lane: number });
    }

    /// A side forgot a lane. One that is still open is closed by that.
    pub(crate) fn free_lane(&mut self, s: SessionId, link: u16, number: u8) -> Result<Outcome, Error> {
        let Some(key) = self.sessions.get(&s).and_then(|x| x.links.get(&link)).copied() else {
            return Ok(Outcome::Silent);
        };
        let retired = self.links.get(&key).and_then(|l| l.lane(number)).and_then(|l| l.retired);
        self.close_lane_but(key, number, retired.unwrap_or(Code::DSTDIED), Some(s));
        let Some(side) = self.links.get(&key).map(|l| l.side_of(s)) else { return Ok(Outcome::Silent) };
        self.freed(key, number, side);
        let over = self.links.get(&key).is_some_and(|l| l.gone && l.lanes().next().is_none());
        if over {
            self.forget_link(key);
        }
        Ok(Outcome::Silent)
    }

    /// One side has forgotten a lane (or is gone). When both have, its number is free again.
    fn freed(&mut self, key: LinkKey, number: u8, side: usize) {
        let Some(link) = self.links.get_mut(&key) else { return };
        let (gone, sides) = (link.gone, link.sides);
        let Some(lane) = link.lane_mut(number) else { return };
        lane.freed[side] = true;
        if lane.freed != [true; 2] {
            return;
        }
        link.set_lane(number, None);
        for s in sides {
            if let Some(session) = self.sessions.get_mut(&s) {
                session.lanes = session.lanes.saturating_sub(1);
            }
        }
        if !gone {
            self.out.push(Command::ResetLane { link: key, lane: number });
        }
    }

    /// A link ends because its side `dead` did. The other side keeps its memory and its number until it has
    /// freed every lane: a call through it may have an outcome that is still to be collected.
    pub(crate) fn drop_link(&mut self, key: LinkKey, dead: SessionId) {
        let Some(link) = self.links.get_mut(&key) else { return };
        let (side, again) = (link.side_of(dead), std::mem::replace(&mut link.gone, true));
        let lanes: Vec<u8> = link.lanes().map(|(n, _)| n).collect();
        let pair = (link.sides[0].min(link.sides[1]), link.sides[0].max(link.sides[1]));
        if let Some(links) = self.pairs.get_mut(&pair) {
            links.retain(|l| *l != key);
            if links.is_empty() {
                self.pairs.remove(&pair);
            }
        }
        for lane in lanes {
            self.close_lane_but(key, lane, Code::DSTDIED, Some(dead));
            self.freed(key, lane, side);
        }
        if again || self.links.get(&key).is_some_and(|l| l.lanes().next().is_none()) {
            self.forget_link(key);
        }
    }

    /// Nobody uses a link any more.
    fn forget_link(&mut self, key: LinkKey) {
        let Some(link) = self.links.remove(&key) else { return };
        for (s, mine) in link.sides.into_iter().zip(link.numbers) {
            if let Some(session) = self.sessions.get_mut(&s) {
                session.links.remove(&mine);
                session.lanes = session.lanes.saturating_sub(link.lanes().count());
                self.tell(s, Told::LinkClosed { link: mine });
            }
        }
        self.out.push(Command::DropLink { link: key });
    }

    /// There was no memory for a link: whoever has been told of it is told that it is gone.
    pub(crate) fn link_failed(&mut self, key: LinkKey) {
        let Some(link) = self.links.get(&key) else { return };
        let lanes: Vec<u8> = link.lanes().map(|(n, _)| n).collect();
        for lane in lanes {
            self.close_lane(key, lane, Code::NOMEM);
        }
        self.drop_link(key, SessionId::MAX);
        self.forget_link(key);
    }

    pub(crate) fn proxy_open(&mut self, id: u64, node: u16, dc: u16, from: i32, to: i32, remaining: u64) {
        let (from, to) = (Endpoint::from_raw(from), Endpoint::from_raw(to));
        let result = match self.try_proxy_lane(node, dc, from, to) {
            Ok(Outcome::Later) => {
                self.park(PROXY, id, dc, Some(to.slot()), WaitFor::ProxyLane { from, to, node }, remaining)
            }
            result => result,
        };
        self.reply(PROXY, id, result);
    }

    /// A message came from `from` on `node`: registers a user endpoint that is not known yet (facts §4.7),
    /// follows one that moved (§5.5), and opens the lane.
    pub(crate) fn try_proxy_lane(
        &mut self,
        node: u16,
        dc: u16,
        from: Endpoint,
        to: Endpoint,
    ) -> Result<Outcome, Error> {
        if node == self.config.me.0 || !self.config.knows(node) {
            return Err(Code::BADNODEID.into());
        }
        let c = self.dc(dc)?;
        if !c.config.runs_on(self.config.me.0) || !c.config.runs_on(node) {
            return Err(Code::NODCNODE.into());
        }
        if !from.in_table(c.config.tasks, c.config.procs) {
            return Err(Error::early(Code::RANGE).at(from));
        }
        let (user, to_user) = (!c.is_system(from.slot()), !c.is_system(to.slot()));
        if user && to_user {
            return Err(Error::early(Code::TRAPDENIED).at(to));
        }
        if !self.peers.get(&node).is_some_and(|p| p.up) {
            // It does not count yet, or no more, and nobody would say when its caller ends: it may try again.
            return Err(Error::early(Code::MIGRATE).at(to));
        }
        let callee = c.find(to).map_err(|code| Error::early(code).at(to))?;
        let (to, moving, receiver, local) =
            (callee.endpoint, callee.moving, callee.receiver(), callee.is_local());
        let open = self.service_open(dc, callee).transpose().map_err(|code| Error::early(code).at(to))?;
        let here = callee.service && (moving || callee.node == self.config.me);
        if open == Some(false) && here {
            return Ok(Outcome::Later);
        }
        if !local {
            return Err(Error::early(Code::MIGRATE).at(to));
        }
        match c.bound(from.slot()) {
            Some(d) if d.is_local() && d.kind != BindKind::Replica => {
                return Err(Error::early(Code::LCLPROC).at(from));
            }
            // In the name of a service speaks who serves it, by the log as this node knows it. Another one is
            // over, or this node does not know yet: it may try again.
            Some(d) if d.service && !self.speaks_for(dc, from.slot(), NodeId(node)) => {
                return Err(Error::early(Code::MIGRATE).at(from));
            }
            Some(d) if d.endpoint == from => {}
            _ if !user => return Err(Error::early(Code::SRCDIED).at(from)),
            known => {
                // Of two nodes' words on a slot one is old; when the caller ends, the other node is asked
                // again.
                let contested = known.is_some_and(|d| d.node.0 != node);
                self.end(dc, from.slot(), super::bind::End::Unbound);
                let mut d = self.blank(dc, from, BindKind::Remote, NodeId(node), "rclient")?;
                d.contested = contested;
                self.install(dc, d);
            }
        }
        match receiver {
            Some(callee) if !moving => self.lane(PROXY, callee, dc, (from, NodeId(node)), to),
            _ => Ok(Outcome::Later),
        }
    }
}
