//! What the tracker says of itself in its health log: whether it runs, what it works on, whether it holds back.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::models::HealthEntry;

/// What the tracker says, as the health log has it; a test holds these against the tracker's own words.
mod words {
    pub const STARTED: &str = "started";
    pub const STOPPED: &str = "stopped";
    pub const STOPPED_BY_ERROR: &str = "stopped by an error";
    pub const STOPPING: &str = "stopping: letting records in flight finish";
    pub const TOOK_OVER: &str = "took over ";
    pub const GAVE_BACK: &str = "gave back ";
    pub const LOST: &str = "lost partitions: what was under way is thrown away";
    pub const TARGET_OUT: &str = "the delivery target is out: records wait instead of being dead-lettered";
    pub const TARGET_STILL_OUT: &str = "the delivery target still fails: waiting on";
    pub const TARGET_WORKS: &str = "the delivery target works again: delivering";
    pub const NO_ROOM: &str = "the audit log cannot grow: nothing is committed until there is room";
    pub const ROOM: &str = "the audit log grows again";
}

/// Without a sign of life for so long, a tracker is taken for silent, unless its metrics come even less often.
const SILENT_MS: i64 = 90_000;

/// Whether deliveries are held back because their target is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Breaker {
    /// Not known.
    Unknown,
    /// Records are delivered.
    Closed,
    /// Records wait.
    Open,
    /// One record at a time is tried.
    HalfOpen,
}

/// How the tracker fares, as far as it can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// It gave a sign of life a moment ago.
    Up,
    /// It is about to end.
    Stopping,
    /// It ended as it was asked to.
    Stopped,
    /// It ended by an error.
    Failed,
    /// It gave no sign of life for a while, and did not say that it ends.
    Silent,
    /// Nothing is known of it.
    Unknown,
}

/// What the health log tells.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub last_ms: Option<i64>,
    pub started_ms: Option<i64>,
    /// Whether it delivers anything, as its start says.
    pub delivers: bool,
    pub error: Option<String>,
    pub assigned: Option<u64>,
    pub no_room: bool,
    pub group: Option<String>,
    pub metrics: Option<Map<String, Value>>,
    ending: Option<Life>,
    breaker: Option<Breaker>,
    metrics_ms: Option<i64>,
    interval_ms: Option<i64>,
}

impl Told {
    pub(super) fn take(&mut self, entry: &HealthEntry) {
        let now = entry.timestamp.as_millisecond();
        self.last_ms = self.last_ms.max(Some(now));
        match entry.message.as_str() {
            words::STARTED => {
                let text = |name| Some(entry.metadata.as_ref()?.get(name)?.as_str()?.to_owned());
                *self = Self {
                    last_ms: self.last_ms,
                    started_ms: Some(now),
                    delivers: text("deliver_to").is_some(),
                    group: text("group"),
                    assigned: Some(0),
                    ..Self::default()
                };
            }
            words::STOPPED => self.ending = Some(Life::Stopped),
            words::STOPPED_BY_ERROR => {
                (self.ending, self.error) = (Some(Life::Failed), entry.error.clone());
            }
            words::STOPPING => self.ending = Some(Life::Stopping),
            words::LOST => {
                let lost = entry.metadata.as_ref().and_then(|facts| facts.get("partitions")?.as_u64());
                self.assigned =
                    self.assigned.map(|assigned| assigned.saturating_sub(lost.unwrap_or(assigned)));
            }
            words::TARGET_OUT | words::TARGET_STILL_OUT => self.breaker = Some(Breaker::Open),
            words::TARGET_WORKS => self.breaker = Some(Breaker::Closed),
            words::NO_ROOM => self.no_room = true,
            words::ROOM => self.no_room = false,
            HealthEntry::METRICS => {
                self.interval_ms = self.metrics_ms.map(|before| (now - before).max(0));
                self.metrics_ms = Some(now);
                self.metrics = entry.metadata.clone();
                self.assigned = self.metric("partitions").or(self.assigned);
            }
            other if other.starts_with(words::TOOK_OVER) => {
                self.assigned = self.assigned.map(|assigned| assigned + 1);
            }
            other if other.starts_with(words::GAVE_BACK) => {
                self.assigned = self.assigned.map(|assigned| assigned.saturating_sub(1));
            }
            _ => {}
        }
    }

    /// A number of the last line of metrics.
    pub(super) fn metric(&self, name: &str) -> Option<u64> {
        self.metrics.as_ref()?.get(name)?.as_u64()
    }

    /// How the tracker fares, given the last sign of life in any file.
    pub(super) fn life(&self, last_seen_ms: Option<i64>, now_ms: i64) -> Life {
        let Some(last_seen) = last_seen_ms else { return Life::Unknown };
        match self.ending {
            Some(Life::Stopping) => {}
            Some(ended) => return ended,
            None => {}
        }
        let patience = SILENT_MS.max(self.interval_ms.unwrap_or(0).saturating_mul(3));
        if now_ms.saturating_sub(last_seen) > patience {
            return Life::Silent;
        }
        self.ending.unwrap_or(Life::Up)
    }

