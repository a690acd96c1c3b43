//! What a service does when nobody disturbs it: the measure for histories.

use std::fmt::Debug;

/// An operation of a service that does one thing at a time. Operations on different keys must not concern
/// each other: they are checked apart.
pub trait Model: Clone + Debug {
    /// What belongs together.
    type Key: Ord + Clone + Debug;
    /// What one key has.
    type State: Ord + Clone + Default + Debug;
    /// What it answers.
    type Reply: PartialEq + Clone + Debug;

    /// Its key.
    fn key(&self) -> Self::Key;

    /// What it does and answers.
    fn run(&self, state: &Self::State) -> (Self::State, Self::Reply);

    /// Whether it never changes anything when it answers this. It need not say so; but where it does
    /// histories are checked much faster.
    fn changes_nothing(&self, reply: &Self::Reply) -> bool {
        let _ = reply;
        false
    }
}

/// What a number is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Number {
    /// Nothing but that it is done.
    Done,
    /// This is it now.
    Is(i64),
    /// Whether the comparison held.
    Swapped(bool),
}

/// Registers with names, each 0 in the beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Register<'a> {
    /// Answers [`Number::Is`].
    Read(&'a str),
    /// Answers [`Number::Done`].
    Write(&'a str, i64),
    /// If it is the first it becomes the second: [`Number::Swapped`].
    Swap(&'a str, i64, i64),
}

impl<'a> Model for Register<'a> {
    type Key = &'a str;
    type State = i64;
    type Reply = Number;

    fn key(&self) -> &'a str {
        let (Register::Read(k) | Register::Write(k, _) | Register::Swap(k, _, _)) = self;
        k
    }

    fn run(&self, state: &i64) -> (i64, Number) {
        match *self {
            Register::Read(_) => (*state, Number::Is(*state)),
            Register::Write(_, n) => (n, Number::Done),
            Register::Swap(_, from, to) if *state == from => (to, Number::Swapped(true)),
            Register::Swap(..) => (*state, Number::Swapped(false)),
        }
    }

    fn changes_nothing(&self, reply: &Number) -> bool {
        matches!(self, Register::Read(_)) || *reply == Number::Swapped(false)
    }
}

/// A number that is added to, 0 in the beginning. Shows what was done twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counter {
    /// Answers what it is then, [`Number::Is`].
    Add(i64),
    /// Answers [`Number::Is`].
    Read,
}

impl Model for Counter {
    type Key = ();
    type State = i64;
    type Reply = Number;

    fn key(&self) {}

    fn run(&self, state: &i64) -> (i64, Number) {
        let sum = state + if let Counter::Add(n) = self { *n } else { 0 };
        (sum, Number::Is(sum))
    }

    fn changes_nothing(&self, _: &Number) -> bool {
        matches!(self, Counter::Read | Counter::Add(0))
    }
}

/// A map from names to values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Map {
    /// Answers what is there.
    Get(String),
    /// Answers what was there.
    Put(String, Vec<u8>),
    /// Answers what was there.
    Delete(String),
}

impl Model for Map {
    type Key = String;
    type State = Option<Vec<u8>>;
    type Reply = Option<Vec<u8>>;

    fn key(&self) -> String {
        let (Map::Get(k) | Map::Put(k, _) | Map::Delete(k)) = self;
        k.clone()
    }

    fn run(&self, state: &Self::State) -> (Self::State, Self::Reply) {
        let next = match self {
            Map::Get(_) => state.clone(),
            Map::Put(_, value) => Some(value.clone()),
            Map::Delete(_) => None,
        };
        (next, state.clone())
    }

    fn changes_nothing(&self, _: &Self::Reply) -> bool {
        matches!(self, Map::Get(_))
    }
}

/// A set of names: whether something exists. What is created twice, or deleted twice, shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Set<K> {
    /// Answers whether it was not there.
    Insert(K),
    /// Answers whether it was there.
    Remove(K),
}

impl<K: Ord + Clone + Debug> Model for Set<K> {
    type Key = K;
    type State = bool;
    type Reply = bool;

    fn key(&self) -> K {
        let (Set::Insert(k) | Set::Remove(k)) = self;
        k.clone()
    }

    fn run(&self, state: &Self::State) -> (Self::State, bool) {
        match self {
            Set::Insert(_) => (true, !state),
            Set::Remove(_) => (false, *state),
        }
    }

    fn changes_nothing(&self, changed: &bool) -> bool {
        !changed
    }
}
