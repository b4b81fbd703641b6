//! Whatever lies in the topic: a dead letter of the right category with the original bytes, never a panic, never a
//! skip; and nothing of it obeyed by a terminal.

use pubsub_kafka::failure::Category::{self, Deserialization, Validation};
use pubsub_kafka::models::{DeadLetter, MAX_DEPTH, Outcome, is_unsafe};
use serde_json::{Value, json};

use crate::support::{Answer, Target, World, bytes, order};

/// An order with one field changed.
fn with(path: &str, value: Value) -> Vec<u8> {
    let mut order = order("o-1");
    *order.pointer_mut(path).expect(path) = value;
    bytes(&order)
}

/// An order without one field.
fn without(parent: &str, field: &str) -> Vec<u8> {
    let mut order = order("o-1");
    let object = order.pointer_mut(parent).and_then(Value::as_object_mut).expect(parent);
    object.remove(field).expect(field);
    bytes(&order)
}

/// An order with more text behind its opening brace.
fn opening(text: &str) -> Vec<u8> {
    [b"{", text.as_bytes(), b",", &bytes(&order("o-1"))[1..]].concat()
}

type Case = (&'static str, Option<Vec<u8>>, Option<Category>);

fn cases() -> Vec<Case> {
    let good = || bytes(&order("o-1"));
    let text = |text: &str| text.as_bytes().to_vec();
    let nested = |levels| format!("\"deep\":{}{}", "[".repeat(levels), "]".repeat(levels));
    let not_utf8 = [&good()[..20], b"\xff\xfe", &good()[20..]].concat();
    let wrapped = serde_json::to_string_pretty(&order("o-1")).expect("JSON").replace('\n', "\r\n");
    let bad = |name, payload| (name, Some(payload), Some(Deserialization));
    let invalid = |name, payload| (name, Some(payload), Some(Validation));
    let fine = |name, payload| (name, Some(payload), None);
    vec![
        ("a null payload", None, Some(Deserialization)),
        bad("an empty payload", Vec::new()),
        bad("blanks", text("  \n ")),
        bad("not JSON", text("<order/>")),
        bad("an array", text("[]")),
        bad("a text", text("\"order\"")),
        bad("a JSON null", text("null")),
        bad("half an order", good()[..good().len() / 2].to_vec()),
        bad("text behind the order", [&good()[..], b" {}"].concat()),
        bad("a byte order mark", [b"\xef\xbb\xbf", &good()[..]].concat()),
        bad("not UTF-8", not_utf8),
        bad("a lone surrogate", opening(r#""note":"\ud800""#)),
        bad("a wrong type", with("/sequence", json!("one"))),
        bad("a wrong type within", with("/items/0/quantity", json!([2]))),
        bad("a null where a text belongs", with("/order_id", json!({ "a": null }))),
        bad("a duplicate key", opening(r#""order_id":"another""#)),
        bad("a duplicate key in what is ignored", opening(r#""x":[{"a":1,"b":2,"a":3}]"#)),
        bad("NaN", opening(r#""rate":NaN"#)),
        bad("Infinity", with("/tax", json!("Infinity"))),
        bad("1e400", opening(r#""rate":1e400"#)),
        bad("nested 100,000 times", opening(&nested(100_000))),
        bad("a payload over the limit", opening(&format!("\"x\":\"{}\"", "x".repeat(300_000)))),
        invalid("an empty order", text("{}")),
        invalid("a blank id", with("/order_id", json!(" \t"))),
        invalid("a missing id", without("", "order_id")),
        invalid("a blank status", with("/status", json!(""))),
        invalid("a sequence of zero", with("/sequence", json!(0))),
        invalid("no items", with("/items", json!([]))),
        invalid("missing items", without("", "items")),
        invalid("a missing item name", without("/items/0", "item_name")),
        invalid("a quantity of zero", with("/items/0/quantity", json!(0))),
        invalid("a negative price", with("/items/0/unit_price", json!(-3.5))),
        invalid("a wrong total", with("/total", json!(9.72))),
        invalid("a missing customer", without("", "customer_info")),
        invalid("a blank customer", with("/customer_info/name", json!("\u{a0}"))),
        invalid("an email that is none", with("/customer_info/email", json!("zoe@"))),
        fine("an order", good()),
        fine("line breaks between tokens", wrapped.into_bytes()),
        fine("unknown fields", opening(r#""unheard_of":{"of":[1,2,{"a":null}]}"#)),
        fine("a total within a cent", with("/total", json!(9.709))),
        fine("no email", with("/customer_info/email", json!(""))),
        fine("as many levels as may be", opening(&nested(MAX_DEPTH - 1))),
        bad("one level more", opening(&nested(MAX_DEPTH))),
    ]
}

#[test]
fn every_bad_payload_becomes_a_dead_letter_of_its_category_with_its_bytes() {
    let Some(world) = World::any("bad-input", 1) else { return };
    let cases = cases();
    let record = |(_, payload, _): &Case| world.record(0, Some(b"k\xff\x00"), payload.as_deref());
    world.send(cases.iter().map(record).collect());
    let audit = world.track_to_end("tracker", &["--max-message-bytes", "300000"]);
    audit.follows_offsets();
    assert_eq!(audit.entries.len(), cases.len());
    let letters = world.read(&world.dlq);
    for ((name, payload, reason), entry) in cases.iter().zip(&audit.entries) {
        assert_eq!(entry.failure_reason, *reason, "{name}: {:?}", entry.error);
        assert_eq!(entry.deserialized, *reason != Some(Deserialization), "{name}");
        assert_eq!((entry.raw_message.as_ref(), entry.attempts), (payload.as_ref(), 1), "{name}");
        assert_eq!(entry.kafka_key.as_deref(), Some(&b"k\xff\x00"[..]), "{name}");
        if let (Some(order), Some(payload)) = (&entry.order_full, payload) {
            let mut one_line = payload.clone();
            one_line.retain(|byte| !b"\r\n".contains(byte));
            assert_eq!(order.get().as_bytes(), one_line, "{name}");
        }
        let letter = letters.iter().find(|letter| Some(letter.offset) == entry.dlq_offset);
        assert_eq!(letter.is_some(), reason.is_some(), "{name}");
        let Some(letter) = letter else { continue };
        let value: DeadLetter = serde_json::from_slice(letter.value.as_deref().expect(name)).expect(name);
        assert_eq!(value.original_payload.bytes(), payload.as_deref(), "{name}");
        assert_eq!(value.original_key.as_deref(), Some(&b"k\xff\x00"[..]), "{name}");
        assert_eq!(letter.header("dlq.reason"), [reason.map(|reason| reason.as_str().as_bytes())], "{name}");
    }
}

/// ESC sequences, OSC 52 (it writes into the clipboard), C1 as UTF-8, bidi, line breaks, and what JSON itself allows.
const HOSTILE: &str = "\u{1b}[31m\u{1b}]52;c;cm0gLXJm\u{7}\u{9b}2J\u{9d}0;t\u{9c}\u{202e}gnp\u{2066}\r\n\u{2028}\u{7f}\u{feff}x";

#[test]
fn nothing_that_a_terminal_obeys_comes_out_as_itself() {
    let Some(world) = World::any("hostile", 1) else { return };
    // JSON allows all but the C0 controls within its strings.
    let hostile = HOSTILE.replace(|c: char| c < ' ', "");
    let refused = json!({ "order_id": hostile, "sequence": 0, "status": hostile });
    let raw = |order: &Value| bytes(order);
    let mut accepted = order(&hostile);
    accepted["customer_info"]["name"] = json!(hostile);
    let mut answered = order("refused by the target");
    answered["shipping_address"] = json!(HOSTILE);
    let twice = format!("{{\"{hostile}\":1,\"{hostile}\":2}}");
    let email = {
        let mut o = order("e");
        o["customer_info"]["email"] = json!(hostile);
        o
    };
    let values = [
        HOSTILE.as_bytes().to_vec(),
        [HOSTILE.as_bytes(), b"\xff"].concat(),
        twice.into_bytes(),
        raw(&refused),
        raw(&email),
        raw(&accepted),
        raw(&answered),
    ];
    let headers = [(hostile.as_str(), Some(HOSTILE.as_bytes())), ("dlq.replay-id", Some(HOSTILE.as_bytes()))];
    let record = |value: &Vec<u8>| {
        World::with_headers(world.record(0, Some(HOSTILE.as_bytes()), Some(value)), &headers)
    };
    world.send(values.iter().map(record).collect());
    let target = Target::start(|request| {
        if request.body.windows(7).any(|part| part == b"refused") {
            Answer::Text(422, HOSTILE)
        } else {
            Answer::Status(200)
        }
    });
    let audit =
        world.track_to_end("tracker", &["--deliver-to", &target.url(), "--outage-guard", "off", "-vv"]);
    assert_eq!((audit.entries.len(), audit.count(Outcome::Processed)), (values.len(), 1));
    for (entry, value) in audit.entries.iter().zip(&values) {
        assert_eq!(entry.raw_message.as_ref(), Some(value));
        assert_eq!(entry.replay_id.as_deref(), Some(HOSTILE));
    }

    for line in &audit.lines {
        let parsed: Line<'_> = serde_json::from_str(line).expect("JSON");
        let order = parsed.order_full.map_or("", serde_json::value::RawValue::get);
        is_clean("tracker.events", &line.replacen(order, "", 1));
    }
    for file in ["tracker.log", "tracker.stderr"] {
        let text = std::fs::read_to_string(world.path(file)).expect("UTF-8");
        assert!(!text.is_empty(), "{file}");
        text.split_terminator('\n').for_each(|line| is_clean(file, line));
    }
    for letter in world.read(&world.dlq) {
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.expect("a value").to_vec()).expect("UTF-8");
        is_clean("the dead letter", &text(letter.value.as_deref()));
        is_clean("dlq.error", &text(letter.header("dlq.error")[0]));
        is_clean("kafka_dlt-exception-message", &text(letter.header("kafka_dlt-exception-message")[0]));
        // The record's own header is data, and stays.
        assert_eq!(letter.header(&hostile), [Some(HOSTILE.as_bytes())]);
    }
}

#[derive(serde::Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    order_full: Option<&'a serde_json::value::RawValue>,
}

fn is_clean(place: &str, text: &str) {
    if let Some(found) = text.chars().find(|c| is_unsafe(*c)) {
        panic!("{place} holds {}: {}", found.escape_unicode(), text.escape_debug());
    }
}

#[test]
fn a_header_name_that_is_not_utf8_stops_nothing() {
    let Some(world) = World::any("header-name", 1) else { return };
    send_with_header_name(&world, b"na\xffme\x1b", b"not an order");
    world.send(vec![world.record(0, None, Some(&bytes(&order("o-1"))))]);
    let audit = world.track_to_end("tracker", &[]);
    let outcomes: Vec<_> = audit.entries.iter().map(|entry| entry.outcome).collect();
    assert_eq!(outcomes, [Outcome::DeadLettered, Outcome::Processed]);
    let letters = world.read(&world.dlq);
    assert_eq!(letters[0].headers[0], ("na\u{fffd}me\u{1b}".to_owned(), Some(b"v".to_vec())));
}

/// The client's own types take UTF-8 names only; its C interface takes any bytes.
#[expect(unsafe_code, reason = "librdkafka's C interface")]
fn send_with_header_name(world: &World, name: &[u8], value: &[u8]) {
    use rdkafka::producer::{BaseProducer, Producer as _};
    use rdkafka_sys as sys;
    let producer: BaseProducer =
        rdkafka::ClientConfig::new().set("bootstrap.servers", &world.servers).create().expect("a producer");
    let topic = std::ffi::CString::new(world.topic.as_str()).expect("a name");
    let part = |vtype, u| sys::rd_kafka_vu_s { vtype, u };
    type U = sys::rd_kafka_vu_s__bindgen_ty_1;
    let header_name = std::ffi::CString::new(name).expect("no NUL");
    // SAFETY: every pointer outlives the call, which copies what they point at (the value too, by RD_KAFKA_MSG_F_COPY).
    let error = unsafe {
        let parts = [
            part(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_TOPIC, U { cstr: topic.as_ptr() }),
            part(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION, U { i32_: 0 }),
            part(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS, U { i: sys::RD_KAFKA_MSG_F_COPY }),
            part(
                sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE,
                U {
                    mem: sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
                        ptr: value.as_ptr().cast_mut().cast(),
                        size: value.len(),
                    },
                },
            ),
            part(
                sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADER,
                U {
                    header: sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_2 {
                        name: header_name.as_ptr(),
                        val: b"v".as_ptr().cast(),
                        size: 1,
                    },
                },
            ),
        ];
        sys::rd_kafka_produceva(producer.client().native_ptr(), parts.as_ptr(), parts.len())
    };
    assert!(error.is_null(), "the client refuses the record");
    producer.flush(std::time::Duration::from_secs(20)).expect("acknowledged");
}
