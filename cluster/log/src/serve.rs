//! Answers to the questions of other members.

use crate::error::LogError;
use crate::machine::Machine;
use crate::message::{Answer, Appended, Failure, Question};
use crate::node::Inner;
use crate::record::{Ballot, Cover, Mark, Record};
use crate::types::{Entry, LogId, Snapshot, Vote};
use dvs_abi::limits::{LOG_COMMAND_BYTES_MAX, LOG_PIECE_BYTES, LOG_SNAPSHOT_BYTES_MAX};
use dvs_abi::{Effect, NodeId};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// A snapshot of which some pieces have arrived.
pub(crate) struct Incoming {
    from: NodeId,
    ballot: Ballot,
    cover: Cover,
    total: u64,
    bytes: Vec<u8>,
    /// It is whole and being installed; its bytes are there no more.
    whole: bool,
}

impl From<LogError> for Answer {
    fn from(error: LogError) -> Self {
        Answer::Failed(match error {
            LogError::NoLeader => Failure::NotLeader,
            LogError::NoQuorum => Failure::NoQuorum,
            LogError::Unknown => Failure::Unknown,
            LogError::TooLarge { bytes, .. } => Failure::TooLarge(bytes as u64),
            LogError::Full => Failure::Full,
            LogError::Refused(what) => Failure::Refused(what),
            LogError::Stopped(effect) | LogError::Store { effect, .. } => {
                Failure::Stopped(effect != Effect::No)
            }
        })
    }
}

impl From<Failure> for LogError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotLeader => LogError::NoLeader,
            Failure::NoQuorum => LogError::NoQuorum,
            Failure::Unknown | Failure::Stopped(true) => LogError::Unknown,
            Failure::Stopped(false) => LogError::NoLeader,
            Failure::TooLarge(bytes) => {
                let (bytes, max) = (usize::try_from(bytes).unwrap_or(usize::MAX), LOG_COMMAND_BYTES_MAX);
                LogError::TooLarge { what: "the answer", bytes, max, effect: Effect::Yes }
            }
            Failure::Full => LogError::Full,
            Failure::Refused(what) => LogError::Refused(what),
        }
    }
}

impl<M: Machine> Inner<M> {
    /// The answer to a question, if there is one.
    pub(crate) async fn answer(self: &Arc<Self>, from: NodeId, question: Question) -> Option<Answer> {
        match question {
            Question::Vote { ballot, last } => {
                // Nobody asks in another's name.
                if ballot.node != u64::from(from.0) || ballot.committed || !ballot.can_be() {
                    return None;
                }
                let request = VoteRequest::new(Vote::from(ballot), last.map(LogId::from));
                let reply = self.raft.vote(request).await.ok()?;
                if reply.vote_granted {
                    self.quiet().votes();
                }
                let last = reply.last_log_id.as_ref().map(Mark::from);
                Some(Answer::Vote { ballot: Ballot::from(&reply.vote), granted: reply.vote_granted, last })
            }
            Question::Append { ballot, before, records, decided } => {
                let upto = decided.as_ref().map(|mark| mark.index);
                let request = appending(from, ballot, before, records, decided)?;
                if Vote::from(ballot) >= self.raft.metrics().borrow().vote {
                    self.hears_decided(upto);
                }
                let reply = self.raft.append_entries(request).await.ok()?;
                if !matches!(reply, AppendEntriesResponse::HigherVote(_)) {
                    self.quiet().hears();
                }
                Some(Answer::Appended(match reply {
                    AppendEntriesResponse::Success => Appended::Yes,
                    AppendEntriesResponse::PartialSuccess(upto) => {
                        Appended::Partly(upto.as_ref().map(Mark::from))
                    }
                    AppendEntriesResponse::Conflict => Appended::Gap,
                    AppendEntriesResponse::HigherVote(vote) => Appended::Outvoted(Ballot::from(&vote)),
                }))
            }
            Question::Piece { ballot, cover, total, at, bytes } => {
                self.take_piece(Incoming { from, ballot, cover, total, bytes, whole: false }, at).await
            }
            Question::Canvass { last } => Some(Answer::Canvassed(self.would_vote(last))),
            Question::Succeed { last } => {
                let failed = Answer::Failed(Failure::NotLeader);
                Some(if self.succeed(from, last).await { Answer::Changed } else { failed })
            }
            Question::Propose { command, within_ms } => {
                let within = Duration::from_millis(within_ms);
                Some(self.propose_here(command, within).await.map_or_else(Answer::from, Answer::Done))
            }
            Question::Barrier => Some(self.decided_here().await.map_or_else(Answer::from, Answer::Decided)),
            Question::Change { change, within_ms } => {
                let within = Duration::from_millis(within_ms);
                Some(self.change_here(change, within).await.map_or_else(Answer::from, |()| Answer::Changed))
            }
        }
    }

