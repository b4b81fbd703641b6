//! What a run came to: counts of records, and what they say about success.

use std::fmt;

use serde::Serialize;

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records handed to the Kafka client, or refused by it.
    pub sent: u64,
    /// Records that all in-sync replicas have.
    pub acknowledged: u64,
    /// Records that are not acknowledged and will not be tried again.
    pub failed: u64,
    /// How many records the run is to send, where that is known.
    pub total: Option<u64>,
}

/// What a run came to. `Display` is the producer's last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Records handed to the Kafka client, or refused by it: `acknowledged` plus `failed`.
    pub sent: u64,
    /// Records that all in-sync replicas have.
    pub acknowledged: u64,
    /// Records that are not acknowledged.
    pub failed: u64,
    /// The seed of the generated orders; `None` where given lines were sent.
    pub seed: Option<u64>,
}

/// Whether a run did what it was to do; the exit code follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No record failed.
    Done,
    /// Some records were acknowledged, some failed.
    Partly,
    /// Records failed and none was acknowledged.
    Failed,
}

impl Summary {
    /// What the counts say about success.
    pub fn verdict(&self) -> Verdict {
        match (self.acknowledged, self.failed) {
            (_, 0) => Verdict::Done,
            (0, _) => Verdict::Failed,
            _ => Verdict::Partly,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sent {}, acknowledged {}, failed {}", self.sent, self.acknowledged, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(acknowledged: u64, failed: u64) -> Summary {
        Summary { sent: acknowledged + failed, acknowledged, failed, seed: None }
    }

    #[test]
    fn the_last_line_names_the_counts() {
        assert_eq!(summary(812, 0).to_string(), "sent 812, acknowledged 812, failed 0");
    }

    #[test]
    fn failed_records_decide_the_verdict() {
        let cases =
            [(0, 0, Verdict::Done), (5, 0, Verdict::Done), (5, 1, Verdict::Partly), (0, 1, Verdict::Failed)];
        for (acknowledged, failed, verdict) in cases {
            assert_eq!(summary(acknowledged, failed).verdict(), verdict);
        }
    }
}
