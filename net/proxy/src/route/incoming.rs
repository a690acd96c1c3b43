//! Calls of other nodes' endpoints to programs of this node: the calling side of lanes made for them.
//!
//! ```text
//!   CALL ──▶ pair (node, dc, from, to) ──Open──▶ daemon: lane, or its error as FAILED
//!              │ queue ──post──▶ lane ──progress──▶ CONSUMED, REPLY, FAILED, REDIRECT
//!   CANCEL ──▶ out of the queue, or out of the lane ──▶ WITHDRAWN, or how it had ended before
//! ```
//!
//! A lane holds one call. A caller has one call at a time, but its next may arrive before the callee lets go
//! of one that was cancelled: it waits in the pair's short queue.

use super::shore::Shores;
use super::{Cmd, Route, Step};
use dvs_abi::limits::{ROUTE_PAIRS_MAX, ROUTE_QUEUE_MAX};
use dvs_abi::{Code, DcId, Deadline, Effect, Endpoint, Error, Kind, Message, NodeId};
use dvs_ipc::lane::{Cancel, Outcome, Progress, Refused};
use dvs_kern::rendezvous::LaneKey;
use dvs_wire::{Frame, Grants};
use std::collections::{HashMap, VecDeque};

/// Node of the caller, container, caller, callee.
pub(super) type Name = (NodeId, DcId, Endpoint, Endpoint);

/// Where a pair's lane is.
enum Place {
    /// The daemon was asked.
    Opening(u64),
    Open(LaneKey),
}

struct Queued {
    call: u64,
    msg: Message,
    grants: Grants,
}

/// The call in the lane.
struct InCall {
    call: u64,
    seq: u64,
    /// Its caller has left; the callee has not let go yet.
    cancelled: bool,
    /// Its caller was told that the request was consumed. A request that is answered soon is not worth a
    /// frame for this.
    told: bool,
}

/// A caller of another node and a callee of this one.
struct Pair {
    place: Place,
    current: Option<InCall>,
    queue: VecDeque<Queued>,
    /// Bits of a notification that wait for the lane.
    notice: Option<u64>,
}

/// All of them.
pub(super) struct Incoming {
    me: NodeId,
    pairs: HashMap<Name, Pair>,
    lanes: HashMap<LaneKey, Name>,
    opens: HashMap<u64, Name>,
    calls: HashMap<(NodeId, u64), Name>,
    last_open: u64,
}

impl Incoming {
    pub fn new(me: NodeId) -> Self {
        Incoming {
            me,
            pairs: HashMap::new(),
            lanes: HashMap::new(),
            opens: HashMap::new(),
            calls: HashMap::new(),
            last_open: 0,
        }
    }

    pub fn keys(&self) -> Vec<LaneKey> {
        self.lanes.keys().copied().collect()
    }

    /// The call of another node that is request `seq` in a lane.
    pub fn taken(&self, key: LaneKey, seq: u64) -> Option<(NodeId, u64)> {
        let name = self.lanes.get(&key)?;
        let pair = self.pairs.get(name)?;
        let current = pair.current.as_ref().filter(|c| c.seq == seq && !c.cancelled)?;
        Some((name.0, current.call))
    }

