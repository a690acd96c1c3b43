//! The way to one other member, as the consensus library uses it.
//!
//! Entries go out in messages of bounded size: what does not fit is said to have been sent in part. A
//! snapshot goes out piece by piece, each confirmed by how much the other side has; after a restart of that
//! side it begins anew.
//!
//! *Who is silent* is sent something seldom: so that a leader that is heard and hears nobody does not keep
//! those who hear it from having another one.

use crate::message::{Answer, Appended, Question};
use crate::post::Post;
use crate::record::{Ballot, Cover, Mark, Record};
use crate::timing::Timing;
use crate::types::{LogId, Nid, Nothing, Runtime, Snapshot, Types, Vote};
use dvs_abi::NodeId;
use dvs_abi::limits::{LOG_ENTRY_BYTES_MAX, LOG_PIECE_BYTES};
use openraft::error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{AnyError, AsyncRuntime, OptionalSend, RaftNetwork, RaftNetworkFactory};
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

type Instant = <Runtime as AsyncRuntime>::Instant;
type Lost = RPCError<Nid, Nothing, RaftError<Nid>>;

/// Members that lack what they had acknowledged.
pub(crate) type Forgetful = Arc<Mutex<BTreeSet<NodeId>>>;

/// Makes the ways.
pub(crate) struct Links {
    pub post: Post,
    pub timing: Timing,
    pub forgetful: Forgetful,
}

impl RaftNetworkFactory<Types> for Links {
    type Network = Link;

    async fn new_client(&mut self, target: Nid, _: &Nothing) -> Link {
        let (post, forgetful) = (self.post.clone(), self.forgetful.clone());
        let (to, made) = (NodeId(target as u16), Instant::now());
        Link { to, post, timing: self.timing, forgetful, matched: None, made, sent: None }
    }
}

/// The way to one member.
pub(crate) struct Link {
    to: NodeId,
    post: Post,
    timing: Timing,
    forgetful: Forgetful,
    /// The last entry the other side has acknowledged on this way.
    matched: Option<Mark>,
    made: Instant,
    /// When something was sent last.
    sent: Option<Instant>,
}

fn silent(to: NodeId) -> Unreachable {
    Unreachable::from(AnyError::error(format!("{to} did not answer")))
}

/// The entries of the front that fit one message; one always does.
fn fitting(entries: &[openraft::Entry<Types>]) -> Vec<Record> {
    let mut room = LOG_ENTRY_BYTES_MAX + 4096;
    let mut out: Vec<Record> = Vec::new();
    for entry in entries {
        let record = Record::from(entry);
        if !out.is_empty() && record.weight() > room {
            break;
        }
        room = room.saturating_sub(record.weight());
        out.push(record);
    }
    out
}

impl RaftNetwork<Types> for Link {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Nid>, Lost> {
        let Some(every) = self.every(option.hard_ttl()) else { return Err(silent(self.to).into()) };
        let records = fitting(&rpc.entries);
        let whole = records.len() == rpc.entries.len();
        let before = rpc.prev_log_id.as_ref().map(Mark::from);
        let sent: Vec<Mark> = before.into_iter().chain(records.iter().map(|r| r.mark)).collect();
        let (ballot, decided) = (Ballot::from(&rpc.vote), rpc.leader_commit.as_ref().map(Mark::from));
        let question = Question::Append { ballot, before, records, decided };
        let answer = self.post.ask_again(self.to, question, option.hard_ttl(), every).await;
        // What the library holds for impossible it does not bear: it is kept from it here.
        match answer {
            Some(Answer::Appended(Appended::Yes)) => {
                self.matches(sent.last().copied());
                Ok(match whole {
                    true => AppendEntriesResponse::Success,
                    false => AppendEntriesResponse::PartialSuccess(sent.last().map(|m| LogId::from(*m))),
                })
            }
            Some(Answer::Appended(Appended::Partly(Some(upto)))) if sent.contains(&upto) => {
                self.matches(Some(upto));
                Ok(AppendEntriesResponse::PartialSuccess(Some(upto.into())))
            }
            Some(Answer::Appended(Appended::Gap)) if before.is_some() => {
                self.lacks(before, sent.len() == 1);
                Ok(AppendEntriesResponse::Conflict)
            }
            Some(Answer::Appended(Appended::Outvoted(b))) if b.can_be() && Vote::from(b) > rpc.vote => {
                Ok(AppendEntriesResponse::HigherVote(b.into()))
            }
            _ => Err(silent(self.to).into()),
        }
    }

