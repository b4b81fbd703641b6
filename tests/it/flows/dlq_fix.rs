//! Fixing dead letters and ending them: values set, programs run, editors used; discarded, opened again, purged; and
//! replays that die again and again.

use std::os::unix::fs::PermissionsExt as _;

use pubsub_kafka::failure::Category;
use serde_json::{Value, json};

use crate::support::{Raw, World, bytes, order};

/// Orders without a quantity, dead.
fn broken(flow: &str, count: usize) -> Option<World> {
    let world = World::real(flow, 1)?;
    let record = |number: usize| {
        let id = format!("o-{number}");
        let mut order = order(&id);
        order["items"][0]["quantity"] = 0.into();
        world.record(0, Some(id.as_bytes()), Some(&bytes(&order)))
    };
    world.send((0..count).map(record).collect());
    world.bury(0, Category::Validation);
    world.commit(0, i64::try_from(count).expect("few"), "");
    Some(world)
}

fn value(raw: &Raw) -> Value {
    serde_json::from_slice(raw.value.as_deref().expect("a value")).expect("JSON")
}

fn hash(raw: &Raw) -> String {
    blake3::hash(raw.value.as_deref().expect("a value")).to_hex().to_string()
}

#[test]
fn a_dead_letter_is_fixed_replayed_and_processed() {
    let Some(world) = broken("fix", 3) else { return };
    let ids = world.dead_letters();
    let set = ["--set", "/items/0/quantity=2", "--set", "/customer_info/email=a@b.example"];

    // Without a terminal and without --yes: refused, nothing sent, no plan left.
    let refused = world.dlq(&[&["replay", &ids[0]], &set[..]].concat()).ended(4);
    assert!(refused.stderr.contains("passes 1"), "{}", refused.stderr);
    assert!(world.replays(&world.topic).is_empty());
    let plans = || {
        let folder = std::fs::read_dir(world.path("")).expect("the folder");
        let names = folder.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.ends_with(".plan.json")).collect::<Vec<_>>()
    };
    assert!(plans().is_empty());

    // By its place, by its id, and by the beginning of its id.
    world.dlq(&[&["replay", "0:0", "--yes"], &set[..]].concat()).ended(0);
    let jq = [".items[0].quantity = 2", "-o", "jq.json"];
    world.dlq(&[&["replay", &ids[1], "--yes", "--patch"], &jq[..]].concat()).ended(0);
    let editor = world.path("editor.sh");
    std::fs::write(&editor, "#!/bin/sh\nsed -i 's/\"quantity\":0/\"quantity\":2/' \"$1\"\n")
        .expect("written");
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).expect("set");
    let editor = editor.to_str().expect("text");
    world.dlq_with(&["edit", &ids[2][..18], "--yes"], &[("EDITOR", editor), ("VISUAL", "")]).ended(0);

    let originals: Vec<_> = world.read(&world.topic).into_iter().take(3).collect();
    let replays = world.replays(&world.topic);
    assert_eq!(replays.len(), 3);
    for (replay, original) in replays.iter().zip(&originals) {
        let mut expected = value(original);
        expected["items"][0]["quantity"] = 2.into();
        if replay.offset == replays[0].offset {
            expected["customer_info"]["email"] = "a@b.example".into();
        }
        assert_eq!(value(replay), expected);
        assert_eq!(replay.header("dlq.edited-from"), [Some(hash(original).as_bytes())]);
    }
    // Byte for byte but for the place that was named.
    let text = String::from_utf8(originals[2].value.clone().expect("a value")).expect("text");
    assert_eq!(replays[2].value, Some(text.replace("\"quantity\":0", "\"quantity\":2").into_bytes()));

    let statuses = world.read(&format!("{}-status", world.dlq));
    for (id, (replay, original)) in ids.iter().zip(replays.iter().zip(&originals)) {
        let last = statuses.iter().rfind(|raw| raw.key.as_deref() == Some(id.as_bytes())).expect("a status");
        let status = value(last);
        assert_eq!(status["status"], "replayed");
        let hashes = json!({"original_hash": hash(original), "edited_hash": hash(replay)});
        assert_eq!(status["edited"], hashes);
        assert_eq!(status["replayed_to"]["offset"], replay.offset);
    }
    world.track_to_end("tracker", &[]);
    let plans = plans();
    assert_eq!(plans.len(), 2);
    for plan in plans.iter().map(String::as_str).chain(["jq.json"]) {
        assert_eq!(world.dlq(&["status", plan, "--json"]).ended(0).count("processed"), 1);
    }
}

