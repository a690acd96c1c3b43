//! What the two sides of a move say to each other: in order, once, or the link is cut and both are told.
//!
//! The network loses and mixes messages. One that is missing here cuts the link, as the end of a session
//! does.

use super::super::wire::Packet;
use dvs_control::epoch::Epoch;
use dvs_migrate::Note;
use serde::{Deserialize, Serialize};

/// Nothing heard for so long cuts a link, ns.
const SILENT_NS: u64 = 1_000_000_000;

/// A [`Note`] as it travels, with the state it is about.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Word {
    /// [`Note::Prepare`].
    Prepare,
    /// [`Note::Ready`].
    Ready,
    /// [`Note::Refused`].
    Refused(String),
    /// [`Note::State`]: round, bytes, the move in the log; and the state.
    State(u32, u64, Option<Epoch>, State),
    /// [`Note::Has`].
    Has(u32),
    /// [`Note::Forget`].
    Forget,
    /// The link is cut.
    Cut,
    /// The sender is there.
    Alive,
}

/// The state of an instance: when it was born, and how often it was written to.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct State {
    /// Drawn at its birth.
    pub born: u64,
    /// Writes that were acknowledged.
    pub writes: u64,
}

impl Word {
    pub(crate) fn of(note: Note, state: State) -> Word {
        match note {
            Note::Prepare => Word::Prepare,
            Note::Ready => Word::Ready,
            Note::Refused(why) => Word::Refused(why),
            Note::State { round, bytes, last } => Word::State(round, bytes, last, state),
            Note::Has { round } => Word::Has(round),
            Note::Forget => Word::Forget,
        }
    }

    pub(crate) fn note(self) -> Option<Note> {
        Some(match self {
            Word::Prepare => Note::Prepare,
            Word::Ready => Note::Ready,
            Word::Refused(why) => Note::Refused(why),
            Word::State(round, bytes, last, _) => Note::State { round, bytes, last },
            Word::Has(round) => Note::Has { round },
            Word::Forget => Note::Forget,
            Word::Cut | Word::Alive => return None,
        })
    }
}

/// One side of a link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) session: u64,
    said: u64,
    heard: u64,
    last: u64,
    /// It is cut, and this side knows.
    pub(super) cut: bool,
}

impl Link {
    pub(super) fn new(session: u64, now: u64) -> Self {
        Link { session, said: 0, heard: 0, last: now, cut: false }
    }

    /// Says something.
    pub(super) fn say(&mut self, slot: i32, word: Word) -> Packet {
        self.said += 1;
        Packet::Move { session: self.session, slot, number: self.said, word }
    }

    /// Something came: whether it counts, and whether the link is cut by it.
    pub(super) fn hear(&mut self, number: u64, word: &Word, now: u64) -> bool {
        if self.cut || number <= self.heard {
            return false;
        }
        self.cut |= number > self.heard + 1 || *word == Word::Cut;
        (self.heard, self.last) = (number, now);
        !self.cut
    }

    /// Time passes; whether that cuts it.
    pub(super) fn tick(&mut self, now: u64) -> bool {
        let silent = !self.cut && now >= self.last + SILENT_NS;
        self.cut |= silent;
        silent
    }
}
