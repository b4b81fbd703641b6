//! Reads topics, ends and committed offsets, through the plain client.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Headers as _;
use rdkafka::metadata::MetadataPartition;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

const TIMEOUT: Duration = Duration::from_secs(20);

/// A record as it lies in a topic.
#[derive(Debug, Clone)]
pub struct Raw {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Raw {
    /// The values of the headers with this name.
    pub fn header(&self, name: &str) -> Vec<Option<&[u8]>> {
        self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_deref()).collect()
    }
}

/// A consumer outside of any group; it reads committed records only.
pub struct Reader {
    client: BaseConsumer,
    /// The client panics on header names that are not UTF-8.
    pub with_headers: bool,
}

impl Reader {
    pub fn new(servers: &str) -> Self {
        Self::with_group(servers, "reader")
    }

    /// One that asks for a group's offsets; it never joins it.
    pub fn with_group(servers: &str, group: &str) -> Self {
        let client = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .create()
            .expect("a consumer");
        Self { client, with_headers: true }
    }

    fn partitions(&self, topic: &str) -> Vec<i32> {
        let metadata = self.client.fetch_metadata(Some(topic), TIMEOUT).expect("metadata");
        let mut numbers: Vec<_> =
            metadata.topics()[0].partitions().iter().map(MetadataPartition::id).collect();
        numbers.sort_unstable();
        numbers
    }

    /// The last stable offset of each partition.
    pub fn ends(&self, topic: &str) -> Vec<i64> {
        let end = |number| self.client.fetch_watermarks(topic, number, TIMEOUT).expect("offsets").1;
        self.partitions(topic).into_iter().map(end).collect()
    }

    pub fn committed(&self, topic: &str) -> Vec<Option<i64>> {
        let mut list = TopicPartitionList::new();
        for number in self.partitions(topic) {
            list.add_partition(topic, number);
        }
        // A new group's coordinator may still be moving in.
        let found = super::wait::wait_for("the group's offsets", 20, || {
            self.client.committed_offsets(list.clone(), TIMEOUT).ok()
        });
        let offset =
            |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
        found.elements().iter().map(offset).collect()
    }

    /// Every record up to the ends as they are now, sorted.
    pub fn read(&self, topic: &str) -> Vec<Raw> {
        let mut open: BTreeSet<i32> = self.partitions(topic).into_iter().collect();
        let mut list = TopicPartitionList::new();
        for number in &open {
            list.add_partition_offset(topic, *number, Offset::Beginning).expect("a position");
        }
        self.client.assign(&list).expect("assigned");
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut records = Vec::new();
        while !open.is_empty() {
            assert!(Instant::now() < deadline, "{topic} has not been read to its end");
            match self.client.poll(Duration::from_millis(200)) {
                None => {}
                Some(Err(KafkaError::PartitionEOF(number))) => drop(open.remove(&number)),
                Some(Err(error)) => panic!("{topic} cannot be read: {error}"),
                Some(Ok(message)) => records.push(Raw {
                    partition: message.partition(),
                    offset: message.offset(),
                    key: message.key().map(<[u8]>::to_vec),
                    value: message.payload().map(<[u8]>::to_vec),
                    headers: message
                        .headers()
                        .filter(|_| self.with_headers)
                        .map(|headers| {
                            let own = |h: rdkafka::message::Header<'_, &[u8]>| {
                                (h.key.to_owned(), h.value.map(<[u8]>::to_vec))
                            };
                            headers.iter().map(own).collect()
                        })
                        .unwrap_or_default(),
                }),
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }
}
