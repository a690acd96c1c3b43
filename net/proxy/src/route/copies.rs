//! Copies between memory on different nodes.
//!
//! ```text
//!  from another node   COPY_READ ──▶ its feeder ──DATA, DATA, …──▶ written as it arrives, the last ends it
//!  to another node     COPY_WRITE, DATA, DATA, … ──▶ written as it arrives ──COPY_DONE──▶ ends it
//!  between others      COPY_FROM ──▶ the target's node ──COPY_DONE──▶ then
//!                      COPY_RELAY ──▶ the source's node does one of the two above ──COPY_DONE──▶ ends it
//! ```
//! Chunks follow each other without waiting for an answer; what may be in flight is bounded by the credit of
//! the bulk stream. A `COPY_DONE` with an error, from either side and at any time, ends a copy.
//!
//! A node takes bytes for memory of a call from the node the call was sent to, and from one that this node
//! has named before (`COPY_FROM`), once each time. Whoever knows no more than the number of a call writes
//! nothing.
//!
//! A copy has the number its asking node gave it. The upper byte is that node, so that the two sides of a
//! session never mistake each other's copies.
//!
//! Whoever asked gets its answer only when nothing more is going to be written into its memory: a chunk that
//! is just being written is waited for.

use super::place::Place;
use super::{Cmd, Step};
use dvs_abi::limits::ROUTE_COPIES_MAX;
use dvs_abi::{Code, Effect, Error, NodeId};
use dvs_wire::Frame;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A program's request: its session and number there.
pub type Order = (u32, u64);

/// Who wants to know that a copy ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asker {
    /// A program of this node.
    Program(Order),
    /// A node that had this one relay.
    Node(NodeId, u64),
}

/// Names a job: a copy asked for here, or one another node asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum JobName {
    /// With our number.
    Ours(u64),
    /// With the number of that node.
    Theirs(NodeId, u64),
}

/// Memory and where in it the copy begins.
#[derive(Clone, Debug)]
pub struct Range {
    /// Whose memory.
    pub place: Arc<Place>,
    /// First byte.
    pub address: u64,
}

/// Bytes to be read here, chunk by chunk, by a thread that may wait.
#[derive(Debug)]
pub struct Job {
    /// Say this name when it has ended: [`super::Route::fed`].
    pub name: JobName,
    /// Number of the copy on the wire.
    pub copy: u64,
    /// Goes before the bytes; then an error goes behind them.
    pub announce: Option<Frame<'static>>,
    /// What is read.
    pub from: Range,
    /// Where it goes on this node; nothing = as DATA to the node.
    pub to: Option<Range>,
    /// Bytes.
    pub length: u64,
    /// Set when nobody wants it any more.
    pub stop: Arc<AtomicBool>,
}

/// Bytes that arrive.
#[derive(Debug)]
struct Sink {
    range: Range,
    received: u64,
    /// A chunk is being written right now.
    busy: bool,
}

impl Sink {
    const fn new(range: Range) -> Sink {
        Sink { range, received: 0, busy: false }
    }
}

/// What this node does in a copy.
#[derive(Debug)]
enum Role {
    /// Asked the other node for bytes and writes them here.
    Read(Sink),
    /// Sends bytes from here to the other node, which says when it has them all.
    Feed,
    /// Waits until the target's node knows who is going to write; then the source's node is asked.
    Ask(NodeId, Box<Frame<'static>>),
    /// Has the other node do it.
    Relay,
    /// Sends bytes the other node asked for, or copies between two ranges here for it.
    Serve {
        /// The other node gets no DATA that would tell it of the end.
        both: bool,
    },
    /// Writes bytes the other node sends.
    Take(Sink),
}

impl Role {
    fn sink(&mut self) -> Option<&mut Sink> {
        match self {
            Role::Read(sink) | Role::Take(sink) => Some(sink),
            Role::Feed | Role::Ask(..) | Role::Relay | Role::Serve { .. } => None,
        }
    }
}

#[derive(Debug)]
struct Copy {
    node: NodeId,
    asker: Option<Asker>,
    length: u64,
    role: Role,
    stop: Arc<AtomicBool>,
    /// It has failed and ends with the chunk that is being written.
    failed: Option<Error>,
}

/// All copies under way.
pub(super) struct Copies {
    me: NodeId,
    table: HashMap<JobName, Copy>,
    last: u64,
}

/// Where a chunk goes.
#[derive(Debug)]
pub struct Target {
    /// Say this name when it was written: [`super::Route::wrote`].
    pub name: JobName,
    /// Whose memory.
    pub place: Arc<Place>,
    /// Where it begins.
    pub address: u64,
}

impl Copies {
    pub fn new(me: NodeId, first: u64) -> Self {
        Copies { me, table: HashMap::new(), last: first }
    }