    /// A message for an endpoint of this node.
    pub fn call(
        &mut self,
        node: NodeId,
        call: u64,
        msg: &Message,
        grants: &Grants,
        shores: &Shores,
        step: &mut Step<'_>,
    ) {
        let name = (node, msg.dc(), msg.source(), msg.destination());
        let refuse = |step: &mut Step<'_>, code| {
            let error = Error::early(code).at(msg.destination());
            step.send(node, Frame::Failed { call, error });
        };
        if !matches!(msg.kind(), Some(Kind::Send | Kind::Request)) || self.calls.contains_key(&(node, call)) {
            return refuse(step, Code::INVAL);
        }
        let mut msg = *msg;
        msg.set_place(name.1, node);
        let deadline = Deadline::from_remaining(step.now, msg.deadline().ns());
        msg.set_deadline(deadline);
        let Some(pair) = self.pair_or_open(name, deadline.remaining(step.now), step) else {
            return refuse(step, Code::NOSPC);
        };
        if pair.queue.len() >= ROUTE_QUEUE_MAX {
            return refuse(step, Code::BUSY);
        }
        pair.queue.push_back(Queued { call, msg, grants: *grants });
        self.calls.insert((node, call), name);
        self.start(name, shores, step);
    }

    fn pair_or_open(&mut self, name: Name, remaining: u64, step: &mut Step<'_>) -> Option<&mut Pair> {
        if !self.pairs.contains_key(&name) {
            if self.pairs.len() >= ROUTE_PAIRS_MAX {
                return None;
            }
            let place = Place::Opening(self.ask(name, remaining, step));
            let pair = Pair { place, current: None, queue: VecDeque::new(), notice: None };
            self.pairs.insert(name, pair);
        }
        self.pairs.get_mut(&name)
    }

    fn ask(&mut self, name: Name, remaining: u64, step: &mut Step<'_>) -> u64 {
        self.last_open += 1;
        let (id, (node, dc, from, to)) = (self.last_open, name);
        self.opens.insert(id, name);
        step.out.push(Cmd::Open { id, node, dc, from, to, remaining });
        id
    }

    /// The daemon answered.
    pub fn opened(&mut self, id: u64, result: Result<LaneKey, Error>, shores: &Shores, step: &mut Step<'_>) {
        let Some(name) = self.opens.remove(&id) else { return };
        let Some(pair) =
            self.pairs.get_mut(&name).filter(|p| matches!(p.place, Place::Opening(n) if n == id))
        else {
            // Nobody wants it any more.
            if let Ok((link, lane)) = result.map(super::shore::parts) {
                step.out.push(Cmd::Free { link: link as u16, lane: lane as u8 });
            }
            return;
        };
        match result {
            Ok(key) => {
                pair.place = Place::Open(key);
                self.lanes.insert(key, name);
                if let Some(bits) = pair.notice.take()
                    && let Some(lane) = shores.lane(key)
                {
                    lane.notify(bits);
                    shores.tell(key, step);
                }
                self.start(name, shores, step);
            }
            Err(error) => {
                let Some(pair) = self.pairs.remove(&name) else { return };
                let (_, dc, from, to) = name;
                if let Some(value) = pair.notice.filter(|_| error.code == Code::MIGRATE) {
                    step.out.push(Cmd::Notice { dc, from, to, value });
                }
                for queued in pair.queue {
                    self.calls.remove(&(name.0, queued.call));
                    step.send(name.0, Frame::Failed { call: queued.call, error: error.clone() });
                }
            }
        }
    }

    /// Posts the next call of a pair, if its lane is free.
    fn start(&mut self, name: Name, shores: &Shores, step: &mut Step<'_>) {
        let Some(pair) = self.pairs.get_mut(&name) else { return };
        let Place::Open(key) = pair.place else { return };
        let Some(lane) = shores.lane(key) else { return };
        while pair.current.is_none() {
            let Some(next) = pair.queue.pop_front() else { return };
            let kind = next.msg.kind().unwrap_or_default();
            match lane.post(kind, &next.msg, next.grants.as_slice()) {
                Ok(seq) => {
                    pair.current = Some(InCall { call: next.call, seq, cancelled: false, told: false });
                    shores.tell(key, step);
                }
                // The daemon is about to say why; then the pair asks for another lane.
                Err(Refused::Closed) => return pair.queue.push_front(next),
                Err(r) => {
                    self.calls.remove(&(name.0, next.call));
                    let error = Error::early(r.code()).at(name.3);
                    step.send(name.0, Frame::Failed { call: next.call, error });
                    return self.leave(name, key, shores, step);
                }
            }
        }
    }

    /// Gives up a lane whose other side breaks its rules; the next call of the pair gets another.
    fn leave(&mut self, name: Name, key: LaneKey, shores: &Shores, step: &mut Step<'_>) {
        if let Some(lane) = shores.lane(key) {
            lane.close();
        }
        let (link, lane) = super::shore::parts(key);
        step.out.push(Cmd::Free { link: link as u16, lane: lane as u8 });
        self.closed(key, Code::DSTDIED as i32, shores, step);
        debug_assert!(!self.lanes.contains_key(&key), "{name:?} left its lane");
    }

    /// Something changed in a lane; false when it is none of ours.
    pub fn news(&mut self, key: LaneKey, shores: &Shores, step: &mut Step<'_>) -> bool {
        let Some(name) = self.lanes.get(&key).copied() else { return false };
        self.collect(name, key, shores, step);
        self.start(name, shores, step);
        true
    }

    /// Tells the caller's node that a request was consumed, if it was.
    pub fn tell_taken(&mut self, name: Name, shores: &Shores, step: &mut Step<'_>) {
        if let Some(Place::Open(key)) = self.pairs.get(&name).map(|p| &p.place) {
            let key = *key;
            self.collect(name, key, shores, step);
        }
    }

    /// Ends the call in the lane, if the callee has ended it.
    fn collect(&mut self, name: Name, key: LaneKey, shores: &Shores, step: &mut Step<'_>) {
        let Some(pair) = self.pairs.get_mut(&name) else { return };
        let (Some(current), Some(lane)) = (pair.current.as_mut(), shores.lane(key)) else { return };
        let call = current.call;
        if current.cancelled {
            let effect = match lane.cancel(current.seq) {
                // A program cannot know that it may carry messages; nothing is recalled from it.
                Cancel::Copying | Cancel::Recalled => return,
                Cancel::NotTaken => Some(Effect::No),
                Cancel::Taken => Some(Effect::Unknown),
                Cancel::Done(_) => None,
            };
            if let Some(effect) = effect {
                pair.current = None;
                self.calls.remove(&(name.0, call));
                return step.send(name.0, Frame::Withdrawn { call, effect });
            }
        }
        let mut msg = Message::default();
        let outcome = lane.collect(current.seq, &mut msg);
        match outcome {
            Outcome::Pending => {
                if !current.told && lane.progress(current.seq) == Progress::Taken {
                    current.told = true;
                    step.send(name.0, Frame::Consumed { call });
                }
                return;
            }
            // A closed lane: the daemon is about to say why.
            Outcome::Closed(_) => return,
            _ => {}
        }
        pair.current = None;
        self.calls.remove(&(name.0, call));
        step.send(name.0, end_frame(outcome, call, msg, name, self.me));
        if outcome == Outcome::Broken {
            self.leave(name, key, shores, step);
        }
    }

    /// The caller has left.
    pub fn cancel(&mut self, node: NodeId, call: u64, shores: &Shores, step: &mut Step<'_>) {
        let Some(name) = self.calls.get(&(node, call)).copied() else { return };
        let Some(pair) = self.pairs.get_mut(&name) else { return };
        if let Some(at) = pair.queue.iter().position(|q| q.call == call) {
            pair.queue.remove(at);
            self.calls.remove(&(node, call));
            return step.send(node, Frame::Withdrawn { call, effect: Effect::No });
        }
        let Place::Open(key) = pair.place else { return };
        if let Some(current) = pair.current.as_mut().filter(|c| c.call == call) {
            current.cancelled = true;
            self.collect(name, key, shores, step);
            shores.tell(key, step);
            self.start(name, shores, step);
        }
    }

    /// A notification.
    #[allow(clippy::too_many_arguments)] // the fields of the frame
    pub fn notify(
        &mut self,
        node: NodeId,
        dc: DcId,
        from: Endpoint,
        to: Endpoint,
        bits: u64,
        shores: &Shores,
        step: &mut Step<'_>,
    ) {
        let name = (node, dc, from, to);
        // Without room it is lost, as a notification may be.
        let Some(pair) = self.pair_or_open(name, u64::MAX, step) else { return };
        match pair.place {
            Place::Open(key) if shores.lane(key).is_some_and(|l| !l.state().closed()) => {
                if let Some(lane) = shores.lane(key) {
                    lane.notify(bits);
                    shores.tell(key, step);
                }
            }
            _ => *pair.notice.get_or_insert(0) |= bits,
        }
    }

    /// Whether this is a lane of this kind.
    pub fn has(&self, key: LaneKey) -> bool {
        self.lanes.contains_key(&key)
    }

    /// The daemon closed a lane.
    pub fn closed(&mut self, key: LaneKey, code: i32, shores: &Shores, step: &mut Step<'_>) {
        let Some(name) = self.lanes.remove(&key) else { return };
        let Some(pair) = self.pairs.get_mut(&name) else { return };
        let code = Code::from_i32(code).unwrap_or(Code::DSTDIED);
        if let Some(current) = pair.current.take() {
            let mut msg = Message::default();
            let outcome =
                shores.lane(key).map_or(Outcome::Broken, |lane| lane.collect(current.seq, &mut msg));
            self.calls.remove(&(name.0, current.call));
            let frame = match outcome {
                Outcome::Closed(effect) => {
                    Frame::Failed { call: current.call, error: closed_error(code, effect, name.3) }
                }
                other => end_frame(other, current.call, msg, name, self.me),
            };
            step.send(name.0, frame);
        }
        if pair.queue.is_empty() && pair.notice.is_none() {
            self.pairs.remove(&name);
        } else {
            let remaining = pair.queue.front().map_or(u64::MAX, |q| q.msg.deadline().remaining(step.now));
            let id = self.ask(name, remaining, step);
            if let Some(pair) = self.pairs.get_mut(&name) {
                pair.place = Place::Opening(id);
            }
        }
    }

    /// A node is dead: its calls are taken back.
    pub fn node_down(&mut self, node: NodeId, shores: &Shores, step: &mut Step<'_>) {
        let mut names: Vec<Name> = self.pairs.keys().filter(|n| n.0 == node).copied().collect();
        // The same frames in the same order each time: the simulator relies on it.
        names.sort_unstable_by_key(|(_, dc, from, to)| (*dc, from.raw(), to.raw()));
        for name in names {
            let Some(pair) = self.pairs.get_mut(&name) else { continue };
            for queued in pair.queue.drain(..) {
                self.calls.remove(&(node, queued.call));
            }
            pair.notice = None;
            let Place::Open(key) = pair.place else { continue };
            if let Some(current) = pair.current.as_mut() {
                current.cancelled = true;
                self.collect(name, key, shores, step);
                shores.tell(key, step);
            }
        }
    }
}

