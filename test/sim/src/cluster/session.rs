//! What one node says to another arrives in the order in which it was said, once, until the session ends: as
//! `dvs-proxy` has it, in few lines over a network that loses, doubles and reorders.
//!
//! ```text
//!   mine: 7, theirs: ?  ── (7, 0) first.. ──►  a new one: up
//!      up               ◄── (9, 7) ack, ... ──  mine: 9, theirs: 7
//! ```
//! A side has a number for the session, which rises whenever it begins another one. A side that began anew
//! does not know the other's number and says 0. Silence for `dead_ns` ends the session.

use super::wire::Word;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Words of one segment.
const WORDS_MAX: usize = 16;
/// Before what was not acknowledged is said again, ns.
const REPEAT_NS: u64 = 200_000_000;

/// One message.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Segment {
    /// The sender's number for the session, and the receiver's as far as the sender knows it.
    session: (u64, u64),
    /// Number of the first word, from 1.
    first: u64,
    words: Vec<Word>,
    /// All words up to this one have come.
    acknowledges: u64,
}

impl Segment {
    /// In few words, for the trace.
    pub fn brief(&self) -> String {
        let Segment { session: (mine, theirs), first, words, acknowledges } = self;
        format!("session {mine}/{theirs} ack {acknowledges} from {first}: {words:?}")
    }
}

/// What became of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Became {
    /// Nothing that matters.
    Same,
    /// It began.
    Up,
    /// It was up and ended.
    Down,
    /// It was up and ended, and another one began.
    Another,
}

/// One side of the session with one node.
#[derive(Debug)]
pub struct Session {
    mine: u64,
    theirs: u64,
    heard: u64,
    sent: u64,
    /// Said and not acknowledged; number of the first.
    unheard: VecDeque<Word>,
    first: u64,
    /// The next word that is to come.
    next: u64,
    dead_ns: u64,
}

impl Session {
    /// None with that node yet.
    pub fn new(now: u64, dead_ns: u64) -> Self {
        let unheard = VecDeque::new();
        Session { mine: now.max(1), theirs: 0, heard: now, sent: 0, unheard, first: 1, next: 1, dead_ns }
    }

    /// Whether there is one.
    pub fn up(&self) -> bool {
        self.theirs != 0
    }

    /// Ends it; another one begins when the node is reached. Whether there was one.
    pub fn give_up(&mut self, now: u64) -> bool {
        let was = self.up();
        let mine = now.max(self.mine + 1);
        *self = Session { mine, ..Session::new(now, self.dead_ns) };
        was
    }

    /// Says something; the segment in which it goes at once. Nothing is said while there is no session.
    pub fn say(&mut self, word: Word, now: u64) -> Option<Segment> {
        if !self.up() {
            return None;
        }
        if self.unheard.is_empty() {
            self.sent = now;
        }
        self.unheard.push_back(word.clone());
        Some(self.segment(self.first + self.unheard.len() as u64 - 1, vec![word]))
    }

    fn segment(&self, first: u64, words: Vec<Word>) -> Segment {
        Segment { session: (self.mine, self.theirs), first, words, acknowledges: self.next - 1 }
    }

    /// Time passes: what to say again, or that this side is there; whether the session has ended.
    pub fn tick(&mut self, now: u64, beats: bool) -> (Option<Segment>, Became) {
        if self.up() && now.saturating_sub(self.heard) > self.dead_ns {
            self.give_up(now);
            return (None, Became::Down);
        }
        let again = !self.unheard.is_empty() && now >= self.sent + REPEAT_NS;
        if !again && !beats {
            return (None, Became::Same);
        }
        self.sent = if again { now } else { self.sent };
        let words = self.unheard.iter().take(if again { WORDS_MAX } else { 0 }).cloned().collect();
        (Some(self.segment(self.first, words)), Became::Same)
    }

    /// A segment came: the words that are new, in their order; what to answer at once.
    pub fn hear(&mut self, segment: Segment, now: u64) -> (Became, Vec<Word>, Option<Segment>) {
        let (theirs, mine) = segment.session;
        let nothing = (Became::Same, Vec::new(), None);
        if mine != 0 && mine != self.mine || theirs < self.theirs {
            return nothing;
        }
        let mut became = Became::Same;
        if theirs > self.theirs {
            if self.up() {
                let known = self.mine;
                self.give_up(now);
                if mine != 0 {
                    // The other side knows this number: with another one the two would begin anew for ever.
                    self.mine = known;
                }
                became = Became::Another;
            } else {
                became = Became::Up;
            }
            self.theirs = theirs;
        }
        self.heard = now;
        while self.first <= segment.acknowledges && self.unheard.pop_front().is_some() {
            self.first += 1;
        }
        let said = !segment.words.is_empty();
        let mut words = Vec::new();
        for (n, word) in (segment.first..).zip(segment.words) {
            if n == self.next {
                self.next += 1;
                words.push(word);
            }
        }
        let answer = (said || became != Became::Same).then(|| self.segment(self.first, Vec::new()));
        (became, words, answer)
    }
}

#[cfg(test)]
mod tests {
    use super::{Became, Session};
    use crate::cluster::wire::Word;
    use dvs_control::epoch::Epoch;

    fn word(n: u64) -> Word {
        Word::Applied(Epoch(n))
    }

    #[test]
    fn words_come_once_and_in_order_and_a_side_that_began_anew_is_another() {
        let (mut a, mut b) = (Session::new(5, 9 * super::REPEAT_NS), Session::new(6, 9 * super::REPEAT_NS));
        assert!(a.say(word(1), 7).is_none());
        let (hello, _) = a.tick(8, true);
        let (became, _, answer) = b.hear(hello.clone().unwrap(), 9);
        assert_eq!(became, Became::Up);
        assert_eq!(a.hear(answer.unwrap(), 10).0, Became::Up);
        let (one, two) = (a.say(word(1), 11).unwrap(), a.say(word(2), 11).unwrap());
        assert_eq!(b.hear(two, 12).1, []);
        assert_eq!(b.hear(one.clone(), 12).1, [word(1)]);
        assert_eq!(b.hear(one, 12).1, []);
        assert_eq!(b.hear(hello.unwrap(), 12), (Became::Same, vec![], None), "an old one");
        let (again, _) = a.tick(11 + super::REPEAT_NS, false);
        let (_, words, ack) = b.hear(again.unwrap(), 13);
        assert_eq!(words, [word(2)]);
        a.hear(ack.unwrap(), 14);
        assert!(a.unheard.is_empty());
        let mut c = Session::new(20, 9 * super::REPEAT_NS);
        let (hello, _) = c.tick(20, true);
        let (became, _, answer) = b.hear(hello.unwrap(), 21);
        assert_eq!((became, c.hear(answer.unwrap(), 22).0), (Became::Another, Became::Up));
        assert_eq!(a.hear(c.say(word(3), 23).unwrap(), 24).1, [], "for another one");
        assert_eq!(c.tick(99 * super::REPEAT_NS, false).1, Became::Down);
    }
}
