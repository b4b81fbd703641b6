//! Dead letters as another client sees them: Confluent's for Python.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::support::{World, bytes, not_run, order, python, run_script};

#[test]
fn another_client_reads_dead_letters_and_their_headers() {
    let Some(world) = World::real("other-client", 3) else { return };
    let python = match python() {
        Ok(python) => python,
        Err(why) => return not_run("another client reads dead letters", &why),
    };
    let mut invalid = order("o-1");
    invalid["sequence"] = json!(0);
    let invalid = bytes(&invalid);
    let own: [(&str, Option<&[u8]>); 5] = [
        ("trace", Some(b"1")),
        ("trace", None),
        ("empty", Some(b"")),
        ("trace", Some(b"\xff\x00")),
        ("Ünïcode", Some(b"2")),
    ];
    let mut record = World::with_headers(world.record(2, Some(b"o-1"), Some(&invalid)), &own);
    record.timestamp_ms = Some(1_772_368_496_789);
    let filler = world.record(2, None, Some(&bytes(&order("o-0"))));
    world.send(vec![filler, record, world.record(2, None, None)]);
    let audit = world.track_to_end("tracker", &[]);

    let text = run_script(&python, "read_dead_letters.py", &[&world.servers, &world.dlq, "3"]);
    let found: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [letter, tombstone] = &found[..] else { panic!("{found:?}") };

    // The record's own headers come first, in their order, duplicates, nulls and all.
    let encode = |value: Option<&[u8]>| value.map_or(Value::Null, |bytes| BASE64.encode(bytes).into());
    let expected: Vec<Value> = own.iter().map(|(name, value)| json!([name, encode(*value)])).collect();
    assert_eq!(letter["headers"].as_array().expect("headers")[..own.len()], expected);

    let entry = &audit.entries[1];
    let decoded = &letter["decoded"];
    for (name, value) in [
        ("kafka_dlt-original-topic", json!(world.topic)),
        ("kafka_dlt-original-partition", json!(2)),
        ("kafka_dlt-original-offset", json!(1)),
        ("kafka_dlt-original-timestamp", json!(1_772_368_496_789_i64)),
        ("kafka_dlt-original-timestamp-type", json!("CreateTime")),
        ("kafka_dlt-original-consumer-group", json!(world.group)),
        ("kafka_dlt-exception-message", json!(entry.error)),
        ("dlq.id", json!(entry.dlq_id)),
        ("dlq.reason", json!("VALIDATION_ERROR")),
        ("dlq.error", json!(entry.error)),
        ("dlq.retry-count", json!("0")),
        ("dlq.replay-count", json!("0")),
    ] {
        assert_eq!(decoded[name], value, "{name}");
    }
    for name in ["dlq.first-failure", "dlq.last-failure"] {
        let time = decoded[name].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        assert!(time.is_some(), "{name}: {decoded}");
    }
    assert_eq!(
        (&letter["partition"], &letter["offset"]),
        (&json!(entry.dlq_partition), &json!(entry.dlq_offset))
    );
    assert_eq!(letter["key"], BASE64.encode("o-1"));

    let value = &letter["letter"];
    for (name, expected) in [
        ("id", json!(entry.dlq_id)),
        ("original_topic", json!(world.topic)),
        ("original_partition", json!(2)),
        ("original_offset", json!(1)),
        ("original_key", json!("o-1")),
        ("original_payload", json!(String::from_utf8(invalid).expect("UTF-8"))),
        ("original_timestamp", json!("2026-03-01T12:34:56.789Z")),
        ("failure_reason", json!("VALIDATION_ERROR")),
        ("error_message", json!(entry.error)),
        ("consumer_group", json!(world.group)),
        ("retry_count", json!(0)),
        ("is_reprocessed", json!(false)),
    ] {
        assert_eq!(value[name], expected, "{name}");
    }
    let headers = json!([
        { "name": "trace", "value": "1" },
        { "name": "trace", "value": null },
        { "name": "empty", "value": "" },
        { "name": "trace", "value_base64": BASE64.encode(b"\xff\x00") },
        { "name": "Ünïcode", "value": "2" },
    ]);
    assert_eq!(value["original_headers"], headers);

    assert_eq!((&tombstone["key"], &tombstone["letter"]["original_payload"]), (&Value::Null, &Value::Null));
    assert_eq!(tombstone["decoded"]["kafka_dlt-original-offset"], 2);
}
