//! Bare consumption: what the client can give when nothing is done with its records.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::{Kafka, fill};

const PATIENCE: Duration = Duration::from_secs(60);

/// A consumer of the whole topic from its beginning.
pub fn from_the_beginning(kafka: &Kafka, group: &str) -> BaseConsumer {
    let consumer: BaseConsumer = kafka.consumer_config(group).create().expect("a consumer");
    let mut all = TopicPartitionList::new();
    for partition in 0..fill::partitions(kafka) {
        all.add_partition_offset(&kafka.topic, partition, Offset::Beginning).expect("a position");
    }
    consumer.assign(&all).expect("assigned");
    consumer
}

/// The records of a topic, until every partition has ended.
pub struct ToTheEnd {
    open: BTreeSet<i32>,
}

impl ToTheEnd {
    pub fn new(kafka: &Kafka) -> Self {
        Self { open: (0..fill::partitions(kafka)).collect() }
    }

    /// The next record; `None` when there is none left.
    pub fn next<'c>(&mut self, consumer: &'c BaseConsumer) -> Option<BorrowedMessage<'c>> {
        while !self.open.is_empty() {
            match consumer.poll(PATIENCE).expect("a record in time") {
                Ok(message) => return Some(message),
                Err(KafkaError::PartitionEOF(partition)) => drop(self.open.remove(&partition)),
                Err(error) => panic!("consuming failed: {error}"),
            }
        }
        None
    }
}

/// Polls and counts.
pub fn run(kafka: &Kafka) -> Value {
    let consumer = from_the_beginning(kafka, "bare");
    let mut to_the_end = ToTheEnd::new(kafka);
    let (mut records, mut bytes, mut begun) = (0u64, 0u64, None);
    while let Some(message) = to_the_end.next(&consumer) {
        begun.get_or_insert_with(Instant::now);
        records += 1;
        bytes += message.payload_len() as u64;
    }
    let seconds = begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64());
    json!({ "records": records, "bytes": bytes, "seconds": seconds })
}
