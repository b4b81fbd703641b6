//! The web page on the real Kafka: what it shows of dead letters is what the tool shows, and a plan that is reviewed,
//! applied and followed there is one of the tool's.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use pubsub_kafka::failure::Category;
use pubsub_kafka::models::is_unsafe;
use serde_json::{Value, json};

use crate::monitor::web::Served;
use crate::support::{World, wait_for};

fn folder(world: &World) -> PathBuf {
    world.path("")
}

fn page(world: &World, flags: &[&str]) -> Served {
    let own = ["-b", &world.servers, "--dlq-topic", &world.dlq];
    Served::local(&folder(world), &[&own[..], flags].concat())
}

fn asked(page: &Served, path: &str, body: &Value) -> Value {
    let answer = page.post(path, body);
    assert!((200..300).contains(&answer.status), "{path}: {answer:?}");
    answer.json()
}

/// The last apply, once it has ended.
fn ended(page: &Served) -> Value {
    wait_for("the apply ends", 120, || {
        let job = page.get("/api/job").json();
        (job["running"] == false).then_some(job)
    })
}

#[test]
fn a_plan_is_reviewed_applied_and_followed_by_http() {
    let Some(world) = World::real("web-replay", 2) else { return };
    world.send_orders(12);
    world.bury(0, Category::Validation);
    let page = page(&world, &["--allow-replay"]);

    // Counted, listed and shown as by the tool.
    let stats = asked(&page, "/api/letters/causes", &json!({ "status": "open" }));
    assert_eq!((&stats["dead_letters"], &stats["by_error"][0]["count"]), (&json!(12), &json!(12)), "{stats}");
    let cause = json!({ "reason": "VALIDATION_ERROR", "cause": stats["by_error"][0]["error"] });
    let found = asked(&page, "/api/letters/list", &cause);
    let listed =
        world.dlq(&["list", "--json", "--cause", stats["by_error"][0]["error"].as_str().expect("text")]);
    let listed: Vec<Value> =
        listed.ended(0).stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&found["rows"], &found["more"]), (&Value::from(listed), &json!(false)));
    let some = asked(&page, "/api/letters/list", &json!({ "text": "\"O-7\"" }));
    assert_eq!(some["rows"].as_array().map(Vec::len), Some(1), "{some}");
    let id = some["rows"][0]["id"].as_str().expect("an id").to_owned();
    let letter = page.get(&format!("/api/letters/{id}")).json();
    let shown = world.dlq(&["show", &id, "--json"]).ended(0).json();
    for (name, value) in shown.as_object().expect("an object") {
        assert_eq!(&letter[name], value, "{name}");
    }
    assert_eq!(letter["validation"]["verdict"], "passes");
    assert!(
        letter["payload_shown"].as_str().is_some_and(|text| text.contains("\"order_id\": \"o-7\"")),
        "{letter}"
    );
    assert_eq!(page.get("/api/letters/ffffffff").status, 404);
    assert_eq!(page.get("/api/letters/x").status, 400);

    // Planned: a file that is the tool's.
    assert_eq!(page.post("/api/plans", &json!({})).status, 400, "not everything by mistake");
    let planned = asked(&page, "/api/plans", &cause);
    assert_eq!((&planned["entries"], &planned["counts"]["passes"]), (&json!(12), &json!(12)), "{planned}");
    let (plan, file) =
        (planned["plan_id"].as_str().expect("an id"), planned["file"].as_str().expect("a file"));
    let mode = std::fs::metadata(world.path(file)).expect("the plan").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let review = page.get(&format!("/api/plans/{plan}")).json();
    assert_eq!(review["question"], format!("Replay 12 dead letters: 12 to {}. Go on?", world.topic));
    assert_eq!(review["first_entries"].as_array().map(Vec::len), Some(12));
    assert_eq!(page.get("/api/plans").json()[0]["plan_id"], planned["plan_id"]);

    // Nothing is sent without an answer to the plan's own question, nor by a rehearsal.
    let apply = format!("/api/plans/{plan}/apply");
    let question = &review["question"];
    for order in [
        json!({}),
        json!({ "question": question }),
        json!({ "question": question, "answer": "no" }),
        json!({ "question": "Replay 1 dead letters?", "answer": "yes" }),
    ] {
        let answer = page.post(&apply, &order);
        assert!(answer.status == 409 && answer.body.contains("not confirmed"), "{order}: {answer:?}");
    }
    asked(&page, &apply, &json!({ "dry_run": true }));
    assert_eq!(ended(&page)["applied"]["sent"], 12);
    assert_eq!(world.replays(&world.topic).len(), 0);

    // Applied, followed, and applied again: each record once.
    asked(&page, &apply, &json!({ "question": question, "answer": "yes" }));
    let job = ended(&page);
    assert_eq!(
        (&job["applied"]["sent"], &job["applied"]["ended"]),
        (&json!(12), &json!("complete")),
        "{job}"
    );
    assert_eq!(world.replays(&world.topic).len(), 12);
    let status = page.get(&format!("/api/plans/{plan}/status")).json();
    assert_eq!(status["counts"]["pending"], 12, "{status}");
    world.run_to_end("tracker", &[]);
    let status = page.get(&format!("/api/plans/{plan}/status")).json();
    assert_eq!(status["counts"]["processed"], 12, "{status}");
    assert_eq!(status, world.dlq(&["status", file, "--json"]).ended(0).json());
    asked(&page, &apply, &json!({ "question": question, "answer": "y", "rate": 100 }));
    let job = ended(&page);
    assert_eq!((&job["applied"]["sent"], &job["applied"]["already_there"]), (&json!(0), &json!(12)), "{job}");
    assert_eq!(world.replays(&world.topic).len(), 12);
    let letter = page.get(&format!("/api/letters/{id}")).json();
    assert!(letter["statuses"][0]["by"].as_str().is_some_and(|by| by.ends_with("(web page)")), "{letter}");
    assert_eq!(page.terminate(), Some(0));
}

