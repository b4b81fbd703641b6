//! The audit log's settings, from the tracker that writes it to every command that reads it.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use crate::support::{World, program, rechain};

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