    async fn vote(&mut self, rpc: VoteRequest<Nid>, option: RPCOption) -> Result<VoteResponse<Nid>, Lost> {
        let last = rpc.last_log_id.as_ref().map(Mark::from);
        let question = Question::Vote { ballot: Ballot::from(&rpc.vote), last };
        match self.post.ask_again(self.to, question, option.hard_ttl(), self.timing.pause()).await {
            Some(Answer::Vote { ballot, granted, last }) if ballot.can_be() => {
                Ok(VoteResponse::new(Vote::from(ballot), last.map(LogId::from), granted))
            }
            _ => Err(silent(self.to).into()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Nid>, StreamingError<Types, Fatal<Nid>>> {
        if self.every(option.hard_ttl()).is_none() {
            return Err(StreamingError::Unreachable(silent(self.to)));
        }
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(&vote, &snapshot, option.hard_ttl()) => match sent {
                Some(theirs) => Ok(SnapshotResponse::new(theirs)),
                None => Err(StreamingError::Unreachable(silent(self.to))),
            },
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(self.timing.pause()))
    }
}

impl Link {
    /// Between two attempts to say the same; nothing if the other side is silent, and was sent something not
    /// long ago. Long enough for it to look for another leader.
    fn every(&mut self, within: Duration) -> Option<Duration> {
        let (now, long) = (Instant::now(), self.timing.stale());
        let heard = self.post.last_heard(self.to).unwrap_or(self.made).max(self.made);
        let silent = now.duration_since(heard) > long;
        if silent && self.sent.is_some_and(|at| now.duration_since(at) < long) {
            return None;
        }
        self.sent = Some(now);
        Some(if silent { within } else { self.timing.pause() })
    }

    fn matches(&mut self, upto: Option<Mark>) {
        self.matched = self.matched.max(upto);
    }

    /// Notes whether the other side had acknowledged what it lacks now. A mere sign of life follows only on
    /// entries that were acknowledged.
    fn lacks(&mut self, before: Option<Mark>, sign: bool) {
        if sign || before <= self.matched {
            self.forgetful.lock().unwrap_or_else(PoisonError::into_inner).insert(self.to);
            self.matched = None;
        }
    }

    /// Sends a snapshot; the other side's vote when it has it or follows somebody else.
    async fn send_snapshot(&self, vote: &Vote, snapshot: &Snapshot, within: Duration) -> Option<Vote> {
        let image = &snapshot.snapshot;
        let (ballot, cover) = (Ballot::from(vote), Cover::from(&snapshot.meta));
        let mut at = 0;
        loop {
            let end = (at + LOG_PIECE_BYTES).min(image.len());
            let (total, bytes) = (image.len() as u64, image[at..end].to_vec());
            let question = Question::Piece { ballot, cover: cover.clone(), total, at: at as u64, bytes };
            let answer = self.post.ask_again(self.to, question, within, self.timing.pause()).await;
            let Some(Answer::Piece { ballot: theirs, have }) = answer else { return None };
            if !theirs.can_be() {
                return None;
            }
            let theirs = Vote::from(theirs);
            // It may have all from an attempt whose last answer was lost.
            if theirs > *vote || have >= total {
                return Some(theirs);
            }
            at = usize::try_from(have).ok().filter(|have| *have <= end)?;
        }
    }
}
