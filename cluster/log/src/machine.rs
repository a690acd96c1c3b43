//! What is replicated. A machine is pure: the same commands in the same order give the same state and the
//! same answers on every node.

/// A state that changes by commands alone.
///
/// ```
/// struct Sum(u64);
///
/// impl dvs_log::Machine for Sum {
///     fn apply(&mut self, _place: u64, command: &[u8]) -> Vec<u8> {
///         self.0 += command.len() as u64;
///         self.0.to_le_bytes().to_vec()
///     }
///     fn snapshot(&self) -> Vec<u8> {
///         self.0.to_le_bytes().to_vec()
///     }
///     fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
///         self.0 = u64::from_le_bytes(snapshot.try_into().map_err(|_| "eight bytes are a sum")?);
///         Ok(())
///     }
/// }
/// ```
pub trait Machine: Send + 'static {
    /// Does a command. `place` is its number in the group, from one, without gaps. The answer, at most
    /// [`LOG_COMMAND_BYTES_MAX`](dvs_abi::limits::LOG_COMMAND_BYTES_MAX) bytes, goes to whoever proposed it.
    ///
    /// After a restart commands since the last snapshot are done again: what leaves the machine on the way
    /// has to bear that.
    fn apply(&mut self, place: u64, command: &[u8]) -> Vec<u8>;

    /// The whole state.
    fn snapshot(&self) -> Vec<u8>;

    /// Becomes the state that was taken, here or on another node.
    ///
    /// # Errors
    /// If these bytes are no state this version can read; the node then stops.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String>;
}
