//! Messages between members: `version │ group │ question or answer`. What arrives is hostile until it is
//! decoded and checked; nothing here panics or grows beyond its bound.

use crate::record::{Ballot, Cover, Mark, Record};
use crate::store::GroupId;
use dvs_abi::limits::LOG_MESSAGE_BYTES_MAX;
use serde::{Deserialize, Serialize};

/// A message of any version so far. Variants are never reordered or removed, here and below.
#[derive(Serialize, Deserialize)]
enum Parcel {
    V1(GroupId, Letter),
}

/// A question or the answer to one.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(crate) enum Letter {
    Ask(u64, Question),
    Tell(u64, Answer),
}

/// What one member wants of another.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(crate) enum Question {
    /// Whether it votes for this one.
    Vote { ballot: Ballot, last: Option<Mark> },
    /// That it takes these entries, which follow on `before`.
    Append { ballot: Ballot, before: Option<Mark>, records: Vec<Record>, decided: Option<Mark> },
    /// That it takes a piece of a snapshot of `total` bytes.
    Piece { ballot: Ballot, cover: Cover, total: u64, at: u64, bytes: Vec<u8> },
    /// That it, the leader, has a command done.
    Propose { command: Vec<u8>, within_ms: u64 },
    /// Up to where the log is decided, if it leads.
    Barrier,
    /// That it, the leader, changes the members.
    Change { change: Change, within_ms: u64 },
    /// Whether it would vote for this one, whose log ends so.
    Canvass { last: Option<Mark> },
    /// That it stands for election now, if its log has all that the asker's has, which ends so: the asker
    /// leads, or did until a moment ago, and is about to end.
    Succeed { last: Option<Mark> },
}

/// A change of the members.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    Voter(u64),
    Learner(u64),
    Remove(u64),
}

/// What became of a question.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(crate) enum Answer {
    Vote {
        ballot: Ballot,
        granted: bool,
        last: Option<Mark>,
    },
    Appended(Appended),
    /// It has so many bytes of the snapshot.
    Piece {
        ballot: Ballot,
        have: u64,
    },
    Done(Vec<u8>),
    Decided(Option<u64>),
    Changed,
    Failed(Failure),
    /// Whether it would.
    Canvassed(bool),
}

/// What became of entries.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(crate) enum Appended {
    Yes,
    Partly(Option<Mark>),
    /// What is to come before them is not there.
    Gap,
    /// It follows another leader.
    Outvoted(Ballot),
}

/// Why there is no answer.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// It does not lead; not done.
    NotLeader,
    NoQuorum,
    Full,
    Unknown,
    TooLarge(u64),
    Refused(String),
    /// It has stopped; whether the command was done is not known if the flag is set.
    Stopped(bool),
}

/// The bytes of a letter; nothing if they would be too many.
pub(crate) fn encode(group: GroupId, letter: &Letter) -> Option<Vec<u8>> {
    let bytes = postcard::to_stdvec(&Parcel::V1(group, letter.clone())).ok()?;
    (bytes.len() <= LOG_MESSAGE_BYTES_MAX).then_some(bytes)
}

/// The letter in these bytes, if they hold one of this group.
pub(crate) fn decode(group: GroupId, bytes: &[u8]) -> Option<Letter> {
    if bytes.len() > LOG_MESSAGE_BYTES_MAX {
        return None;
    }
    match postcard::take_from_bytes(bytes) {
        Ok((Parcel::V1(of, letter), [])) if of == group => Some(letter),
        _ => None,
    }
}

/// Whether a message is one that only a leader sends: entries, a sign of life, a piece of a snapshot. By its
/// first bytes alone, for whoever has no time to look at the rest.
///
/// ```
/// use dvs_log::{GroupId, from_leader};
/// assert!(!from_leader(GroupId(1), b"nonsense"));
/// ```
pub fn from_leader(group: GroupId, bytes: &[u8]) -> bool {
    // Version, group, letter, its number, question: as the library writes the variants above.
    let head = postcard::take_from_bytes::<(u32, GroupId, u32, u64, u32)>(bytes);
    matches!(head, Ok(((0, of, 0, _, 1 | 2), _)) if of == group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Body;

    fn letters() -> Vec<Letter> {
        let ballot = Ballot { term: 3, node: 1, committed: true };
        let mark = Mark { term: 3, node: 1, index: 9 };
        let records = vec![Record { mark, body: Body::Commands(vec![vec![1, 2], vec![]]) }];
        vec![
            Letter::Ask(7, Question::Append { ballot, before: Some(mark), records, decided: None }),
            Letter::Ask(8, Question::Propose { command: vec![5; 300], within_ms: 10 }),
            Letter::Tell(8, Answer::Failed(Failure::Refused("no".to_owned()))),
            Letter::Tell(9, Answer::Vote { ballot, granted: true, last: Some(mark) }),
        ]
    }

    #[test]
    fn a_letter_comes_back_in_its_group_only() {
        for letter in letters() {
            let bytes = encode(GroupId(4), &letter).unwrap();
            assert_eq!(decode(GroupId(4), &bytes), Some(letter));
            assert_eq!(decode(GroupId(5), &bytes), None);
        }
    }

    #[test]
    fn torn_and_random_bytes_are_refused_without_harm() {
        let mut lot = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = move || {
            lot ^= lot << 13;
            lot ^= lot >> 7;
            lot ^= lot << 17;
            lot
        };
        for letter in letters() {
            let bytes = encode(GroupId(4), &letter).unwrap();
            for cut in 0..bytes.len() {
                assert_eq!(decode(GroupId(4), &bytes[..cut]), None);
            }
            for _ in 0..20_000 {
                let mut torn = bytes.clone();
                let at = draw() as usize % torn.len();
                torn[at] = draw() as u8;
                if let Some(Letter::Ask(_, Question::Append { records, .. })) = decode(GroupId(4), &torn) {
                    records.into_iter().for_each(|r| drop(r.checked()));
                }
            }
        }
        for _ in 0..20_000 {
            let noise: Vec<u8> = (0..draw() % 64).map(|_| draw() as u8).collect();
            decode(GroupId(4), &noise);
        }
    }

    #[test]
    fn what_a_leader_sends_is_known_by_its_first_bytes() {
        let ballot = Ballot { term: 3, node: 1, committed: true };
        let mut all = letters();
        all.push(Letter::Ask(
            1 << 60,
            Question::Append { ballot, before: None, records: vec![], decided: None },
        ));
        all.push(Letter::Ask(1, Question::Vote { ballot, last: None }));
        all.push(Letter::Ask(2, Question::Barrier));
        let leads =
            |l: &Letter| matches!(l, Letter::Ask(_, Question::Append { .. } | Question::Piece { .. }));
        for letter in all {
            let bytes = encode(GroupId(400), &letter).unwrap();
            assert_eq!(from_leader(GroupId(400), &bytes), leads(&letter), "{letter:?}");
            assert!(!from_leader(GroupId(5), &bytes));
            (0..6.min(bytes.len())).for_each(|cut| assert!(!from_leader(GroupId(400), &bytes[..cut])));
        }
    }

    #[test]
    fn what_is_too_large_is_not_sent() {
        let command = vec![0; LOG_MESSAGE_BYTES_MAX];
        assert_eq!(encode(GroupId(0), &Letter::Ask(0, Question::Propose { command, within_ms: 0 })), None);
    }
}
