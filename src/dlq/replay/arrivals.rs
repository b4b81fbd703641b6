//! Reads back from the targets which replays of a plan are there, committed: the only truth about what was sent before a
//! crash.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::plan::Offsets;
use crate::config::KafkaSettings;
use crate::dlq::headers;
use crate::kafka::{Admin, Delivered, KafkaError, Reader};

/// Where a replay arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arrival {
    /// The topic.
    pub topic: Arc<str>,
    /// Partition and offset.
    pub at: Delivered,
}

/// The replays among `wanted` that the targets hold, from these offsets on, up to the ends of their logs as they are now.
/// Records of transactions that are still open are waited for: one of them may be ours.
pub(super) fn arrivals(
    kafka: &KafkaSettings,
    from: &Offsets,
    wanted: &HashMap<Uuid, usize>,
) -> Result<HashMap<usize, Arrival>, KafkaError> {
    let admin = Admin::new(kafka)?;
    let mut found = HashMap::new();
    for (topic, offsets) in from {
        let ends = match admin.log_ends(kafka, topic) {
            Err(KafkaError::UnknownTopic { .. }) => continue,
            ends => ends?,
        };
        let ranges = ranges(&admin, topic, offsets, &ends)?;
        if ranges.is_empty() {
            continue;
        }
        let name: Arc<str> = Arc::from(topic.as_str());
        let mut reader = Reader::over(kafka, topic, &ranges)?;
        while let Some(record) = reader.read()? {
            let id = record.last_header(headers::REPLAY_ID).and_then(|id| std::str::from_utf8(id).ok());
            let entry = id.and_then(|id| wanted.get(&id.parse::<Uuid>().ok()?));
            if let Some(entry) = entry {
                let at = Delivered { partition: record.partition, offset: record.offset };
                found.entry(*entry).or_insert_with(|| Arrival { topic: Arc::clone(&name), at });
            }
        }
    }
    Ok(found)
}

fn ranges(
    admin: &Admin,
    topic: &str,
    offsets: &BTreeMap<i32, i64>,
    ends: &BTreeMap<i32, i64>,
) -> Result<Vec<(i32, i64, i64)>, KafkaError> {
    let mut ranges = Vec::new();
    for (number, end) in ends {
        let (log_start, _) = admin.watermarks(topic, *number)?;
        // A partition that was added since has nothing noted, and one that ends before what was noted was created anew.
        let noted = offsets.get(number).copied().filter(|noted| noted <= end).unwrap_or(0);
        let first = noted.max(log_start);
        if first < *end {
            ranges.push((*number, first, *end));
        }
    }
    Ok(ranges)
}
