//! What several tests of the command line need.

use std::time::{Duration, Instant};

/// Longer than anything takes that is not stuck.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Waits until something is so.
///
/// # Panics
/// When it does not become so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + WATCHDOG;
    while !so() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
