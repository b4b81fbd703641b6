//! `audit prove` on Kafka: a run is proven, whatever happened on its way, and nothing that is missing goes unnoticed.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use rdkafka::producer::{BaseRecord, Producer as _};
use serde_json::Value;

use crate::support::{World, bytes, order, program, rechain, wait_for};

/// Runs `audit prove` on files in the world's folder.
fn run(world: &World, files: &[&str], flags: &[&str]) -> Output {
    run_on(&world.servers, world, files, flags)
}

fn run_on(servers: &str, world: &World, files: &[&str], flags: &[&str]) -> Output {
    let names = ["--topic", &world.topic, "--group", &world.group, "--dlq-topic", &world.dlq];
    program(env!("CARGO_BIN_EXE_audit"))
        .args(["prove", "-b", servers])
        .args(names)
        .args(flags)
        .args(files)
        .current_dir(world.path(""))
        .output()
        .expect("audit runs")
}

struct Proven {
    code: i32,
    json: Value,
    stderr: String,
}

impl Proven {
    fn total(&self, count: &str) -> u64 {
        self.json["total"][count].as_u64().unwrap_or_else(|| panic!("no {count} in {}", self.json))
    }

    fn violations(&self, kind: &str) -> u64 {
        self.json["violations"]["counts"][kind].as_u64().unwrap_or(0)
    }
}

fn prove(world: &World, files: &[&str]) -> Proven {
    let output = run(world, files, &["--json"]);
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {stderr}"));
    Proven { code: output.status.code().expect("a code"), json, stderr }
}

fn assert_proven(world: &World, files: &[&str]) -> Proven {
    let proven = prove(world, files);
    assert_eq!(proven.code, 0, "{}\n{}", proven.stderr, proven.json);
    assert_eq!(proven.json["proven"], true);
    assert_eq!(proven.violations_total(), 0);
    proven
}

impl Proven {
    fn violations_total(&self) -> u64 {
        self.json["violations"]["total"].as_u64().expect("a number")
    }
}

/// 30 orders and 2 that are none, tracked to the end.
fn tracked(flow: &str) -> Option<World> {
    let world = World::real(flow, 2)?;
    world.send_orders(30);
    world.send(vec![
        world.record(0, Some(b"\xff"), Some(b"not an order")),
        world.record(1, None, Some(b"\xfe\x00")),
    ]);
    world.track_to_end("tracker", &[]);
    Some(world)
}

fn audit(world: &World, arguments: &[&str]) -> (i32, String) {
    let mut command = program(env!("CARGO_BIN_EXE_audit"));
    let output = command.args(arguments).current_dir(world.path("")).output().expect("audit runs");
    (output.status.code().expect("a code"), String::from_utf8(output.stdout).expect("UTF-8"))
}

