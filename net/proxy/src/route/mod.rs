//! The router: what stands between the lanes of this node's programs and the sessions with other nodes.
//!
//! ```text
//!   caller ──lane──▶ Outgoing ──CALL──▶ ~~~~~ ──CALL──▶ Incoming ──lane──▶ callee
//!          ◀─────── (callee side)     network          (caller side) ◀────
//!                    ◀── CONSUMED, REPLY, FAILED, REDIRECT, WITHDRAWN ──
//! ```
//!
//! To a program the proxy is one more session: its lanes to endpoints of other nodes end here, and lanes
//! from such endpoints begin here. `outgoing` is the called side of the first kind, `incoming` the
//! calling side of the second.
//!
//! # Algorithm
//! Everything is a step `(state, event, now) -> commands`: an event is a lane that has news, a frame, a node
//! that comes or goes, or something the daemon says. There is no clock, socket or thread in here; the lanes
//! are words behind [`dvs_ipc::host::Memory`], which a test makes of its heap. Whoever drives it carries the
//! commands out in their order, before the next step: frames to one node leave in the order in which the
//! steps that made them happened.
//!
//! # What is promised
//! - A plain send ends when its receiver *consumed* it: the lane stays taken until `CONSUMED` is back.
//! - A caller that wants to leave has its message given back by the other node first (`CANCEL`,
//!   `WITHDRAWN`): it
//!   learns that nothing was done only when that is sure. It waits for that a short time; then the effect is
//!   unknown.
//! - One frame ends a call. It finds the call by a number that is never used twice, so a late answer of a
//!   call that was given up reaches nobody.
//! - While a node takes no more frames (no credit) nothing more is taken out of the lanes to it; answers to
//!   it wait, and there is at most one a call.
//! - When a node is declared dead, calls that had been sent fail with effect unknown; those still in their
//!   lanes are failed by the daemon, which closes the lanes, with effect none.

mod copies;
mod incoming;
mod nodes;
mod outgoing;
mod place;
mod shore;
#[cfg(test)]
mod tests;

pub use copies::{Job, JobName, Order, Range, Target};
pub use place::Place;
pub use shore::{Shore, Shores};

use copies::Copies;
use dvs_abi::limits::COPY_BYTES_MAX;
use dvs_abi::{Access, CallSet, Code, DcId, Endpoint, Error, NodeId};
use dvs_ipc::bell::bits;
use dvs_ipc::control::{Answer, Event, WireError};
use dvs_ipc::link::Link;
use dvs_kern::rendezvous::LaneKey;
use dvs_wire::Frame;
use incoming::Incoming;
use nodes::{Held, Peers};
use outgoing::{OutLane, Outgoing};
use std::sync::Arc;

/// Something to be carried out.
#[derive(Debug)]
pub enum Cmd {
    /// Queue a frame for a node; give it back with [`Route::hold`] when there is no credit.
    Send {
        /// The node.
        node: NodeId,
        /// The frame.
        frame: Frame<'static>,
    },
    /// Ring the session at the other side of a link.
    Ring(Arc<Shore>),
    /// Ask the daemon for a lane; the answer goes to [`Route::opened`].
    Open {
        /// Number of the question.
        id: u64,
        /// Where the caller is.
        node: NodeId,
        /// The container.
        dc: DcId,
        /// The caller.
        from: Endpoint,
        /// The callee.
        to: Endpoint,
        /// How long it may take, ns.
        remaining: u64,
    },
    /// Have the daemon bring a notification to where its receiver has moved.
    Notice {
        /// The container.
        dc: DcId,
        /// Who raised it.
        from: Endpoint,
        /// For whom.
        to: Endpoint,
        /// Its bits.
        value: u64,
    },
    /// Tell the daemon that a closed lane was forgotten.
    Free {
        /// The link, as the proxy numbers it.
        link: u16,
        /// The lane in it.
        lane: u8,
    },
    /// Have a thread that may wait read bytes and send them.
    Feed {
        /// To this node.
        node: NodeId,
        /// What.
        job: Job,
    },
    /// Tell the daemon that a copy a program ordered has ended.
    Copied {
        /// Its session.
        session: u32,
        /// Number of its request.
        id: u64,
        /// How.
        result: Result<(), Error>,
    },
}

