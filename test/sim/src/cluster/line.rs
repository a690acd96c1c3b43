//! The way from one daemon to another: the real session ([`Peer`]) over the connections of a [`Cable`]. What
//! the threads of `net/proxy/src/{node,reader,greet}.rs` do, in their order, one event after the other.
//!
//! ```text
//!   Dial ──► cable opens ──► HELLO ──────► WELCOME or REFUSE ──┐
//!   somebody dials ────────► HELLO ──► answer, WELCOME ────────┴──► records ──► frames ──► FromLine
//!                                                                      ▲ next_record
//!   say ──► frame, or it waits for credit (in the router) ─────────────┘
//! ```

use super::cable::{Cable, Segment};
use crate::actor::Effects;
use crate::control::MS;
use crate::control::wire::{Note, Packet};
use dvs_abi::limits::FRAME_BYTES_MAX;
use dvs_abi::{Endpoint, NodeId};
use dvs_proxy::peer::Peer;
use dvs_proxy::records::{Records, write_record};
use dvs_proxy::route::{Cmd, Route, Step};
use dvs_proxy::session::Command;
use dvs_proxy::stream::{Outgoing, Payload, StreamError};
use dvs_proxy::{DownReason, SendError, State};
use dvs_wire::{Frame, Frames, Greeting, RecordHead, SessionFrame, StreamClass, WireError};
use std::collections::{BTreeMap, VecDeque};

/// Longest time for connecting, and for greeting, ns.
const GREET_NS: u64 = 2_000 * MS;
/// Records are collected into one write up to so many bytes.
const COLLECT_BYTES: usize = 16 << 10;

/// What a daemon hears of the others, in this order.
#[derive(Debug)]
pub(super) enum FromLine {
    /// A session with a node began.
    Up(NodeId),
    /// It ended.
    Down(NodeId),
    /// A record came from a node.
    Record(NodeId, Vec<u8>),
    /// The router wants a lane for a caller on a node: the number of the question, container, ends, how long
    /// it may take.
    Open(u64, NodeId, u16, (i32, i32), u64),
    /// A notification goes to where its receiver has moved: container, ends, bits.
    Notice(u16, (Endpoint, Endpoint), u64),
    /// A closed lane was forgotten: the proxy's number of its link, and the lane.
    Free(u16, u8),
}

impl FromLine {
    /// What the router wants of the daemon.
    pub(super) fn of(command: Cmd) -> Option<FromLine> {
        match command {
            Cmd::Open { id, node, dc, from, to, remaining } => {
                Some(FromLine::Open(id, node, dc.0, (from.raw(), to.raw()), remaining))
            }
            Cmd::Notice { dc, from, to, value } => Some(FromLine::Notice(dc.0, (from, to), value)),
            Cmd::Free { link, lane } => Some(FromLine::Free(link, lane)),
            // Programs look when anything has happened; they lend no memory, and copy none.
            Cmd::Send { .. } | Cmd::Ring(_) | Cmd::Feed { .. } | Cmd::Copied { .. } => None,
        }
    }
}

/// What a line touches besides itself.
pub(super) struct Around<'a, 'f> {
    pub(super) fx: &'a mut Effects<'f, Note>,
    pub(super) route: &'a mut Route,
    pub(super) news: &'a mut VecDeque<FromLine>,
    /// Frames for other nodes.
    pub(super) rest: &'a mut Vec<(NodeId, Frame<'static>)>,
}

/// One connection.
#[derive(Debug)]
struct End {
    cable: Cable,
    records: Records,
    class: StreamClass,
    /// What was said on one that was dialed from here, once it stood.
    hello: Option<Greeting>,
    dialed: bool,
    /// The session's number for it, once it was greeted.
    conn: u64,
    /// It is to be greeted by then.
    until: u64,
}

/// Why a connection is closed.
#[derive(Debug)]
enum Broken {
    /// The other side has closed it, or greets wrongly.
    Ends,
    /// It was refused, or the session has no use for it: the session knows.
    Settled,
}

impl From<WireError> for Broken {
    fn from(_: WireError) -> Self {
        Broken::Ends
    }
}

impl From<StreamError> for Broken {
    fn from(_: StreamError) -> Self {
        Broken::Ends
    }
}

/// The way to one node.
#[derive(Debug)]
pub(super) struct Line {
    node: NodeId,
    peer: Peer,
    /// By the number that was drawn for each.
    ends: BTreeMap<u64, End>,
    /// Closed, and not all that was said on them has arrived.
    fading: Vec<Cable>,
    /// Room for records of the next connections.
    spare: Vec<Records>,
}

impl Line {
    pub(super) fn new(node: NodeId, peer: Peer) -> Self {
        Line { node, peer, ends: BTreeMap::new(), fading: Vec::new(), spare: Vec::new() }
    }

