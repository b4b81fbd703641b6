//! Export and import: what comes back is what went, byte for byte.

use std::os::unix::fs::PermissionsExt as _;

use pubsub_kafka::kafka::Outgoing;
use serde_json::json;

use super::dlq_read::{dlq, dlq_json, dlq_says, mixed};
use crate::support::{Raw, World};

/// What a record is, wherever it lies.
type Content = (i32, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

fn contents(records: Vec<Raw>) -> Vec<Content> {
    records.into_iter().map(|raw| (raw.partition, raw.key, raw.value, raw.headers)).collect()
}

#[test]
fn dlq_read_export_and_import_lose_nothing() {
    let Some(world) = World::real("dlq-read-export", 1) else { return };
    let Some(topic) = mixed(&world, "dlq read export") else { return };
    let odd: Vec<u8> = (0..=255).collect();
    let record = World::with_headers(
        Outgoing { timestamp_ms: Some(1_650_000_000_123), ..world.record(2, Some(&odd), Some(&odd)) },
        &[
            ("Ünïcode", Some(b"")),
            ("n", None),
            ("n", Some(b"\xff")),
            ("n", Some("\u{9b}\u{202e}".as_bytes())),
        ],
    );
    let nothing = world.record(1, None, None);
    let to_topic = |record: Outgoing| Outgoing { topic: topic.as_str().into(), ..record };
    world.send(vec![to_topic(record), to_topic(nothing)]);

    let file = world.path("letters.jsonl");
    let name = file.to_str().expect("UTF-8");
    let [told] = &dlq_json(&world, &topic, &["export", "-o", name])[..] else { panic!("one object") };
    assert_eq!((&told["file"], &told["records"]), (&json!(name), &json!(12)));
    let mode = std::fs::metadata(&file).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).expect("UTF-8");
    assert_eq!(text.lines().count(), 12);
    assert!(!text.contains(|c| c != '\n' && pubsub_kafka::models::is_unsafe(c)));
    let again = dlq(&world, &topic, &["export", "-o", name]);
    assert_eq!(again.status.code(), Some(1), "it never overwrites a file");
    assert_eq!(dlq_says(&world, &topic, &["export", "-o", "-"]), text.as_bytes());
    let some = dlq_says(&world, &topic, &["export", "-o", "-", "--reason", "VALIDATION_ERROR"]);
    assert_eq!(String::from_utf8(some).expect("UTF-8").lines().count(), 2, "a repeat too");

    // Without a word from anybody nothing is changed.
    let copy = format!("{topic}-copy");
    world.create(&copy, 3, &[("retention.ms", "-1")]);
    let unconfirmed = dlq(&world, &copy, &["import", name]);
    assert_eq!(unconfirmed.status.code(), Some(4), "{}", String::from_utf8_lossy(&unconfirmed.stderr));
    assert!(world.read(&copy).is_empty());

    let [told] = &dlq_json(&world, &copy, &["import", name, "--yes"])[..] else { panic!("one object") };
    assert_eq!((&told["records"], &told["imported"]), (&json!(12), &json!(12)));
    assert_eq!(contents(world.read(&copy)), contents(world.read(&topic)));
    // Timestamps and offsets too, as the export of the copy says.
    let back = dlq_says(&world, &copy, &["export", "-o", "-"]);
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&String::from_utf8(back).expect("UTF-8")), sorted(&text));
}

#[test]
fn dlq_read_import_refuses_before_it_changes_anything() {
    let Some(world) = World::real("dlq-read-import", 1) else { return };
    let line = |offset: i64| {
        format!(
            "{{\"partition\":0,\"offset\":{offset},\"timestamp_ms\":1650000000000,\"timestamp_type\":\"CreateTime\",\"key\":\
             null,\"value\":\"x\",\"headers\":[]}}\n"
        )
    };
    let file = world.path("bad.jsonl");
    std::fs::write(&file, format!("{}not json\n{}", line(0), line(1))).expect("written");
    let name = file.to_str().expect("UTF-8");
    let output = dlq(&world, &world.topic, &["import", name, "--yes"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("line 2 is no exported record"), "{said}");

    // Kafka would delete these within minutes: the topic keeps records for a week.
    std::fs::write(&file, line(0)).expect("written");
    let output = dlq(&world, &world.topic, &["import", name, "--yes"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--new-timestamps"));
    assert!(world.read(&world.topic).is_empty());
    dlq_says(&world, &world.topic, &["import", name, "--yes", "--new-timestamps"]);
    assert_eq!(world.read(&world.topic).len(), 1);

    let missing = dlq(&world, &format!("{}-none", world.topic), &["import", name, "--yes"]);
    assert_eq!(missing.status.code(), Some(1));
    let none = dlq(&world, &world.topic, &["import", "/nonexistent", "--yes"]);
    assert_eq!(none.status.code(), Some(1));
}