/// One side of a copy a program orders.
#[derive(Clone, Debug)]
pub enum Side {
    /// On this node.
    Here(Range),
    /// Lent by the caller of request `seq` that came through a lane of ours.
    There {
        /// The link, as the proxy numbers it.
        link: u16,
        /// The lane in it.
        lane: u8,
        /// Number of the call in the lane.
        seq: u64,
        /// First byte.
        address: u64,
    },
}

/// One step: the time, the processor it runs on (a hint for who waits), and what it wants done.
pub struct Step<'a> {
    /// ns on the node's clock.
    pub now: u64,
    /// Where this thread runs.
    pub cpu: u32,
    /// The commands, appended to.
    pub out: &'a mut Vec<Cmd>,
}

impl Step<'_> {
    fn send(&mut self, node: NodeId, frame: Frame<'static>) {
        self.out.push(Cmd::Send { node, frame });
    }
}

/// The state of the router.
pub struct Route {
    shores: Shores,
    outgoing: Outgoing,
    incoming: Incoming,
    copies: Copies,
    peers: Peers,
}

impl Route {
    /// The router of node `me`. `first_call` = a random number, so that an answer to a call of an earlier
    /// run of this node is not taken for one of this run.
    pub fn new(me: NodeId, first_call: u64) -> Self {
        Route {
            shores: Shores::default(),
            outgoing: Outgoing::new(me, first_call),
            incoming: Incoming::new(me),
            copies: Copies::new(me, first_call),
            peers: Peers::default(),
        }
    }

    /// The links.
    pub const fn shores(&self) -> &Shores {
        &self.shores
    }

    /// The daemon made a link.
    pub fn add_shore(&mut self, number: u16, shore: Shore) {
        self.shores.add(number, shore);
    }

    /// What the daemon tells; `node` = where the callee of a [`Event::LaneOpened`] is.
    pub fn told(&mut self, event: &Event, node: Option<NodeId>, step: &mut Step<'_>) {
        match *event {
            Event::LaneOpened { link, lane, dc, from, to, may, peer_pid, binding, .. } => {
                let key = shore::key(link, lane);
                let (from, to) = (Endpoint::from_raw(from), Endpoint::from_raw(to));
                let (dc, may, pid) = (DcId(dc), CallSet(may), peer_pid);
                self.outgoing.open(key, OutLane::new(dc, (from, binding), to, node, may, pid));
                self.lane_news(key, step);
            }
            Event::LaneClosed { link, lane, code } => {
                let key = shore::key(link, lane);
                // One that was given up here was freed then, and its number may be another lane's by now.
                if !self.outgoing.has(key) && !self.incoming.has(key) {
                    return;
                }
                if let Some(l) = self.shores.lane(key) {
                    l.close();
                }
                self.outgoing.closed(key, &self.peers, step);
                self.incoming.closed(key, code, &self.shores, step);
                step.out.push(Cmd::Free { link, lane });
            }
            Event::LaneRetired { link, lane } => {
                self.outgoing.retire(shore::key(link, lane), &self.shores, &self.peers, step);
            }
            Event::LinkClosed { link } => self.shores.remove(link),
            _ => {}
        }
    }

    /// The daemon's answer to [`Cmd::Open`].
    pub fn opened(&mut self, id: u64, result: Result<Answer, WireError>, step: &mut Step<'_>) {
        let key = match result {
            Ok(Answer::Lane { link, lane, .. }) => Ok(shore::key(link, lane)),
            Ok(_) => Err(Error::early(Code::BADREQUEST)),
            Err(e) => Err(Error::from(e)),
        };
        self.incoming.opened(id, key, &self.shores, step);
    }

    /// A link rang: looks at every lane of it that is marked.
    pub fn link_news(&mut self, number: u16, step: &mut Step<'_>) {
        let Some(shore) = self.shores.get(number) else { return };
        let ready = Link::new(shore.memory.words()).map_or(0, |l| l.take_ready(shore.side));
        for lane in bits(ready) {
            self.lane_news(shore::key(number, lane as u8), step);
        }
    }

    /// Looks at every lane: a hostile program may have erased what others rang.
    pub fn look_at_all(&mut self, step: &mut Step<'_>) {
        let mut keys = self.outgoing.keys();
        keys.extend(self.incoming.keys());
        for key in keys {
            self.lane_news(key, step);
        }
    }