    fn put(&self, segment: impl IntoIterator<Item = Segment>, around: &mut Around<'_, '_>) {
        for segment in segment {
            around.fx.send(self.node, Packet::Wire(segment).encode());
        }
    }

    // ---- what is said

    /// A record goes, or waits for credit; with too much that waits the session ends.
    pub(super) fn say(&mut self, bytes: Vec<u8>, around: &mut Around<'_, '_>) {
        if !around.route.holds(self.node) {
            match self.peer.push(StreamClass::Message, &Frame::Control { bytes: &bytes }) {
                Ok(()) => return self.flush(StreamClass::Message, around),
                Err(SendError::WouldBlock) => {}
                // What is too long for a frame is told to people, and is not said.
                Err(SendError::Dead | SendError::Wire(_)) => return,
            }
        }
        if !around.route.hold_control(self.node, bytes) {
            self.give_up(around.fx.now());
        }
    }

    /// A record of the log goes, or is lost.
    pub(super) fn say_log(&mut self, bytes: &[u8], around: &mut Around<'_, '_>) {
        let free = !around.route.holds(self.node);
        if free && self.peer.push(StreamClass::Message, &Frame::Control { bytes }).is_ok() {
            self.flush(StreamClass::Message, around);
        }
    }

    /// Ends the session; what follows is done with the next tick.
    pub(super) fn give_up(&mut self, now: u64) {
        if self.peer.state() != State::Dead {
            self.peer.give_up(DownReason::Flooded, now);
        }
    }

    /// Writes what is queued, until the socket is full.
    fn flush(&mut self, class: StreamClass, around: &mut Around<'_, '_>) {
        let conn = self.peer.stream(class).conn();
        if conn == 0 || !self.peer.stream(class).wants_write() {
            return;
        }
        let Some(end) = self.ends.values_mut().find(|e| e.class == class && e.conn == conn) else { return };
        let (now, mut bytes, mut segments) = (around.fx.now(), Vec::new(), Vec::new());
        while end.cable.has_room() {
            bytes.clear();
            while bytes.len() < COLLECT_BYTES
                && let Some(record) = self.peer.next_record(class, now)
            {
                write_record(&record, &mut bytes);
            }
            if bytes.is_empty() {
                break;
            }
            segments.extend(end.cable.write(&bytes, now));
        }
        self.put(segments, around);
    }

    fn say_session(&mut self, at: u64, frame: SessionFrame, around: &mut Around<'_, '_>) {
        let mut bytes = Vec::new();
        write_record(&Outgoing { ack: 0, payload: Payload::Session(frame) }, &mut bytes);
        let Some(end) = self.ends.get_mut(&at) else { return };
        let segments = end.cable.write(&bytes, around.fx.now());
        self.put(segments, around);
    }

    // ---- connections begin and end

    fn dial(&mut self, class: StreamClass, around: &mut Around<'_, '_>) {
        let (cable, segment) = Cable::dial(around.fx.random().next(), around.fx.now());
        self.add(cable, class, true, around);
        self.put([segment], around);
    }

    fn add(&mut self, cable: Cable, class: StreamClass, dialed: bool, around: &mut Around<'_, '_>) {
        let until = around.fx.now() + GREET_NS;
        let (records, at) = (self.spare.pop().unwrap_or_default(), cable.number());
        self.ends.insert(at, End { cable, records, class, hello: None, dialed, conn: 0, until });
    }

    /// A connection is over for this side, for this reason.
    fn close(&mut self, at: u64, why: &Broken, around: &mut Around<'_, '_>) {
        let Some(mut end) = self.ends.remove(&at) else { return };
        let now = around.fx.now();
        self.put(end.cable.close(now), around);
        end.records.clear();
        self.spare.push(end.records);
        if !end.cable.is_over(now) {
            self.fading.push(end.cable);
        }
        if end.conn != 0 {
            self.peer.lost(end.class, end.conn, now);
        } else if end.dialed && matches!(why, Broken::Ends) {
            self.peer.dial_failed(end.class, now);
        }
        self.obey(around);
    }

    /// Closes the connection of a class that is in use.
    fn close_class(&mut self, class: StreamClass, around: &mut Around<'_, '_>) {
        let used = self.ends.iter().find(|(_, e)| e.class == class && e.conn != 0).map(|(at, _)| *at);
        if let Some(at) = used {
            self.close(at, &Broken::Ends, around);
        }
    }

