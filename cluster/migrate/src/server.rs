//! What a server has to be able to do so that it can move.

use dvs_abi::Message;
use dvs_ipc::Port;
use std::ops::RangeInclusive;

/// A server whose state can be handed over to another process: of the same version, or of another that takes
/// it over. Its requests are done one at a time, each answered before the next is taken.
///
/// The state is said in rounds: first all of it, then what has changed since the round before. Between two
/// parts of a round requests are served, so what a part says may have changed when the next one is asked for;
/// whatever has, belongs to the next round.
///
/// ```
/// use dvs_abi::Message;
/// use dvs_ipc::Port;
/// use dvs_migrate::HandOver;
///
/// /// Counts its requests.
/// #[derive(Default)]
/// struct Counter {
///     count: u64,
///     changed: bool,
/// }
///
/// impl HandOver for Counter {
///     fn request(&mut self, _: &Port, m: &mut Message) {
///         (self.count, self.changed) = (self.count + 1, true);
///         m.set_word(0, self.count);
///     }
///     fn version(&self) -> u32 {
///         1
///     }
///     fn bytes(&self) -> u64 {
///         8
///     }
///     fn round(&mut self, first: bool) -> u64 {
///         self.changed |= first;
///         if self.changed { 8 } else { 0 }
///     }
///     fn part(&mut self, out: &mut Vec<u8>, _: usize) -> bool {
///         if std::mem::take(&mut self.changed) {
///             out.extend(self.count.to_le_bytes());
///         }
///         false
///     }
///     fn take(&mut self, _: u32, part: &[u8]) -> Result<(), String> {
///         if !part.is_empty() {
///             self.count = u64::from_le_bytes(part.try_into().map_err(|_| "a count has eight bytes")?);
///         }
///         Ok(())
///     }
///     fn reset(&mut self) {
///         *self = Counter::default();
///     }
/// }
///
/// let mut old = Counter { count: 7, changed: false };
/// let (mut new, mut part) = (Counter::default(), Vec::new());
/// assert_eq!(old.round(true), 8);
/// assert!(!old.part(&mut part, 1024), "there is no more of it");
/// new.take(1, &part)?;
/// assert_eq!(new.count, 7);
/// # Ok::<(), String>(())
/// ```
pub trait HandOver: Send {
    /// Does a request and writes the answer into the same message. The port is for copies from and to what
    /// the caller lent. While callers are held, calls that it makes wait with them: a server that calls
    /// others when it is asked to move may hold its callers for longer.
    fn request(&mut self, port: &Port, m: &mut Message);

    /// A message that waits for no answer: one that was only sent, or a notification.
    fn told(&mut self, port: &Port, m: &Message) {
        let _ = (port, m);
    }

    /// The version of the state it says.
    fn version(&self) -> u32;

    /// The versions it takes over; its own only, unless it says otherwise.
    fn takes(&self) -> RangeInclusive<u32> {
        self.version()..=self.version()
    }

    /// Bytes of its state, about.
    fn bytes(&self) -> u64;

    /// Begins a round: all there is, or what has changed since the last one began. About how many bytes that
    /// is. After a move that was not to be, the next one begins with all again.
    fn round(&mut self, first: bool) -> u64;

    /// Adds the next part of the round, about `room` bytes of it; whether there is more.
    fn part(&mut self, out: &mut Vec<u8>, room: usize) -> bool;

    /// Takes a part that another one said.
    ///
    /// # Errors
    /// It is none of that version, or damaged: then it does not take it over.
    fn take(&mut self, version: u32, part: &[u8]) -> Result<(), String>;

    /// Forgets all: what it took so far is of a move that was not to be.
    fn reset(&mut self);

    /// The move is off, and it serves on: what has changed need not be remembered any more.
    fn stays(&mut self) {}
}
