//! Hostile text all the way: what a terminal would obey goes in by every door (payload, key, header, flag, file name),
//! through producer, tracker and tools, and comes out of none.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use pubsub_kafka::models::is_unsafe;
use serde_json::json;

use crate::support::{Answer, Target, World, bytes, order, program};

/// Colours, the clipboard (OSC 52), the title, C1 as UTF-8, DEL, bidi controls, line breaks, NUL.
const HOSTILE: &str = "\u{1b}[31m\u{1b}]52;c;cm0gLXJm\u{7}\u{1b}]0;t\u{1b}\\\u{9b}2J\u{9d}x\u{9c}\u{7f}\u{202e}gnp\u{2066}\r\n\u{2028}\u{feff}\0z";
/// One MiB of it.
const MANY: usize = 1 << 20;

fn is_clean(place: &str, text: &str) {
    for line in text.split('\n') {
        // A terminal turns a line break into two characters.
        let line = line.strip_suffix('\r').unwrap_or(line);
        if let Some(at) = line.find(is_unsafe) {
            let around: String = line[at..].chars().take(40).collect();
            panic!("{place} has a raw {}", around.escape_debug());
        }
    }
}

/// Runs a command; nothing raw may be in what it says.
fn says(mut command: Command, codes: &[i32]) -> String {
    let output = command.output().expect("the program starts");
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8(text).unwrap_or_else(|e| panic!("{command:?}: {e}"));
    is_clean(&format!("{command:?}").escape_debug().to_string(), &text);
    let code = output.status.code();
    assert!(code.is_some_and(|code| codes.contains(&code)), "{command:?}: {code:?}: {:.3000}", text);
    text
}

/// The payloads: no order at all, an order that breaks rules, one that is fine, one that the target refuses.
fn payloads() -> Vec<Vec<u8>> {
    // JSON allows all but the C0 controls within its strings.
    let bare = HOSTILE.replace(|c: char| c < ' ', "");
    let large = HOSTILE.repeat(MANY / HOSTILE.len() + 1);
    let mut fine = order(&bare);
    fine["customer_info"]["name"] = json!(HOSTILE);
    let mut refused = order("refused by the target");
    refused["shipping_address"] = json!(HOSTILE);
    vec![
        HOSTILE.as_bytes().to_vec(),
        [HOSTILE.as_bytes(), b"\xff\x1b[2J\x9b"].concat(),
        large.as_bytes()[..MANY].to_vec(),
        vec![0x1b; MANY],
        bytes(
            &json!({ "order_id": HOSTILE, "sequence": 0, "status": HOSTILE, "items": [{ "item_name": HOSTILE }] }),
        ),
        format!("{{\"{bare}\":1,\"{bare}\":2}}").into_bytes(),
        bytes(&json!({ "order_id": large, "sequence": -1, "status": "" })),
        bytes(&fine),
        bytes(&refused),
    ]
}

/// The records of `payloads`, with hostile keys and headers; and the same payloads through the producer's `--input`.
fn send(world: &World) -> usize {
    let payloads = payloads();
    let key = HOSTILE.as_bytes();
    let headers = [
        (HOSTILE.trim_end_matches("\0z"), Some(key)),
        ("dlq.replay-id", Some(key)),
        ("kafka_dlt-original-topic", Some(key)),
        ("null", None),
    ];
    let record = |value: &Vec<u8>| World::with_headers(world.record(0, Some(key), Some(value)), &headers);
    world.send(payloads.iter().map(record).collect());

    let lines: Vec<Vec<u8>> =
        payloads.iter().map(|value| value.iter().copied().filter(|byte| *byte != b'\n').collect()).collect();
    std::fs::write(world.path("orders.jsonl"), lines.join(&b'\n')).expect("written");
    let mut producer = program(env!("CARGO_BIN_EXE_producer"));
    producer.current_dir(world.path(".")).args(["-b", &world.servers, "--topic", &world.topic, "-vv"]);
    producer.args(["--input", "orders.jsonl", "--rate", "max", "--max-message-bytes", "4MiB"]);
    let said = says(producer, &[0]);
    let sent = format!("sent {0}, acknowledged {0}, failed 0", lines.len());
    assert!(said.contains(&sent), "{said}");
    payloads.len() + lines.len()
}

fn tool(world: &World, path: &str, arguments: &[&str]) -> Command {
    let mut command = program(path);
    command.current_dir(world.path(".")).args(["-b", &world.servers]).args(arguments);
    command
}

