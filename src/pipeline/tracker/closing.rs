//! The end: what runs finishes, the last commit and the last head are made, the group is left, all by one deadline.

use std::time::{Duration, Instant};

use super::{COORDINATOR_TIMEOUT, Tracker};
use crate::audit::Reason;

/// How long everything after the drain may take together: the last commit, the last head, leaving the group, and the end
/// of the journal's thread. What the drain left of its own time comes on top.
pub(super) const CLOSING: Duration = Duration::from_secs(5);
/// How long the last commit of a partition may take, and what it leaves of the end's time to what comes after it.
pub(super) const LAST_COMMIT: Share =
    Share { most: Duration::from_secs(5), leaves: Duration::from_millis(2500) };
/// The same for the journal's last checkpoint and its head.
const LAST_HEAD: Share = Share { most: Duration::from_secs(2), leaves: Duration::from_millis(1500) };
/// The same for leaving the group.
const LEAVING: Share = Share { most: Duration::from_secs(5), leaves: Duration::from_millis(500) };
/// What each of them has when nothing is left.
const LEAST: Duration = Duration::from_millis(100);

/// What one step of the end has of the time that is left.
pub(super) struct Share {
    pub(super) most: Duration,
    leaves: Duration,
}

impl Share {
    pub(super) fn of(&self, over_at: Instant) -> Duration {
        over_at.saturating_duration_since(Instant::now()).saturating_sub(self.leaves).clamp(LEAST, self.most)
    }
}

impl Tracker<'_> {
    /// Lets what runs finish. `asked` is the earliest time at which that may have been asked for; no wait of a turn is
    /// longer than one for the coordinator.
    pub(super) fn begin_drain(&mut self, asked: Instant) {
        let now = Instant::now();
        let asked = now.checked_sub(COORDINATOR_TIMEOUT).map_or(asked, |earliest| asked.max(earliest));
        self.draining = Some(now + self.settings.shutdown_timeout);
        self.over_at = Some(asked + self.settings.shutdown_timeout + CLOSING);
        for part in self.parts.values_mut() {
            part.begin_drain();
        }
    }

    pub(super) fn close(mut self, over_at: Instant) {
        self.commit_for_good(self.parts.keys().copied().collect());
        self.checkpoint(Reason::End);
        // While the partitions are there to be told of.
        self.report_metrics_now();
        for (_, part) in std::mem::take(&mut self.parts) {
            drop(part.abandon());
        }
        self.publish_last_head(Instant::now() + LAST_HEAD.of(over_at));
        if !self.consumer.close(LEAVING.of(over_at)) {
            tracing::warn!("the group was not left in time; it notices after the session timeout");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_of_the_end_share_what_is_left() {
        let now = Instant::now();
        let all = [LAST_COMMIT, LAST_HEAD, LEAVING];
        // Each takes as long as it may: the end is kept, with something left for the journal's thread.
        let mut begun = now;
        for share in &all {
            begun +=
                (now + CLOSING).duration_since(begun).saturating_sub(share.leaves).clamp(LEAST, share.most);
        }
        assert!(begun <= now + CLOSING - Duration::from_millis(500));
        for share in &all {
            assert_eq!(share.of(now), LEAST);
            assert_eq!(share.of(now + Duration::from_secs(60)), share.most);
        }
    }
}
