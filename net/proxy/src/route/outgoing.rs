//! Calls of this node's programs to endpoints of other nodes: the called side of their lanes.
//!
//! ```text
//!   posted ──forward──▶ carried, CALL sent ──CONSUMED, REPLY, FAILED, REDIRECT──▶ ended
//!                             │ caller wants to leave: CANCEL sent ──WITHDRAWN, or how it ended──▶ left
//!                             │ caller left: CANCEL sent, number forgotten
//! ```

use super::incoming::Name;
use super::nodes::Peers;
use super::shore::Shores;
use super::{Cmd, Range, Route, Step};
use dvs_abi::limits::CALL_WRITERS_MAX;
use dvs_abi::{Access, Call, CallSet, Code, DcId, Deadline, Effect, Endpoint, Kind, Message, NodeId};
use dvs_ipc::lane::{GrantList, Lane, Lost, Phase, Taken};
use dvs_kern::rendezvous::LaneKey;
use dvs_wire::{Frame, Grants};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// How a call ends.
#[derive(Debug)]
pub(super) enum End {
    Consumed,
    Reply(Message),
    Failed(Code, Effect),
    Redirect(Endpoint, Message),
    Withdrawn(Effect),
}

/// A call that was sent.
pub(super) struct OutCall {
    pub id: u64,
    pub seq: u64,
    pub kind: Kind,
    pub grants: GrantList,
    /// The other node was asked to give it back.
    pub recalled: bool,
    /// Who else is going to write memory it lent, and which: its server said so.
    pub writers: VecDeque<Writer>,
}

/// A node, the first byte it may write and how many.
pub(super) type Writer = (NodeId, u64, u64);

/// How often the end of a call waits for a chunk that is being copied: a server that answers while its own
/// copy goes on gets here, nobody else.
const END_TRIES: u32 = 100_000;

/// A lane from a program of this node.
pub(super) struct OutLane {
    pub dc: DcId,
    pub from: Endpoint,
    /// Which binding of `from` it is.
    pub binding: u64,
    pub to: Endpoint,
    /// Where `to` is; `None` when the daemon did not know any more.
    pub node: Option<NodeId>,
    pub may: CallSet,
    pub pid: u32,
    pub call: Option<OutCall>,
    /// `to` has moved: nothing more is sent, and the lane is given back when the call in it has ended.
    pub retired: bool,
}

impl OutLane {
    /// One without a call; `from` with its binding.
    pub fn new(
        dc: DcId,
        (from, binding): (Endpoint, u64),
        to: Endpoint,
        node: Option<NodeId>,
        may: CallSet,
        pid: u32,
    ) -> Self {
        OutLane { dc, from, binding, to, node, may, pid, call: None, retired: false }
    }
}

/// All of them.
pub(super) struct Outgoing {
    me: NodeId,
    lanes: HashMap<LaneKey, OutLane>,
    calls: HashMap<u64, LaneKey>,
    last_call: u64,
}

impl Outgoing {
    pub fn new(me: NodeId, first_call: u64) -> Self {
        Outgoing { me, lanes: HashMap::new(), calls: HashMap::new(), last_call: first_call }
    }

    pub fn keys(&self) -> Vec<LaneKey> {
        self.lanes.keys().copied().collect()
    }

    pub fn open(&mut self, key: LaneKey, lane: OutLane) {
        self.lanes.insert(key, lane);
    }

    /// Whether this is a lane of this kind.
    pub fn has(&self, key: LaneKey) -> bool {
        self.lanes.contains_key(&key)
    }

    /// The lane is closed: its caller is gone, or the daemon knows that the callee is.
    pub fn closed(&mut self, key: LaneKey, peers: &Peers, step: &mut Step<'_>) {
        let Some(mut lane) = self.lanes.remove(&key) else { return };
        forget(&mut self.calls, &mut lane, peers, step);
    }

    /// What a lane leads to has moved. The end of the call that was sent still comes from the old place.
    pub fn retire(&mut self, key: LaneKey, shores: &Shores, peers: &Peers, step: &mut Step<'_>) {
        let Some(used) = self.lanes.get_mut(&key) else { return };
        used.retired = true;
        let left = |c: &OutCall| shores.lane(key).is_none_or(|lane| !still(lane, c.seq));
        if used.call.as_ref().is_some_and(left) {
            forget(&mut self.calls, used, peers, step);
        }
        self.give_back(key, step);
    }

    /// Gives a retired lane back, if no call is under way in it.
    fn give_back(&mut self, key: LaneKey, step: &mut Step<'_>) {
        if self.lanes.get(&key).is_some_and(|l| l.retired && l.call.is_none()) {
            self.lanes.remove(&key);
            let (link, lane) = super::shore::parts(key);
            step.out.push(Cmd::Free { link: link as u16, lane: lane as u8 });
        }
    }

