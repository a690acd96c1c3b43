//! A session by hand.
