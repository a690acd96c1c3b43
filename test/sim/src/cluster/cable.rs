//! What TCP does for two real nodes, over a network that loses, doubles, delays and reorders: a connection
//! that one side dials, with a stream of bytes in each direction.
//!
//! ```text
//!   dialer                                  acceptor
//!   7 is drawn    ── 7/0 open ──────────►   9 is drawn
//!   open          ◄────────── 9/7 open ──
//!                 ── 7/9 bytes ─────────►   open: it knows both numbers, so it is no late copy
//!                 ◄────── 9/7 ack, bytes ─
//! ```
//! A segment names the numbers of both sides, so one that is late is for a connection that is no more: it is
//! answered by a reset, as is all that comes for a side that has started anew. What is not acknowledged is
//! sent again, all of it, after a while that doubles each time. Acknowledgements ride on what is sent;
//! without anything to send they wait for the next look at the clock. A side that hears nothing any more
//! keeps its half-open connection: to notice is for the session above.

use crate::control::MS;
use serde::{Deserialize, Serialize};

/// Before what was not acknowledged is sent again for the first time, ns: the least that Linux takes.
const REPEAT_NS: u64 = 200 * MS;
/// And at most, ns.
const REPEAT_MAX_NS: u64 = 1_600 * MS;
/// The same for the first segment of a dialer, ns.
const DIAL_AGAIN_NS: u64 = 1_000 * MS;
/// So long an acknowledgement waits for something to ride on, ns.
const LATE_ACK_NS: u64 = 75 * MS;
/// So long what was said before the end is repeated, ns.
const LINGER_NS: u64 = 3_000 * MS;
/// Bytes on their way at once in one direction; beyond them the socket is full.
const WINDOW_BYTES: usize = 256 << 10;
/// Bytes of one segment.
const SEGMENT_BYTES: usize = 32 << 10;

/// What a segment is besides its bytes.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
enum Flag {
    Open,
    More,
    /// Nothing follows its bytes.
    End,
    /// There is no such connection.
    Reset,
}

/// One message between two cables.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Segment {
    /// The number of the sender for the connection, and the receiver's as far as the sender knows it.
    ends: (u64, u64),
    /// Where its first byte stands in the stream, from 0.
    at: u64,
    /// All before this one has come.
    acknowledges: u64,
    flag: Flag,
    bytes: Vec<u8>,
}

impl Segment {
    /// Whether it is the first of a connection.
    pub fn dials(&self) -> bool {
        self.flag == Flag::Open && self.ends.1 == 0
    }

    /// The answer to a segment for a connection that is not here; none to a reset.
    pub fn refusal(&self) -> Option<Segment> {
        let (theirs, mine) = self.ends;
        let reset =
            Segment { ends: (mine, theirs), at: 0, acknowledges: 0, flag: Flag::Reset, bytes: Vec::new() };
        (self.flag != Flag::Reset).then_some(reset)
    }

    /// The bytes it carries.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// In few words, for the trace.
    pub fn brief(&self) -> String {
        let Segment { ends: (mine, theirs), at, acknowledges, flag, bytes } = self;
        let name = |n: &u64| n >> 48;
        let (mine, theirs, n) = (name(mine), name(theirs), bytes.len());
        format!("{mine:x}/{theirs:x} {flag:?} ack {acknowledges} at {at} {n} bytes")
    }
}

/// What a segment brought.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Heard {
    /// The connection stands from now on, for this side.
    pub opened: bool,
    /// The next bytes of the stream.
    pub bytes: Vec<u8>,
    /// The other side has closed it, or does not know it.
    pub ended: bool,
    /// There is room for more to be sent.
    pub room: bool,
    /// To be sent at once.
    pub answer: Option<Segment>,
}

/// One side of a connection.
#[derive(Debug)]
pub struct Cable {
    mine: u64,
    theirs: u64,
    dialed: bool,
    open: bool,
    /// Sent and not acknowledged, and where that begins.
    unheard: Vec<u8>,
    base: u64,
    /// Closed here, since then; the end stands after `unheard`.
    closed: Option<u64>,
    /// When that is to be sent again, and how long after it the next time.
    due: u64,
    pause: u64,
    /// The next byte that is to come.
    next: u64,
    /// Since when something that came was not acknowledged.
    owes: Option<u64>,
}

