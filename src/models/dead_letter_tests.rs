use proptest::prelude::*;

use super::*;

fn letter() -> DeadLetter {
    let at = |millis| Timestamp::from_millisecond(millis).unwrap();
    DeadLetter {
        id: dead_letter_id("g", "orders", 0, 42),
        timestamp: at(1_772_368_496_789),
        original_topic: "orders".to_owned(),
        original_partition: 0,
        original_offset: 42,
        original_key: Some(b"o-1".to_vec()),
        original_payload: OriginalPayload::Inline(b"{\"s3cret\":1}".to_vec()),
        original_timestamp: Some(at(0)),
        failure_reason: Category::Processing,
        error_message: "post order: refused".to_owned(),
        error_stack: Some("post order\nrefused".to_owned()),
        consumer_group: "g".to_owned(),
        processing_host: "host".to_owned(),
        retry_count: 3,
        first_failure: at(1),
        last_failure: at(2),
        next_retry_at: None,
        is_reprocessed: false,
        metadata: BTreeMap::new(),
        original_headers: Vec::new(),
        root_id: None,
    }
}

#[test]
fn the_wire_form_is_the_documented_one() {
    let json = serde_json::to_string(&letter()).unwrap();
    let expected = concat!(
        r#"{"id":"0ac02256-6a07-52a7-b847-38c274032be1","timestamp":"2026-03-01T12:34:56.789Z","original_topic":"orders","#,
        r#""original_partition":0,"original_offset":42,"original_key":"o-1","#,
        r#""original_payload":"{\"s3cret\":1}","original_timestamp":"1970-01-01T00:00:00.000Z","#,
        r#""failure_reason":"PROCESSING_ERROR","error_message":"post order: refused","#,
        r#""error_stack":"post order\nrefused","consumer_group":"g","processing_host":"host","retry_count":3,"#,
        r#""first_failure":"1970-01-01T00:00:00.001Z","last_failure":"1970-01-01T00:00:00.002Z","#,
        r#""next_retry_at":null,"is_reprocessed":false,"metadata":{},"original_headers":[]}"#,
    );
    assert_eq!(json, expected);
}

#[test]
fn bytes_nulls_and_an_omitted_payload_have_their_own_fields() {
    let header = |name: &str, value: Option<&[u8]>| DeadLetterHeader {
        name: name.to_owned(),
        value: value.map(<[u8]>::to_vec),
    };
    let letter = DeadLetter {
        original_key: Some(vec![0xff]),
        original_payload: OriginalPayload::Omitted { hash: "ab".repeat(32), size: 1 << 40 },
        original_timestamp: None,
        error_stack: None,
        original_headers: vec![
            header("h", Some(b"v")),
            header("h", None),
            header("h", Some(b"")),
            header("b", Some(b"\xfe")),
        ],
        root_id: Some(Uuid::nil()),
        ..letter()
    };
    let value = serde_json::to_value(&letter).unwrap();
    let expected = serde_json::json!({
        "original_key": null, "original_key_base64": "/w==", "original_payload": null,
        "original_payload_hash": "ab".repeat(32), "original_payload_size": 1_u64 << 40,
        "original_timestamp": null, "error_stack": null, "root_id": Uuid::nil(),
        "original_headers": [
            {"name": "h", "value": "v"}, {"name": "h", "value": null}, {"name": "h", "value": ""},
            {"name": "b", "value_base64": "/g=="},
        ],
    });
    for (name, field) in expected.as_object().unwrap() {
        assert_eq!(&value[name], field, "{name}");
    }
    assert_eq!(value.get("original_payload_base64"), None);
    assert_eq!(serde_json::from_value::<DeadLetter>(value).unwrap(), letter);
}

#[test]
fn reads_letters_of_other_versions() {
    let mut value = serde_json::to_value(letter()).unwrap();
    let fields = value.as_object_mut().unwrap();
    for optional in ["next_retry_at", "metadata", "original_headers", "is_reprocessed", "root_id"] {
        fields.remove(optional);
    }
    fields.insert("of_a_later_version".to_owned(), serde_json::json!([{}]));
    assert_eq!(serde_json::from_value::<DeadLetter>(value).unwrap(), letter());
}

