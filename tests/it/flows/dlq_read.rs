//! The dlq tool reads: a topic in which every dialect lies beside the others, written by another client.

use std::collections::BTreeMap;
use std::process::Output;

use pubsub_kafka::kafka::Outgoing;
use serde_json::{Value, json};

use crate::support::{World, not_run, program, python, run_script, wait_until};

/// Runs the dlq tool on a topic.
pub fn dlq(world: &World, topic: &str, arguments: &[&str]) -> Output {
    let mut command = program(env!("CARGO_BIN_EXE_dlq"));
    command.args(["-b", &world.servers, "--topic", topic]).args(arguments);
    command.output().expect("dlq runs")
}

/// The same, which must end well: its standard output.
pub fn dlq_says(world: &World, topic: &str, arguments: &[&str]) -> Vec<u8> {
    let output = dlq(world, topic, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    output.stdout
}

/// Its JSON Lines.
pub fn dlq_json(world: &World, topic: &str, arguments: &[&str]) -> Vec<Value> {
    let all = [&["--json"], arguments].concat();
    let text = String::from_utf8(dlq_says(world, topic, &all)).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

/// A topic with the dead letters of every dialect in partition 0; `None` without the other client.
pub fn mixed(world: &World, flow: &str) -> Option<String> {
    let python = match python() {
        Ok(python) => python,
        Err(why) => {
            not_run(flow, &why);
            return None;
        }
    };
    let topic = format!("{}-mixed", world.topic);
    world.create(&topic, 3, &[("retention.ms", "-1")]);
    run_script(&python, "write_dead_letters.py", &[&world.servers, &topic]);
    Some(topic)
}

/// Nothing in it moves a cursor or changes a colour.
fn assert_harmless(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    let harm = text.chars().find(|c| *c != '\n' && pubsub_kafka::models::is_unsafe(*c));
    assert_eq!(harm, None, "{text:?}");
}

#[test]
fn dlq_read_tells_every_dialect_in_a_mixed_topic() {
    let Some(world) = World::real("dlq-read", 1) else { return };
    let Some(topic) = mixed(&world, "dlq read") else { return };
    let rows = dlq_json(&world, &topic, &["list"]);
    let facts: Vec<Value> = rows
        .iter()
        .map(|row| {
            let fields = ["dialect", "reason", "original_topic", "original_partition", "original_offset"];
            Value::from_iter(fields.map(|field| row[field].clone()))
        })
        .collect();
    let none = Value::Null;
    let expected = [
        json!(["spring", "VALIDATION_ERROR", "orders", 2, 1234]),
        json!(["spring", "TIMEOUT_ERROR", "orders", 1, 5]),
        json!(["connect", "DESERIALIZATION_ERROR", "payments", 0, 77]),
        json!(["streams", "PROCESSING_ERROR", "clicks", 3, 8]),
        json!(["share-group", "UNKNOWN_ERROR", "orders", 0, 9]),
        json!(["unknown", "UNKNOWN_ERROR", none, none, none]),
        json!(["spring", "UNKNOWN_ERROR", none, none, none]),
        json!(["connect", "UNKNOWN_ERROR", none, none, none]),
        json!(["unknown", "TIMEOUT_ERROR", none, none, none]),
    ];
    assert_eq!(facts, expected, "the tenth repeats the first one");
    assert_eq!(rows[0]["consumer_group"], "billing");
    assert_eq!(rows[0]["error"], "quantity 0 is not allowed");
    assert_eq!(rows[1]["error"], "took 30000 ms");
    assert_eq!(rows[4]["retry_count"], 4);
    assert_eq!(rows[8]["error"], "late");
    assert!(rows.iter().all(|row| row["status"] == "open"), "{rows:?}");
    let repeats = dlq(&world, &topic, &["list"]);
    assert_harmless(&repeats.stdout);
    let said = String::from_utf8(repeats.stderr).expect("UTF-8");
    assert_eq!(said.trim_end(), "9 dead letters; 1 records repeat one of them");
}

#[test]
fn dlq_read_of_a_topic_that_is_not_there_advises_nothing_that_cannot_help() {
    let Some(world) = World::real("dlq-read-missing", 1) else { return };
    let missing = format!("{}-nowhere", world.topic);
    for arguments in [&["list"][..], &["stats"], &["show", "abcd"], &["purge", "--yes"]] {
        let output = dlq(&world, &missing, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains(&missing) && !said.contains("create-topics"), "{arguments:?}: {said}");
    }
}

#[test]
fn dlq_read_filters_choose() {
    let Some(world) = World::real("dlq-read-filters", 1) else { return };
    let Some(topic) = mixed(&world, "dlq read filters") else { return };
    for (filters, offsets) in [
        (&["--reason", "validation_error"][..], &[0][..]),
        (&["--key", "k-3"], &[2]),
        (&["--order-id", "o-7"], &[0, 1]),
        (&["--order-id", "k-6"], &[5]),
        (&["--error", "^(took|no JSON)"], &[1, 2]),
        (&["--error", "TimeoutException$"], &[1]),
        (&["--topic-origin", "orders"], &[0, 1, 4]),
        (&["--topic-origin", "orders", "--reason", "TIMEOUT_ERROR"], &[1]),
        (&["--limit", "2"], &[0, 1]),
        (&["--limit", "0"], &[]),
        (&["--replayed"], &[]),
        (&["--replayed=false", "--limit", "1"], &[0]),
        (&["--status", "discarded"], &[]),
        (&["--until", "2023-11-14T22:13:21Z"], &[]),
        (&["--since", "2023-11-14T22:13:21Z", "--until", "2023-11-14T22:13:22Z", "--limit", "3"], &[0, 1, 2]),
        (&["--since", "2h"], &[]),
    ] {
        let rows = dlq_json(&world, &topic, &[&["list"], filters].concat());
        let found: Vec<i64> = rows.iter().map(|row| row["dlq_offset"].as_i64().expect("an offset")).collect();
        assert_eq!(found, offsets, "{filters:?}");
    }
    for wrong in [&["--error", "("][..], &["--since", "soon"], &["--status", "lost"], &["--reason", "x"]] {
        let output = dlq(&world, &topic, &[&["list"], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn dlq_read_shows_one_dead_letter() {
    let Some(world) = World::real("dlq-read-show", 1) else { return };
    let Some(topic) = mixed(&world, "dlq read show") else { return };
    let rows = dlq_json(&world, &topic, &["list"]);
    let id = rows[0]["id"].as_str().expect("an id");
    for wanted in [id, &id[..8], &id[..4].to_uppercase(), "0:0"] {
        let [shown] = &dlq_json(&world, &topic, &["show", wanted])[..] else { panic!("{wanted}") };
        assert_eq!(shown["id"], id, "{wanted}");
    }
    let [shown] = &dlq_json(&world, &topic, &["show", id])[..] else { panic!("one") };
    assert_eq!(shown["original_timestamp"], "2023-11-14T22:13:20.000Z");
    assert_eq!(shown["payload"], r#"{"order_id":"o-7","sequence":1}"#);
    let own = json!([{ "name": "trace", "value": "1" }, { "name": "trace", "value": null }]);
    assert_eq!(shown["headers"], own);
    assert_eq!(shown["validation"]["verdict"], "fails");
    assert_eq!(shown["validation"]["reason"], "VALIDATION_ERROR");
    assert_eq!(shown["chain"].as_array().expect("a chain").len(), 1);

    // What is raw stays raw, and only then.
    assert_eq!(dlq_says(&world, &topic, &["show", "0:3", "--raw"]), b"\xff\x00");
    assert_eq!(dlq_says(&world, &topic, &["show", "0:6", "--raw"]), b"\x1b[31mred");
    for offset in 0..9 {
        let place = format!("0:{offset}");
        assert_harmless(&dlq_says(&world, &topic, &["show", &place]));
        assert_harmless(&dlq_says(&world, &topic, &["show", &place, "--json"]));
    }
    let elsewhere = dlq(&world, &topic, &["show", "0:4", "--raw"]);
    assert_eq!(elsewhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&elsewhere.stderr).contains("orders/0@9"));

    for nowhere in ["0:10", "0:99999", "7:0", "ffffffff-ffff-ffff-ffff-ffffffffffff"] {
        let output = dlq(&world, &topic, &["show", nowhere]);
        assert_eq!(output.status.code(), Some(1), "{nowhere}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("no dead letter"), "{nowhere}");
    }
    assert_eq!(dlq(&world, &topic, &["show", "x"]).status.code(), Some(2));
}

#[test]
fn dlq_read_counts_by_cause_and_origin() {
    let Some(world) = World::real("dlq-read-stats", 1) else { return };
    let Some(topic) = mixed(&world, "dlq read stats") else { return };
    let [stats] = &dlq_json(&world, &topic, &["stats"])[..] else { panic!("one object") };
    assert_eq!((&stats["dead_letters"], &stats["repeats"]), (&json!(9), &json!(1)));
    let counts = |table: &str| -> BTreeMap<String, u64> {
        let rows = stats[table].as_array().expect("a table").iter();
        rows.map(|row| {
            (row["name"].as_str().expect("text").to_owned(), row["count"].as_u64().expect("a count"))
        })
        .collect()
    };
    let expected = [("connect", 2), ("share-group", 1), ("spring", 3), ("streams", 1), ("unknown", 2)];
    let named =
        |rows: &[(&str, u64)]| rows.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    assert_eq!(counts("by_dialect"), named(&expected));
    let expected = [
        ("DESERIALIZATION_ERROR", 1),
        ("PROCESSING_ERROR", 1),
        ("TIMEOUT_ERROR", 2),
        ("UNKNOWN_ERROR", 4),
        ("VALIDATION_ERROR", 1),
    ];
    assert_eq!(counts("by_reason"), named(&expected));
    assert_eq!(counts("by_group"), named(&[("billing", 2), ("share", 1), ("sink", 1)]));
    assert_eq!(counts("by_status"), named(&[("open", 9)]));
    let errors = stats["by_error"].as_array().expect("errors");
    assert!(errors.iter().any(|error| error["error"] == "took # ms"), "{errors:?}");
    assert_eq!(stats["by_hour"], json!([{ "hour": "2023-11-14T22:00:00.000Z", "count": 9 }]));
    assert_eq!(stats["by_origin"].as_array().expect("origins").len(), 5);
    assert_eq!(stats["last_hour"], 0);
    assert_harmless(&dlq_says(&world, &topic, &["stats"]));
    let [timeouts] = &dlq_json(&world, &topic, &["stats", "--reason", "TIMEOUT_ERROR"])[..] else { panic!() };
    assert_eq!(timeouts["dead_letters"], 2);
}

#[test]
fn dlq_read_follows_until_it_is_stopped() {
    let Some(world) = World::real("dlq-read-follow", 2) else { return };
    let flags =
        ["-b", &world.servers, "--topic", &world.topic, "list", "--follow", "--json", "--limit", "100"];
    let mut command = program(env!("CARGO_BIN_EXE_dlq"));
    command.args(flags);
    let mut following =
        crate::support::Running::spawn(command, world.path("x").parent().expect("a folder"), "follow");
    let rows = |following: &crate::support::Running| following.stdout().matches('\n').count();
    for number in 0..3 {
        // A partition that was empty at the start is followed too.
        let record = world.record(number % 2, Some(b"k"), Some(b"x"));
        world.send(vec![record]);
        let expected = usize::try_from(number).expect("a number") + 1;
        wait_until("the dead letter is listed", 30, || rows(&following) == expected);
    }
    following.signal("TERM");
    assert_eq!(following.ended_within(std::time::Duration::from_secs(30)), 0, "{}", following.stderr());
    assert!(following.stderr().contains("3 dead letters"), "{}", following.stderr());
}

#[test]
fn dlq_read_tells_how_each_stands_and_what_was_done() {
    let Some(world) = World::real("dlq-read-status", 1) else { return };
    let Some(topic) = mixed(&world, "dlq read status") else { return };
    let id = dlq_json(&world, &topic, &["list", "--limit", "1"])[0]["id"].as_str().expect("an id").to_owned();
    let status_topic = format!("{topic}-status");
    world.create(&status_topic, 1, &[("cleanup.policy", "compact")]);
    let status = |state: &str, second: u32| {
        let text = json!({ "id": id, "status": state, "timestamp": format!("2026-03-01T12:00:0{second}.000Z"),
                           "by": "ann@\u{1b}host", "why": "a test" });
        Outgoing {
            topic: status_topic.as_str().into(),
            key: Some(id.clone().into_bytes().into()),
            ..world.record(0, None, Some(text.to_string().as_bytes()))
        }
    };
    world.send(vec![status("discarded", 1), status("open", 2), status("replayed", 3)]);
    let junk = Outgoing {
        topic: status_topic.as_str().into(),
        ..world.record(0, Some(b"k"), Some(b"not a status"))
    };
    world.send(vec![junk]);

    let replayed = dlq_json(&world, &topic, &["list", "--status", "replayed"]);
    assert_eq!(replayed.len(), 1);
    assert_eq!((&replayed[0]["id"], &replayed[0]["status"]), (&json!(id), &json!("replayed")));
    assert_eq!(dlq_json(&world, &topic, &["list", "--status", "open"]).len(), 8);
    let [shown] = &dlq_json(&world, &topic, &["show", &id])[..] else { panic!("one") };
    assert_eq!(shown["status"], "replayed");
    let done = shown["statuses"].as_array().expect("what was done");
    let done: Vec<&Value> = done.iter().map(|status| &status["status"]).collect();
    assert_eq!(done, ["discarded", "open", "replayed"]);
    let text = dlq_says(&world, &topic, &["show", &id]);
    assert_harmless(&text);
    assert!(String::from_utf8_lossy(&text).contains("replayed: a test, by ann@"));
}

#[test]
fn dlq_read_knows_a_record_that_died_again() {
    let Some(world) = World::real("dlq-read-chain", 1) else { return };
    let replay = |root: Option<&str>, count: &str| {
        let record = world.record(0, Some(b"k"), Some(b"not an order"));
        match root {
            None => record,
            Some(root) => World::with_headers(
                record,
                &[
                    ("dlq.root-id", Some(root.as_bytes())),
                    ("dlq.replay-id", Some(b"r-1")),
                    ("dlq.replay-count", Some(count.as_bytes())),
                ],
            ),
        }
    };
    world.send(vec![replay(None, "0")]);
    world.track_to_end("first", &[]);
    let root = dlq_json(&world, &world.dlq, &["list"])[0]["id"].as_str().expect("an id").to_owned();
    world.send(vec![replay(Some(&root), "1"), replay(Some(&root), "2")]);
    world.track_to_end("second", &[]);

    let again = dlq_json(&world, &world.dlq, &["list", "--replayed"]);
    assert_eq!(again.len(), 2);
    assert!(again.iter().all(|row| row["root_id"] == root.as_str()), "{again:?}");
    let [stats] = &dlq_json(&world, &world.dlq, &["stats"])[..] else { panic!("one") };
    let expected =
        json!({ "died_again": 2, "most": 2, "chains": 1, "longest": [{ "name": root, "count": 2 }] });
    assert_eq!(stats["replays"], expected);
    for row in dlq_json(&world, &world.dlq, &["list"]) {
        let [shown] = &dlq_json(&world, &world.dlq, &["show", row["id"].as_str().expect("an id")])[..] else {
            panic!("one")
        };
        let chain: Vec<u64> = shown["chain"]
            .as_array()
            .expect("a chain")
            .iter()
            .map(|link| link["replay_count"].as_u64().expect("a count"))
            .collect();
        assert_eq!(chain, [0, 1, 2], "the same history for each of them");
    }
}