    /// Does what the session asks for, in its order.
    fn obey(&mut self, around: &mut Around<'_, '_>) {
        for command in self.peer.commands() {
            match command {
                Command::Dial(class) => self.dial(class, around),
                Command::Close(class) => self.close_class(class, around),
                Command::Up => {
                    around.route.node_up(self.node);
                    around.news.push_back(FromLine::Up(self.node));
                }
                Command::Down(_) => {
                    let mut out = Vec::new();
                    let mut step = Step { now: around.fx.now(), cpu: 0, out: &mut out };
                    around.route.node_down(self.node, &mut step);
                    self.carry(out, around);
                    around.news.push_back(FromLine::Down(self.node));
                }
            }
        }
    }

    // ---- what comes

    /// A segment came from the node.
    pub(super) fn hear(&mut self, segment: Segment, around: &mut Around<'_, '_>) {
        let now = around.fx.now();
        if let Some(cable) = self.fading.iter_mut().find(|c| c.is(&segment)) {
            cable.hear(segment, now);
            return self.fading.retain(|c| !c.is_over(now));
        }
        let Some(at) = self.ends.iter().find(|(_, e)| e.cable.is(&segment)).map(|(at, _)| *at) else {
            if !segment.dials() {
                return self.put(segment.refusal(), around);
            }
            let (cable, answer) = Cable::accept(around.fx.random().next(), &segment);
            // Which of the two it is says its HELLO.
            self.add(cable, StreamClass::Message, false, around);
            return self.put([answer], around);
        };
        self.hear_on(at, segment, around);
    }

    fn hear_on(&mut self, at: u64, segment: Segment, around: &mut Around<'_, '_>) {
        let now = around.fx.now();
        let Some(end) = self.ends.get_mut(&at) else { return };
        let heard = end.cable.hear(segment, now);
        self.put(heard.answer, around);
        if heard.opened {
            self.greets(at, around);
        }
        let mut rest = &heard.bytes[..];
        while !rest.is_empty() {
            let Some(end) = self.ends.get_mut(&at) else { return };
            rest = &rest[end.records.feed(rest)..];
            let taken = self.records(at, around);
            self.flush_all(around);
            if let Err(why) = taken {
                return self.close(at, &why, around);
            }
        }
        if heard.ended {
            return self.close(at, &Broken::Ends, around);
        }
        if heard.room {
            self.flush_all(around);
        }
    }

    /// A connection that was dialed stands.
    fn greets(&mut self, at: u64, around: &mut Around<'_, '_>) {
        let Some(end) = self.ends.get_mut(&at) else { return };
        let hello = self.peer.hello(end.class);
        (end.hello, end.until) = (Some(hello), around.fx.now() + GREET_NS);
        self.say_session(at, SessionFrame::Hello(hello), around);
    }

    /// Takes all whole records that are here.
    fn records(&mut self, at: u64, around: &mut Around<'_, '_>) -> Result<(), Broken> {
        loop {
            let Some(end) = self.ends.get_mut(&at) else { return Ok(()) };
            if end.conn == 0
                && let Some(head) = end.records.peek()?
                && (!head.session || head.length as usize > FRAME_BYTES_MAX)
            {
                return Err(Broken::Ends);
            }
            let Some((head, payload)) = end.records.next_record()? else {
                if end.records.partial() && end.conn != 0 {
                    self.peer.noise(end.class, end.conn, around.fx.now());
                }
                return Ok(());
            };
            match end.conn {
                0 => {
                    let frame = SessionFrame::decode(payload)?;
                    self.greeted(at, &frame, around)?;
                }
                conn => {
                    let (class, payload) = (end.class, payload.to_vec());
                    self.record((class, conn), &head, &payload, around)?;
                }
            }
        }
    }

    /// The first record of a connection.
    fn greeted(&mut self, at: u64, frame: &SessionFrame, around: &mut Around<'_, '_>) -> Result<(), Broken> {
        let now = around.fx.now();
        let Some(end) = self.ends.get(&at) else { return Ok(()) };
        let (hello, class) = (end.hello, end.class);
        match (frame, hello) {
            (SessionFrame::Hello(g), None) if !end.dialed => self.asked(at, g, around),
            (SessionFrame::Welcome(g), Some(_)) if g.class == class => {
                let conn = self.peer.on_welcome(g, now);
                self.obey(around);
                self.install(at, class, conn.ok_or(Broken::Settled)?, around);
                Ok(())
            }
            (SessionFrame::Refuse(r), Some(hello)) => {
                self.peer.on_refuse(&hello, r, now);
                self.obey(around);
                Err(Broken::Settled)
            }
            _ => Err(Broken::Ends),
        }
    }

