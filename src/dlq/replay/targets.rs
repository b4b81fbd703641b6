//! The topics that a plan's replays go to: whether they may be, whether they are there, and what they take.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::ProblemKind;
use crate::config::KafkaSettings;
use crate::dlq::status_topic;
use crate::kafka::{Admin, KafkaError, TopicInfo};

/// What a topic takes where it does not tell, in bytes: Kafka's own default.
const DEFAULT_MAX_BYTES: usize = 1_048_588;

/// Why nothing may be replayed to a topic, if nothing may.
pub(super) fn refusal(topic: &str, dlq_topic: &str, allowed: &[String]) -> Option<String> {
    if topic.starts_with("__") {
        return Some(format!("{topic} is a topic of Kafka's own"));
    }
    if topic == dlq_topic || topic == status_topic(dlq_topic) {
        return Some(format!("{topic} is the dead letter topic, or that of its statuses"));
    }
    (!allowed.is_empty() && !allowed.iter().any(|name| name == topic))
        .then(|| format!("{topic} is not among the replay-targets"))
}

/// A topic that can be replayed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// How many partitions it has.
    pub partitions: i32,
    /// The largest batch that it takes, in bytes.
    pub max_message_bytes: usize,
    /// How long it keeps records, in milliseconds; `None` for ever.
    pub retention_ms: Option<i64>,
}

impl Target {
    /// Whether retention deletes a record of this time.
    pub(super) fn has_passed(&self, millis: i64, now: Timestamp) -> bool {
        self.retention_ms.is_some_and(|kept| millis < now.as_millisecond().saturating_sub(kept))
    }
}

/// A topic, or why nothing can go there.
pub(super) type Found = Result<Target, (ProblemKind, String)>;

/// Looks at the topics.
pub(super) async fn look<'a>(
    kafka: &KafkaSettings,
    topics: impl Iterator<Item = &'a str>,
    dlq_topic: &str,
    allowed: &[String],
) -> Result<BTreeMap<String, Found>, KafkaError> {
    let admin = Admin::new(kafka)?;
    let mut found = BTreeMap::new();
    for topic in topics {
        let target = match refusal(topic, dlq_topic, allowed) {
            Some(why) => Err((ProblemKind::TargetRefused, why)),
            None => match admin.topic(topic) {
                // Within a transaction a refusal would end the producer with it.
                Ok(Some(_)) if admin.may_write(topic) == Some(false) => {
                    Err((ProblemKind::TargetForbidden, format!("we have no right to write to {topic}")))
                }
                Ok(Some(info)) => Ok(target(&admin, &info).await),
                Ok(None) => Err((ProblemKind::TargetMissing, format!("the target {topic} does not exist"))),
                Err(error @ KafkaError::Topic { .. }) => {
                    Err((ProblemKind::TargetForbidden, error.to_string()))
                }
                Err(error) => return Err(error),
            },
        };
        found.insert(topic.to_owned(), target);
    }
    Ok(found)
}

/// A topic that does not show its settings is taken to have Kafka's own defaults, but for retention.
async fn target(admin: &Admin, info: &TopicInfo) -> Target {
    let settings = admin.topic_config(&info.name).await.unwrap_or_default();
    let number = |name: &str| settings.get(name).and_then(|value| value.parse::<i64>().ok());
    let deletes = settings.get("cleanup.policy").is_none_or(|policy| policy.contains("delete"));
    Target {
        partitions: info.partitions,
        max_message_bytes: number("max.message.bytes")
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(DEFAULT_MAX_BYTES),
        retention_ms: number("retention.ms").filter(|millis| deletes && *millis >= 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_topics_are_never_replayed_to() {
        let none: [String; 0] = [];
        let only = ["orders".to_owned()];
        for (topic, free, limited) in [
            ("orders", true, true),
            ("repaired", true, false),
            ("orders-dlq", false, false),
            ("orders-dlq-status", false, false),
            ("__consumer_offsets", false, false),
        ] {
            assert_eq!(refusal(topic, "orders-dlq", &none).is_none(), free, "{topic}");
            assert_eq!(refusal(topic, "orders-dlq", &only).is_none(), limited, "{topic}");
        }
        let own = ["orders-dlq".to_owned()];
        assert!(refusal("orders-dlq", "orders-dlq", &own).is_some());
    }

    #[test]
    fn retention_passes_a_time() {
        let now = Timestamp::from_millisecond(10_000).expect("a time");
        let target = |retention_ms| Target { partitions: 1, max_message_bytes: 1, retention_ms };
        assert!(target(Some(1_000)).has_passed(8_999, now));
        assert!(!target(Some(1_000)).has_passed(9_000, now));
        assert!(!target(None).has_passed(0, now));
    }
}
