//! When a member speaks, when it gives up on a leader, when it takes a snapshot.

use crate::error::LogError;
use openraft::{Config, SnapshotPolicy};
use std::time::Duration;

/// The times of a group; all its members should have the same.
///
/// ```
/// use dvs_log::Timing;
/// let timing = Timing::default();
/// assert!(timing.heartbeat_ms < timing.election_min_ms && timing.election_min_ms < timing.election_max_ms);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Between two signs of life of the leader, in milliseconds. What was not answered is sent again after so
    /// long.
    pub heartbeat_ms: u64,
    /// Without a sign of life so long, a member wants to lead itself: at least. Several heartbeats; and more
    /// than a round trip, two syncs of the disk and the way of 64 KiB take together, or nothing is decided.
    pub election_min_ms: u64,
    /// and at most. How long is drawn by lot.
    pub election_max_ms: u64,
    /// Entries after which a snapshot is taken.
    pub snapshot_after: u64,
    /// Entries that are kept although a snapshot has them, for members that are a little behind.
    pub kept: u64,
}

impl Default for Timing {
    fn default() -> Self {
        let (heartbeat_ms, election_min_ms, election_max_ms) = (100, 400, 700);
        Timing { heartbeat_ms, election_min_ms, election_max_ms, snapshot_after: 5000, kept: 1000 }
    }
}

impl Timing {
    /// The configuration of the consensus library.
    pub(crate) fn config(&self) -> Result<Config, LogError> {
        let ordered = self.heartbeat_ms < self.election_min_ms && self.election_min_ms < self.election_max_ms;
        if !ordered || self.heartbeat_ms == 0 || self.election_min_ms < 10 {
            return Err(LogError::Refused("heartbeat < shortest < longest election time".to_owned()));
        }
        let config = Config {
            cluster_name: "dvs".to_owned(),
            // See `election`. What is left of these: how long an answer to entries is waited for; how long a
            // member that follows a leader refuses its vote, which has to be over when others ask for it.
            enable_heartbeat: false,
            enable_elect: false,
            heartbeat_interval: self.election_min_ms - 2,
            election_timeout_min: self.election_min_ms - 1,
            election_timeout_max: self.election_min_ms,
            install_snapshot_timeout: 2 * self.election_max_ms,
            max_payload_entries: 256,
            // A member that lacks more than what is kept gets a snapshot.
            replication_lag_threshold: self.snapshot_after + self.kept,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_after.max(1)),
            max_in_snapshot_log_to_keep: self.kept,
            ..Config::default()
        };
        config.validate().map_err(|e| LogError::Refused(e.to_string()))
    }

    /// A leader whom no majority answered for so long does not count as one.
    pub(crate) fn stale(&self) -> Duration {
        Duration::from_millis(2 * self.election_max_ms)
    }

    /// Between two attempts.
    pub(crate) fn pause(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms.max(1))
    }
}
