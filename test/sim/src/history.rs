//! What clients saw: when each call began, when and how it ended.
//!
//! A call ends with a reply, or with an error that says that nothing was done, or it never ends: time-out,
//! lost client, error that says *unknown*. Then it may have been done at any time since it began, or be done
//! later, or never.

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End<R> {
    /// It was done, with this reply, at the latest at this time.
    Reply(R, u64),
    /// Nothing was done, and never will be.
    Nothing,
    /// Nobody knows.
    Unknown,
}

/// One call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call<O, R> {
    /// When it began.
    pub began: u64,
    /// What was asked.
    pub op: O,
    /// How it ended.
    pub end: End<R>,
}

/// The calls of all clients, in the order in which they began.
///
/// ```
/// use dvs_sim::{History, Number, Register};
/// let mut h = History::new();
/// let write = h.begin(1, Register::Write("x", 5));
/// h.reply(write, Number::Done, 2);
/// let read = h.begin(3, Register::Read("x"));
/// h.reply(read, Number::Is(5), 4);
/// dvs_sim::check_linear(&h).unwrap();
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct History<O, R> {
    calls: Vec<Call<O, R>>,
}

impl<O, R> Default for History<O, R> {
    fn default() -> Self {
        History { calls: Vec::new() }
    }
}

impl<O, R> History<O, R> {
    /// No calls yet.
    pub fn new() -> Self {
        History::default()
    }

    /// A call begins. Its number is for the functions below; until one of them is called its end is unknown.
    pub fn begin(&mut self, now: u64, op: O) -> usize {
        self.calls.push(Call { began: now, op, end: End::Unknown });
        self.calls.len() - 1
    }

    /// It was done.
    pub fn reply(&mut self, call: usize, reply: R, now: u64) {
        self.calls[call].end = End::Reply(reply, now);
    }

    /// Nothing was done, and never will be.
    pub fn nothing(&mut self, call: usize) {
        self.calls[call].end = End::Nothing;
    }

    /// The calls.
    pub fn calls(&self) -> &[Call<O, R>] {
        &self.calls
    }
}
