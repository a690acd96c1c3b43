//! The way to one other member, as the consensus library uses it.
//!
//! Entries go out in messages of bounded size: what does not fit is said to have been sent in part. A
//! snapshot goes out piece by piece, each confirmed by how much the other side has; after a restart of that
//! side it begins anew.

use crate::message::{Answer, Appended, Question};
use crate::post::Post;
use crate::record::{Ballot, Cover, Mark, Record};
use crate::timing::Timing;
use crate::types::{LogId, Nid, Nothing, Snapshot, Types, Vote};
use dvs_abi::NodeId;
use dvs_abi::limits::{LOG_ENTRY_BYTES_MAX, LOG_PIECE_BYTES};
use openraft::error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{AnyError, OptionalSend, RaftNetwork, RaftNetworkFactory};
use std::future::Future;
use std::time::Duration;

type Lost = RPCError<Nid, Nothing, RaftError<Nid>>;

/// Makes the ways.
pub(crate) struct Links {
    pub post: Post,
    pub timing: Timing,
}

impl RaftNetworkFactory<Types> for Links {
    type Network = Link;

    async fn new_client(&mut self, target: Nid, _: &Nothing) -> Link {
        Link { to: NodeId(target as u16), post: self.post.clone(), timing: self.timing }
    }
}

/// The way to one member.
pub(crate) struct Link {
    to: NodeId,
    post: Post,
    timing: Timing,
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
        let records = fitting(&rpc.entries);
        let last = if records.len() < rpc.entries.len() {
            records.last().map(|r| LogId::from(r.mark))
        } else {
            None
        };
        let question = Question::Append {
            ballot: Ballot::from(&rpc.vote),
            before: rpc.prev_log_id.as_ref().map(Mark::from),
            records,
            decided: rpc.leader_commit.as_ref().map(Mark::from),
        };
        match self.post.ask(self.to, question, option.hard_ttl()).await {
            Some(Answer::Appended(Appended::Yes)) => Ok(match last {
                Some(_) => AppendEntriesResponse::PartialSuccess(last),
                None => AppendEntriesResponse::Success,
            }),
            Some(Answer::Appended(Appended::Partly(upto))) => {
                Ok(AppendEntriesResponse::PartialSuccess(upto.map(LogId::from)))
            }
            Some(Answer::Appended(Appended::Gap)) => Ok(AppendEntriesResponse::Conflict),
            Some(Answer::Appended(Appended::Outvoted(b))) => Ok(AppendEntriesResponse::HigherVote(b.into())),
            _ => Err(silent(self.to).into()),
        }
    }

    async fn vote(&mut self, rpc: VoteRequest<Nid>, option: RPCOption) -> Result<VoteResponse<Nid>, Lost> {
        let last = rpc.last_log_id.as_ref().map(Mark::from);
        let question = Question::Vote { ballot: Ballot::from(&rpc.vote), last };
        match self.post.ask(self.to, question, option.hard_ttl()).await {
            Some(Answer::Vote { ballot, granted, last }) => {
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
    /// Sends a snapshot; the other side's vote when it has it or follows somebody else.
    async fn send_snapshot(&self, vote: &Vote, snapshot: &Snapshot, within: Duration) -> Option<Vote> {
        let image = &snapshot.snapshot;
        let (ballot, cover) = (Ballot::from(vote), Cover::from(&snapshot.meta));
        let mut at = 0;
        loop {
            let end = (at + LOG_PIECE_BYTES).min(image.len());
            let (total, bytes) = (image.len() as u64, image[at..end].to_vec());
            let question = Question::Piece { ballot, cover: cover.clone(), total, at: at as u64, bytes };
            let Some(Answer::Piece { ballot: theirs, have }) = self.post.ask(self.to, question, within).await
            else {
                return None;
            };
            let theirs = Vote::from(theirs);
            if theirs > *vote || have >= total && end == image.len() {
                return Some(theirs);
            }
            // It can have no more than it was sent, and never everything before the last piece.
            at = usize::try_from(have).ok().filter(|have| *have <= end && *have < image.len())?;
        }
    }
}