impl Cable {
    /// Dials; `mine` is drawn. What to send.
    pub fn dial(mine: u64, now: u64) -> (Cable, Segment) {
        let mine = mine.max(1);
        let mut cable = Cable { dialed: true, ..Cable::new(mine, 0) };
        (cable.due, cable.pause) = (now + DIAL_AGAIN_NS, DIAL_AGAIN_NS);
        let segment = cable.segment(0, Flag::Open, Vec::new());
        (cable, segment)
    }

    /// Somebody dials; `mine` is drawn. What to answer.
    pub fn accept(mine: u64, dials: &Segment) -> (Cable, Segment) {
        let mut cable = Cable::new(mine.max(1), dials.ends.0);
        let segment = cable.segment(0, Flag::Open, Vec::new());
        (cable, segment)
    }

    fn new(mine: u64, theirs: u64) -> Cable {
        Cable {
            mine,
            theirs,
            dialed: false,
            open: false,
            unheard: Vec::new(),
            base: 0,
            closed: None,
            due: u64::MAX,
            pause: REPEAT_NS,
            next: 0,
            owes: None,
        }
    }

    /// The number that was drawn for it here.
    pub fn number(&self) -> u64 {
        self.mine
    }

    /// Whether a segment is for this connection.
    pub fn is(&self, s: &Segment) -> bool {
        let (theirs, mine) = s.ends;
        match s.dials() {
            true => !self.dialed && self.theirs == theirs,
            false => self.mine == mine && (self.theirs == theirs || self.theirs == 0 || theirs == 0),
        }
    }

    /// Whether more can be sent now.
    pub fn has_room(&self) -> bool {
        self.open && self.closed.is_none() && self.unheard.len() < WINDOW_BYTES
    }

    fn segment(&mut self, at: u64, flag: Flag, bytes: Vec<u8>) -> Segment {
        self.owes = None;
        Segment { ends: (self.mine, self.theirs), at, acknowledges: self.next, flag, bytes }
    }

    /// Sends bytes: the segments they go in.
    pub fn write(&mut self, bytes: &[u8], now: u64) -> Vec<Segment> {
        self.expect_answer(now);
        let mut segments = Vec::new();
        for part in bytes.chunks(SEGMENT_BYTES) {
            let at = self.base + self.unheard.len() as u64;
            self.unheard.extend_from_slice(part);
            segments.push(self.segment(at, Flag::More, part.to_vec()));
        }
        segments
    }

    fn expect_answer(&mut self, now: u64) {
        if self.due == u64::MAX {
            (self.due, self.pause) = (now + REPEAT_NS, REPEAT_NS);
        }
    }

    /// Closes both directions; what was sent before still goes, until [`Cable::is_over`].
    pub fn close(&mut self, now: u64) -> Option<Segment> {
        self.closed = Some(now);
        if !self.open {
            return None;
        }
        self.expect_answer(now);
        let at = self.base + self.unheard.len() as u64;
        Some(self.segment(at, Flag::End, Vec::new()))
    }

    /// It is no more, and nothing is said on it.
    pub fn tear(&mut self) {
        self.open = false;
    }

    /// Whether a closed one can be forgotten.
    pub fn is_over(&self, now: u64) -> bool {
        let acknowledged = self.due == u64::MAX;
        self.closed.is_some_and(|since| !self.open || acknowledged || now >= since + LINGER_NS)
    }

    /// A segment came for which [`Cable::is`] says so.
    pub fn hear(&mut self, s: Segment, now: u64) -> Heard {
        let mut heard = Heard::default();
        match s.flag {
            Flag::Reset => {
                (heard.ended, self.open) = (true, false);
                return heard;
            }
            Flag::Open if self.dialed => {
                heard.opened = !self.open;
                if heard.opened {
                    (self.open, self.theirs, self.due) = (true, s.ends.0, u64::MAX);
                }
                return heard;
            }
            Flag::Open => {
                heard.answer = Some(self.segment(0, Flag::Open, Vec::new()));
                return heard;
            }
            // Before the answer to its first segment, which was overtaken.
            _ if self.theirs == 0 => return heard,
            _ => self.open = true,
        }
        self.acknowledged(s.acknowledges, &mut heard, now);
        let ends = s.flag == Flag::End;
        let end = s.at + s.bytes.len() as u64 + u64::from(ends);
        if s.at <= self.next && self.next < end {
            let known = (self.next - s.at) as usize;
            heard.bytes = s.bytes.get(known..).unwrap_or_default().to_vec();
            heard.ended = ends;
            self.next = end;
            self.owes.get_or_insert(now);
        } else if end <= self.next && end > s.at {
            // Its acknowledgement was lost, or it came twice.
            let at = self.base + self.unheard.len() as u64;
            heard.answer = Some(self.segment(at, Flag::More, Vec::new()));
        }
        heard
    }

