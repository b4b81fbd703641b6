//! The plain loop: one thread that polls, decodes, validates, writes the same line as the tracker, syncs, and only then
//! commits. No retries, no dead letters, no rebalances, no recovery after a crash: the least that keeps one promise.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use pubsub_kafka::audit::{Chain, Hashing, Judged, Lines, Verdict};
use pubsub_kafka::models::{DecodeLimits, decode, validate};
use pubsub_kafka::record::{Record, RecordTimestamp, TimestampKind};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message as _, Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::Kafka;
use crate::consume::{ToTheEnd, from_the_beginning};

/// So much is written and synced at a time, as the tracker's writer does.
const GROUP_BYTES: usize = 2 << 20;
/// As the tracker's default.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

struct Log {
    file: File,
    chain: Chain,
    lines: Lines,
    /// The next offset of each partition, its lines being written or on disk.
    next: BTreeMap<i32, i64>,
}

impl Log {
    fn sync(&mut self) {
        self.lines.seal(&mut self.chain);
        self.file.write_all(self.lines.bytes()).expect("written");
        self.file.sync_data().expect("synced");
        self.lines.clear();
    }

    fn commit(&self, kafka: &Kafka, consumer: &BaseConsumer) {
        let mut offsets = TopicPartitionList::new();
        for (partition, next) in &self.next {
            offsets.add_partition_offset(&kafka.topic, *partition, Offset::Offset(*next)).expect("an offset");
        }
        consumer.commit(&offsets, CommitMode::Sync).expect("committed");
    }
}

/// Works through the whole topic.
pub fn run(kafka: &Kafka, group: &str, events: &Path) -> Value {
    let topic: Arc<str> = kafka.topic.as_str().into();
    let limits = DecodeLimits::default();
    let consumer = from_the_beginning(kafka, group);
    let mut to_the_end = ToTheEnd::new(kafka);
    let file = OpenOptions::new().append(true).create_new(true).open(events).expect("a new file");
    let lines = Lines::new(Hashing::PLAIN);
    let mut log = Log { file, chain: Chain::new(Hashing::PLAIN), lines, next: BTreeMap::new() };
    let (mut records, mut begun, mut committed) = (0u64, None, Instant::now());
    // One time for what is synced together, as in the tracker: writing it out costs more than the rest of the fields.
    let mut now = Timestamp::now();
    while let Some(message) = to_the_end.next(&consumer) {
        begun.get_or_insert_with(Instant::now);
        records += 1;
        let order = decode(message.payload(), &limits).expect("an order");
        validate(&order).expect("a valid order");
        log.next.insert(message.partition(), message.offset() + 1);
        let judged = Judged {
            record: record(&topic, &message),
            deserialized: true,
            verdict: Verdict::Processed { attempts: 1 },
        };
        log.lines.push(group, now, &judged);
        log.lines.digest();
        if log.lines.size_bytes() >= GROUP_BYTES {
            log.sync();
            now = Timestamp::now();
            if committed.elapsed() >= COMMIT_INTERVAL {
                log.commit(kafka, &consumer);
                committed = Instant::now();
            }
        }
    }
    log.sync();
    log.commit(kafka, &consumer);
    let seconds = begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64());
    json!({ "records": records, "seconds": seconds })
}

fn record(topic: &Arc<str>, message: &BorrowedMessage<'_>) -> Record {
    let mut record = Record::new(Arc::clone(topic), message.partition(), message.offset());
    record.timestamp = message
        .timestamp()
        .to_millis()
        .map(|millis| RecordTimestamp { millis, kind: TimestampKind::CreateTime });
    record.key = message.key().map(|key| key.to_vec().into());
    record.value = message.payload().map(|value| value.to_vec().into());
    record
}
