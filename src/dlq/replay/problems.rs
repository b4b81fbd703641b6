//! What went wrong with single dead letters: counted, and the first of them told in full. Nothing of it stops the rest.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

/// How many of each kind are told in full.
const TOLD: usize = 5;

/// What kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// The dead letter is not in its topic any more: expired, or purged.
    Gone,
    /// At its place is something else than what was planned.
    Changed,
    /// The payload was left out of it, and cannot be had.
    PayloadGone,
    /// Nobody knows where it came from, and no target is given.
    NoTarget,
    /// The target must not be replayed to.
    TargetRefused,
    /// The target does not exist.
    TargetMissing,
    /// The target does not take it from us.
    TargetForbidden,
    /// The target does not take this record.
    RecordRefused,
    /// It would keep a timestamp that the target's retention has passed.
    TimestampExpired,
}

impl ProblemKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Gone,
        Self::Changed,
        Self::PayloadGone,
        Self::NoTarget,
        Self::TargetRefused,
        Self::TargetMissing,
        Self::TargetForbidden,
        Self::RecordRefused,
        Self::TimestampExpired,
    ];

    /// The name on the wire and on the screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Changed => "changed",
            Self::PayloadGone => "payload_gone",
            Self::NoTarget => "no_target",
            Self::TargetRefused => "target_refused",
            Self::TargetMissing => "target_missing",
            Self::TargetForbidden => "target_forbidden",
            Self::RecordRefused => "record_refused",
            Self::TimestampExpired => "timestamp_expired",
        }
    }
}

/// One dead letter that was not sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The dead letter.
    pub id: Uuid,
    /// What kind of trouble.
    pub kind: ProblemKind,
    /// What happened, and what to do.
    pub message: String,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Problems {
    /// How many of each kind.
    pub counts: BTreeMap<&'static str, u64>,
    /// The first of each kind.
    pub first: Vec<Problem>,
}

impl Problems {
    /// Notes one.
    pub(super) fn add(&mut self, id: Uuid, kind: ProblemKind, message: impl Into<String>) {
        let count = self.counts.entry(kind.as_str()).or_default();
        *count += 1;
        if *count <= TOLD as u64 {
            self.first.push(Problem { id, kind, message: message.into() });
        }
    }

    /// Takes in what was noted elsewhere.
    pub(super) fn merge(&mut self, other: Self) {
        for (kind, count) in other.counts {
            *self.counts.entry(kind).or_default() += count;
        }
        self.first.extend(other.first);
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_of_each_kind_told() {
        let mut problems = Problems::default();
        for number in 0..20 {
            problems.add(Uuid::from_u128(number), ProblemKind::Gone, "gone");
        }
        problems.add(Uuid::nil(), ProblemKind::Changed, "changed");
        assert_eq!((problems.total(), problems.first.len()), (21, TOLD + 1));
        assert_eq!(problems.counts, [("changed", 1), ("gone", 20)].into());
    }
}
