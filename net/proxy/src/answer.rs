//! The answer to a knock: given once, later, by whoever decides; the one who waits does not block anybody.
//!
//! ```text
//!   greeting thread: Handler::knock(…, answer) ─▶ the daemon's loop ─▶ answer.send(bytes) | refuse(why)
//!        └── waits, at most so long ◀──────────────────────────────────────────┘ or dropped
//! ```

use dvs_abi::limits::KNOCK_BYTES_MAX;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// The right to answer a knock. Dropped without a word, it refuses.
#[derive(Debug)]
pub struct Answer(SyncSender<Result<Vec<u8>, String>>);

/// Why an answer did not go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AnswerError {
    /// More than fits a frame; the machine was refused.
    #[error("an answer to a machine that wants to join has at most {KNOCK_BYTES_MAX} bytes, this one {0}")]
    TooLong(usize),
    /// The machine has left, or was told that nobody answers.
    #[error("the machine that wanted to join has not waited for the answer")]
    Late,
}

impl Answer {
    /// An answer, and where it arrives. The listener makes them; others need it to test a handler.
    ///
    /// ```
    /// use dvs_proxy::{Answer, Verdict};
    /// let (answer, pending) = Answer::new();
    /// answer.send(b"you are node 3".to_vec()).unwrap();
    /// let second = std::time::Duration::from_secs(1);
    /// assert_eq!(pending.wait(second), Some(Verdict::In(b"you are node 3".to_vec())));
    /// ```
    pub fn new() -> (Answer, Pending) {
        let (to, from) = sync_channel(1);
        (Answer(to), Pending(from))
    }

    /// Lets the machine in, and tells it this. That it went is no proof that it arrived: a machine that
    /// heard nothing knocks again, with the same key.
    ///
    /// # Errors
    /// More than [`KNOCK_BYTES_MAX`] bytes, or nobody waits for it any more.
    pub fn send(self, bytes: Vec<u8>) -> Result<(), AnswerError> {
        let length = bytes.len();
        if length > KNOCK_BYTES_MAX {
            return Err(AnswerError::TooLong(length));
        }
        self.put(Ok(bytes))
    }

    /// Refuses, with one sentence for a person. The address it came from has to wait longer after each of
    /// these: it may be guessing.
    ///
    /// # Errors
    /// Nobody waits for it any more.
    pub fn refuse(self, why: &str) -> Result<(), AnswerError> {
        self.put(Err(why.to_owned()))
    }

    fn put(self, what: Result<Vec<u8>, String>) -> Result<(), AnswerError> {
        self.0.try_send(what).map_err(|_| AnswerError::Late)
    }
}

/// What was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Let in, with this.
    In(Vec<u8>),
    /// Refused, for this reason.
    Refused(String),
    /// The answer was dropped.
    Nobody,
}

/// Where an answer arrives.
#[derive(Debug)]
pub struct Pending(Receiver<Result<Vec<u8>, String>>);

impl Pending {
    /// The answer, if it comes within so long. Once it was there it does not come again.
    pub fn wait(&self, wait: Duration) -> Option<Verdict> {
        match self.0.recv_timeout(wait) {
            Ok(Ok(bytes)) => Some(Verdict::In(bytes)),
            Ok(Err(why)) => Some(Verdict::Refused(why)),
            Err(RecvTimeoutError::Disconnected) => Some(Verdict::Nobody),
            Err(RecvTimeoutError::Timeout) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, AnswerError, Verdict};
    use dvs_abi::limits::KNOCK_BYTES_MAX;
    use std::time::Duration;

    #[test]
    fn it_says_once_what_was_decided_or_that_nobody_did() {
        let (answer, pending) = Answer::new();
        assert_eq!(pending.wait(Duration::ZERO), None);
        answer.refuse("no").unwrap();
        assert_eq!(pending.wait(Duration::ZERO), Some(Verdict::Refused("no".into())));
        let (answer, pending) = Answer::new();
        drop(answer);
        assert_eq!(pending.wait(Duration::ZERO), Some(Verdict::Nobody));
        let (answer, pending) = Answer::new();
        drop(pending);
        assert_eq!(answer.send(Vec::new()), Err(AnswerError::Late));
        let (answer, pending) = Answer::new();
        let long = KNOCK_BYTES_MAX + 1;
        assert_eq!(answer.send(vec![0; long]), Err(AnswerError::TooLong(long)));
        assert!(matches!(pending.wait(Duration::ZERO), Some(Verdict::Nobody)), "not its fault");
    }
}
