//! Places at which a test lets this process die, or its disk fail. `PUBSUB_KAFKA_FAILPOINT=after-publish:3` does so when
//! the place is reached for the third time. Only with the feature `failpoints`, which is for tests: in every other build
//! a place is nothing.

use std::fs::File;
use std::io;

/// Says so if this process is to die, or its disk to fail: nobody wants that outside of a test.
#[cfg(feature = "tracker")]
pub(crate) fn announce() {
    #[cfg(feature = "failpoints")]
    if let Some(failpoint) = std::env::var_os("PUBSUB_KAFKA_FAILPOINT") {
        tracing::error!(
            ?failpoint,
            "PUBSUB_KAFKA_FAILPOINT is set: this process is going to fail on purpose"
        );
    }
}

/// Dies by SIGKILL here, if this is the place and the time.
pub(crate) fn reached(point: &str) {
    #[cfg(feature = "failpoints")]
    if armed::is_due(point) {
        armed::die();
    }
    #[cfg(not(feature = "failpoints"))]
    let _ = point;
}

/// In the place of a sync: the disk refuses it (`fsync-error`), while the page cache still shows what is not on it; or a
/// part of that is lost in a power cut (`power-cut`). A killed process alone loses nothing: the page cache outlives it.
///
/// # Errors
/// The error of a failed sync.
pub(crate) fn refuse_sync(file: &File, durable_len: u64) -> io::Result<()> {
    #[cfg(feature = "failpoints")]
    {
        if armed::is_due("fsync-error") {
            return Err(io::Error::other("input/output error of a failpoint"));
        }
        if armed::is_due("power-cut") {
            let unsynced = file.metadata()?.len().saturating_sub(durable_len);
            file.set_len(durable_len + unsynced / 2)?;
            armed::die();
        }
    }
    #[cfg(not(feature = "failpoints"))]
    let _ = (file, durable_len);
    Ok(())
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Whether this point is the one that was asked for, as often as was asked for.
    pub(super) fn is_due(point: &str) -> bool {
        static ASKED: OnceLock<Option<(String, AtomicU64)>> = OnceLock::new();
        let asked = ASKED.get_or_init(|| parse(&std::env::var("PUBSUB_KAFKA_FAILPOINT").ok()?));
        asked
            .as_ref()
            .is_some_and(|(wanted, left)| wanted == point && left.fetch_sub(1, Ordering::Relaxed) == 1)
    }

    pub(super) fn parse(text: &str) -> Option<(String, AtomicU64)> {
        let (point, nth) = text.split_once(':').unwrap_or((text, "1"));
        Some((point.to_owned(), AtomicU64::new(nth.parse().ok()?)))
    }

    pub(super) fn die() {
        drop(signal_hook::low_level::raise(signal_hook::consts::SIGKILL));
    }
}

#[cfg(all(test, feature = "failpoints"))]
mod tests {
    use std::sync::atomic::Ordering;

    use super::armed::parse;

    #[test]
    fn a_point_has_a_name_and_a_number() {
        let parsed = |text| parse(text).map(|(point, left)| (point, left.load(Ordering::Relaxed)));
        assert_eq!(parsed("after-append:7"), Some(("after-append".to_owned(), 7)));
        assert_eq!(parsed("before-commit"), Some(("before-commit".to_owned(), 1)));
        assert_eq!(parsed("before-commit:often"), None);
    }
}