/// A tool whose standard output is a terminal.
fn on_a_terminal(world: &World, path: &str, arguments: &[&str]) -> Command {
    let spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let mut command = program("python3");
    command.current_dir(world.path(".")).args(["-c", spawn, path]).args(arguments);
    command
}

/// The audit log without the one field that is the order's own bytes.
fn without_orders(text: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Line<'a> {
        #[serde(borrow)]
        order_full: Option<&'a serde_json::value::RawValue>,
    }
    let rest = |line: &str| {
        let parsed: Line<'_> = serde_json::from_str(line).expect("JSON");
        line.replacen(parsed.order_full.map_or("", serde_json::value::RawValue::get), "", 1)
    };
    text.split_terminator('\n').map(rest).collect::<Vec<_>>().join("\n")
}

#[test]
fn nothing_hostile_reaches_a_terminal_a_log_or_an_error() {
    let Some(world) = World::real("hostile-text", 1) else { return };
    world.alter(&world.topic, "max.message.bytes", "8388608");
    let count = send(&world);
    let target = Target::start(|request| {
        let refused = request.body.windows(7).any(|part| part == b"refused");
        if refused { Answer::Text(422, HOSTILE) } else { Answer::Status(200) }
    });
    let flags =
        ["--deliver-to", &target.url(), "--outage-guard", "off", "--max-message-bytes", "4MiB", "-vv"];
    let audit = world.track_to_end("tracker", &flags);
    assert_eq!(audit.entries.len(), count);
    let dead = audit.entries.iter().filter(|entry| entry.failure_reason.is_some()).count();
    assert_eq!(count - dead, 2, "one order is fine, twice");
    for file in ["tracker.log", "tracker.stderr", "tracker.stdout"] {
        is_clean(file, &std::fs::read_to_string(world.path(file)).expect("UTF-8"));
    }
    is_clean(
        "tracker.events",
        &without_orders(&std::fs::read_to_string(world.path("tracker.events")).expect("UTF-8")),
    );
    tools_are_clean(&world, dead);
}

#[cfg(not(all(feature = "dlq", feature = "audit")))]
fn tools_are_clean(_: &World, _: usize) {
    crate::support::not_run("hostile-text", "the tools are not compiled in");
}