#[test]
fn an_edit_that_is_not_valid_is_not_sent_unasked() {
    let Some(world) = broken("bad-edit", 1) else { return };
    let id = &world.dead_letters()[0];
    for (editor, code) in [("sed -i s/Zo/Jo/", 4), ("true", 0), ("false", 4)] {
        let ran = world.dlq_with(&["edit", id, "--yes"], &[("VISUAL", editor)]).ended(code);
        assert!(code == 0 || ran.stderr.contains("not confirmed"), "{}", ran.stderr);
    }
    for (change, code) in [("/no/such/place=1", 3), ("no pointer=1", 2)] {
        world.dlq(&["replay", id, "--yes", "--set", change]).ended(code);
    }
    world.dlq(&["replay", id, "--yes", "--patch", ".a ="]).ended(2);
    world.dlq(&["replay", "00000000-0000-0000-0000-000000000000", "--yes"]).ended(1);
    assert!(world.replays(&world.topic).is_empty());
}

#[test]
fn dead_letters_are_discarded_opened_again_and_purged() {
    let Some(world) = broken("settle", 5) else { return };
    let ids = world.dead_letters();
    world.dlq(&["discard", &ids[0]]).ended(2);
    world.dlq(&["discard", "--why", "all?"]).ended(2);
    world.dlq(&["discard", &ids[0], "--why", "a test order"]).ended(0);
    world.dlq(&["discard", "--key", "o-1", "--why", "another"]).ended(4);
    world.dlq(&["discard", "--key", "o-1", "--why", "another", "--yes"]).ended(0);
    world.dlq(&["discard", &ids[3], "--why", "a third"]).ended(0);
    let discarded =
        || world.dlq(&["list", "--status", "discarded", "--json"]).ended(0).stdout.lines().count();
    assert_eq!(discarded(), 3);
    let plan = world.dlq(&["plan", "-o", "plan.json", "--json"]).ended(0).json();
    assert_eq!((&plan["entries"], &plan["discarded"]), (&json!(2), &json!(3)));
    world.dlq(&["reopen", &ids[3]]).ended(0);
    assert_eq!(discarded(), 2);

    // Up to the first open one, and no further.
    world.dlq(&["purge"]).ended(4);
    let purged = world.dlq(&["purge", "--yes", "--json"]).ended(0).json();
    assert_eq!((&purged["deleted"], &purged["open_deleted"]), (&json!(2), &json!(0)), "{purged}");
    assert_eq!(world.dead_letters(), ids[2..]);
    assert_eq!(world.dlq(&["purge", "--yes", "--json"]).ended(0).json()["deleted"], 0);

    // All of it: only by name.
    world.dlq(&["purge", "--force", "--yes"]).ended(4);
    world.dlq(&["purge", "--force", "--confirm", "orders"]).ended(4);
    assert_eq!(world.dead_letters().len(), 3);
    let purged = world.dlq(&["purge", "--force", "--confirm", &world.dlq, "--json"]).ended(0).json();
    assert_eq!((&purged["deleted"], &purged["open_deleted"]), (&json!(3), &json!(3)));
    assert!(world.dead_letters().is_empty());
}

#[test]
fn a_record_that_dies_again_and_again_is_refused_in_the_end() {
    let Some(world) = broken("again", 1) else { return };
    let root = world.dead_letters()[0].clone();
    for time in 0..3 {
        let id = world.dead_letters()[time].clone();
        world.dlq(&["replay", &id, "--yes"]).ended(0);
        world.track_to_end("tracker", &[]);
        let letters = world.read(&world.dlq);
        let last = letters.last().expect("a letter");
        assert_eq!(letters.len(), time + 2);
        assert_eq!(last.header("dlq.root-id"), [Some(root.as_bytes())]);
        assert_eq!(last.header("dlq.replay-count"), [Some((time + 1).to_string().as_bytes())]);
        let mut names: Vec<_> = last.headers.iter().map(|(name, _)| name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "headers pile up");
    }
    let id = world.dead_letters()[3].clone();
    let refused = world.dlq(&["replay", &id, "--yes", "--json"]).ended(3).json();
    assert_eq!((&refused["sent"], &refused["left_out"]["replayed_too_often"]), (&json!(0), &json!(1)));
    world.dlq(&["replay", &id, "--yes", "--max-replays", "4"]).ended(0);
    assert_eq!(world.replays(&world.topic).len(), 4);
}