#[test]
fn the_tools_rules_hold_on_the_page_too() {
    let Some(world) = World::real("web-rules", 1) else { return };
    world.send_orders(2);
    world.bury(0, Category::Processing);
    let page = page(&world, &["--allow-replay", "--replay-targets", "elsewhere"]);
    let planned = asked(&page, "/api/plans", &json!({ "status": "open" }));
    let apply = format!("/api/plans/{}/apply", planned["plan_id"].as_str().expect("an id"));
    let question = format!("Replay 2 dead letters: 2 to {}. Go on?", world.topic);
    asked(&page, &apply, &json!({ "question": question, "answer": "yes" }));
    let job = ended(&page);
    assert_eq!(job["applied"]["problems"], json!({ "target_refused": 2 }), "{job}");
    assert_eq!(world.replays(&world.topic).len(), 0);

    // A plan of another topic is none of this page's.
    let file = world.path(planned["file"].as_str().expect("a file"));
    let text = std::fs::read_to_string(&file).expect("the plan");
    std::fs::write(&file, text.replace(&format!("\"{}\"", world.dlq), "\"other-dlq\"")).expect("written");
    assert_eq!(page.post(&apply, &json!({ "question": question, "answer": "yes" })).status, 409);
    // Nor is anything outside of its folder.
    assert!(page.get("/api/plans/..%2f..%2fetc%2fpasswd").status >= 400);
}

#[test]
fn hostile_dead_letters_are_nowhere_raw() {
    let Some(world) = World::real("web-hostile", 1) else { return };
    let evil = "<script>alert(1)</script><img src=x onerror=alert(1)>\u{1b}[2J\u{202e}\u{9b}\u{2028}&amp;'\"";
    let payload = json!({ "order_id": evil, "sequence": 0, "status": evil }).to_string();
    let headers = [(evil, Some(evil.as_bytes()))];
    let record =
        |value: &[u8]| World::with_headers(world.record(0, Some(evil.as_bytes()), Some(value)), &headers);
    world.send(vec![record(payload.as_bytes()), record(evil.as_bytes()), record(b"\xff<script>\x1b")]);
    world.bury(0, Category::Unknown);
    let page = page(&world, &[]);
    let is_clean = |body: &str| {
        assert!(!body.contains(['<', '>', '&']) && !body.contains(is_unsafe), "{body:.2000}");
    };
    let answer = page.post("/api/letters/list", &json!({ "text": "ALERT(1)" }));
    is_clean(&answer.body);
    assert_eq!(answer.json()["rows"].as_array().map(Vec::len), Some(3), "{answer:?}");
    is_clean(&page.post("/api/letters/causes", &json!({ "text": evil })).body);
    for row in answer.json()["rows"].as_array().expect("rows") {
        let answer = page.get(&format!("/api/letters/{}", row["id"].as_str().expect("an id")));
        is_clean(&answer.body);
        assert_eq!(answer.json()["key"], evil, "its meaning is as it was");
    }
}