    pub(super) fn breaker(&self) -> Breaker {
        match (self.breaker, self.started_ms) {
            (Some(breaker), _) => breaker,
            // It says so when it opens.
            (None, Some(_)) => Breaker::Closed,
            (None, None) => Breaker::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::HealthLevel;

    fn entry(time_ms: i64, message: &str, metadata: Value) -> HealthEntry {
        HealthEntry {
            timestamp: jiff::Timestamp::from_millisecond(time_ms).expect("a time"),
            level: HealthLevel::Info,
            message: message.to_owned(),
            service: HealthEntry::TRACKER.to_owned(),
            error: None,
            metadata: metadata.as_object().cloned(),
        }
    }

    fn told(entries: &[HealthEntry]) -> Told {
        let mut told = Told::default();
        entries.iter().for_each(|entry| told.take(entry));
        told
    }

    #[test]
    fn these_are_the_trackers_own_words() {
        let spoken = concat!(
            include_str!("../pipeline/start.rs"),
            include_str!("../pipeline/guard.rs"),
            include_str!("../pipeline/tracker.rs"),
            include_str!("../pipeline/tracker/partitions.rs"),
            include_str!("../audit/writer.rs"),
        );
        for said in [
            words::STARTED,
            words::STOPPED,
            words::STOPPED_BY_ERROR,
            words::STOPPING,
            words::LOST,
            words::TARGET_OUT,
            words::TARGET_STILL_OUT,
            words::TARGET_WORKS,
            words::NO_ROOM,
            words::ROOM,
        ] {
            assert!(spoken.contains(&format!("\"{said}\"")), "{said}");
        }
        for said in [words::TOOK_OVER, words::GAVE_BACK] {
            assert!(spoken.contains(&format!("\"{said}{{at}}\"")), "{said}");
        }
    }

    #[test]
    fn a_life_is_told() {
        let none = Value::Null;
        let started = entry(1_000, "started", serde_json::json!({"group": "g", "deliver_to": "http://x/"}));
        let mut lines = vec![started];
        assert_eq!(Told::default().life(None, 0), Life::Unknown);
        let up = told(&lines);
        assert_eq!((up.life(up.last_ms, 90_000), up.life(up.last_ms, 92_000)), (Life::Up, Life::Silent));
        assert_eq!(up.life(Some(91_000), 92_000), Life::Up, "another file's sign of life");
        assert_eq!((up.delivers, up.group.as_deref(), up.breaker()), (true, Some("g"), Breaker::Closed));
        for (message, life, breaker) in [
            (
                "the delivery target is out: records wait instead of being dead-lettered",
                Life::Up,
                Breaker::Open,
            ),
            ("the delivery target works again: delivering", Life::Up, Breaker::Closed),
            ("stopping: letting records in flight finish", Life::Stopping, Breaker::Closed),
            ("stopped", Life::Stopped, Breaker::Closed),
            ("started", Life::Up, Breaker::Closed),
            ("stopped by an error", Life::Failed, Breaker::Closed),
        ] {
            lines.push(entry(2_000, message, none.clone()));
            let told = told(&lines);
            assert_eq!((told.life(told.last_ms, 3_000), told.breaker()), (life, breaker), "{message}");
        }
        assert_eq!(told(&lines).life(Some(2_000), 900_000), Life::Failed);
    }

    #[test]
    fn partitions_are_followed_and_metrics_set_them_right() {
        let none = Value::Null;
        let mut lines = vec![entry(0, "took over orders/0", none.clone())];
        assert_eq!(told(&lines).assigned, None, "how many there were before is not known");
        lines.push(entry(0, "started", none.clone()));
        for (message, facts, assigned) in [
            ("took over orders/0", none.clone(), 1),
            ("took over orders/1", none.clone(), 2),
            ("gave back orders/0", none.clone(), 1),
            ("metrics", serde_json::json!({"partitions": 7, "in_flight": 3}), 7),
            ("lost partitions: what was under way is thrown away", serde_json::json!({"partitions": 5}), 2),
        ] {
            lines.push(entry(0, message, facts));
            assert_eq!(told(&lines).assigned, Some(assigned), "{message}");
        }
        assert_eq!(told(&lines).metric("in_flight"), Some(3));
    }

    #[test]
    fn rare_metrics_make_patient() {
        let facts = serde_json::json!({});
        let rare = told(&[entry(0, "metrics", facts.clone()), entry(600_000, "metrics", facts)]);
        assert_eq!(rare.life(rare.last_ms, 600_000 + 1_700_000), Life::Up);
        assert_eq!(rare.life(rare.last_ms, 600_000 + 1_900_000), Life::Silent);
    }
}
