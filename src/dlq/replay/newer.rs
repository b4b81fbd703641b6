//! Which newer states of orders were processed: from the audit log where there is one, else from the topics in which the
//! orders were. A record that is itself an open dead letter was not processed. Only orders that are asked about are kept.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::predict::Named;
use super::{AuditLines, Plan, PlanEntry, ReplayError};
use crate::config::KafkaSettings;
use crate::dlq::Letter;
use crate::kafka::{Admin, KafkaError, Reader};
use crate::models::Outcome;

/// The highest sequence that was processed of each order.
#[derive(Debug, Default)]
pub(super) struct Newer(HashMap<String, i64>);

/// Records that died and were not replayed since, by topic, partition and offset.
pub(super) type Dead = HashSet<(Arc<str>, i32, i64)>;

#[derive(Deserialize)]
struct Line<'a> {
    outcome: Option<Outcome>,
    #[serde(borrow)]
    order_full: Option<&'a RawValue>,
    #[serde(borrow)]
    raw_message: Option<&'a RawValue>,
}

impl Newer {
    /// Asks about these orders.
    pub(super) fn about<'a>(orders: impl IntoIterator<Item = &'a str>) -> Self {
        Self(orders.into_iter().map(|order| (order.to_owned(), i64::MIN)).collect())
    }

    /// Whether nothing is asked.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn note(&mut self, payload: &[u8]) {
        if let Some(named) = Named::of(payload)
            && let Some(highest) = self.0.get_mut(&named.order_id)
        {
            *highest = named.sequence.max(*highest);
        }
    }

    /// The newer state of an order that was processed, if there is one.
    pub(super) fn than(&self, order_id: &str, sequence: i64) -> Option<i64> {
        self.0.get(order_id).copied().filter(|highest| *highest > sequence)
    }

    /// Takes in what the audit log says was processed. False when there are lines that do not carry their order.
    pub(super) fn read_log(&mut self, audit: &dyn AuditLines) -> Result<bool, ReplayError> {
        let mut tells_all = true;
        let mut take = |line: &[u8]| {
            let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else { return };
            if line.outcome != Some(Outcome::Processed) {
                return;
            }
            let text = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).ok();
            match (line.order_full, line.raw_message.and_then(text)) {
                (Some(order), _) => self.note(order.get().as_bytes()),
                (None, Some(payload)) => self.note(payload.as_bytes()),
                (None, None) => tells_all = false,
            }
        };
        audit.each(&mut take).map_err(ReplayError::AuditLog)?;
        Ok(tells_all)
    }

    /// Takes in what is in a topic, from these offsets on; partitions without one are left aside. A topic that is gone
    /// says nothing.
    pub(super) fn read_topic(
        &mut self,
        kafka: &KafkaSettings,
        topic: &str,
        from: &BTreeMap<i32, i64>,
        dead: &Dead,
    ) -> Result<(), ReplayError> {
        let admin = Admin::new(kafka)?;
        let Some(info) = admin.topic(topic)? else { return Ok(()) };
        let mut ranges = Vec::new();
        for (number, first) in from.iter().filter(|(number, _)| **number < info.partitions) {
            let (log_start, end) = admin.watermarks(topic, *number)?;
            let first = (*first).max(log_start);
            if first < end {
                ranges.push((*number, first, end));
            }
        }
        if ranges.is_empty() {
            return Ok(());
        }
        let mut reader = Reader::over(kafka, topic, &ranges)?;
        while let Some(record) = reader.read()? {
            if !dead.contains(&(Arc::clone(&record.topic), record.partition, record.offset)) {
                self.note(record.payload());
            }
        }
        Ok(())
    }
}