    fn lane_news(&mut self, key: LaneKey, step: &mut Step<'_>) {
        if self.incoming.news(key, &self.shores, step) {
            return;
        }
        // A notification ends the call of a caller that awaits the notifier's answer, and only then: its node
        // has to know that the request was consumed.
        if let Some(name) = self.outgoing.notifies(key, &self.shores) {
            self.incoming.tell_taken(name, &self.shores, step);
        }
        self.outgoing.news(key, &self.shores, &mut self.peers, step);
    }

    /// A frame of the message stream arrived; `false` when it is not for the router.
    pub fn frame(&mut self, node: NodeId, frame: &Frame<'_>, step: &mut Step<'_>) -> bool {
        match frame {
            Frame::Call { call, msg, grants } => {
                self.incoming.call(node, *call, msg, grants, &self.shores, step);
            }
            Frame::Cancel { call } => self.incoming.cancel(node, *call, &self.shores, step),
            Frame::Notify { dc, source, destination, value, .. } => {
                self.incoming.notify(node, *dc, *source, *destination, *value, &self.shores, step);
            }
            Frame::Consumed { call } => self.end(node, *call, outgoing::End::Consumed, step),
            Frame::Reply { call, msg } => self.end(node, *call, outgoing::End::Reply(*msg), step),
            Frame::Failed { call, error } => {
                self.end(node, *call, outgoing::End::Failed(error.code, error.effect), step);
            }
            Frame::Withdrawn { call, effect } => {
                self.end(node, *call, outgoing::End::Withdrawn(*effect), step);
            }
            Frame::Redirect { call, to, msg } => {
                self.end(node, *call, outgoing::End::Redirect(*to, *msg), step);
            }
            _ => return self.copy_frame(node, frame, step),
        }
        true
    }

    fn copy_frame(&mut self, node: NodeId, frame: &Frame<'_>, step: &mut Step<'_>) -> bool {
        let shores = &self.shores;
        let lent = |outgoing: &Outgoing, call, at, access| outgoing.lent(shores, call, at, access);
        let (copy, result) = match *frame {
            Frame::CopyRead { copy, call, address, length } => {
                let from = lent(&self.outgoing, (node, call), (address, length), Access::Read);
                let serve = |from| self.copies.serve_read(node, copy, from, length, step);
                (copy, from.map(serve))
            }
            Frame::CopyWrite { copy, call, address, length } => {
                // Of a third node when the server had that one send the bytes, and has said so before.
                let by = self.outgoing.writer(node, call, (address, length));
                let to = by.and_then(|by| lent(&self.outgoing, (by, call), (address, length), Access::Write));
                (copy, to.map(|to| self.copies.serve_write(node, copy, to, length, step)))
            }
            Frame::CopyRelay { copy, call, address, length, to_node, to_call, to_address } => {
                let from = lent(&self.outgoing, (node, call), (address, length), Access::Read);
                if to_node == self.copies.me() {
                    let to = lent(&self.outgoing, (node, to_call), (to_address, length), Access::Write);
                    let both = from.and_then(|from| Ok((from, to?)));
                    let serve = |(from, to)| self.copies.serve_both(node, copy, from, to, length, step);
                    (copy, both.map(serve))
                } else {
                    let to = (to_node, to_call, to_address);
                    let serve = |from| self.copies.serve_relay(node, copy, from, to, length, step);
                    (copy, from.map(serve))
                }
            }
            Frame::CopyFrom { copy, call, address, length, node: writer } => {
                let lent = lent(&self.outgoing, (node, call), (address, length), Access::Write);
                let expected = lent.map(|_| self.outgoing.expect(call, (writer, address, length)));
                let done = |()| step.send(node, Frame::CopyDone { copy, length: 0, error: None });
                (copy, expected.map(done))
            }
            Frame::CopyDone { copy, ref error, .. } => {
                self.copies.done(node, copy, error.as_ref(), step);
                return true;
            }
            _ => return false,
        };
        if let Err(code) = result {
            copies::refuse(node, copy, code, step);
        }
        true
    }

