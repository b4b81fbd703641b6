//! Produces orders as fast as Kafka takes them, in turn to each partition.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::{ClientContext, Message as _};
use serde_json::{Value, json};

use crate::Kafka;
use crate::orders::Orders;

const PATIENCE: Duration = Duration::from_secs(60);

/// Counts what is acknowledged.
#[derive(Default)]
struct Acknowledged(std::sync::atomic::AtomicU64);

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => drop(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed)),
            Err((error, message)) => panic!("a record for partition {}: {error}", message.partition()),
        }
    }
}

/// How many partitions the topic has.
pub fn partitions(kafka: &Kafka) -> i32 {
    let client: BaseConsumer = kafka.config().create().expect("a client");
    let metadata = client.fetch_metadata(Some(&kafka.topic), PATIENCE).expect("the topic's metadata");
    let topic = metadata.topics().first().expect("the topic");
    assert!(!topic.partitions().is_empty(), "there is no topic {}", kafka.topic);
    i32::try_from(topic.partitions().len()).expect("a count")
}

/// Produces so many of these orders.
pub fn run(kafka: &Kafka, records: u64, orders: &Orders) -> Value {
    let partitions = partitions(kafka);
    let mut config = kafka.config();
    for (key, value) in [
        ("enable.idempotence", "true"),
        ("linger.ms", "20"),
        ("batch.size", "900000"),
        ("queue.buffering.max.kbytes", "131072"),
        ("queue.buffering.max.messages", "500000"),
    ] {
        config.set(key, value);
    }
    let producer: BaseProducer<Acknowledged> =
        config.create_with_context(Acknowledged::default()).expect("a producer");
    let begun = Instant::now();
    for (number, partition) in (0..records).zip((0..partitions).cycle()) {
        let (id, payload) = orders.order(number);
        let mut record = BaseRecord::to(&kafka.topic).partition(partition).key(&id).payload(&payload);
        while let Err((error, refused)) = producer.send(record) {
            assert!(
                matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)),
                "a record was refused: {error}"
            );
            record = refused;
            producer.poll(Duration::from_millis(10));
        }
        if number % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(PATIENCE).expect("every record is acknowledged");
    let acknowledged = producer.context().0.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(acknowledged, records, "every record is acknowledged");
    json!({ "records": records, "seconds": begun.elapsed().as_secs_f64() })
}