    /// Whose call may end by a notification that stands in a lane: the callee as caller, and the notifier.
    pub fn notifies(&self, key: LaneKey, shores: &Shores) -> Option<Name> {
        let used = self.lanes.get(&key)?;
        shores.lane(key)?.has_notice().then_some((used.node?, used.dc, used.to, used.from))
    }

    /// Something changed in a lane.
    pub fn news(&mut self, key: LaneKey, shores: &Shores, peers: &mut Peers, step: &mut Step<'_>) {
        let Some(used) = self.lanes.get_mut(&key) else { return };
        let Some(lane) = shores.lane(key) else { return };
        let Some(node) = used.node.filter(|n| peers.is_up(*n)) else { return };
        if used.call.as_ref().is_some_and(|c| !still(lane, c.seq)) {
            forget(&mut self.calls, used, peers, step);
        }
        recall(lane, used, peers, step);
        if used.retired {
            return self.give_back(key, step);
        }
        if peers.holds(node) {
            return peers.stall(node, key);
        }
        if let Some(value) = lane.take_notice()
            && used.may.has(Call::Notify)
        {
            let (source, destination) = (used.from, used.to);
            step.send(node, Frame::Notify { dc: used.dc, source, destination, value, timestamp: step.now });
        }
        let Some((seq, kind)) = lane.peek() else { return };
        let call = if kind == Kind::Request { Call::Sendrec } else { Call::Send };
        if !used.may.has(call) {
            // Gone is as good as told.
            let _ = lane.fail(seq, Code::BADCALL, Effect::No);
            return shores.tell(key, step);
        }
        let (mut msg, mut grants) = (Message::default(), GrantList::default());
        match lane.forward(seq, &mut msg, &mut grants) {
            Taken::Yes => {}
            Taken::Malformed => return shores.tell(key, step),
            Taken::Gone => return,
        }
        let me = self.me;
        address(&mut msg, used, me);
        msg.set_deadline(Deadline::from_ns(msg.deadline().remaining(step.now)));
        self.last_call = self.last_call.wrapping_add(1);
        let id = self.last_call;
        self.calls.insert(id, key);
        used.call = Some(OutCall { id, seq, kind, grants, recalled: false, writers: VecDeque::new() });
        // A lane holds no more grants than a frame.
        let grants = Grants::new(grants.as_slice()).unwrap_or_default();
        step.send(node, Frame::Call { call: id, msg, grants });
    }

    /// A frame that ends call `id` came from `node`.
    pub fn end(&mut self, node: NodeId, id: u64, end: End, shores: &Shores, step: &mut Step<'_>) {
        let Some(key) = self.calls.get(&id).copied() else { return };
        let Some(used) = self.lanes.get_mut(&key).filter(|u| u.node == Some(node)) else { return };
        let Some(call) = used.call.as_ref().filter(|c| c.id == id) else { return };
        if matches!(end, End::Consumed) && call.kind == Kind::Request {
            if shores.lane(key).is_some_and(|l| l.begun(call.seq).is_ok()) {
                shores.tell(key, step);
            }
            return;
        }
        let fits = match end {
            End::Consumed => call.kind == Kind::Send,
            End::Reply(_) | End::Redirect(..) => call.kind == Kind::Request,
            End::Failed(..) | End::Withdrawn(_) => true,
        };
        let Some(lane) = shores.lane(key).filter(|_| fits) else { return };
        let (route, dc) = ((used.to, used.from), used.dc);
        for _ in 0..END_TRIES {
            if apply(lane, call.seq, &end, route, (dc, node)) != Err(Lost::Copying) {
                break;
            }
            std::thread::yield_now();
        }
        self.calls.remove(&id);
        used.call = None;
        shores.tell(key, step);
        self.give_back(key, step);
    }

    /// The server of `call` is going to have a third node write. One that never does is forgotten when the
    /// call ends, or for the newest of too many.
    pub fn expect(&mut self, call: u64, writer: Writer) {
        if let Some(call) = self.call_mut(call) {
            if call.writers.len() >= CALL_WRITERS_MAX {
                call.writers.pop_front();
            }
            call.writers.push_back(writer);
        }
    }

    /// In whose name `node` writes this range of `call`: the node the call was sent to, which may be itself
    /// or have announced it. An announcement serves once.
    ///
    /// # Errors
    /// `SRCDIED` when there is no such call any more, `FAULT` when nobody has announced this.
    pub fn writer(&mut self, node: NodeId, call: u64, (address, length): (u64, u64)) -> Result<NodeId, Code> {
        let used = self.calls.get(&call).and_then(|key| self.lanes.get(key));
        let server = used.and_then(|l| l.node).ok_or(Code::SRCDIED)?;
        if server == node {
            return Ok(server);
        }
        let call = self.call_mut(call).ok_or(Code::SRCDIED)?;
        let at = call.writers.iter().position(|w| *w == (node, address, length)).ok_or(Code::FAULT)?;
        call.writers.remove(at);
        Ok(server)
    }