    pub const fn me(&self) -> NodeId {
        self.me
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    fn number(&mut self) -> u64 {
        self.last = self.last.wrapping_add(1);
        u64::from(self.me.0) << 56 | self.last & (u64::MAX >> 8)
    }

    /// The name of the copy of which `node` speaks.
    fn name(&self, node: NodeId, copy: u64) -> JobName {
        if copy >> 56 == u64::from(self.me.0) { JobName::Ours(copy) } else { JobName::Theirs(node, copy) }
    }

    fn insert(&mut self, name: JobName, copy: Copy) -> Result<(), Code> {
        if self.table.len() >= ROUTE_COPIES_MAX || self.table.contains_key(&name) {
            return Err(Code::NOSPC);
        }
        self.table.insert(name, copy);
        Ok(())
    }

    fn start(&mut self, node: NodeId, asker: Asker, length: u64, role: Role) -> Result<u64, Code> {
        let copy = self.number();
        let entry = Copy { node, asker: Some(asker), length, role, stop: Arc::default(), failed: None };
        self.insert(JobName::Ours(copy), entry)?;
        Ok(copy)
    }

    /// From memory lent by a call of `node` to memory here.
    pub fn read(
        &mut self,
        order: Order,
        (node, call, address): (NodeId, u64, u64),
        to: Range,
        length: u64,
        step: &mut Step<'_>,
    ) -> Result<(), Code> {
        let copy = self.start(node, Asker::Program(order), length, Role::Read(Sink::new(to)))?;
        step.send(node, Frame::CopyRead { copy, call, address, length });
        Ok(())
    }

    /// From memory here to memory lent by a call of `node`.
    pub fn write(
        &mut self,
        order: Order,
        from: Range,
        (node, call, address): (NodeId, u64, u64),
        length: u64,
        step: &mut Step<'_>,
    ) -> Result<(), Code> {
        self.feed(Asker::Program(order), from, (node, call, address), length, step)
    }

    fn feed(
        &mut self,
        asker: Asker,
        from: Range,
        (node, call, address): (NodeId, u64, u64),
        length: u64,
        step: &mut Step<'_>,
    ) -> Result<(), Code> {
        let copy = self.start(node, asker, length, Role::Feed)?;
        let name = JobName::Ours(copy);
        let stop = self.table.get(&name).map(|c| c.stop.clone()).unwrap_or_default();
        let announce = Some(Frame::CopyWrite { copy, call, address, length });
        step.out.push(Cmd::Feed { node, job: Job { name, copy, announce, from, to: None, length, stop } });
        Ok(())
    }

    /// Between memory lent by calls of other nodes.
    pub fn relay(
        &mut self,
        order: Order,
        (node, call, address): (NodeId, u64, u64),
        (to_node, to_call, to_address): (NodeId, u64, u64),
        length: u64,
        step: &mut Step<'_>,
    ) -> Result<(), Code> {
        let frame = |copy| Frame::CopyRelay { copy, call, address, length, to_node, to_call, to_address };
        if to_node == node {
            let copy = self.start(node, Asker::Program(order), length, Role::Relay)?;
            step.send(node, frame(copy));
            return Ok(());
        }
        let copy = self.start(to_node, Asker::Program(order), length, Role::Relay)?;
        if let Some(entry) = self.table.get_mut(&JobName::Ours(copy)) {
            entry.role = Role::Ask(node, Box::new(frame(copy)));
        }
        step.send(to_node, Frame::CopyFrom { copy, call: to_call, address: to_address, length, node });
        Ok(())
    }

    /// `node` wants bytes of a range that was found lent.
    pub fn serve_read(&mut self, node: NodeId, copy: u64, from: Range, length: u64, step: &mut Step<'_>) {
        self.serve_job(node, copy, from, None, length, step);
    }

    /// `node` wants a copy between two ranges here.
    pub fn serve_both(
        &mut self,
        node: NodeId,
        copy: u64,
        from: Range,
        to: Range,
        length: u64,
        step: &mut Step<'_>,
    ) {
        self.serve_job(node, copy, from, Some(to), length, step);
    }

    fn serve_job(
        &mut self,
        node: NodeId,
        copy: u64,
        from: Range,
        to: Option<Range>,
        length: u64,
        step: &mut Step<'_>,
    ) {
        let (name, stop) = (JobName::Theirs(node, copy), Arc::<AtomicBool>::default());
        let role = Role::Serve { both: to.is_some() };
        let entry = Copy { node, asker: None, length, role, stop: stop.clone(), failed: None };
        let job = Job { name, copy, announce: None, from, to, length, stop };
        match self.insert(name, entry) {
            Ok(()) => step.out.push(Cmd::Feed { node, job }),
            Err(code) => refuse(node, copy, code, step),
        }
    }

    /// `node` is going to send bytes for a range that was found lent.
    pub fn serve_write(&mut self, node: NodeId, copy: u64, to: Range, length: u64, step: &mut Step<'_>) {
        let role = Role::Take(Sink::new(to));
        let entry = Copy { node, asker: None, length, role, stop: Arc::default(), failed: None };
        if let Err(code) = self.insert(JobName::Theirs(node, copy), entry) {
            refuse(node, copy, code, step);
        }
    }

    /// `node` wants a range here sent to a third node.
    pub fn serve_relay(
        &mut self,
        node: NodeId,
        copy: u64,
        from: Range,
        to: (NodeId, u64, u64),
        length: u64,
        step: &mut Step<'_>,
    ) {
        if let Err(code) = self.feed(Asker::Node(node, copy), from, to, length, step) {
            refuse(node, copy, code, step);
        }
    }

    /// Where a chunk goes that came from `node`; `None` when nobody wants it.
    pub fn target(
        &mut self,
        node: NodeId,
        copy: u64,
        offset: u64,
        bytes: u64,
        step: &mut Step<'_>,
    ) -> Option<Target> {
        let name = self.name(node, copy);
        let entry = self.table.get_mut(&name).filter(|c| c.node == node && c.failed.is_none())?;
        let length = entry.length;
        let sink = entry.role.sink()?;
        let fits = offset == sink.received && bytes <= length - offset && !sink.busy;
        if !fits {
            self.fail(name, Error::new(Code::IO, Effect::Unknown), true, step);
            return None;
        }
        sink.busy = true;
        let address = sink.range.address.wrapping_add(offset);
        Some(Target { name, place: sink.range.place.clone(), address })
    }

    /// A chunk was written, or not.
    pub fn wrote(&mut self, name: JobName, bytes: u64, result: Result<(), Code>, step: &mut Step<'_>) {
        let Some(entry) = self.table.get_mut(&name) else { return };
        let length = entry.length;
        let Some(sink) = entry.role.sink() else { return };
        sink.busy = false;
        sink.received += bytes;
        let all = sink.received == length;
        if let Some(error) = entry.failed.take() {
            return self.end(name, Err(error), step);
        }
        match result {
            Err(code) => self.fail(name, Error::new(code, Effect::Unknown), true, step),
            Ok(()) if all => self.end(name, Ok(()), step),
            Ok(()) => {}
        }
    }

    /// A job has ended.
    pub fn fed(&mut self, name: JobName, result: Result<(), Code>, step: &mut Step<'_>) {
        match (name, result) {
            (_, Err(code)) => self.fail(name, Error::new(code, Effect::Unknown), true, step),
            // The other node says when it has written it all.
            (JobName::Ours(_), Ok(())) => {}
            (JobName::Theirs(..), Ok(())) => self.end(name, Ok(()), step),
        }
    }

    /// `node` says that a copy ended.
    pub fn done(&mut self, node: NodeId, copy: u64, error: Option<&Error>, step: &mut Step<'_>) {
        let name = self.name(node, copy);
        let Some(entry) = self.table.get_mut(&name).filter(|c| c.node == node) else { return };
        match error {
            None if matches!(entry.role, Role::Ask(..)) => {
                if let Role::Ask(source, frame) = std::mem::replace(&mut entry.role, Role::Relay) {
                    entry.node = source;
                    step.send(source, *frame);
                }
            }
            Some(e) => self.fail(name, e.clone(), false, step),
            None if matches!(entry.role, Role::Feed | Role::Relay) => self.end(name, Ok(()), step),
            None => {}
        }
    }

    /// Whoever ordered a copy does not wait any more.
    pub fn withdraw(&mut self, order: Order, step: &mut Step<'_>) {
        let ours = |c: &Copy| c.asker == Some(Asker::Program(order));
        let Some(name) = self.table.iter().find(|(_, c)| ours(c)).map(|(n, _)| *n) else { return };
        self.fail(name, Error::new(Code::TIMEDOUT, Effect::Unknown), true, step);
    }

    /// A session ended: so do its copies.
    pub fn session_gone(&mut self, session: u32, step: &mut Step<'_>) {
        let of = |c: &Copy| matches!(c.asker, Some(Asker::Program((s, _))) if s == session);
        for name in self.names(of) {
            self.fail(name, Error::new(Code::SRCDIED, Effect::Unknown), true, step);
        }
    }

    /// A node is dead.
    pub fn node_down(&mut self, node: NodeId, step: &mut Step<'_>) {
        let of = |c: &Copy| {
            c.node == node
                || matches!(c.asker, Some(Asker::Node(n, _)) if n == node)
                || matches!(c.role, Role::Ask(n, _) if n == node)
        };
        for name in self.names(of) {
            let told = self.table.get(&name).is_some_and(|c| c.node != node);
            self.fail(name, Error::new(Code::NOTCONN, Effect::Unknown), told, step);
        }
    }

    fn names(&self, of: impl Fn(&Copy) -> bool) -> Vec<JobName> {
        self.table.iter().filter(|(_, c)| of(c)).map(|(n, _)| *n).collect()
    }

    /// Ends a copy with an error, after the chunk that is being written; `tell` = the other node, too.
    fn fail(&mut self, name: JobName, error: Error, tell: bool, step: &mut Step<'_>) {
        let Some(entry) = self.table.get_mut(&name) else { return };
        entry.stop.store(true, Ordering::Release);
        if entry.failed.is_some() {
            return;
        }
        // A feed says it behind what it has sent, and the others when they end.
        if tell && let (JobName::Ours(copy), Role::Read(_) | Role::Relay) = (name, &entry.role) {
            let error = Some(error.clone());
            step.send(entry.node, Frame::CopyDone { copy, length: 0, error });
        }
        if entry.role.sink().is_some_and(|s| s.busy) {
            entry.failed = Some(error);
        } else {
            self.end(name, Err(error), step);
        }
    }

    fn end(&mut self, name: JobName, result: Result<(), Error>, step: &mut Step<'_>) {
        let Some(entry) = self.table.remove(&name) else { return };
        let silent = matches!(entry.role, Role::Serve { both: false }) && result.is_ok();
        let done = |copy, result: Result<(), Error>| {
            let length = if result.is_ok() { entry.length } else { 0 };
            Frame::CopyDone { copy, length, error: result.err() }
        };
        match (name, entry.asker) {
            (_, Some(Asker::Program((session, id)))) => step.out.push(Cmd::Copied { session, id, result }),
            (_, Some(Asker::Node(node, copy))) => step.send(node, done(copy, result)),
            // Bytes that were asked for and have all been sent end the copy by themselves.
            (JobName::Theirs(node, copy), None) if !silent => step.send(node, done(copy, result)),
            _ => {}
        }
    }
}

/// Tells a node that a copy it asked for does not begin.
pub(super) fn refuse(node: NodeId, copy: u64, code: Code, step: &mut Step<'_>) {
    step.send(node, Frame::CopyDone { copy, length: 0, error: Some(Error::new(code, Effect::Unknown)) });
}
