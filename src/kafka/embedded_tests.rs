//! The demonstration broker as its clients see it.

use std::time::Instant;

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::*;
use crate::config::KafkaSettings;
use crate::kafka::{Outgoing, Producer, ProducerOptions, wait_until_reachable};

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn consume(servers: &str, topic: &str, count: usize) -> Vec<(i32, i64, Vec<u8>)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "embedded-test")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[topic]).expect("subscribed");
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut seen = Vec::new();
    while seen.len() < count && Instant::now() < deadline {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message.expect("a record");
            seen.push((message.partition(), message.offset(), message.payload().expect("a value").to_vec()));
        }
    }
    consumer.commit_consumer_state(rdkafka::consumer::CommitMode::Sync).expect("committed");
    seen
}

#[test]
fn a_consumer_group_reads_what_a_producer_wrote_through_the_chosen_port() {
    let broker = EmbeddedBroker::start(any_port(), &[("things".to_owned(), 3)]).expect("a broker");
    let settings = KafkaSettings { bootstrap_servers: broker.addr().to_string(), ..KafkaSettings::default() };
    assert!(wait_until_reachable(&settings, &|| false).expect("reachable"));
    let producer = Producer::new(&settings, &ProducerOptions::default()).expect("a producer");
    for n in 0..100 {
        let record = Outgoing {
            topic: "things".into(),
            partition: Some(n % 3),
            value: Some(format!("thing {n}").into()),
            ..Outgoing::default()
        };
        drop(producer.send(&record).expect("queued"));
    }
    producer.flush(Duration::from_secs(20)).expect("flushed");

    let mut seen = consume(&settings.bootstrap_servers, "things", 100);
    seen.sort();
    let mut wanted: Vec<_> =
        (0..100).map(|n| (n % 3, i64::from(n / 3), format!("thing {n}").into_bytes())).collect();
    wanted.sort();
    assert_eq!(seen, wanted);
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind(any_port()).expect("a port");
    let addr = taken.local_addr().expect("an address");
    let error = EmbeddedBroker::start(addr, &[]).expect_err("the port is taken");
    assert!(matches!(error, EmbeddedError::Listen { .. }));
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
}

#[test]
fn topics_that_cannot_be_are_refused() {
    for (name, partitions) in [("orders", 0), ("or\0ders", 1)] {
        let error = EmbeddedBroker::start(any_port(), &[(name.to_owned(), partitions)]).expect_err("refused");
        assert!(matches!(error, EmbeddedError::Topic { .. }), "{error}");
    }
}

#[test]
fn a_dropped_broker_frees_its_port() {
    let broker = EmbeddedBroker::start(any_port(), &[]).expect("a broker");
    let addr = broker.addr();
    drop(broker);
    assert!(TcpStream::connect_timeout(&addr, Duration::from_secs(1)).is_err());
    EmbeddedBroker::start(addr, &[]).expect("the port is free again");
}

#[test]
fn a_run_ends_when_it_is_told_to() {
    let asked = std::cell::Cell::new(0);
    let stop = || asked.replace(asked.get() + 1) >= 2;
    let settings = BrokerSettings { listen: any_port(), topics: vec![("orders".to_owned(), 1)] };
    run(&settings, &stop).expect("served");
    assert_eq!(asked.get(), 3);
}