    fn call_mut(&mut self, call: u64) -> Option<&mut OutCall> {
        let key = self.calls.get(&call)?;
        self.lanes.get_mut(key)?.call.as_mut().filter(|c| c.id == call)
    }

    /// Memory that the caller of `call` lent, if it lent this range and its server is on `node`.
    ///
    /// # Errors
    /// `SRCDIED` when there is no such call any more, `FAULT` when it did not lend this.
    pub fn lent(
        &self,
        shores: &Shores,
        (node, call): (NodeId, u64),
        (address, length): (u64, u64),
        access: Access,
    ) -> Result<Range, Code> {
        let key = self.calls.get(&call).ok_or(Code::SRCDIED)?;
        let used = self.lanes.get(key).ok_or(Code::SRCDIED)?;
        let call = used.call.as_ref().filter(|c| c.id == call && c.kind == Kind::Request);
        let call = call.ok_or(Code::SRCDIED)?;
        if used.node != Some(node) || !call.grants.covers(address, length, access) {
            return Err(Code::FAULT);
        }
        // Whoever copies has consumed the request.
        let _ = shores.lane(*key).ok_or(Code::SRCDIED)?.begun(call.seq);
        let place = shores.client(*key, used.pid, call.seq).ok_or(Code::SRCDIED)?;
        Ok(Range { place: Arc::new(place), address })
    }
}

impl Route {
    /// Calls sent and not ended, for display and tests.
    pub fn outgoing_calls(&self) -> usize {
        self.outgoing.calls.len()
    }
}

/// Writes who calls whom, whatever the program had written there.
fn address(msg: &mut Message, used: &OutLane, me: NodeId) {
    msg.set_route(used.from, used.to);
    msg.set_place(used.dc, me);
    msg.set_binding(used.binding);
    msg.set_len(msg.len());
}

/// Whether the caller still waits for the end of call `seq`.
fn still(lane: Lane<'_>, seq: u64) -> bool {
    let state = lane.state();
    let held = matches!(
        state.phase(),
        Some(Phase::Carried | Phase::Recalled | Phase::Taken | Phase::Copying | Phase::Leaving)
    );
    // A closed lane is dealt with when the daemon says why it was closed.
    state.seq() == seq && (held || state.closed())
}

/// The caller wants to leave: the other node is asked, once, to give the message back.
fn recall(lane: Lane<'_>, used: &mut OutLane, peers: &Peers, step: &mut Step<'_>) {
    let Some(call) = used.call.as_mut().filter(|c| !c.recalled && lane.recalled(c.seq)) else { return };
    if let Some(node) = used.node.filter(|n| peers.is_up(*n)) {
        call.recalled = true;
        step.send(node, Frame::Cancel { call: call.id });
    }
}

/// The caller has left: the other node is told, the number forgotten.
fn forget(calls: &mut HashMap<u64, LaneKey>, used: &mut OutLane, peers: &Peers, step: &mut Step<'_>) {
    let Some(call) = used.call.take() else { return };
    calls.remove(&call.id);
    if let Some(node) = used.node.filter(|n| !call.recalled && peers.is_up(*n)) {
        step.send(node, Frame::Cancel { call: call.id });
    }
}

fn apply(
    lane: Lane<'_>,
    seq: u64,
    end: &End,
    (source, destination): (Endpoint, Endpoint),
    (dc, node): (DcId, NodeId),
) -> Result<(), Lost> {
    let readdress = |msg: &Message| {
        let mut msg = *msg;
        msg.set_route(source, destination);
        msg.set_place(dc, node);
        msg
    };
    match end {
        End::Consumed => lane.consumed(seq),
        End::Withdrawn(effect) => lane.withdrawn(seq, *effect),
        // Who leaves does not call again, at the new place.
        End::Failed(Code::MIGRATE, Effect::No) if lane.recalled(seq) => lane.withdrawn(seq, Effect::No),
        End::Failed(Code::STALE, effect) if lane.recalled(seq) => lane.withdrawn(seq, *effect),
        End::Failed(code, effect) => lane.fail(seq, *code, *effect),
        End::Reply(msg) => {
            let mut msg = readdress(msg);
            msg.set_kind(Kind::Reply);
            lane.reply(seq, &msg)
        }
        End::Redirect(to, msg) => lane.redirect(seq, *to, msg),
    }
}
