//! Waits for what comes in its own time, with a deadline.

use std::time::{Duration, Instant};

/// Polls until `found` gives something. Fails after the deadline, with what was waited for.
pub fn wait_for<T>(what: &str, seconds: u64, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {seconds} s in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