#[test]
fn the_story_of_an_order_and_its_lines_are_found() {
    let Some(world) = World::any("story", 1) else { return };
    let mut bad = order("o-1");
    bad["items"][0]["quantity"] = 0.into();
    let replayed = [("dlq.replay-id", Some(&b"r-1"[..]))];
    world.send(vec![
        world.record(0, Some(b"k"), Some(&bytes(&bad))),
        world.record(0, Some(b"o-2"), Some(b"\x1b[31m")),
        World::with_headers(world.record(0, Some(b"k"), Some(&bytes(&order("o-1")))), &replayed),
    ]);
    let lines = world.track_to_end("tracker", &[]).lines;

    // Without files: the own ones, here named by the setting.
    let (code, text) = audit(&world, &["trace", "o-1", "--events-file", "tracker.events", "--json"]);
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let what = |event: &Value| (event["event"].as_str().expect("text").to_owned(), event["offset"].as_i64());
    let mut whats: Vec<_> = events.iter().map(what).collect();
    // The records were all sent at about the same time, before the first outcome.
    whats.sort_unstable();
    let expected = [("dead_lettered", 0), ("processed", 2), ("replayed", 2), ("sent", 0)];
    assert_eq!((code, whats), (0, expected.map(|(what, at)| (what.to_owned(), Some(at))).to_vec()));
    let dead = events.iter().find(|e| e["event"] == "dead_lettered").expect("a dead letter");
    assert_eq!((&dead["failure_reason"], &dead["dlq_offset"]), (&"VALIDATION_ERROR".into(), &0.into()));
    let replay = events.iter().find(|e| e["event"] == "replayed").expect("a replay");
    assert_eq!(replay["replay_id"], "r-1");

    let (code, text) = audit(&world, &["trace", "o-2", "tracker.events"]);
    assert!(code == 0 && text.contains("dead-lettered") && !text.contains('\u{1b}'), "{text}");
    assert_eq!(audit(&world, &["trace", "o-3", "tracker.events"]), (1, String::new()));

    let whole: String = lines.iter().map(|line| format!("{line}\n")).collect();
    assert_eq!(audit(&world, &["cat", "tracker.events"]), (0, whole));
    let (_, dead) = audit(&world, &["cat", "tracker.events", "--outcome", "dead_lettered"]);
    assert_eq!(dead.lines().count(), 2);
    let (_, one) =
        audit(&world, &["cat", "tracker.events", "--reason", "DESERIALIZATION_ERROR", "--since", "1h"]);
    assert_eq!(one.lines().count(), 1);
    assert_eq!(
        audit(&world, &["cat", "tracker.events", "--until", "2020-01-01T00:00:00Z"]),
        (0, String::new())
    );
    assert_eq!(audit(&world, &["cat", "nowhere.events"]).0, 1);
    assert_eq!(audit(&world, &["cat", "tracker.events", "--since", "soon"]).0, 2);
}

/// Leaves out the lines that are not kept.
fn rewrite(from: &Path, to: &Path, keep: impl Fn(usize, &str) -> bool) {
    rechain(from, to, |number, line| keep(number, line).then(|| line.to_owned()));
}

#[test]
fn a_clean_run_is_proven_from_its_file_alone() {
    let Some(mut world) = tracked("proof") else { return };
    let proven = assert_proven(&world, &["tracker.events"]);
    let counts = ["records", "processed", "dead_lettered", "letters", "missing", "pending", "gaps"];
    assert_eq!(counts.map(|count| proven.total(count)), [32, 30, 2, 2, 0, 0, 0]);
    assert_eq!(proven.json["heads"], 1);
    assert_eq!(proven.json["partitions"].as_array().map(Vec::len), Some(2));

    let table = String::from_utf8(run(&world, &["tracker.events"], &[]).stdout).expect("UTF-8");
    assert!(table.contains("proven: 32 committed records, each with its outcome"), "{table}");

    // Other dead letters in the same topic, and another group's, are not this group's business.
    let own = std::mem::replace(&mut world.group, format!("{}-another", world.topic));
    world.track_to_end("other", &[]);
    assert_eq!(
        run(&world, &["tracker.events"], &[]).status.code(),
        Some(2),
        "the wrong group was not refused"
    );
    assert_proven(&world, &["other.events"]);
    world.group = own;
    assert_eq!(assert_proven(&world, &["tracker.events"]).total("letters"), 2);
}

