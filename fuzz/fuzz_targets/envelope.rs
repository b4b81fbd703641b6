//! Any record that failed: its dead letter is safe JSON from which key, payload and headers come back, a repeated
//! failure piles nothing up, and without payload, key and headers every letter is small.

#![no_main]

use std::collections::BTreeSet;

use jiff::Timestamp;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use pubsub_kafka::dlq::{Envelope, Exhausted, headers};
use pubsub_kafka::failure::{Category, Failure};
use pubsub_kafka::models::{DeadLetter, OriginalPayload, is_unsafe};
use pubsub_kafka::record::{Header, Record, RecordTimestamp, TimestampKind};

/// Names that mean something to the envelope.
const NAMES: &[&str] = &[
    headers::ID,
    headers::REASON,
    headers::ERROR,
    headers::ROOT_ID,
    headers::REPLAY_ID,
    headers::REPLAY_COUNT,
    headers::ORIGINAL_TIMESTAMP,
    "dlq.",
    "kafka_dlt-original-topic",
    "kafka_dlt-",
    "trace",
];

fn some_bytes(u: &mut Unstructured<'_>) -> Result<Option<Vec<u8>>> {
    u.arbitrary()
}

fn record(u: &mut Unstructured<'_>) -> Result<Record> {
    let mut record = Record::new("orders", u.arbitrary()?, u.arbitrary()?);
    record.key = some_bytes(u)?.map(Into::into);
    if u.arbitrary()? {
        let kind = if u.arbitrary()? { TimestampKind::CreateTime } else { TimestampKind::LogAppendTime };
        record.timestamp = Some(RecordTimestamp { millis: u.arbitrary()?, kind });
    }
    for _ in 0..u.int_in_range(0..=8)? {
        let name: String = if u.arbitrary()? { (*u.choose(NAMES)?).to_owned() } else { u.arbitrary()? };
        record.headers.push(Header { name: name.into(), value: some_bytes(u)?.map(Into::into) });
    }
    record.value = some_bytes(u)?.map(Into::into);
    Ok(record)
}

fn exhausted(u: &mut Unstructured<'_>) -> Result<Exhausted> {
    let category = *u.choose(&[Category::Deserialization, Category::Timeout, Category::Unknown])?;
    let cause: String = u.arbitrary()?;
    let failure = Failure::caused_by(category, u.arbitrary::<String>()?, std::io::Error::other(cause));
    let time = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    let (first_failure, last_failure) = (time(u.arbitrary()?), time(u.arbitrary()?));
    Ok(Exhausted { failure, attempts: u.arbitrary()?, first_failure, last_failure })
}

fn is_ours(name: &str) -> bool {
    name.starts_with(headers::PREFIX) || name.starts_with(headers::SPRING_PREFIX)
}

fn check(record: &Record, exhausted: &Exhausted) {
    let envelope = Envelope::seal(record, exhausted, "a group", "a host");
    let text = String::from_utf8(envelope.value()).expect("UTF-8");
    assert!(!text.contains(is_unsafe), "{text}");
    let read: DeadLetter = serde_json::from_str(&text).expect("what was written can be read");
    assert_eq!(read.original_key.as_deref(), record.key.as_deref());
    assert_eq!(read.original_payload, OriginalPayload::from_record(record.value.as_deref()));
    let own: Vec<_> = record.headers.iter().filter(|header| !is_ours(&header.name)).collect();
    assert_eq!(read.original_headers.len(), own.len());
    for (read, own) in read.original_headers.iter().zip(&own) {
        assert_eq!((&*read.name, read.value.as_deref()), (&*own.name, own.value.as_deref()));
    }
    for name in [headers::ERROR, "kafka_dlt-exception-message"] {
        let error = envelope.headers().find(|header| header.name == name).and_then(|h| h.value.as_deref());
        let error = std::str::from_utf8(error.expect("each letter has it")).expect("UTF-8");
        assert!(!error.contains(is_unsafe), "{error}");
    }

    let mut again = record.clone();
    again.headers = envelope.headers().cloned().collect();
    let second = Envelope::seal(&again, exhausted, "a group", "a host");
    assert_eq!(second.letter().id, envelope.letter().id);
    let added: Vec<_> = second.headers().map(|header| &header.name).filter(|name| is_ours(name)).collect();
    assert_eq!(added.iter().collect::<BTreeSet<_>>().len(), added.len(), "{added:?}");
    assert!(second.headers().filter(|header| !is_ours(&header.name)).eq(own));

    let bare = second.bare();
    let size: usize = bare
        .headers()
        .map(|header| header.name.len() + header.value.as_ref().map_or(0, bytes::Bytes::len))
        .sum();
    // An error is 1000 characters at most there, of up to 8 bytes each (`\u{202e}`), twice.
    assert!(size < 20_000, "{size} bytes of headers");
    let value = bare.value();
    assert!(value.len() < 6000, "{} bytes", value.len());
}

fuzz_target!(|bytes: &[u8]| {
    let mut u = Unstructured::new(bytes);
    let Ok(exhausted) = exhausted(&mut u) else { return };
    if let Ok(record) = record(&mut u) {
        check(&record, &exhausted);
    }
});