#[cfg(all(feature = "dlq", feature = "audit"))]
fn tools_are_clean(world: &World, dead: usize) {
    let dlq = |arguments: &[&str]| {
        let topic = ["--topic", &world.dlq];
        says(tool(world, env!("CARGO_BIN_EXE_dlq"), &[arguments, &topic].concat()), &[0])
    };
    let listed = dlq(&["list", "--json"]);
    assert_eq!(listed.lines().filter(|line| line.starts_with('{')).count(), dead, "{listed:.2000}");
    dlq(&["list"]);
    dlq(&["stats"]);
    dlq(&["stats", "--json"]);
    let letters: Vec<serde_json::Value> = listed
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line:.300}: {e}")))
        .collect();
    let flags = ["-b", &world.servers, "--topic", &world.dlq];
    for letter in &letters {
        let id = letter["id"].as_str().expect("an id");
        dlq(&["show", id]);
        dlq(&["show", "--json", id]);
    }
    for action in [&["list"][..], &["stats"], &["show", letters[0]["id"].as_str().expect("an id")]] {
        says(on_a_terminal(world, env!("CARGO_BIN_EXE_dlq"), &[action, &flags].concat()), &[0]);
    }
    dlq(&["export", "-o", "letters.jsonl"]);
    let exported = std::fs::read_to_string(world.path("letters.jsonl")).expect("UTF-8");
    assert_eq!(exported.lines().filter(|line| line.contains("\"value")).count(), dead, "{exported:.1000}");
    is_clean("the export", &exported);
    let planned = dlq(&["plan", "-o", "plan.json"]);
    assert!(planned.contains("fails_again"), "{planned:.1000}");
    dlq(&["plan", "--json", "-o", "again.json"]);
    is_clean("the plan", &std::fs::read_to_string(world.path("plan.json")).expect("UTF-8"));
    for file in ["letters.jsonl", "plan.json"] {
        let mode = std::fs::metadata(world.path(file)).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    dlq(&["apply", "plan.json", "--dry-run"]);
    dlq(&["apply", "plan.json", "--dry-run", "--json"]);
    // Nothing was sent: all of it is pending.
    for json in [&[][..], &["--json"]] {
        let topic = [&["status", "plan.json"], json, &flags[2..]].concat();
        says(tool(world, env!("CARGO_BIN_EXE_dlq"), &topic), &[3]);
    }
    let why = HOSTILE.replace('\0', "");
    dlq(&["discard", "--limit", "1", "--why", &why, "--yes"]);
    dlq(&["show", letters[0]["id"].as_str().expect("an id")]);
    dlq(&["list", "--key", &HOSTILE.replace('\0', "")]);

    const AUDIT: &str = env!("CARGO_BIN_EXE_audit");
    let audit = |arguments: &[&str], code| says(tool(world, AUDIT, arguments), &[code]);
    let bare = HOSTILE.replace(|c: char| c < ' ', "");
    for arguments in [&["trace", &bare][..], &["trace", "--json", &bare]] {
        let told = audit(&[arguments, &["tracker.events"]].concat(), 0);
        assert!(told.contains("processed"), "{told}");
    }
    assert!(audit(&["trace", "\u{1b}]0;nobody\u{7}", "tracker.events"], 1).contains("nobody"));
    audit(&["verify", "tracker.events"], 0);
    audit(
        &[
            "prove",
            "tracker.events",
            "--topic",
            &world.topic,
            "--group",
            &world.group,
            "--dlq-topic",
            &world.dlq,
        ],
        0,
    );
    let piped = tool(world, AUDIT, &["cat", "tracker.events"]).output().expect("the program starts").stdout;
    assert!(std::fs::read(world.path("tracker.events")).expect("read") == piped, "a pipe gets the bytes");
    let shown = says(on_a_terminal(world, AUDIT, &["cat", "tracker.events"]), &[0]);
    assert!(shown.contains("\\u{202e}"), "the order's own bytes are written out");

    // A log that somebody has changed, under a name that is hostile too.
    let changed = world.path("\u{1b}]52;c;eA==\u{7}.events");
    let mut bytes = std::fs::read(world.path("tracker.events")).expect("read");
    let at = bytes.iter().rposition(|byte| *byte == b'z').expect("a letter");
    bytes[at] = 0x1b;
    std::fs::write(&changed, bytes).expect("written");
    let name = changed.to_str().expect("UTF-8");
    assert!(audit(&["verify", name], 6).contains("does not follow"));
    audit(&["trace", "--json", &bare, name], 0);
    says(on_a_terminal(world, AUDIT, &["cat", name]), &[0]);
    audit(&["verify", "no such \u{1b}[2J file"], 1);
}

#[test]
fn hostile_settings_are_refused_without_being_obeyed() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = HOSTILE.replace(['\0', '\n'], "");
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        path.display().to_string()
    };
    let unknown = file("unknown.toml", &format!("[tracker]\n\"{}\" = 1\n", "\\u001b]52;c;x\\u0007\u{202e}"));
    let section = file("section.toml", "[\"\\u001b[2J\u{9b}\"]\n");
    let value = file("value.toml", "[tracker]\nmax-retries = \"\\u001b[2J\u{9b}\"\n");
    let property = file(
        "property.toml",
        "[kafka.properties]\n\"\\u001b[2J\" = \"\\u001b]0;x\\u0007\"\n\"acks\u{9b}\" = 1\n",
    );
    let syntax = file("syntax.toml", "[kafka]\nclient-id = \u{1b}[2J\n");
    let named = file("\u{1b}]0;x\u{7}\u{202e}.toml", "[nonsense]\n");
    for arguments in [
        &["--topic", &text][..],
        &["--dlq-topic", &text],
        &["--group", &text, "--max-retries", &text],
        &["-b", &text],
        &["-X", &text],
        &["-X", &format!("{text}=1")],
        &["-X", &format!("acks={text}")],
        &["-X", &format!("socket.timeout.ms={text}")],
        &["--deliver-to", &text],
        &["--log-file", &format!("no/such/{text}")],
        &["--config", &text],
        &["--config", &unknown],
        &["--config", &section],
        &["--config", &value],
        &["--config", &property],
        &["--config", &syntax],
        &["--config", &named],
        &[&text],
        &[&format!("--{text}")],
    ] {
        let mut command = program(env!("CARGO_BIN_EXE_tracker"));
        command
            .current_dir(folder.path())
            .args(["--connect-timeout", "100ms", "--exit-at-end"])
            .args(arguments);
        let said = says(command, &[2]);
        assert!(said.starts_with("error: ") || said.contains("\nerror: "), "{arguments:?}: {said}");
    }
    let mut command = program(env!("CARGO_BIN_EXE_tracker"));
    command.current_dir(folder.path()).env("RUST_LOG", &text);
    says(command, &[2]);
}
