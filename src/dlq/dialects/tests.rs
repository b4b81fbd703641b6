//! Records as the writers of each dialect make them, and as nobody should.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::dlq::{Envelope, Exhausted, Origin};
use crate::failure::Failure;
use crate::record::{RecordTimestamp, TimestampKind};

const CREATED: RecordTimestamp =
    RecordTimestamp { millis: 1_700_000_000_000, kind: TimestampKind::CreateTime };

fn record(headers: &[(&'static str, &[u8])]) -> Record {
    let mut record = Record::new("orders-dlq", 1, 77).with_key("o-1").with_value("{}");
    record.timestamp = Some(CREATED);
    record.headers = headers.iter().map(|(name, value)| Header::new(*name, value.to_vec())).collect();
    record
}

fn origin(letter: &Letter) -> Option<(&str, i32, i64)> {
    letter.origin.as_ref().map(|origin| (&*origin.topic, origin.partition, origin.offset))
}

const SPRING: [(&str, &[u8]); 12] = [
    ("trace", b"1"),
    ("kafka_dlt-original-topic", b"orders"),
    ("kafka_dlt-original-partition", &[0, 0, 0, 2]),
    ("kafka_dlt-original-offset", &[0, 0, 0, 0, 0, 0, 4, 0xd2]),
    ("kafka_dlt-original-timestamp", &[0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0]),
    ("kafka_dlt-original-timestamp-type", b"LogAppendTime"),
    ("kafka_dlt-original-consumer-group", b"billing"),
    ("kafka_dlt-exception-fqcn", b"org.springframework.kafka.listener.ListenerExecutionFailedException"),
    ("kafka_dlt-exception-cause-fqcn", b"java.lang.IllegalStateException"),
    ("kafka_dlt-exception-message", b"Listener failed"),
    (
        "kafka_dlt-exception-stacktrace",
        b"org.springframework.kafka.listener.ListenerExecutionFailedException: Listener failed\n\tat a.B\nCaused by: \
          java.lang.IllegalStateException: no stock\n\tat c.D\nCaused by: java.net.ConnectException: refused\n",
    ),
    ("kafka_deliveryAttempt", &[0, 0, 0, 4]),
];

#[test]
fn spring_numbers_are_binary() {
    let letter = Letter::read(&record(&SPRING));
    assert_eq!(letter.dialect, Dialect::Spring);
    let timestamp = Some(RecordTimestamp { millis: 1_700_000_000_000, kind: TimestampKind::LogAppendTime });
    let expected = Origin { topic: "orders".into(), partition: 2, offset: 1234, timestamp };
    assert_eq!(letter.origin, Some(expected));
    assert_eq!(letter.group.as_deref(), Some("billing"));
    assert_eq!(letter.retry_count, 3);
    assert_eq!(letter.id, dead_letter_id("billing", "orders", 2, 1234));
    assert_eq!(letter.root_id, letter.id);
    assert_eq!(letter.headers, [Header::new("trace", "1")]);
    assert_eq!(letter.failed_at, Timestamp::from_millisecond(CREATED.millis).unwrap());
}

#[test]
fn spring_tells_what_the_listener_threw() {
    let letter = Letter::read(&record(&SPRING));
    assert_eq!(letter.error, "java.lang.IllegalStateException: no stock");
    assert_eq!(letter.exception.as_deref(), Some("java.lang.IllegalStateException"));
    assert_eq!(letter.reason, Category::Processing, "a cause further down tells it");
}

#[test]
fn springs_first_value_is_the_true_origin() {
    let mut twice = SPRING.to_vec();
    twice.push(("kafka_dlt-original-topic", b"orders-retry-0"));
    twice.push(("kafka_dlt-original-partition", &[0, 0, 0, 0]));
    twice.push(("kafka_dlt-original-offset", &[0, 0, 0, 0, 0, 0, 0, 9]));
    twice.push(("kafka_dlt-exception-fqcn", b"java.util.concurrent.TimeoutException"));
    twice.push(("kafka_dlt-exception-message", b"late"));
    let letter = Letter::read(&record(&twice));
    assert_eq!(origin(&letter), Some(("orders", 2, 1234)));
    assert_eq!((letter.reason, &*letter.error), (Category::Timeout, "late"), "the error is the last one");
}

#[test]
fn springs_retry_topics_name_the_same_otherwise() {
    let letter = Letter::read(&record(&[
        ("kafka_original-topic", b"orders"),
        ("kafka_original-partition", &[0, 0, 0, 1]),
        ("kafka_original-offset", &[0, 0, 0, 0, 0, 0, 0, 3]),
        ("kafka_exception-fqcn", b"com.example.OutOfStock"),
        ("kafka_exception-message", b"none left"),
        ("retry_topic-attempts", &[0, 0, 0, 3]),
        ("retry_topic-backoff-timestamp", &[1]),
        ("own", b"1"),
    ]));
    assert_eq!((letter.dialect, origin(&letter)), (Dialect::Spring, Some(("orders", 1, 3))));
    assert_eq!((letter.retry_count, &*letter.error), (2, "none left"));
    assert_eq!(letter.headers, [Header::new("own", "1")]);
}

#[test]
fn spring_could_not_read_the_key() {
    let letter = Letter::read(&record(&[
        ("kafka_dlt-key-exception-fqcn", b"com.example.Odd"),
        ("kafka_dlt-key-exception-message", b"bad key"),
        ("springDeserializerExceptionKey", b"\xac\xed"),
    ]));
    assert_eq!((letter.reason, &*letter.error), (Category::Deserialization, "bad key"));
    assert_eq!((letter.exception.as_deref(), letter.headers.len()), (Some("com.example.Odd"), 0));
}

#[test]
fn spring_numbers_of_a_wrong_length_are_no_origin() {
    for (name, value) in [
        ("kafka_dlt-original-partition", &b"2"[..]),
        ("kafka_dlt-original-partition", &[0, 0, 0, 0, 2]),
        ("kafka_dlt-original-partition", &[0xff, 0, 0, 2]),
        ("kafka_dlt-original-offset", &[0, 0, 0, 2]),
        ("kafka_dlt-original-offset", &[0xff; 8]),
        ("kafka_dlt-original-topic", b"\xff\xfe"),
        ("kafka_dlt-original-topic", b"a/../b"),
        ("kafka_dlt-original-topic", b"red\x1b[31m"),
        ("kafka_dlt-original-topic", b""),
        ("kafka_dlt-original-topic", &[b'a'; 250]),
    ] {
        let changed: Vec<_> =
            SPRING.iter().map(|&(n, v)| if n == name { (n, value) } else { (n, v) }).collect();
        let letter = Letter::read(&record(&changed));
        assert_eq!((letter.dialect, origin(&letter)), (Dialect::Spring, None), "{name} {value:?}");
        assert_eq!(letter.error, "java.lang.IllegalStateException: no stock", "the rest stands");
        assert_eq!(letter.id, dead_letter_id("", "orders-dlq", 1, 77), "its place names it");
    }
}

#[test]
fn connect_writes_text() {
    let letter = Letter::read(&record(&[
        ("trace", b"1"),
        ("__connect.errors.topic", b"orders"),
        ("__connect.errors.partition", b"2"),
        ("__connect.errors.offset", b"1234"),
        ("__connect.errors.connector.name", b"sink"),
        ("__connect.errors.task.id", b"0"),
        ("__connect.errors.stage", b"VALUE_CONVERTER"),
        ("__connect.errors.class.name", b"org.apache.kafka.connect.json.JsonConverter"),
        ("__connect.errors.exception.class.name", b"com.example.Odd"),
        ("__connect.errors.exception.message", b"not \xff JSON"),
        ("__connect.errors.exception.stacktrace", b"com.example.Odd: not JSON\n\tat a.B\n"),
    ]));
    assert_eq!((letter.dialect, origin(&letter)), (Dialect::Connect, Some(("orders", 2, 1234))));
    assert_eq!(letter.origin.as_ref().unwrap().timestamp, Some(CREATED), "Connect keeps the timestamp");
    assert_eq!((letter.reason, &*letter.error), (Category::Deserialization, "not \u{fffd} JSON"));
    assert_eq!(
        (letter.group.as_deref(), letter.exception.as_deref()),
        (Some("sink"), Some("com.example.Odd"))
    );
    assert_eq!(letter.id, dead_letter_id("sink", "orders", 2, 1234));
    assert_eq!(letter.headers, [Header::new("trace", "1")]);
    assert!(!letter.headers_omitted);
}

#[test]
fn connects_task_tells_by_its_exception() {
    let letter = Letter::read(&record(&[
        ("__connect.errors.stage", b"TASK_PUT"),
        ("__connect.errors.exception.class.name", b"org.apache.kafka.connect.errors.RetriableException"),
    ]));
    assert_eq!(letter.reason, Category::Processing);
    assert_eq!(letter.error, "org.apache.kafka.connect.errors.RetriableException", "there was no message");
    assert_eq!(origin(&letter), None);
}

#[test]
fn streams_copies_no_headers() {
    let letter = Letter::read(&record(&[
        ("__streams.errors.exception", b"org.apache.kafka.streams.errors.StreamsException: odd: very"),
        ("__streams.errors.message", b"odd: very"),
        ("__streams.errors.stacktrace", b"x\nCaused by: java.lang.IllegalArgumentException: no\n"),
        ("__streams.errors.topic", b"orders"),
        ("__streams.errors.partition", b"0"),
        ("__streams.errors.offset", b"9"),
    ]));
    assert_eq!((letter.dialect, origin(&letter)), (Dialect::Streams, Some(("orders", 0, 9))));
    assert_eq!(letter.exception.as_deref(), Some("org.apache.kafka.streams.errors.StreamsException"));
    assert_eq!((letter.reason, &*letter.error), (Category::Validation, "odd: very"));
    assert!(letter.headers_omitted);
    assert_eq!(letter.id, dead_letter_id("", "orders", 0, 9));
}

#[test]
fn a_share_group_copies_a_record_only_when_told_to() {
    let headers: [(&str, &[u8]); 6] = [
        ("__dlq.errors.topic", b"orders"),
        ("__dlq.errors.partition", b"0"),
        ("__dlq.errors.offset", b"9"),
        ("__dlq.errors.group", b"share"),
        ("__dlq.errors.delivery.count", b"5"),
        ("__dlq.errors.message", b"Offset delivery count exceeded the threshold."),
    ];
    let copied = Letter::read(&record(&headers));
    assert_eq!((copied.dialect, origin(&copied)), (Dialect::ShareGroup, Some(("orders", 0, 9))));
    assert_eq!((copied.group.as_deref(), copied.retry_count), (Some("share"), 4));
    assert_eq!(copied.payload, Payload::Inline(Bytes::from("{}")));
    let mut bare = record(&headers);
    (bare.key, bare.value) = (None, None);
    let bare = Letter::read(&bare);
    assert_eq!((bare.payload, bare.key_omitted, bare.id), (Payload::Missing, true, copied.id));
}

#[test]
fn whoever_wrote_last_made_it() {
    let mut both = SPRING.to_vec();
    both.push(("__connect.errors.topic", b"orders-dlt"));
    both.push(("__connect.errors.partition", b"0"));
    both.push(("__connect.errors.offset", b"5"));
    let letter = Letter::read(&record(&both));
    assert_eq!((letter.dialect, origin(&letter)), (Dialect::Connect, Some(("orders-dlt", 0, 5))));
    assert_eq!(letter.headers, [Header::new("trace", "1")]);
}

#[test]
fn a_record_that_says_nothing_is_one_too() {
    let letter = Letter::read(&record(&[("trace", b"1")]));
    assert_eq!((letter.dialect, letter.reason, origin(&letter)), (Dialect::Unknown, Category::Unknown, None));
    assert_eq!(letter.id, dead_letter_id("", "orders-dlq", 1, 77));
    let tombstone = Letter::read(&Record::new("orders-dlq", 0, 0));
    assert_eq!((tombstone.payload, tombstone.failed_at), (Payload::Null, Timestamp::UNIX_EPOCH));
}

/// The record that our handler makes of one that failed.
fn sealed(source: &Record, bare: bool) -> Record {
    let exhausted = Exhausted::at_once(Failure::new(Category::Validation, "sequence must be greater than 0"));
    let mut envelope = Envelope::seal(source, &exhausted, "group", "host");
    if bare {
        envelope = envelope.bare();
    }
    let mut record = Record::new("orders-dlq", 2, 5).with_value(envelope.value());
    record.key = envelope.key().cloned();
    record.headers = envelope.headers().cloned().collect();
    record
}

fn source() -> Record {
    let mut source = Record::new("orders", 2, 1234).with_key(vec![0xff, 0]).with_value(vec![1, 2, 0xfe]);
    source.timestamp =
        Some(RecordTimestamp { millis: 1_700_000_000_000, kind: TimestampKind::LogAppendTime });
    source.headers = vec![
        Header::new("trace", "1"),
        Header { name: "trace".into(), value: None },
        Header::new("trace", vec![0xff]),
    ];
    source
}

#[test]
fn our_own_give_the_record_back_byte_for_byte() {
    let source = source();
    let letter = Letter::read(&sealed(&source, false));
    assert_eq!((letter.dialect, origin(&letter)), (Dialect::PubsubKafka, Some(("orders", 2, 1234))));
    assert_eq!(letter.origin.as_ref().unwrap().timestamp, source.timestamp);
    assert_eq!((&letter.key, letter.payload.bytes()), (&source.key, source.value.as_ref()));
    assert_eq!((&letter.headers, letter.headers_omitted), (&source.headers, false));
    assert_eq!((letter.reason, letter.group.as_deref()), (Category::Validation, Some("group")));
    assert_eq!((letter.id, letter.root_id), (dead_letter_id("group", "orders", 2, 1234), letter.id));
    assert_eq!((letter.dlq_partition, letter.dlq_offset, letter.host.as_deref()), (2, 5, Some("host")));
}

#[test]
fn counting_sees_what_reading_sees() {
    let mut replay = source();
    replay.headers.push(Header::new(headers::ROOT_ID, Uuid::from_u128(7).to_string()));
    replay.headers.push(Header::new(headers::REPLAY_COUNT, "2"));
    let damaged = record(&[("dlq.id", b"x"), ("dlq.reason", b"TIMEOUT_ERROR")]);
    for record in [sealed(&source(), false), sealed(&replay, false), record(&SPRING), damaged, record(&[])] {
        let counted = |letter: Letter| {
            let Letter {
                id, root_id, dialect, reason, error, failed_at, group, host, key, replay_count, ..
            } = letter;
            let origin = letter.origin.map(|origin| (origin.topic, origin.partition, origin.offset));
            (id, root_id, dialect, reason, error, failed_at, group, host, key, replay_count, origin)
        };
        assert_eq!(counted(Letter::read_to_count(&record)), counted(Letter::read(&record)));
    }
}

#[test]
fn a_replay_sees_in_the_value_alone_what_reading_sees() {
    let null_header = Header { name: "none".into(), value: None };
    let headers = vec![Header::new("trace", "1"), null_header, Header::new("odd", &b"\xff\x00"[..])];
    let whole = Record { headers, ..source() };
    let text =
        whole.clone().with_value("{\"name\":\"\\\\ \u{e9}\u{1f600}\u{202e}\"}").with_key("k \"1\"\u{7}");
    let bytes = whole.clone().with_value(&b"\xff\x00"[..]).with_key(&b"\xfe"[..]);
    let null = Record { value: None, key: None, timestamp: None, headers: Vec::new(), ..whole.clone() };
    for source in [whole, text, bytes, null] {
        for is_bare in [false, true] {
            let stored = sealed(&source, is_bare);
            let read = Letter::read(&stored);
            assert_eq!(read.dialect, Dialect::PubsubKafka);
            let told = Letter::read_to_replay(&stored);
            let millis = |letter: &Letter| letter.origin.as_ref()?.timestamp.map(|at| at.millis);
            assert_eq!((origin(&told), millis(&told)), (origin(&read), millis(&read)));
            assert_eq!((told.id, told.root_id, told.dialect), (read.id, read.root_id, read.dialect));
            assert_eq!((told.dlq_partition, told.dlq_offset), (read.dlq_partition, read.dlq_offset));
            assert_eq!((&told.key, told.key_omitted), (&read.key, read.key_omitted));
            assert_eq!(told.payload, read.payload);
            assert_eq!((&told.headers, told.headers_omitted), (&read.headers, read.headers_omitted));
        }
    }
    for no_letter in [&b""[..], b"{}", b"null", b"[", b"\xff", &sealed(&source(), false).payload()[1..]] {
        let record = Record::new("orders-dlq", 1, 7).with_value(no_letter.to_vec());
        assert_eq!(Letter::read_to_replay(&record).id, Uuid::nil());
    }
}

#[test]
fn a_bare_letter_says_what_it_lacks() {
    let letter = Letter::read(&sealed(&source(), true));
    assert!(letter.key_omitted && letter.headers_omitted && letter.key.is_none());
    assert!(matches!(letter.payload, Payload::Omitted { size: 3, .. }));
}

#[test]
fn a_replay_that_died_again_knows_its_first() {
    let mut replay = source();
    let root = Uuid::from_u128(7);
    replay.headers.push(Header::new(headers::ROOT_ID, root.to_string()));
    replay.headers.push(Header::new(headers::REPLAY_ID, "r-1"));
    replay.headers.push(Header::new(headers::REPLAY_COUNT, "2"));
    let ours = Letter::read(&sealed(&replay, false));
    assert_eq!((ours.root_id, ours.replay_count, ours.replay_id.as_deref()), (root, 2, Some("r-1")));
    // In another's hands the headers stay what they were.
    let mut spring = record(&SPRING);
    spring.headers.splice(0..0, replay.headers);
    let theirs = Letter::read(&spring);
    assert_eq!((theirs.dialect, theirs.root_id, theirs.replay_count), (Dialect::Spring, root, 2));
    assert_eq!(theirs.headers.len(), 4, "none of the replay's own is left: {:?}", theirs.headers);
}

#[test]
fn a_damaged_one_of_ours_is_never_taken_for_the_record() {
    let mut damaged = sealed(&source(), false);
    damaged.value = Some(damaged.value.unwrap().slice(..40));
    let letter = Letter::read(&damaged);
    assert_eq!((letter.dialect, origin(&letter)), (Dialect::Unknown, None));
    assert_eq!((letter.reason, &*letter.error), (Category::Validation, "sequence must be greater than 0"));
}

proptest! {
    #[test]
    fn nothing_in_a_record_makes_it_fail(
        names in prop::collection::vec(prop::sample::select(NAMES.to_vec()), 0..12),
        values in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..12)), 12),
        value in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
        millis in any::<i64>(),
    ) {
        let mut record = Record::new("t", 3, 4);
        record.value = value.map(Bytes::from);
        record.timestamp = Some(RecordTimestamp { millis, kind: TimestampKind::CreateTime });
        let header = |(name, value): (&&str, &Option<Vec<u8>>)| {
            Header { name: (*name).to_owned().into(), value: value.clone().map(Bytes::from) }
        };
        record.headers = names.iter().zip(&values).map(header).collect();
        let letter = Letter::read(&record);
        prop_assert_eq!((letter.dlq_partition, letter.dlq_offset), (3, 4));
        prop_assert!(!letter.id.is_nil());
        prop_assert!(letter.headers.iter().all(|h| !is_added_header(&h.name)));
    }
}

const NAMES: [&str; 22] = [
    "dlq.id",
    "dlq.reason",
    "dlq.root-id",
    "dlq.replay-count",
    "kafka_dlt-original-topic",
    "kafka_dlt-original-partition",
    "kafka_dlt-original-offset",
    "kafka_dlt-original-timestamp",
    "kafka_dlt-exception-fqcn",
    "kafka_dlt-exception-stacktrace",
    "kafka_original-offset",
    "retry_topic-attempts",
    "__connect.errors.topic",
    "__connect.errors.partition",
    "__connect.errors.offset",
    "__streams.errors.exception",
    "__streams.errors.topic",
    "__streams.errors.offset",
    "__dlq.errors.partition",
    "__dlq.errors.delivery.count",
    "__dlq.errors.offset",
    "own",
];
