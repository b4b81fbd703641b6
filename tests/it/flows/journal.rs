//! The audit log's settings, from the tracker that writes it to every command that reads it.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Answer, Audit, Target, World, program, rechain, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);

struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs the audit tool in the world's folder, on the world's topics.
fn audit(world: &World, arguments: &[&str]) -> Said {
    let names = ["--topic", &world.topic, "--group", &world.group, "--dlq-topic", &world.dlq];
    let mut command = program(env!("CARGO_BIN_EXE_audit"));
    command.args(arguments).args(["-b", &world.servers]).args(names).current_dir(world.path(""));
    let output = command.output().expect("audit runs");
    Said {
        code: output.status.code().expect("a code"),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

#[test]
fn every_command_works_with_lines_that_carry_less_of_the_payload() {
    let Some(mut world) = World::real("payload", 1) else { return };
    // Room for small dead letters only.
    world.create(&world.dlq, 1, &[("max.message.bytes", "6000")]);
    let large = "x".repeat(9000);
    world.send_orders(10);
    world.send(vec![
        world.record(0, Some(b"k"), Some(b"not an order")),
        world.record(0, None, None),
        world.record(0, Some(b"\xff"), Some(b"\xfe\x00")),
        world.record(0, Some(b"large"), Some(large.as_bytes())),
    ]);
    let group = world.group.clone();
    for mode in ["full", "raw", "hash"] {
        world.group = format!("{group}-{mode}");
        let log = world.track_to_end(mode, &["--audit-payload", mode]);
        let outcomes = log.by_offset();
        assert_eq!(outcomes.len(), 14);
        for ((_, offset), entry) in &outcomes {
            let is_order = *offset < 10;
            // The largest one's letter went without it.
            let has_payload = mode != "hash" || *offset == 13;
            assert_eq!(entry.raw_message.is_some(), has_payload && *offset != 11, "{mode} {offset}");
            assert_eq!(entry.raw_message_hash.is_some(), !has_payload && *offset != 11, "{mode} {offset}");
            assert_eq!(entry.order_full.is_some(), is_order && mode == "full", "{mode} {offset}");
        }
        let file = format!("{mode}.events");
        let said = audit(&world, &["prove", &file, "--json"]);
        let proof: serde_json::Value = serde_json::from_str(&said.stdout).expect("JSON");
        assert_eq!((said.code, proof["total"]["records"].as_u64()), (0, Some(14)), "{}", said.stderr);
        assert_eq!((&proof["total"]["unchecked"], &proof["total"]["letters"]), (&0.into(), &4.into()));
        assert_eq!(audit(&world, &["verify", &file]).code, 0);
        assert_eq!(audit(&world, &["cat", &file]).stdout.lines().count(), log.lines.len());
        assert_eq!(audit(&world, &["trace", "o-3", &file, "--json"]).stdout.lines().count(), 2, "{mode}");
        // A start takes the lines for outcomes as ever.
        assert_eq!(world.track_to_end(mode, &["--audit-payload", mode]).by_offset().len(), 14);
    }
}

#[test]
fn a_payload_that_differs_from_its_hash_is_found() {
    let Some(world) = World::real("payload-differs", 1) else { return };
    world.send_orders(3);
    let log = world.track_to_end("tracker", &["--audit-payload", "hash"]);
    let hash = log.entries[1].raw_message_hash.clone().expect("a hash");
    let mut other = hash.clone();
    other.replace_range(..4, if hash.starts_with("0000") { "1111" } else { "0000" });
    let path = world.path("tracker.events");
    rechain(&path, &path, |_, line| Some(line.replace(&hash, &other)));
    let said = audit(&world, &["prove", "tracker.events"]);
    assert!(said.code == 6 && said.stderr.contains("/0@1: key or payload"), "{}", said.stderr);
}

/// The gaps that an audit log tells of.
fn gaps(log: &Audit) -> Vec<(i64, i64)> {
    let lines = log.lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let gaps = lines.filter(|line| line["event_type"] == "audit.gap");
    gaps.map(|gap| {
        assert!(gap["topic_id"].is_string() && gap["partition"] == 0, "{gap}");
        (gap["from"].as_i64().expect("a number"), gap["to"].as_i64().expect("a number"))
    })
    .collect()
}

const ALARM: &str = "records are lost";

#[test]
fn records_that_were_deleted_unread_end_the_start_or_get_a_line_before_it_goes_on() {
    let Some(world) = World::real("gap", 1) else { return };
    world.send_orders(10);
    world.track_to_end("tracker", &[]);
    world.send_orders(10);
    world.delete_records(0, 15);

    let mut stopped = world.tracker("tracker", &["--exit-at-end"]);
    assert_eq!(stopped.ended_within(PATIENCE), 6, "{}", stopped.stderr());
    assert!(stopped.stderr().contains("from offset 10 up to 15"), "{}", stopped.stderr());
    assert_eq!((stopped.said(ALARM), world.committed()), (1, vec![10]));

    let log = world.track_to_end("tracker", &["--on-gap", "continue"]);
    let done: Vec<i64> = log.by_offset().into_keys().map(|(_, offset)| offset).collect();
    assert_eq!(done, (0..10).chain(15..20).collect::<Vec<_>>());
    assert_eq!((gaps(&log), world.committed()), (vec![(10, 15)], vec![20]));
    let alarm = stopped.log().into_iter().rfind(|line| line.message.starts_with(ALARM)).expect("an alarm");
    assert_eq!((alarm.level.as_str(), stopped.said(ALARM)), ("ERROR", 2));

    // It is told once, verified, and no loss.
    assert_eq!(gaps(&world.track_to_end("tracker", &["--on-gap", "continue"])), [(10, 15)]);
    assert_eq!(audit(&world, &["verify", "tracker.events"]).code, 0);
    let said = audit(&world, &["prove", "tracker.events", "--json"]);
    let proof: serde_json::Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(said.code, 0, "{}", said.stderr);
    let total = &proof["total"];
    assert_eq!(
        [&total["records"], &total["deleted_unread"], &total["missing"], &total["gaps"]],
        [5, 5, 0, 0]
    );
    let text = audit(&world, &["prove", "tracker.events"]).stdout;
    assert!(text.contains("5 offsets deleted by retention before the group read them"), "{text}");
    assert!(audit(&world, &["cat", "tracker.events"]).stdout.contains("audit.gap"));
}

#[test]
fn records_that_are_deleted_while_the_tracker_runs_get_their_line_too() {
    let Some(world) = World::real("gap-running", 1) else { return };
    let open = Arc::new(AtomicBool::new(false));
    let is_open = Arc::clone(&open);
    let target =
        Target::start(move |_| Answer::Status(if is_open.load(Ordering::Acquire) { 200 } else { 503 }));
    let url = target.url();
    world.send_orders(60);
    // A record in retry holds the partition back: nothing behind it is fetched.
    let flags = ["--on-gap", "continue", "--deliver-to", &url, "--max-in-flight-records", "1"];
    let patient =
        ["--outage-guard", "off", "--retry-initial", "200ms", "--retry-max", "200ms", "--max-retries", "500"];
    let mut tracker = world.tracker("tracker", &[&flags[..], &patient].concat());
    wait_until("the first order is refused", 45, || target.requests().len() > 2);
    world.delete_records(0, 50);
    open.store(true, Ordering::Release);
    tracker.wait_said(ALARM, 1);
    wait_until("everything is committed", 45, || world.committed() == [60]);
    tracker.stop();
    let log = world.audit("tracker");
    let (found, outcomes) = (gaps(&log), log.by_offset());
    let [(from, 50)] = found[..] else { panic!("{found:?}") };
    // What was read before has its outcome, and so has what is behind the gap; the line came before the latter.
    let expected: Vec<i64> = (0..from).chain(50..60).collect();
    assert_eq!(outcomes.into_keys().map(|(_, offset)| offset).collect::<Vec<_>>(), expected);
    assert_eq!(audit(&world, &["prove", "tracker.events"]).code, 0);
}

#[test]
fn packed_segments_are_verified_proven_traced_and_gone_on_from() {
    let Some(world) = World::real("packed", 1) else { return };
    let flags = ["--events-max-bytes", "64KiB", "--events-compress", "zstd"];
    for _ in 0..2 {
        world.send_orders(120);
        let mut tracker = world.tracker("tracker", &flags);
        wait_until("every segment is packed", 60, || {
            world.committed() == world.ends()
                && files(&world).iter().all(|name| name == "tracker.events" || name.ends_with(".zst"))
        });
        tracker.stop();
    }
    let names = files(&world);
    assert!(names.len() >= 3 && names[1] == "tracker.events.000001.zst", "{names:?}");
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let run = |command: &str| audit(&world, &[&[command, "--json"], &all[..]].concat());
    let said = run("prove");
    let proof: serde_json::Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!((said.code, proof["total"]["records"].as_u64()), (0, Some(240)), "{}", said.stderr);
    assert_eq!(run("verify").code, 0);
    let own = |arguments: &[&str]| audit(&world, &[arguments, &["--events-file", "tracker.events"]].concat());
    let lines = own(&["cat", "--outcome", "processed"]).stdout;
    assert_eq!(lines.lines().count(), 240);
    // Both times the same ids were sent.
    assert_eq!(own(&["trace", "o-0", "--json"]).stdout.lines().count(), 4);

    let path = world.path("tracker.events.000001.zst");
    let mut bytes = std::fs::read(&path).expect("the segment");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).expect("written");
    let said = run("verify");
    assert!(said.code == 6 && said.stderr.contains("tracker.events.000001.zst"), "{}", said.stderr);
}

/// The audit log's files: the live one, then the sealed ones.
fn files(world: &World) -> Vec<String> {
    let folder = std::fs::read_dir(world.path("")).expect("the folder");
    let names = folder.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("tracker.events")).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_segment_is_sealed_when_asked_for_by_the_tracker_or_without_one() {
    let Some(world) = World::real("rotate", 1) else { return };
    let rotate =
        |flags: &[&str]| audit(&world, &[&["rotate", "--events-file", "tracker.events"], flags].concat());
    assert_eq!(rotate(&[]).code, 2, "there is no log yet");
    world.send_orders(10);
    let mut tracker = world.tracker("tracker", &[]);
    tracker.wait_lines(10);
    let said = rotate(&[]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let expected = format!("sealed tracker.events.000001, by the tracker (pid {} on ", tracker.pid());
    assert!(said.stdout.starts_with(&expected), "{}", said.stdout);
    world.send_orders(10);
    wait_until("it goes on in a new file", 45, || world.committed() == [20]);

    // One that does not answer is not waited for without end, and does not find the request later.
    tracker.signal("STOP");
    let said = rotate(&["--timeout", "500ms"]);
    assert!(said.code == 1 && said.stderr.contains(&format!("pid {}", tracker.pid())), "{}", said.stderr);
    tracker.signal("CONT");
    tracker.stop();
    assert_eq!(files(&world).len(), 2, "{:?}", files(&world));

    let said = rotate(&["--json"]);
    let rotated: serde_json::Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!((&rotated["segment"], &rotated["sealed_by"]), (&2.into(), &serde_json::Value::Null));
    world.send_orders(10);
    world.run_to_end("tracker", &[]);
    let names = files(&world);
    assert_eq!(names.len(), 3, "{names:?}");
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let said = audit(&world, &[&["prove", "--json"], &all[..]].concat());
    let proof: serde_json::Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!((said.code, proof["total"]["records"].as_u64()), (0, Some(30)), "{}", said.stderr);
}

fn write_key(world: &World, name: &str, digits: &str, mode: u32) {
    std::fs::write(world.path(name), digits.repeat(32)).expect("written");
    std::fs::set_permissions(world.path(name), std::fs::Permissions::from_mode(mode)).expect("changed");
}

#[test]
fn a_keyed_audit_log_is_written_verified_and_proven_with_its_key_alone() {
    let Some(world) = World::real("keyed", 1) else { return };
    for (name, digits, mode) in [("key", "5a", 0o600), ("other", "5b", 0o600), ("open", "5a", 0o644)] {
        write_key(&world, name, digits, mode);
    }
    world.send_orders(20);
    world.send(vec![world.record(0, None, Some(b"not an order"))]);
    let key = ["--audit-key-file", "key"];
    world.run_to_end("tracker", &key);

    let run = |command: &str, key: &[&str]| audit(&world, &[&[command, "tracker.events"], key].concat());
    for command in ["verify", "prove"] {
        let said = run(command, &key);
        assert_eq!(said.code, 0, "{command}: {}", said.stderr);
        for (flags, expected) in [
            (&[][..], "was written with a key (id "),
            (&["--audit-key-file", "other"], "was written with another key"),
            (&["--audit-key-file", "open"], "chmod 600 open"),
            (&["--audit-key-file", "missing"], "--audit-key-file: read missing"),
        ] {
            let said = run(command, flags);
            assert!(said.code == 2 && said.stderr.contains(expected), "{command} {flags:?}: {}", said.stderr);
        }
    }
    // It goes on with its key, and with no other one.
    world.send_orders(5);
    for (flags, expected) in [
        (&[][..], "was written with a key (id "),
        (&["--audit-key-file", "other"], "was written with another key"),
    ] {
        let mut tracker = world.tracker("tracker", flags);
        let code = tracker.ended_within(PATIENCE);
        assert!(code == 2 && tracker.stderr().contains(expected), "{flags:?}: {}", tracker.stderr());
    }
    world.run_to_end("tracker", &key);
    assert_eq!(run("prove", &key).code, 0);

    // With the key, what was changed is damage; who has no key cannot make a chain that holds.
    let text = std::fs::read_to_string(world.path("tracker.events")).expect("the log");
    let changed = text.replacen("\"quantity\":2", "\"quantity\":3", 1);
    std::fs::write(world.path("tracker.events"), changed).expect("written");
    let said = run("verify", &key);
    assert!(said.code == 6 && said.stderr.contains("tracker.events: line "), "{}", said.stderr);

    // A log without a key is not taken for a keyed one.
    world.run_to_end("plain", &[]);
    let said = audit(&world, &["verify", "plain.events", "--audit-key-file", "key"]);
    assert!(said.code == 2 && said.stderr.contains("was written without a key"), "{}", said.stderr);
    assert!(said.stdout.is_empty());
}
