//! Reads a topic from its first record to the end that was seen at the start, as no member of any group and without
//! committing anything.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::client::{LoggingContext, client_config};
use super::native::{EventQueue, NativeEvent};
use super::{Admin, KafkaError};
use crate::config::KafkaSettings;
use crate::record::Record;

/// How long a read may make no progress.
const PATIENCE: Duration = Duration::from_secs(30);

/// A topic that is being read once.
pub struct Reader {
    // Dropped before the client that it belongs to.
    queue: EventQueue,
    #[cfg_attr(not(feature = "dlq"), expect(dead_code, reason = "it lives as long as its queue"))]
    client: BaseConsumer<LoggingContext>,
    topic: String,
    /// The partitions that are not read to their end, with that end.
    open: BTreeMap<i32, i64>,
    /// How many offsets there were to read at the start.
    offsets: u64,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("topic", &self.topic).field("open", &self.open).finish_non_exhaustive()
    }
}

impl Reader {
    /// Notes where the topic ends now, and starts at its first record.
    ///
    /// # Errors
    /// [`KafkaError::UnknownTopic`] when it does not exist, [`KafkaError::Request`] when a broker does not answer.
    pub fn open(settings: &KafkaSettings, topic: &str) -> Result<Self, KafkaError> {
        let mut ranges = partitions(settings, topic)?;
        ranges.retain(|(_, log_start, end)| end > log_start);
        Self::over(settings, topic, &ranges)
    }

    /// Starts at the topic's first record and has no end; says how many partitions there are.
    #[cfg(feature = "dlq")]
    pub(super) fn follow(settings: &KafkaSettings, topic: &str) -> Result<(Self, i32), KafkaError> {
        let mut ranges = partitions(settings, topic)?;
        for (_, _, end) in &mut ranges {
            *end = i64::MAX;
        }
        let count = ranges.last().map_or(0, |(last, ..)| last + 1);
        Ok((Self::over(settings, topic, &ranges)?, count))
    }

