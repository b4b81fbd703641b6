//! Dead letters of the real spring-kafka: its listener container, its error handler, its recoverer.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::dlq_read::{dlq_json, dlq_says};
use crate::support::{World, not_run};

const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/java/spring");

/// The class path of the program, built by Maven once for each state of its sources.
fn class_path() -> Result<String, String> {
    let sources = ["pom.xml", "src/main/java/DeadLetters.java"]
        .map(|name| std::fs::read_to_string(Path::new(PROJECT).join(name)).expect("a source"))
        .concat();
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("spring");
    let built = out.join("built-from");
    if std::fs::read_to_string(&built).ok().as_deref() != Some(&sources) {
        let mut maven = Command::new("mvn");
        maven.args(["-q", "-B", "-f", PROJECT, "package", "dependency:copy-dependencies"]);
        maven.arg(format!("-Dout={}", out.display()));
        maven.arg(format!("-DoutputDirectory={}", out.join("libs").display()));
        match maven.output() {
            Err(error) => return Err(format!("it needs Maven: {error}")),
            Ok(output) if !output.status.success() => {
                return Err(format!("Maven: {}", String::from_utf8_lossy(&output.stdout)));
            }
            Ok(_) => std::fs::write(&built, &sources).expect("written"),
        }
    }
    Ok(format!("{}:{}/*", out.join("classes").display(), out.join("libs").display()))
}

#[test]
fn dlq_read_understands_the_real_spring() {
    let Some(world) = World::real("dlq-read-spring", 1) else { return };
    let class_path = match class_path() {
        Ok(class_path) => class_path,
        Err(why) => return not_run("dlq read spring", &why),
    };
    world.create(&world.dlq, 1, &[("retention.ms", "-1")]);
    let headers: [(&str, Option<&[u8]>); 3] =
        [("trace", Some(b"1")), ("trace", Some(b"\xff")), ("empty", Some(b""))];
    let payloads: [(&[u8], Option<&[u8]>); 5] = [
        (b"k-0", Some(b"argument: \xff")),
        (b"k-1", Some(b"state")),
        (b"k-2", Some(b"unreadable \x00")),
        (b"bad key", Some(b"fine")),
        (b"k-4", None),
    ];
    let record = |(key, value): &(&[u8], Option<&[u8]>)| {
        let mut record = World::with_headers(world.record(0, Some(key), *value), &headers);
        record.timestamp_ms = Some(1_772_368_496_789);
        record
    };
    // Its retention would take records of that age.
    world.alter(&world.topic, "retention.ms", "-1");
    world.send(payloads.iter().map(record).collect());
    let output = Command::new("java")
        .args(["-cp", &class_path, "DeadLetters", &world.servers, &world.topic, &world.dlq])
        .arg(payloads.len().to_string())
        .output()
        .expect("java runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let rows = dlq_json(&world, &world.dlq, &["list"]);
    assert_eq!(rows.len(), payloads.len(), "{rows:?}");
    let deserialization = "org.springframework.kafka.support.serializer.DeserializationException";
    let expected = [
        ("VALIDATION_ERROR", "java.lang.IllegalArgumentException", 2),
        ("PROCESSING_ERROR", "java.lang.IllegalStateException", 2),
        ("DESERIALIZATION_ERROR", deserialization, 0),
        ("DESERIALIZATION_ERROR", deserialization, 0),
        ("PROCESSING_ERROR", "java.lang.IllegalStateException", 2),
    ];
    for (offset, (row, (reason, exception, retries))) in rows.iter().zip(expected).enumerate() {
        let found = [
            "dialect",
            "reason",
            "exception",
            "retry_count",
            "original_topic",
            "original_partition",
            "original_offset",
            "consumer_group",
        ]
        .map(|name| row[name].clone());
        let group = format!("{}-billing", world.topic);
        let expected = [
            json!("spring"),
            json!(reason),
            json!(exception),
            json!(retries),
            json!(world.topic),
            json!(0),
            json!(offset),
            json!(group),
        ];
        assert_eq!(found, expected);
    }
    assert_eq!(rows[0]["error"], "java.lang.IllegalArgumentException: quantity 0 is not allowed");

    for (offset, (_, payload)) in payloads.iter().enumerate() {
        let place = format!("0:{offset}");
        let raw = dlq_says(&world, &world.dlq, &["show", &place, "--raw"]);
        assert_eq!(raw, payload.unwrap_or_default(), "the payload is the record's own");
        let [shown] = &dlq_json(&world, &world.dlq, &["show", &place])[..] else { panic!("one") };
        assert_eq!(shown["original_timestamp"], "2026-03-01T12:34:56.789Z");
        let own = json!([
            { "name": "trace", "value": "1" },
            { "name": "trace", "value_base64": "/w==" },
            { "name": "empty", "value": "" },
        ]);
        assert_eq!(shown["headers"], own, "none of Spring's own is among them");
        assert_eq!(shown["payload"].is_null(), payload.is_none_or(|payload| payload.contains(&0xff)));
    }
}