/// From where on a topic may hold newer states of records: from the first of them in each partition, and in the others
/// from the time of the oldest of these.
pub(super) fn since(
    kafka: &KafkaSettings,
    topic: &str,
    first: &BTreeMap<i32, i64>,
) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let admin = Admin::new(kafka)?;
    let Some(info) = admin.topic(topic)? else { return Ok(BTreeMap::new()) };
    let mut oldest: Option<i64> = None;
    for (number, offset) in first.iter().filter(|(number, _)| **number < info.partitions) {
        let record = Reader::open_partition(kafka, topic, *number, *offset)?.read()?;
        let millis = record.and_then(|record| record.timestamp).map(|at| at.millis);
        oldest = oldest.into_iter().chain(millis).min();
    }
    let mut from = match oldest.filter(|_| (first.len() as u64) < info.partitions.unsigned_abs().into()) {
        Some(millis) => admin.offsets_since(topic, info.partitions, millis)?,
        None => BTreeMap::new(),
    };
    from.extend(first);
    Ok(from)
}

/// The entries of a plan whose order has got a newer state since the plan was made, by their numbers.
pub(super) fn find_newer(
    kafka: &KafkaSettings,
    plan: &Plan,
    audit: Option<&dyn AuditLines>,
) -> Result<HashSet<usize>, ReplayError> {
    let mut newer = Newer::about(plan.entries.iter().filter_map(|entry| entry.order_id.as_deref()));
    if newer.is_empty() {
        return Ok(HashSet::new());
    }
    let mut dead = Dead::new();
    let since = plan.seen.get(&plan.dlq_topic);
    let admin = Admin::new(kafka)?;
    for (number, from) in since.into_iter().flatten() {
        let Ok((_, end)) = admin.watermarks(&plan.dlq_topic, *number) else { continue };
        if *from >= end {
            continue;
        }
        let mut reader = Reader::open_partition(kafka, &plan.dlq_topic, *number, *from)?;
        while let Some(record) = reader.read()? {
            let letter = Letter::read(&record);
            // A replay of it is another record, and counts by itself.
            if let Some(origin) = letter.origin {
                dead.insert((origin.topic, origin.partition, origin.offset));
            }
        }
    }
    for (topic, from) in plan.seen.iter().filter(|(topic, _)| **topic != plan.dlq_topic) {
        newer.read_topic(kafka, topic, from, &dead)?;
    }
    if let Some(audit) = audit {
        newer.read_log(audit)?;
    }
    let has_newer = |(at, entry): (usize, &PlanEntry)| {
        let found = newer.than(entry.order_id.as_deref()?, entry.sequence?);
        found.map(|_| at)
    };
    Ok(plan.entries.iter().enumerate().filter_map(has_newer).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lines(&'static [&'static str]);

    impl AuditLines for Lines {
        fn each(&self, take: &mut dyn FnMut(&[u8])) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            self.0.iter().for_each(|line| take(line.as_bytes()));
            Ok(())
        }
    }

    #[test]
    fn only_what_was_processed_counts_and_only_a_higher_sequence() {
        let mut newer = Newer::about(["a", "b"]);
        let lines = Lines(&[
            r#"{"outcome":"processed","order_full":{"order_id":"a","sequence":3}}"#,
            r#"{"outcome":"processed","order_full":{"order_id":"a","sequence":2}}"#,
            r#"{"outcome":"dead_lettered","order_full":{"order_id":"b","sequence":9}}"#,
            r#"{"outcome":"processed","order_full":{"order_id":"c","sequence":9}}"#,
            r#"{"event_type":"audit.checkpoint"}"#,
            r#"{"outcome":"processed","raw_message":"{\"order_id\":\"b\",\"sequence\":1}"}"#,
            "torn",
        ]);
        assert!(newer.read_log(&lines).expect("read"));
        assert_eq!([2, 3, 4].map(|sequence| newer.than("a", sequence)), [Some(3), None, None]);
        assert_eq!((newer.than("b", 0), newer.than("b", 1), newer.than("c", 1)), (Some(1), None, None));
        let hashes = Lines(&[r#"{"outcome":"processed","deserialized":true,"message_size":7}"#]);
        assert!(!newer.read_log(&hashes).expect("read"), "lines without payloads tell nothing");
    }
}