    /// How many partitions the topic has now.
    #[cfg(feature = "dlq")]
    pub(super) fn partitions(&self, timeout: Duration) -> Result<i32, KafkaError> {
        let metadata = self.client.fetch_metadata(Some(&self.topic), timeout);
        let metadata = metadata.map_err(|e| KafkaError::request(format!("look at {}", self.topic), e))?;
        let count = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        Ok(count.map_or(0, |topic| i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX)))
    }

    /// Reads these partitions too, each from its first record on.
    #[cfg(feature = "dlq")]
    pub(super) fn add(&mut self, partitions: std::ops::Range<i32>) -> Result<(), KafkaError> {
        let failed = |e| KafkaError::request(format!("read the new partitions of {}", self.topic), e);
        let mut list = TopicPartitionList::new();
        for partition in partitions.clone() {
            list.add_partition_offset(&self.topic, partition, Offset::Beginning).map_err(failed)?;
        }
        self.client.incremental_assign(&list).map_err(failed)?;
        self.open.extend(partitions.map(|partition| (partition, i64::MAX)));
        Ok(())
    }

    /// Reads ranges of offsets: partition, first offset, end. None of them may be empty.
    ///
    /// # Errors
    /// [`KafkaError::Config`] and [`KafkaError::Request`] when the client refuses.
    pub fn over(
        settings: &KafkaSettings,
        topic: &str,
        ranges: &[(i32, i64, i64)],
    ) -> Result<Self, KafkaError> {
        let config = client_config(
            settings,
            &[
                // The client wants a name for its queue; nothing is ever committed under it.
                ("group.id", "pubsub-kafka-reader"),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("auto.offset.reset", "earliest"),
                ("isolation.level", "read_committed"),
                ("enable.partition.eof", "true"),
                ("check.crcs", "true"),
                ("queued.max.messages.kbytes", "16384"),
                // A full queue is emptied within milliseconds; by default the next fetch would wait for a second.
                ("fetch.queue.backoff.ms", "10"),
            ],
        );
        let client: BaseConsumer<LoggingContext> =
            config.create_with_context(LoggingContext).map_err(KafkaError::config)?;
        let queue = EventQueue::of(client.client().native_ptr()).ok_or_else(|| {
            KafkaError::Config(ClientError::ClientCreation("the client has no consumer queue".to_owned()))
        })?;
        let mut open = BTreeMap::new();
        let mut offsets = 0_u64;
        let mut list = TopicPartitionList::new();
        for (partition, first, end) in ranges {
            open.insert(*partition, *end);
            offsets = offsets.saturating_add(end.abs_diff(*first));
            list.add_partition_offset(topic, *partition, Offset::Offset(*first))
                .map_err(|e| KafkaError::request(format!("read {topic}/{partition}"), e))?;
        }
        client.assign(&list).map_err(|e| KafkaError::request(format!("read {topic}"), e))?;
        Ok(Self { queue, client, topic: topic.to_owned(), open, offsets })
    }

    /// Reads one partition from an offset on, or from its first record where that is later.
    ///
    /// # Errors
    /// [`KafkaError::Request`] when a broker does not answer.
    pub fn open_partition(
        settings: &KafkaSettings,
        topic: &str,
        partition: i32,
        from: i64,
    ) -> Result<Self, KafkaError> {
        let (log_start, end) = Admin::new(settings)?.watermarks(topic, partition)?;
        let from = from.max(log_start);
        let ranges = if from < end { vec![(partition, from, end)] } else { Vec::new() };
        Self::over(settings, topic, &ranges)
    }

    /// How many offsets there were to read when it was opened: at least as many as there are records.
    pub fn offsets(&self) -> u64 {
        self.offsets
    }

    /// The next record, if one comes in time.
    ///
    /// # Errors
    /// [`KafkaError::Fatal`] from the client; whatever else goes wrong it goes on trying.
    #[cfg(feature = "dlq")]
    pub(super) fn next_within(&mut self, wait: Duration) -> Result<Option<Record>, KafkaError> {
        match self.queue.poll(wait) {
            Some(NativeEvent::Record(record)) => Ok(Some(record)),
            Some(NativeEvent::Error { fatal: true, code, reason, .. }) => {
                Err(KafkaError::Fatal(format!("{code}: {reason}")))
            }
            _ => Ok(None),
        }
    }

    /// The same records without their headers, for who does not look at them: they cost as much as all the rest.
    #[cfg(feature = "dlq")]
    #[must_use]
    pub fn without_headers(mut self) -> Self {
        self.queue.leave_headers();
        self
    }

    /// The next record; `None` when every partition is read to its end.
    ///
    /// # Errors
    /// [`KafkaError::Request`] when there was no progress for half a minute, [`KafkaError::Fatal`] from the client.
    pub fn read(&mut self) -> Result<Option<Record>, KafkaError> {
        let begun = Instant::now();
        while !self.open.is_empty() {
            match self.queue.poll(Duration::from_millis(100)) {
                Some(NativeEvent::Record(record)) => {
                    let Some(end) = self.open.get(&record.partition).copied() else { continue };
                    if record.offset + 1 >= end {
                        self.open.remove(&record.partition);
                    }
                    if record.offset < end {
                        return Ok(Some(record));
                    }
                }
                Some(NativeEvent::EndOfPartition { partition, offset }) => {
                    self.open.retain(|number, end| *number != partition.partition || *end > offset);
                }
                Some(NativeEvent::Error { fatal: true, code, reason, .. }) => {
                    return Err(KafkaError::Fatal(format!("{code}: {reason}")));
                }
                _ if begun.elapsed() > PATIENCE => {
                    let timed_out = ClientError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
                    return Err(KafkaError::request(format!("read {}", self.topic), timed_out));
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

/// The partitions of a topic: number, first offset, end.
fn partitions(settings: &KafkaSettings, topic: &str) -> Result<Vec<(i32, i64, i64)>, KafkaError> {
    let admin = Admin::new(settings)?;
    let Some(info) = admin.topic(topic)? else {
        return Err(KafkaError::UnknownTopic {
            topic: topic.to_owned(),
            bootstrap_servers: settings.bootstrap_servers.clone(),
        });
    };
    let bounds = |partition| admin.watermarks(topic, partition).map(|(first, end)| (partition, first, end));
    (0..info.partitions).map(bounds).collect()
}

/// What a group has committed in a topic, by partition; those where it never committed are left out. Does not join it.
///
/// # Errors
/// [`KafkaError::Request`] when the coordinator does not answer in time.
pub fn committed_offsets(
    settings: &KafkaSettings,
    group: &str,
    topic: &str,
    partitions: i32,
) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let failed = |source| KafkaError::request(format!("read the offsets of the group {group}"), source);
    let client: BaseConsumer<LoggingContext> = client_config(settings, &[("group.id", group)])
        .create_with_context(LoggingContext)
        .map_err(KafkaError::config)?;
    let mut list = TopicPartitionList::new();
    for number in 0..partitions {
        list.add_partition(topic, number);
    }
    let begun = Instant::now();
    let answer = loop {
        match client.committed_offsets(list.clone(), PATIENCE.saturating_sub(begun.elapsed())) {
            Ok(answer) => break answer,
            // A group's coordinator may be moving in.
            Err(_) if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(100)),
            Err(error) => return Err(failed(error)),
        }
    };
    let mut committed = BTreeMap::new();
    for element in answer.elements() {
        element.error().map_err(failed)?;
        if let Offset::Offset(offset) = element.offset() {
            committed.insert(element.partition(), offset);
        }
    }
    Ok(committed)
}