    /// Somebody who dialed says who he is.
    fn asked(&mut self, at: u64, hello: &Greeting, around: &mut Around<'_, '_>) -> Result<(), Broken> {
        // A newer connection replaces the one there may be.
        self.close_class(hello.class, around);
        let answer = self.peer.on_hello(hello, around.fx.now());
        self.obey(around);
        match answer {
            Ok((welcome, conn)) => {
                self.say_session(at, SessionFrame::Welcome(welcome), around);
                self.install(at, hello.class, conn, around);
                Ok(())
            }
            Err(refusal) => {
                self.say_session(at, SessionFrame::Refuse(refusal), around);
                Err(Broken::Settled)
            }
        }
    }

    fn install(&mut self, at: u64, class: StreamClass, conn: u64, around: &mut Around<'_, '_>) {
        if let Some(end) = self.ends.get_mut(&at) {
            (end.class, end.conn) = (class, conn);
        }
        self.flush(class, around);
    }

    fn record(
        &mut self,
        (class, conn): (StreamClass, u64),
        head: &RecordHead,
        payload: &[u8],
        around: &mut Around<'_, '_>,
    ) -> Result<(), Broken> {
        let now = around.fx.now();
        let (received, credit) = self.peer.begin(class, conn, head, now)?;
        if credit && class == StreamClass::Message {
            self.credit(around);
        }
        let mut last = received;
        if head.session {
            self.peer.session_frame(class, &SessionFrame::decode(payload)?, now)?;
        } else {
            for (n, frame) in (head.first..).zip(Frames::new(payload)) {
                let frame = frame?;
                if n > received {
                    self.frame(&frame, around);
                    last = n;
                }
            }
        }
        self.peer.end(class, conn, last, payload.len(), now)?;
        Ok(())
    }

    fn frame(&mut self, frame: &Frame<'_>, around: &mut Around<'_, '_>) {
        if let Frame::Control { bytes } = frame {
            return around.news.push_back(FromLine::Record(self.node, bytes.to_vec()));
        }
        let mut out = Vec::new();
        let mut step = Step { now: around.fx.now(), cpu: 0, out: &mut out };
        around.route.frame(self.node, frame, &mut step);
        self.carry(out, around);
    }

    /// Does what the router wants: the daemon hears it in the order in which records came.
    fn carry(&mut self, commands: Vec<Cmd>, around: &mut Around<'_, '_>) {
        for command in commands {
            match command {
                Cmd::Send { node, frame } if node == self.node => self.send(frame, around),
                Cmd::Send { node, frame } => around.rest.push((node, frame)),
                other => around.news.extend(FromLine::of(other)),
            }
        }
    }

    /// A frame of the router is queued, or waits for credit.
    pub(super) fn send(&mut self, frame: Frame<'static>, around: &mut Around<'_, '_>) {
        if !around.route.holds(self.node) {
            match self.peer.push(StreamClass::Message, &frame) {
                Err(SendError::WouldBlock) => {}
                // What was under way ends when `down` is said.
                Ok(()) | Err(SendError::Dead | SendError::Wire(_)) => return,
            }
        }
        if !around.route.hold(self.node, frame) {
            self.give_up(around.fx.now());
        }
    }

    /// Writes what was queued.
    pub(super) fn flush_all(&mut self, around: &mut Around<'_, '_>) {
        StreamClass::ALL.into_iter().for_each(|class| self.flush(class, around));
    }

    /// There is credit again for what waits.
    fn credit(&mut self, around: &mut Around<'_, '_>) {
        if !around.route.holds(self.node) {
            return;
        }
        let mut out = Vec::new();
        let mut step = Step { now: around.fx.now(), cpu: 0, out: &mut out };
        around.route.resume(self.node, &mut step, |frame| {
            !matches!(self.peer.push(StreamClass::Message, frame), Err(SendError::WouldBlock))
        });
        self.carry(out, around);
    }

    // ---- the clock, and what breaks

    /// Some of the connections are no more; the other side hears that when it says something.
    pub(super) fn broken(&mut self, around: &mut Around<'_, '_>) {
        for at in self.ends.keys().copied().collect::<Vec<_>>() {
            if around.fx.random().odds(600)
                && let Some(end) = self.ends.get_mut(&at)
            {
                end.cable.tear();
                self.close(at, &Broken::Ends, around);
            }
        }
    }

    /// Time passes.
    pub(super) fn tick(&mut self, around: &mut Around<'_, '_>) {
        let now = around.fx.now();
        let cables = self.ends.values_mut().map(|e| &mut e.cable).chain(&mut self.fading);
        let again: Vec<Segment> = cables.filter_map(|c| c.tick(now)).collect();
        self.put(again, around);
        self.fading.retain(|c| !c.is_over(now));
        let late = self.ends.iter().filter(|(_, e)| e.conn == 0 && e.until <= now);
        for at in late.map(|(at, _)| *at).collect::<Vec<_>>() {
            self.close(at, &Broken::Ends, around);
        }
        self.peer.tick(now);
        self.obey(around);
        self.flush_all(around);
    }
}