    /// Takes a piece that follows on those before, and installs the snapshot after the last one.
    async fn take_piece(self: &Arc<Self>, piece: Incoming, at: u64) -> Option<Answer> {
        let sizes = piece.total <= LOG_SNAPSHOT_BYTES_MAX as u64 && piece.bytes.len() <= LOG_PIECE_BYTES;
        let can_be = piece.ballot.can_be() && piece.ballot.node == u64::from(piece.from.0);
        if !sizes || !can_be || !piece.ballot.committed {
            return None;
        }
        let (mine, applied) = {
            let metrics = self.raft.metrics();
            let now = metrics.borrow();
            (now.vote, now.last_applied)
        };
        if Vote::from(piece.ballot) < mine {
            return Some(Answer::Piece { ballot: Ballot::from(&mine), have: 0 });
        }
        self.quiet().hears();
        // What a snapshot covers is decided.
        self.hears_decided(piece.cover.last().map(|mark| mark.index));
        let ballot = Ballot::from(&mine);
        if piece.cover.last().map(LogId::from) <= applied {
            // It was installed, and the answer was lost or came late.
            return Some(Answer::Piece { ballot, have: piece.total });
        }
        let (vote, total) = (Vote::from(piece.ballot), piece.total);
        let snapshot = {
            let mut slot = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
            if !slot.as_ref().is_some_and(|kept| kept.same(&piece)) {
                *slot = Some(Incoming { bytes: Vec::new(), cover: piece.cover.clone(), ..piece });
            }
            let kept = slot.as_mut()?;
            if kept.whole {
                // The last piece came twice: the first one is answered.
                return None;
            }
            if at == kept.bytes.len() as u64 && at + piece.bytes.len() as u64 <= kept.total {
                kept.bytes.extend_from_slice(&piece.bytes);
            }
            let have = kept.bytes.len() as u64;
            if have < kept.total {
                return Some(Answer::Piece { ballot, have });
            }
            kept.whole = true;
            let bytes = Box::new(std::mem::take(&mut kept.bytes));
            kept.cover.checked().map(|meta| Snapshot { meta, snapshot: bytes })
        };
        let reply = self.install(vote, snapshot).await;
        let mut slot = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.as_ref().is_some_and(|kept| kept.whole) {
            *slot = None;
        }
        Some(Answer::Piece { ballot: Ballot::from(&reply?), have: total })
    }

    async fn install(&self, vote: Vote, snapshot: Option<Snapshot>) -> Option<Vote> {
        let snapshot = snapshot?;
        let _arrival = self.store.arrives(snapshot.meta.last_log_id?.index);
        Some(self.raft.install_full_snapshot(vote, snapshot).await.ok()?.vote)
    }
}

impl Incoming {
    fn same(&self, other: &Incoming) -> bool {
        (self.from, self.ballot, self.total) == (other.from, other.ballot, other.total)
            && self.cover == other.cover
    }
}

/// The library's request, if these entries follow each other and their sender speaks for himself.
pub(crate) fn appending(
    from: NodeId,
    ballot: Ballot,
    before: Option<Mark>,
    records: Vec<Record>,
    decided: Option<Mark>,
) -> Option<AppendEntriesRequest<crate::types::Types>> {
    let marks = before.iter().chain(&decided).chain(records.iter().map(|r| &r.mark));
    if ballot.node != u64::from(from.0) || !ballot.committed || !ballot.can_be() {
        return None;
    }
    if !marks.into_iter().all(Mark::can_be) {
        return None;
    }
    let mut next = match before {
        Some(mark) => mark.index.checked_add(1)?,
        None => 0,
    };
    let mut term = before.map_or(0, |mark| mark.term);
    let mut entries: Vec<Entry> = Vec::new();
    for record in records {
        if record.mark.index != next || record.mark.term < term || record.mark.term > ballot.term {
            return None;
        }
        (next, term) = (next.checked_add(1)?, record.mark.term);
        entries.push(record.checked()?);
    }
    Some(AppendEntriesRequest {
        vote: Vote::from(ballot),
        prev_log_id: before.map(LogId::from),
        entries,
        leader_commit: decided.map(LogId::from),
    })
}
