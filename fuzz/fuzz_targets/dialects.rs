//! Any record of a dead letter topic, in any mixture of dialects: reading it never fails, says the same each time, and
//! keeps what a dialect added out of the record's own headers; what our own envelope holds comes back from it.

#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use pubsub_kafka::dlq::{Dialect, Envelope, Exhausted, Letter, Payload, is_added_header};
use pubsub_kafka::failure::{Category, Failure};
use pubsub_kafka::record::{Header, Record, RecordTimestamp, TimestampKind};

const PREFIXES: &[&str] = &[
    "dlq.",
    "kafka_dlt-",
    "kafka_original-",
    "kafka_exception-",
    "kafka_key-exception-",
    "__connect.errors.",
    "__streams.errors.",
    "__dlq.errors.",
    "",
];
const NAMES: &[&str] = &[
    "id",
    "reason",
    "error",
    "retry-count",
    "replay-id",
    "replay-count",
    "root-id",
    "original-topic",
    "original-partition",
    "original-offset",
    "original-timestamp",
    "original-timestamp-type",
    "original-consumer-group",
    "exception-fqcn",
    "exception-cause-fqcn",
    "exception-message",
    "exception-stacktrace",
    "fqcn",
    "message",
    "stacktrace",
    "topic",
    "partition",
    "offset",
    "timestamp",
    "connector.name",
    "task.id",
    "stage",
    "class.name",
    "exception.class.name",
    "exception.message",
    "exception.stacktrace",
    "exception",
    "group",
    "delivery.count",
    "retry_topic-attempts",
    "springDeserializerExceptionValue",
    "kafka_deliveryAttempt",
];
const VALUES: &[&str] = &[
    "orders",
    "0",
    "7",
    "-1",
    "99999999999",
    "VALIDATION_ERROR",
    "67e55044-10b1-426f-9247-bb680e5fe0c8",
    "org.springframework.kafka.listener.ListenerExecutionFailedException",
    "org.apache.kafka.connect.errors.DataException",
    "java.lang.IllegalStateException: a\n\tat b.C.d(C.java:1)\nCaused by: java.util.concurrent.TimeoutException: e\n\t... 3 more",
    "\0\0\0\u{1}",
    "\0\0\0\0\0\0\0\u{7}",
    "CreateTime",
    "LogAppendTime",
];

fn header(u: &mut Unstructured<'_>) -> Result<Header> {
    let name =
        if u.ratio(1, 8)? { u.arbitrary()? } else { format!("{}{}", u.choose(PREFIXES)?, u.choose(NAMES)?) };
    let value = match u.int_in_range(0..=3)? {
        0 => None,
        1 => Some(u.arbitrary::<Vec<u8>>()?),
        _ => Some(u.choose(VALUES)?.as_bytes().to_vec()),
    };
    Ok(Header { name: name.into(), value: value.map(Into::into) })
}

fn record(u: &mut Unstructured<'_>) -> Result<Record> {
    let mut record = Record::new("orders", u.int_in_range(0..=i32::MAX)?, u.int_in_range(0..=i64::MAX)?);
    record.key = u.arbitrary::<Option<Vec<u8>>>()?.map(Into::into);
    if u.arbitrary()? {
        let kind = if u.arbitrary()? { TimestampKind::CreateTime } else { TimestampKind::LogAppendTime };
        record.timestamp = Some(RecordTimestamp { millis: u.arbitrary()?, kind });
    }
    for _ in 0..u.int_in_range(0..=12)? {
        record.headers.push(header(u)?);
    }
    record.value = u.arbitrary::<Option<Vec<u8>>>()?.map(Into::into);
    Ok(record)
}

/// What holds for every record, whoever wrote it.
fn check(record: &Record) {
    let letter = Letter::read(record);
    assert_eq!(letter, Letter::read(record));
    assert_eq!((letter.dlq_partition, letter.dlq_offset), (record.partition, record.offset));
    assert!(letter.headers.iter().all(|header| !is_added_header(&header.name)), "{:?}", letter.headers);
    if letter.dialect != Dialect::PubsubKafka {
        assert_eq!(letter.key, record.key);
        // A share group may leave out both, and then nobody knows what they were.
        let is_left_out =
            letter.dialect == Dialect::ShareGroup && record.key.is_none() && record.value.is_none();
        let payload = record.value.clone().map_or(Payload::Null, Payload::Inline);
        assert_eq!(letter.payload, if is_left_out { Payload::Missing } else { payload });
    }
    if let Some(origin) = &letter.origin {
        assert!(!origin.topic.is_empty() && origin.partition >= 0 && origin.offset >= 0);
    }
}

/// The record as a dead letter of ours, and back.
fn round_trip(record: &Record) {
    let failure = Exhausted::at_once(Failure::new(Category::Timeout, "too slow"));
    let envelope = Envelope::seal(record, &failure, "a group", "a host");
    let mut dead = Record::new("orders-dlq", 1, 2);
    dead.key = envelope.key().cloned();
    dead.value = Some(envelope.value().into());
    dead.headers = envelope.headers().cloned().collect();
    let letter = Letter::read(&dead);
    assert_eq!(letter.dialect, Dialect::PubsubKafka);
    assert_eq!((letter.id, letter.reason), (envelope.letter().id, Category::Timeout));
    assert_eq!(letter.key, record.key);
    assert_eq!(letter.payload, record.value.clone().map_or(Payload::Null, Payload::Inline));
    let own: Vec<_> =
        record.headers.iter().filter(|header| !is_added_header(&header.name)).cloned().collect();
    assert_eq!(letter.headers, own);
    let origin = letter.origin.as_ref().expect("it is ours");
    assert_eq!(
        (&*origin.topic, origin.partition, origin.offset),
        ("orders", record.partition, record.offset)
    );
    // What a date cannot hold is left out.
    let millis =
        record.timestamp.map(|t| t.millis).filter(|millis| Timestamp::from_millisecond(*millis).is_ok());
    assert_eq!(origin.timestamp.map(|t| t.millis), millis);
    check(&dead);
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = record(&mut Unstructured::new(bytes)) {
        check(&record);
        round_trip(&record);
    }
});