#[test]
fn refuses_what_cannot_be_trusted() {
    let table = [
        ("failure_reason", serde_json::json!("NO_SUCH_REASON")),
        ("original_key_base64", serde_json::json!("bm8=")),
        ("original_offset", serde_json::json!("42")),
        ("timestamp", serde_json::json!("yesterday")),
        ("id", serde_json::json!("42")),
        ("original_headers", serde_json::json!([{"name": "h", "value_base64": "?"}])),
    ];
    for (field, bad) in table {
        let mut value = serde_json::to_value(letter()).unwrap();
        value[field] = bad;
        assert!(serde_json::from_value::<DeadLetter>(value).is_err(), "{field}");
    }
}

#[test]
fn debug_shows_no_content() {
    let text = format!("{:?}", letter());
    assert!(text.contains("Inline(12 bytes)") && !text.contains("s3cret"), "{text}");
}

#[test]
fn the_id_is_what_the_documentation_says() {
    let id = dead_letter_id("g", "orders", 0, 42);
    assert_eq!(id.to_string(), "0ac02256-6a07-52a7-b847-38c274032be1");
    assert_eq!(id.get_version_num(), 5);
}

#[test]
fn ids_of_names_that_hold_separators_differ() {
    let ids: std::collections::BTreeSet<_> = [
        dead_letter_id("a,1:b", "c", 0, 0),
        dead_letter_id("a", "b,1:c", 0, 0),
        dead_letter_id("a", "b", 1, 11),
        dead_letter_id("a", "b", 11, 1),
        dead_letter_id("a", "b", -1, 11),
        dead_letter_id("", "ab", 1, 11),
        dead_letter_id("ab", "", 1, 11),
    ]
    .into();
    assert_eq!(ids.len(), 7);
}

fn instant() -> impl Strategy<Value = Timestamp> {
    (-62_167_219_200_000..253_402_207_200_000_i64).prop_map(|ms| Timestamp::from_millisecond(ms).unwrap())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![any::<String>().prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..40)]
}

fn payload() -> impl Strategy<Value = OriginalPayload> {
    prop_oneof![
        Just(OriginalPayload::Null),
        bytes().prop_map(OriginalPayload::Inline),
        ("[0-9a-f]{64}", any::<u64>()).prop_map(|(hash, size)| OriginalPayload::Omitted { hash, size }),
    ]
}

fn any_letter() -> impl Strategy<Value = DeadLetter> {
    let header = (any::<String>(), prop::option::of(bytes()))
        .prop_map(|(name, value)| DeadLetterHeader { name, value });
    (
        (
            any::<u128>(),
            prop::option::of(any::<u128>()),
            any::<i32>(),
            any::<i64>(),
            any::<u32>(),
            any::<bool>(),
        ),
        (instant(), prop::option::of(instant()), instant(), instant(), prop::option::of(instant())),
        (
            any::<String>(),
            any::<String>(),
            prop::option::of(any::<String>()),
            any::<String>(),
            any::<String>(),
        ),
        (prop::option::of(bytes()), payload(), prop::collection::vec(header, 0..5)),
        prop::collection::btree_map(any::<String>(), any::<String>(), 0..3),
        prop::sample::select(&Category::ALL[..]),
    )
        .prop_map(|(numbers, times, texts, origin, metadata, failure_reason)| DeadLetter {
            id: Uuid::from_u128(numbers.0),
            timestamp: times.0,
            original_topic: texts.0,
            original_partition: numbers.2,
            original_offset: numbers.3,
            original_key: origin.0,
            original_payload: origin.1,
            original_timestamp: times.1,
            failure_reason,
            error_message: texts.1,
            error_stack: texts.2,
            consumer_group: texts.3,
            processing_host: texts.4,
            retry_count: numbers.4,
            first_failure: times.2,
            last_failure: times.3,
            next_retry_at: times.4,
            is_reprocessed: numbers.5,
            metadata,
            original_headers: origin.2,
            root_id: numbers.1.map(Uuid::from_u128),
        })
}

proptest! {
    #[test]
    fn a_letter_comes_back_as_it_was_written(letter in any_letter()) {
        let plain = serde_json::to_vec(&letter).unwrap();
        prop_assert_eq!(&serde_json::from_slice::<DeadLetter>(&plain).unwrap(), &letter);
        let safe = crate::models::to_safe_string(&letter).unwrap();
        prop_assert!(!safe.contains(crate::models::is_unsafe));
        prop_assert_eq!(String::from_utf8(letter.to_json()).unwrap(), &*safe);
        prop_assert_eq!(&serde_json::from_str::<DeadLetter>(&safe).unwrap(), &letter);
    }
}
