//! Offsets, beyond where a topic begins and ends for its readers: where its log really ends, what was written since a
//! time, and deleting what is below.

use std::collections::BTreeMap;

use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::client::{LoggingContext, client_config};
use super::{Admin, KafkaError};
use crate::config::KafkaSettings;

impl Admin {
    /// Where each partition's log ends, whatever of it is committed: what is written from now on comes later.
    ///
    /// # Errors
    /// [`KafkaError::UnknownTopic`], and [`KafkaError::Request`] when a leader does not answer.
    pub fn log_ends(&self, settings: &KafkaSettings, topic: &str) -> Result<BTreeMap<i32, i64>, KafkaError> {
        let config = client_config(settings, &[("isolation.level", "read_uncommitted")]);
        let client: BaseConsumer<LoggingContext> =
            config.create_with_context(LoggingContext).map_err(KafkaError::Config)?;
        let info = self.topic(topic)?.ok_or_else(|| KafkaError::UnknownTopic {
            topic: topic.to_owned(),
            bootstrap_servers: settings.bootstrap_servers.clone(),
        })?;
        let end = |number| {
            let asked = client.fetch_watermarks(topic, number, self.timeout());
            let (_, end) =
                asked.map_err(|e| KafkaError::request(format!("read the offsets of {topic}/{number}"), e))?;
            Ok((number, end))
        };
        (0..info.partitions).map(end).collect()
    }

    /// The first offset in each partition whose record is of this time (milliseconds since the epoch) or later; a
    /// partition without any is left out.
    ///
    /// # Errors
    /// [`KafkaError::Request`] when a leader does not answer.
    pub fn offsets_since(
        &self,
        topic: &str,
        partitions: i32,
        millis: i64,
    ) -> Result<BTreeMap<i32, i64>, KafkaError> {
        let failed = |e| KafkaError::request(format!("look for the records of a time in {topic}"), e);
        let mut list = TopicPartitionList::new();
        for number in 0..partitions {
            list.add_partition_offset(topic, number, Offset::Offset(millis)).map_err(failed)?;
        }
        let found = self.consumer().offsets_for_times(list, self.timeout()).map_err(failed)?;
        let offset = |at: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match at.offset() {
            Offset::Offset(offset) => Some((at.partition(), offset)),
            _ => None,
        };
        Ok(found.elements().iter().filter_map(offset).collect())
    }

    /// Deletes what is below an offset in each of these partitions; gives where they begin then.
    ///
    /// # Errors
    /// [`KafkaError::Request`] with the broker's first refusal.
    pub async fn delete_records(
        &self,
        topic: &str,
        before: &BTreeMap<i32, i64>,
    ) -> Result<BTreeMap<i32, i64>, KafkaError> {
        let failed = |e| KafkaError::request(format!("delete records of {topic}"), e);
        let mut list = TopicPartitionList::new();
        for (number, offset) in before {
            list.add_partition_offset(topic, *number, Offset::Offset(*offset)).map_err(failed)?;
        }
        let options =
            AdminOptions::new().request_timeout(Some(self.timeout())).operation_timeout(Some(self.timeout()));
        let answer = self.client().delete_records(&list, &options).await.map_err(failed)?;
        let mut starts = BTreeMap::new();
        for at in answer.elements() {
            at.error().map_err(failed)?;
            if let Offset::Offset(offset) = at.offset() {
                starts.insert(at.partition(), offset);
            }
        }
        Ok(starts)
    }
}