impl Route {
    /// Calls of other nodes that are not ended, for display and tests.
    pub fn incoming_calls(&self) -> usize {
        self.incoming.calls.len()
    }
}

/// The frame that tells the caller's node how its call ended.
fn end_frame(outcome: Outcome, call: u64, mut msg: Message, name: Name, me: NodeId) -> Frame<'static> {
    let failed = |code, effect| Frame::Failed { call, error: Error::new(code, effect).at(name.3) };
    msg.set_route(name.3, name.2);
    msg.set_place(name.1, me);
    msg.set_len(msg.len());
    match outcome {
        Outcome::Consumed => Frame::Consumed { call },
        Outcome::Replied => Frame::Reply { call, msg },
        Outcome::Redirected(to) => Frame::Redirect { call, to, msg },
        Outcome::Failed(code, effect) => failed(code, effect),
        Outcome::Pending | Outcome::Closed(_) | Outcome::Broken => failed(Code::IO, Effect::Unknown),
    }
}

/// What the caller of a call in a closed lane learns, as it would in a lane of its own.
fn closed_error(code: Code, effect: Effect, to: Endpoint) -> Error {
    match (code, effect) {
        (Code::DSTDIED, Effect::No) => Error::early(Code::DSTDIED),
        (Code::DSTDIED, e) => Error::new(Code::SRCDIED, e),
        (c, e) => Error::new(c, e),
    }
    .at(to)
}