#[test]
fn what_is_taken_from_the_audit_log_is_missed() {
    let Some(world) = tracked("taken") else { return };
    let live = world.path("tracker.events");
    let lines = std::fs::read_to_string(&live).expect("the log").lines().count();

    // One line less, the chain made sound again.
    rewrite(&live, &world.path("one-less.events"), |_, line| !line.contains("\"kafka_key\":\"o-7\""));
    let proven = prove(&world, &["one-less.events"]);
    assert_eq!((proven.code, proven.total("missing"), proven.violations("missing")), (6, 1, 1));
    let place = format!("{}/1@3: this record is committed, but has no line", world.topic);
    assert!(proven.stderr.contains(&place), "{}", proven.stderr);
    assert_eq!(proven.violations("journal_cut"), 1, "{}", proven.json);

    // The line of a dead letter less.
    rewrite(&live, &world.path("no-letter.events"), |_, line| {
        !line.contains("\"raw_message\":\"not an order\"")
    });
    let proven = prove(&world, &["no-letter.events"]);
    assert_eq!((proven.code, proven.violations("missing"), proven.violations("letter_unlisted")), (6, 1, 1));

    // The tail cut off, down to a line break: its chain is sound.
    rewrite(&live, &world.path("cut.events"), |number, _| number < lines - 2);
    let proven = prove(&world, &["cut.events"]);
    assert_eq!((proven.code, proven.violations("journal_cut")), (6, 1), "{}", proven.json);

    // Another file instead.
    std::fs::write(world.path("empty.events"), "").expect("written");
    let proven = prove(&world, &["empty.events"]);
    assert_eq!((proven.code, proven.violations("journal_not_given")), (6, 1), "{}", proven.json);
    assert_eq!(proven.violations("missing"), 32);

    // A file that was changed is refused before Kafka is asked anything.
    let changed =
        std::fs::read_to_string(&live).expect("the log").replacen("\"quantity\":2", "\"quantity\":3", 1);
    std::fs::write(world.path("changed.events"), changed).expect("written");
    let output = run_on("127.0.0.1:1", &world, &["changed.events"], &["--connect-timeout", "300ms"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{stderr}");
    assert!(stderr.contains("changed.events: line "), "{stderr}");

    let output = run_on("127.0.0.1:1", &world, &["tracker.events"], &["--connect-timeout", "300ms"]);
    assert_eq!(output.status.code(), Some(5), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::copy(&live, world.path("copy.events")).expect("copied");
    let output = run(&world, &["tracker.events", "copy.events"], &[]);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_dead_letter_that_was_purged_is_not_lost() {
    let Some(world) = tracked("purged") else { return };
    world.delete_records_of(&world.dlq, 0, 1);
    let proven = assert_proven(&world, &["tracker.events"]);
    assert_eq!((proven.total("letters"), proven.total("letters_purged")), (1, 1));

    // So are records that retention has passed.
    world.delete_records(0, 5);
    let proven = assert_proven(&world, &["tracker.events"]);
    assert_eq!((proven.total("records"), proven.total("expired")), (27, 5));

    // The whole topic gone is another matter.
    world.delete(&world.dlq);
    let proven = prove(&world, &["tracker.events"]);
    assert_eq!((proven.code, proven.violations("letter_lost")), (6, 2), "{}", proven.json);
}

#[test]
fn all_segments_together_are_proven_and_a_part_of_them_says_what_is_not_given() {
    let Some(world) = World::real("proof-segments", 1) else { return };
    for _ in 0..3 {
        world.send_orders(80);
        world.run_to_end("tracker", &["--events-max-bytes", "64KiB"]);
    }
    let is_segment = |name: &String| name.starts_with("tracker.events");
    let folder = std::fs::read_dir(world.path("")).expect("the folder");
    let names = folder.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned());
    let mut segments: Vec<String> = names.filter(is_segment).collect();
    // The live one comes first, then the sealed ones.
    segments.sort_unstable();
    let all: Vec<&str> = segments.iter().map(String::as_str).collect();
    assert!(all.len() >= 3, "{all:?}");
    assert_eq!(assert_proven(&world, &all).total("records"), 240);

    let without_first_sealed = [&all[..1], &all[2..]].concat();
    let proven = prove(&world, &without_first_sealed);
    assert!(proven.code == 6 && proven.total("missing") > 0, "{}", proven.json);
    assert!(proven.stderr.contains("in segments that were not given"), "{}", proven.stderr);
    let without_live = prove(&world, &all[1..]);
    assert_eq!((without_live.code, without_live.violations("journal_cut")), (6, 1), "{}", without_live.json);
    assert!(!without_live.stderr.contains("in segments that were not given"), "{}", without_live.stderr);
}

#[test]
fn a_takeover_after_a_crash_repeats_and_loses_nothing() {
    let Some(world) = World::real("takeover", 2) else { return };
    world.send_orders(40);
    world.send(vec![world.record(0, None, Some(b"not an order"))]);
    // What it does is never committed: whoever takes over cannot know of it.
    let flags = ["--session-timeout", "6s", "--max-poll-interval", "6s", "--shutdown-timeout", "2s"];
    let mut first = world.tracker("first", &[&flags[..], &["--commit-interval", "1h"]].concat());
    first.wait_lines(41);
    wait_for("the first one's head", 20, || {
        let heads = world.read("orders-audit-heads");
        let ours = |key: &[u8]| key.starts_with(format!("{}/", world.group).as_bytes());
        heads.iter().any(|head| head.key.as_deref().is_some_and(ours)).then_some(())
    });
    first.signal("KILL");
    first.ended_within(Duration::from_secs(10));
    world.track_to_end("second", &flags);

    let proven = assert_proven(&world, &["first.events", "second.events"]);
    assert_eq!((proven.total("records"), proven.total("repeats"), proven.total("duplicates")), (41, 41, 0));
    assert_eq!((proven.total("dead_lettered"), proven.total("letters")), (1, 1));
    // Neither file may be left out, though the second one alone has every line.
    let proven = prove(&world, &["second.events"]);
    assert_eq!((proven.code, proven.violations("journal_not_given"), proven.total("missing")), (6, 1, 0));
}

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn aborted_transactions_and_markers_are_no_loss() {
    let Some(world) = World::real("proof-transactions", 1) else { return };
    let producer = world.transactional_producer();
    for (id, commit) in [("a", true), ("gone", false), ("b", true), ("gone too", false)] {
        producer.begin_transaction().expect("begun");
        let value = bytes(&order(id));
        producer
            .send(BaseRecord::to(&world.topic).key(id).payload(&value))
            .map_err(|(e, _)| e)
            .expect("sent");
        producer.flush(PATIENCE).expect("acknowledged");
        let ended =
            if commit { producer.commit_transaction(PATIENCE) } else { producer.abort_transaction(PATIENCE) };
        ended.expect("ended");
    }
    world.track_to_end("tracker", &[]);
    assert_eq!(world.committed(), [8]);
    let proven = assert_proven(&world, &["tracker.events"]);
    assert_eq!((proven.total("records"), proven.total("gaps"), proven.total("orphans")), (2, 6, 0));
}

#[test]
fn what_compaction_removed_is_no_loss() {
    let Some(mut world) = World::real("proof-compaction", 1) else { return };
    world.topic = format!("{}-compacted", world.topic);
    let eager = [("segment.ms", "50"), ("min.cleanable.dirty.ratio", "0.01")];
    world.create(&world.topic, 1, &eager);
    let send = |number: i64| {
        let value = bytes(&order(&format!("o-{number}")));
        world.send(vec![world.record(0, Some(b"same key"), Some(&value))]);
    };
    (0..5).for_each(send);
    world.track_to_end("tracker", &[]);
    assert_eq!(assert_proven(&world, &["tracker.events"]).total("records"), 5);
    // Not before they were all seen.
    world.alter(&world.topic, "cleanup.policy", "compact");
    let mut number = 5;
    wait_for("the compaction", 90, || {
        // A record in a later segment lets the cleaner have the earlier ones.
        std::thread::sleep(Duration::from_millis(300));
        number += 1;
        send(number);
        (world.read(&world.topic)[0].offset > 0).then_some(())
    });
    world.track_to_end("tracker", &[]);
    let proven = assert_proven(&world, &["tracker.events"]);
    assert!(proven.total("compacted") > 0 && proven.total("gaps") > 0, "{}", proven.json);
}
