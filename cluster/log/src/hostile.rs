//! The way of bytes that nobody vouches for, for the fuzz target `log_records`: what arrives from another
//! member, and what a store holds. None of it panics, and what decodes comes back.

use crate::message::{Letter, Question, decode, encode};
use crate::record::{Ballot, Cover, Mark, Record};
use crate::serve::appending;
use crate::store::{GroupId, try_value};
use dvs_abi::NodeId;

/// Reads a message as a member does, up to where the consensus library would be given it.
pub fn message(bytes: &[u8]) {
    let Some(letter) = decode(GroupId(0), bytes) else { return };
    if let Some(again) = encode(GroupId(0), &letter) {
        assert_eq!(decode(GroupId(0), &again).as_ref(), Some(&letter), "what encodes decodes");
    }
    match letter {
        Letter::Ask(_, Question::Append { ballot, before, records, decided }) => {
            let count = records.len();
            let from = NodeId(ballot.node as u16);
            if let Some(request) = appending(from, ballot, before, records, decided) {
                assert!(request.vote.committed && request.entries.len() == count);
            }
        }
        Letter::Ask(_, Question::Piece { cover, .. }) => drop(cover.checked()),
        _ => {}
    }
}

/// Reads what a store may hold.
pub fn stored(body: &[u8]) {
    try_value::<Record>(body).and_then(Record::checked);
    try_value::<Cover>(body).and_then(|cover| cover.checked());
    try_value::<Ballot>(body);
    try_value::<Mark>(body);
    try_value::<Vec<u8>>(body);
}