    fn acknowledged(&mut self, upto: u64, heard: &mut Heard, now: u64) {
        if upto <= self.base {
            return;
        }
        let n = ((upto - self.base) as usize).min(self.unheard.len());
        self.unheard.drain(..n);
        self.base += n as u64;
        let ended = self.closed.is_none() || upto > self.base;
        let all = self.unheard.is_empty() && ended;
        (self.due, self.pause) = (if all { u64::MAX } else { now + REPEAT_NS }, REPEAT_NS);
        heard.room = true;
    }

    /// Time passes: what to send again, or to acknowledge.
    pub fn tick(&mut self, now: u64) -> Option<Segment> {
        if now >= self.due {
            self.due = now + self.pause;
            self.pause = (self.pause * 2).min(REPEAT_MAX_NS);
            if !self.open {
                return Some(self.segment(0, Flag::Open, Vec::new()));
            }
            let n = self.unheard.len().min(SEGMENT_BYTES);
            let ends = self.closed.is_some() && n == self.unheard.len();
            let bytes = self.unheard[..n].to_vec();
            return Some(self.segment(self.base, if ends { Flag::End } else { Flag::More }, bytes));
        }
        let late = self.open && self.owes.is_some_and(|since| now >= since + LATE_ACK_NS);
        let at = self.base + self.unheard.len() as u64;
        late.then(|| self.segment(at, Flag::More, Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Cable, LINGER_NS, REPEAT_NS, Segment};

    fn pair() -> (Cable, Cable) {
        let (mut a, dials) = Cable::dial(7, 0);
        assert!(dials.dials());
        let (b, answer) = Cable::accept(9, &dials);
        assert!(a.is(&answer) && b.is(&dials) && a.hear(answer, 0).opened);
        (a, b)
    }

    fn one(segments: Vec<Segment>) -> Segment {
        let [one] = <[Segment; 1]>::try_from(segments).unwrap();
        one
    }

    #[test]
    fn bytes_come_once_and_in_order_and_what_is_lost_is_sent_again() {
        let (mut a, mut b) = pair();
        let (x, y) = (one(a.write(b"x", 1)), one(a.write(b"y", 1)));
        assert!(b.hear(y, 2).bytes.is_empty(), "not before the first");
        assert_eq!(b.hear(x.clone(), 2).bytes, b"x");
        let again = b.hear(x, 3);
        assert!(again.bytes.is_empty() && again.answer.is_some(), "it is acknowledged once more");
        assert_eq!(a.tick(REPEAT_NS), None);
        assert_eq!(b.hear(a.tick(1 + REPEAT_NS).unwrap(), 4).bytes, b"y");
        let ack = b.tick(2 * REPEAT_NS).unwrap();
        assert!(a.hear(ack, 5).room && a.tick(u64::MAX / 2).is_none());
    }

    #[test]
    fn what_was_said_before_the_end_comes_before_it() {
        let (mut a, mut b) = pair();
        let (x, end) = (one(a.write(b"x", 1)), a.close(1).unwrap());
        assert!(!b.hear(end, 2).ended && !a.is_over(2));
        let all = b.hear(a.tick(1 + REPEAT_NS).unwrap(), 3);
        assert!(all.ended && all.bytes == b"x");
        assert!(b.hear(x, 4).bytes.is_empty());
        a.hear(b.close(5).unwrap(), 6);
        assert!(a.is_over(6) && !b.is_over(6) && b.is_over(5 + LINGER_NS));
    }

    #[test]
    fn what_is_late_is_for_nobody() {
        let (mut a, b) = pair();
        let late = one(a.write(b"x", 1));
        let (again, answer) = Cable::accept(11, &Cable::dial(7, 0).1);
        assert!(!again.is(&late) && !a.is(&answer), "of another connection");
        let reset = late.refusal().unwrap();
        assert!(a.is(&reset) && !b.is(&reset) && a.hear(reset.clone(), 2).ended);
        assert_eq!(reset.refusal(), None);
    }
}
