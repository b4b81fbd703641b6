//! Whole runs, on the demonstration broker.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaRespErr;

use super::super::settings::Pace;
use super::super::summary::Verdict;
use super::*;
use crate::config::KafkaSettings;
use crate::kafka::embedded::EmbeddedBroker;
use crate::models::{DecodeLimits, decode, validate};

type Seen = Vec<(i32, Option<Vec<u8>>, Option<Vec<u8>>)>;

fn broker(topic: &str) -> EmbeddedBroker {
    EmbeddedBroker::start(SocketAddr::from(([127, 0, 0, 1], 0)), &[(topic.to_owned(), 3)]).expect("a broker")
}

fn settings(broker: &EmbeddedBroker, topic: &str) -> ProducerSettings {
    ProducerSettings {
        kafka: KafkaSettings { bootstrap_servers: broker.addr().to_string(), ..KafkaSettings::default() },
        topic: topic.to_owned(),
        pace: Pace::Unlimited,
        ..ProducerSettings::default()
    }
}

fn run_to_its_end(settings: &ProducerSettings) -> Summary {
    run(settings, None, &|| false, &mut |_| {}).expect("a summary")
}

/// Everything that is in the topic: partition, key, value.
fn read(settings: &ProducerSettings, count: usize) -> Seen {
    let consumer: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", &settings.kafka.bootstrap_servers)
        .set("group.id", "reader")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[&settings.topic]).expect("subscribed");
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut seen = Vec::new();
    while seen.len() < count && Instant::now() < deadline {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message.expect("a record");
            seen.push((
                message.partition(),
                message.key().map(<[u8]>::to_vec),
                message.payload().map(<[u8]>::to_vec),
            ));
        }
    }
    assert_eq!(seen.len(), count);
    seen
}

fn by_partition(seen: Seen) -> HashMap<i32, Seen> {
    let mut sorted = HashMap::<i32, Seen>::new();
    for record in seen {
        sorted.entry(record.0).or_default().push(record);
    }
    sorted
}

#[test]
fn two_runs_with_one_seed_write_the_same_bytes_in_the_same_sequence() {
    let mut runs = Vec::new();
    for topic in ["first", "second"] {
        let broker = broker(topic);
        let settings = ProducerSettings {
            seed: Some(11),
            count: Some(500),
            invalid_ratio: 0.1,
            malformed_ratio: 0.1,
            ..settings(&broker, topic)
        };
        let summary = run_to_its_end(&settings);
        assert_eq!(summary, Summary { sent: 500, acknowledged: 500, failed: 0, seed: Some(11) });
        runs.push(by_partition(read(&settings, 500)));
    }
    assert_eq!(runs[0], runs[1]);
    assert_eq!(runs[0].len(), 3, "all partitions are used");
}

#[test]
fn generated_orders_are_valid_and_keyed_by_their_id() {
    let broker = broker("orders");
    let settings = ProducerSettings { count: Some(200), ..settings(&broker, "orders") };
    let summary = run_to_its_end(&settings);
    assert_eq!((summary.sent, summary.verdict()), (200, Verdict::Done));
    let mut sequences = HashMap::<Vec<u8>, i64>::new();
    for (_, key, value) in read(&settings, 200) {
        let order = decode(value.as_deref(), &DecodeLimits::default()).expect("an order");
        assert_eq!(validate(&order), Ok(()));
        assert_eq!(key.as_deref(), Some(order.order_id.as_bytes()));
        let before = sequences.insert(order.order_id.as_bytes().to_vec(), order.sequence).unwrap_or(0);
        assert_eq!(order.sequence, before + 1);
    }
}

fn file_with(content: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(content).expect("written");
    file
}

fn given(broker: &EmbeddedBroker, path: &Path) -> ProducerSettings {
    ProducerSettings {
        input: Some(Input::File(path.to_owned())),
        seed: Some(5),
        invalid_ratio: 1.0,
        ..settings(broker, "given")
    }
}

#[test]
fn given_lines_arrive_byte_for_byte() {
    let broker = broker("given");
    let file = file_with(b"{\"order_id\":\"A-1\", \"x\": 1.50}\r\n\n\xff\xfe\nplain\n{\"order_id\":\"A-1\"}");
    let settings = given(&broker, file.path());
    let summary = run_to_its_end(&settings);
    assert_eq!(summary, Summary { sent: 4, acknowledged: 4, failed: 0, seed: None });
    let seen = read(&settings, 4);
    let keyed: Vec<_> = seen.iter().filter(|(_, key, _)| key.is_some()).cloned().collect();
    let value = |bytes: &[u8]| Some(bytes.to_vec());
    assert_eq!(keyed[0].1.as_deref(), Some(b"A-1".as_slice()));
    assert_eq!(keyed[0].2, value(b"{\"order_id\":\"A-1\", \"x\": 1.50}"));
    assert_eq!((keyed[1].0, &keyed[1].2), (keyed[0].0, &value(b"{\"order_id\":\"A-1\"}")));
    let mut others: Vec<_> =
        seen.into_iter().filter(|(_, key, _)| key.is_none()).map(|(_, _, v)| v).collect();
    others.sort();
    assert_eq!(others, [value(b"plain"), value(b"\xff\xfe")]);
}

