//! What each part of a record's way costs, on one thread, with orders of 1,250 bytes.
//!
//! ```text
//! cargo bench --features tracker,dlq
//! ```

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a measurement that cannot be made ends here, and says why"
)]

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use jiff::Timestamp;
use pubsub_kafka::audit::{Chain, Hashing, Judged, Lines, Verdict};
use pubsub_kafka::config::AuditPayload;
use pubsub_kafka::dlq::{Envelope, Exhausted, Letter};
use pubsub_kafka::failure::{Category, Failure};
use pubsub_kafka::models::{DecodeLimits, decode, escape_into, utf8, validate};
use pubsub_kafka::record::{Header, Record, RecordTimestamp, TimestampKind};

#[path = "../examples/bench/orders.rs"]
#[allow(dead_code, reason = "the measurements of the whole use more of it")]
mod orders;

const SIZE: usize = 1250;
/// So many lines are made before they are thrown away, as many as the tracker hands over at once.
const LINES: usize = 80;

fn main() {
    divan::main();
}

fn payload() -> Vec<u8> {
    orders::Orders::of_size(SIZE).order(7).1.into_bytes()
}

fn record() -> Record {
    let mut record = Record::new("orders", 1, 123_456).with_key("order-7").with_value(payload());
    record.timestamp = Some(RecordTimestamp { millis: 1_772_368_496_000, kind: TimestampKind::CreateTime });
    record
}

fn processed() -> Judged {
    Judged { record: record(), deserialized: true, verdict: Verdict::Processed { attempts: 1 } }
}

fn failed() -> Exhausted {
    let cause = std::io::Error::other("connection refused");
    Exhausted::at_once(Failure::caused_by(Category::Processing, "the target cannot be reached", cause))
}

#[divan::bench]
fn utf8_check(bencher: Bencher<'_, '_>) {
    let payload = payload();
    bencher.counter(BytesCount::new(SIZE)).bench_local(|| utf8(black_box(&payload)).is_ok());
}

#[divan::bench(name = "decode")]
fn decoding(bencher: Bencher<'_, '_>) {
    let (payload, limits) = (payload(), DecodeLimits::default());
    bencher.counter(BytesCount::new(SIZE)).bench_local(|| decode(black_box(Some(&payload)), &limits).is_ok());
}

#[divan::bench]
fn decode_and_validate(bencher: Bencher<'_, '_>) {
    let (payload, limits) = (payload(), DecodeLimits::default());
    bencher.counter(BytesCount::new(SIZE)).bench_local(|| {
        let order = decode(black_box(Some(&payload)), &limits).expect("an order");
        validate(&order).is_ok()
    });
}

#[divan::bench]
fn escape(bencher: Bencher<'_, '_>) {
    let payload = payload();
    let text = utf8(&payload).expect("text");
    let mut out = Vec::with_capacity(4 * SIZE);
    bencher.counter(BytesCount::new(SIZE)).bench_local(|| {
        out.clear();
        escape_into(&mut out, black_box(text));
        out.len()
    });
}

/// Lines with their own digests, not chained yet: what the partitions' tasks do.
#[divan::bench(args = [AuditPayload::Full, AuditPayload::Raw, AuditPayload::Hash])]
fn audit_lines(bencher: Bencher<'_, '_>, payload: AuditPayload) {
    let (judged, now) = (processed(), Timestamp::now());
    let mut lines = Lines::new(Hashing::PLAIN).carrying(payload);
    bencher.counter(ItemsCount::new(LINES)).bench_local(|| {
        lines.clear();
        for _ in 0..LINES {
            lines.push("order-tracker-group", now, black_box(&judged));
        }
        lines.size_bytes()
    });
}

/// The chain alone: what the one thread that writes has to do for each line.
#[divan::bench]
fn chain_lines(bencher: Bencher<'_, '_>) {
    let mut lines = Lines::new(Hashing::PLAIN);
    for _ in 0..LINES {
        lines.push("order-tracker-group", Timestamp::now(), &processed());
    }
    let mut chain = Chain::new(Hashing::PLAIN);
    bencher.counter(ItemsCount::new(LINES)).bench_local(|| {
        lines.seal(&mut chain);
        chain.head()
    });
}

#[divan::bench]
fn seal_envelope(bencher: Bencher<'_, '_>) {
    let (record, failed) = (record(), failed());
    bencher.bench_local(|| {
        let envelope = Envelope::seal(black_box(&record), &failed, "order-tracker-group", "host");
        (envelope.value().len(), envelope.headers().count())
    });
}

/// A dead letter of ours, read back.
#[divan::bench]
fn read_own_letter(bencher: Bencher<'_, '_>) {
    let envelope = Envelope::seal(&record(), &failed(), "order-tracker-group", "host");
    let mut stored = Record::new("orders-dlq", 1, 5).with_value(envelope.value());
    stored.headers = envelope.headers().cloned().collect();
    bencher.bench_local(|| Letter::read(black_box(&stored)).retry_count);
}

/// A dead letter of Spring Kafka's.
#[divan::bench]
fn read_spring_letter(bencher: Bencher<'_, '_>) {
    let mut stored = record();
    stored.headers = vec![
        Header::new("kafka_dlt-original-topic", "orders"),
        Header::new("kafka_dlt-original-partition", 1i32.to_be_bytes().to_vec()),
        Header::new("kafka_dlt-original-offset", 77i64.to_be_bytes().to_vec()),
        Header::new("kafka_dlt-original-timestamp", 1_772_368_496_000i64.to_be_bytes().to_vec()),
        Header::new("kafka_dlt-original-timestamp-type", "CreateTime"),
        Header::new("kafka_dlt-original-consumer-group", "orders-app"),
        Header::new("kafka_dlt-exception-fqcn", "java.lang.IllegalStateException"),
        Header::new("kafka_dlt-exception-message", "no stock"),
        Header::new(
            "kafka_dlt-exception-stacktrace",
            "java.lang.IllegalStateException: no stock\n\tat a.B.c(B.java:7)",
        ),
    ];
    bencher.bench_local(|| Letter::read(black_box(&stored)).retry_count);
}