    /// A program orders a copy; the answer is [`Cmd::Copied`].
    pub fn copy(&mut self, order: Order, from: Side, to: Side, length: u64, step: &mut Step<'_>) {
        let begun = match (from, to) {
            _ if length > COPY_BYTES_MAX => Err(Code::RANGE),
            (from, to) => self.begin_copy(order, &from, &to, length, step),
        };
        if let Err(code) = begun {
            let result = Err(Error::early(code));
            step.out.push(Cmd::Copied { session: order.0, id: order.1, result });
        }
    }

    fn begin_copy(
        &mut self,
        order: Order,
        from: &Side,
        to: &Side,
        length: u64,
        step: &mut Step<'_>,
    ) -> Result<(), Code> {
        let there = |side: &Side| match *side {
            Side::Here(_) => Ok(None),
            Side::There { link, lane, seq, address } => {
                let (node, call) = self.incoming.taken(shore::key(link, lane), seq).ok_or(Code::SRCDIED)?;
                Ok(Some((node, call, address)))
            }
        };
        let here = |side: &Side, access| match side {
            Side::Here(r) if r.place.lent(r.address, length, access) => Ok(r.clone()),
            _ => Err(Code::FAULT),
        };
        match (there(from)?, there(to)?) {
            (Some(a), Some(b)) => self.copies.relay(order, a, b, length, step),
            (Some(a), None) => self.copies.read(order, a, here(to, Access::Write)?, length, step),
            (None, Some(b)) => self.copies.write(order, here(from, Access::Read)?, b, length, step),
            (None, None) => Err(Code::INVAL),
        }
    }

    /// Whoever ordered a copy does not wait any more.
    pub fn withdraw(&mut self, order: Order, step: &mut Step<'_>) {
        self.copies.withdraw(order, step);
    }

    /// A session ended.
    pub fn session_gone(&mut self, session: u32, step: &mut Step<'_>) {
        self.copies.session_gone(session, step);
    }

    /// Where a chunk from `node` is to be written; say [`Route::wrote`] afterwards.
    pub fn target(
        &mut self,
        node: NodeId,
        copy: u64,
        offset: u64,
        bytes: u64,
        step: &mut Step<'_>,
    ) -> Option<Target> {
        self.copies.target(node, copy, offset, bytes, step)
    }

    /// A chunk was written, or not.
    pub fn wrote(&mut self, name: JobName, bytes: u64, result: Result<(), Code>, step: &mut Step<'_>) {
        self.copies.wrote(name, bytes, result, step);
    }

    /// A job has ended.
    pub fn fed(&mut self, name: JobName, result: Result<(), Code>, step: &mut Step<'_>) {
        self.copies.fed(name, result, step);
    }

    /// Copies under way.
    pub fn copies(&self) -> usize {
        self.copies.len()
    }

    fn end(&mut self, node: NodeId, call: u64, end: outgoing::End, step: &mut Step<'_>) {
        self.outgoing.end(node, call, end, &self.shores, step);
    }

    /// A session with a node began.
    pub fn node_up(&mut self, node: NodeId) {
        self.peers.up(node);
    }

    /// A node was declared dead (or its daemon started anew): what was under way from it ends. What was to it
    /// ends when the daemon closes its lanes, and says why.
    pub fn node_down(&mut self, node: NodeId, step: &mut Step<'_>) {
        self.peers.down(node);
        self.incoming.node_down(node, &self.shores, step);
        self.copies.node_down(node, step);
    }

    /// Whether frames for a node wait: then further ones have to be [`Route::hold`]ed behind them.
    pub fn holds(&self, node: NodeId) -> bool {
        self.peers.holds(node)
    }

    /// There is no credit for a frame: it waits. False when too much does: the session with the node has to
    /// be ended, as it would miss this.
    #[must_use]
    pub fn hold(&mut self, node: NodeId, frame: Frame<'static>) -> bool {
        self.peers.hold(node, Held::Frame(frame))
    }

    /// The same for a control record.
    #[must_use]
    pub fn hold_control(&mut self, node: NodeId, bytes: Vec<u8>) -> bool {
        self.peers.hold(node, Held::Control(bytes))
    }

    /// There is credit again: `send` is given what waits until it says no, then lanes are looked at again.
    pub fn resume(&mut self, node: NodeId, step: &mut Step<'_>, mut send: impl FnMut(&Frame<'_>) -> bool) {
        if !self.peers.release(node, &mut send) {
            return;
        }
        for key in self.peers.take_stalled(node) {
            self.lane_news(key, step);
        }
    }
}
