//! The dishonest helper processes.