#[test]
fn a_line_that_is_too_large_fails_alone() {
    let broker = broker("given");
    // One that the reader drops, and one that only its key makes too large for the client.
    let keyed = format!("{{\"order_id\":\"{}\"}}", "k".repeat(1_485));
    let file = file_with(&[b"one\n", &vec![b'x'; 5_000][..], b"\n", keyed.as_bytes(), b"\ntwo"].concat());
    let settings = ProducerSettings { max_message_bytes: 1_500, ..given(&broker, file.path()) };
    let summary = run_to_its_end(&settings);
    assert_eq!(summary, Summary { sent: 4, acknowledged: 2, failed: 2, seed: None });
    assert_eq!(summary.verdict(), Verdict::Partly);
}

#[test]
fn a_missing_input_is_named_before_kafka_is_asked() {
    let kafka = KafkaSettings { bootstrap_servers: "127.0.0.1:1".to_owned(), ..KafkaSettings::default() };
    let folder = tempfile::tempdir().expect("a folder");
    for path in [folder.path().join("none.jsonl"), folder.path().to_owned()] {
        let settings = ProducerSettings {
            kafka: kafka.clone(),
            input: Some(Input::File(path.clone())),
            ..ProducerSettings::default()
        };
        let error = run(&settings, None, &|| false, &mut |_| {}).expect_err("no file");
        assert!(matches!(error, ProducerError::Input { .. }));
        assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
    }
}

#[test]
fn kafka_that_is_not_there_is_named() {
    let kafka = KafkaSettings {
        bootstrap_servers: "127.0.0.1:1".to_owned(),
        connect_timeout: Duration::from_millis(300),
        ..KafkaSettings::default()
    };
    let settings = ProducerSettings { kafka, count: Some(1), ..ProducerSettings::default() };
    let error = run(&settings, None, &|| false, &mut |_| {}).expect_err("no Kafka");
    assert!(matches!(error, ProducerError::Kafka(KafkaError::Unreachable { .. })));
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[test]
fn a_stop_ends_the_wait_between_two_records() {
    let broker = broker("orders");
    let settings =
        ProducerSettings { pace: Pace::Interval(Duration::from_secs(3600)), ..settings(&broker, "orders") };
    let acknowledged = Cell::new(0);
    let begun = Instant::now();
    let stop = || acknowledged.get() == 1;
    let summary =
        run(&settings, None, &stop, &mut |counts| acknowledged.set(counts.acknowledged)).expect("a summary");
    assert_eq!((summary.sent, summary.acknowledged), (1, 1));
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_stop_before_kafka_answers_ends_with_nothing_sent() {
    let kafka = KafkaSettings { bootstrap_servers: "127.0.0.1:1".to_owned(), ..KafkaSettings::default() };
    let settings = ProducerSettings { kafka, ..ProducerSettings::default() };
    let summary = run(&settings, None, &|| true, &mut |_| {}).expect("a summary");
    assert_eq!(summary.to_string(), "sent 0, acknowledged 0, failed 0");
}

#[test]
fn a_count_ends_the_run_and_progress_ends_with_it() {
    let broker = broker("orders");
    let settings =
        ProducerSettings { count: Some(30), pace: Pace::Rate(300.0), ..settings(&broker, "orders") };
    let begun = Instant::now();
    let mut last = None;
    run(&settings, None, &|| false, &mut |counts| last = Some(*counts)).expect("a summary");
    assert_eq!(last, Some(Counts { sent: 30, acknowledged: 30, failed: 0, total: Some(30) }));
    // The thirtieth is due 29 periods after the first.
    assert!(begun.elapsed() >= Duration::from_millis(96));
}

#[test]
fn a_fatal_error_of_the_client_loses_and_reorders_nothing() {
    let broker = broker("orders");
    let settings = ProducerSettings { count: Some(300), seed: Some(1), ..settings(&broker, "orders") };
    let mut source = Source::open(&settings).expect("a source");
    let built = Cell::new(0);
    let build = || {
        built.set(built.get() + 1);
        Producer::new(&settings.kafka, &ProducerOptions::default())
    };
    let mut outbox = Outbox::new(build, None).expect("an outbox");
    let mut told = Told { progress: &mut |_| {}, last: Instant::now() };
    // The first request in flight is said to be out of order: the client can no longer trust its own state.
    broker.fail_next_produce(&[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    send_all(&settings, None, &mut source, &mut outbox, &|| false, &mut told).expect("generated");
    outbox.finish(|| false, |_| {});

    assert_eq!(*outbox.counts(), Counts { sent: 300, acknowledged: 300, failed: 0, total: None });
    assert_eq!(built.get(), 2);
    // Refused before it was written, so nothing is there twice either.
    let mut sequences = HashMap::<Vec<u8>, i64>::new();
    for (_, key, value) in read(&settings, 300) {
        let order = decode(value.as_deref(), &DecodeLimits::default()).expect("an order");
        let before = sequences.insert(key.expect("a key"), order.sequence).unwrap_or(0);
        assert_eq!(order.sequence, before + 1);
    }
}
