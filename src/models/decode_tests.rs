use std::borrow::Cow;

use proptest::prelude::*;

use super::*;
use crate::models::samples::{any_order, valid_order};

fn read(payload: &[u8]) -> Result<Order<'_>, DecodeError> {
    decode(Some(payload), &DecodeLimits::default())
}

fn error(payload: impl AsRef<[u8]>) -> DecodeError {
    read(payload.as_ref()).expect_err("the payload is bad")
}

#[test]
fn borrows_strings_without_escapes_and_owns_the_others() {
    let payload = r#"{"order_id":"o-1","status":"caf\u00e9","currency":"café"}"#;
    let order = read(payload.as_bytes()).unwrap();
    assert!(matches!(order.order_id, Cow::Borrowed("o-1")));
    assert!(matches!(order.currency, Cow::Borrowed("café")));
    assert_eq!(order.status, Cow::<str>::Owned("café".to_owned()));
}

#[test]
fn reads_every_field_of_the_wire_form() {
    let payload = r#"{
        "order_id": "o-1", "sequence": 3, "status": "paid",
        "items": [{"item_id": "i-1", "item_name": "Tea", "quantity": 2, "unit_price": 4, "total_price": 8.0}],
        "sub_total": 8, "tax": 1.6, "shipping_fee": 2.5, "total": 12.1, "currency": "EUR",
        "payment_method": "credit_card", "shipping_address": "1 rue X",
        "metadata": {"timestamp": "t", "version": "1.1", "event_type": "e", "source": "s", "correlation_id": "c"},
        "customer_info": {"customer_id": "c-1", "name": "Zoë", "email": "z@x.example", "phone": "1",
                          "address": "2 rue Y", "loyalty_level": "gold"},
        "inventory_status": [{"item_id": "i-1", "item_name": "Tea", "available_qty": 9, "reserved_qty": -1,
                              "unit_price": 4.0, "in_stock": true, "warehouse": "PARIS-01"}]
    }"#;
    let order = read(payload.as_bytes()).unwrap();
    let written = serde_json::to_value(&order).unwrap();
    let mut expected: serde_json::Value = serde_json::from_str(payload).unwrap();
    for pointer in ["/items/0/unit_price", "/sub_total"] {
        let value = expected.pointer_mut(pointer).unwrap();
        *value = serde_json::json!(value.as_f64().unwrap());
    }
    assert_eq!(written, expected);
}

#[test]
fn writes_the_fields_in_the_order_of_the_wire_form() {
    let order = valid_order();
    let text = serde_json::to_string(&order).unwrap();
    let keys = [
        "order_id",
        "sequence",
        "status",
        "items",
        "quantity",
        "sub_total",
        "tax",
        "shipping_fee",
        "currency",
        "payment_method",
        "shipping_address",
        "metadata",
        "timestamp",
        "version",
        "event_type",
        "source",
        "correlation_id",
        "customer_info",
        "customer_id",
        "name",
        "email",
        "phone",
        "address",
        "loyalty_level",
        "inventory_status",
        "available_qty",
        "reserved_qty",
        "in_stock",
        "warehouse",
    ];
    let places: Vec<_> = keys.iter().map(|key| text.find(&format!("\"{key}\":")).unwrap()).collect();
    assert!(places.is_sorted(), "{text}");
}

#[test]
fn absent_fields_are_zero() {
    assert_eq!(read(b"{}").unwrap(), Order::default());
    let order = read(br#"{"items":[{}],"customer_info":{}}"#).unwrap();
    assert_eq!(order.items, [crate::models::Item::default()]);
}

#[test]
fn payloads_without_content() {
    assert_eq!(decode(None, &DecodeLimits::default()), Err(DecodeError::Null));
    assert_eq!(error(""), DecodeError::Empty);
    assert!(matches!(error("  \n"), DecodeError::Json { line: 2, .. }));
}

#[test]
fn the_size_limit_is_checked_before_anything_else() {
    let limits = DecodeLimits { max_message_bytes: 4 };
    assert_eq!(
        decode(Some(b"\xff\xff\xff\xff\xff"), &limits),
        Err(DecodeError::TooLarge { size: 5, limit: 4 })
    );
    assert!(decode(Some(b"{  }"), &limits).is_ok());
    assert_eq!(DecodeLimits::default().max_message_bytes, 1 << 20);
}

#[test]
fn invalid_utf8_names_the_first_bad_byte() {
    assert_eq!(error(b"{\"order_id\":\"\xc3\x28\"}"), DecodeError::NotUtf8 { valid_up_to: 13 });
    assert_eq!(error(b"\xed\xa0\x80"), DecodeError::NotUtf8 { valid_up_to: 0 });
}

#[test]
fn text_that_is_not_json() {
    let table: &[&str] = &[
        "order-1",
        "{",
        "{\"order_id\"",
        "{\"order_id\":\"o-1\"",
        "{\"order_id\":\"o-1\",}",
        "{order_id:1}",
        "{'order_id':'x'}",
        "{\"tax\":NaN}",
        "{\"tax\":Infinity}",
        "{\"tax\":-Infinity}",
        "{\"tax\":1e400}",
        "{\"tax\":-1e400}",
        "{\"other\":1e400}",
        "{\"tax\":01}",
        "{\"tax\":+1}",
        "{\"tax\":1.}",
        "{\"tax\":.5}",
        "{\"tax\":0x10}",
        r#"{"status":"\ud800"}"#,
        r#"{"status":"\udc00"}"#,
        r#"{"other":"\ud800\u0041"}"#,
        r#"{"\ud800":1}"#,
        r#"{"status":"\x41"}"#,
        "{\"status\":\"a\nb\"}",
        "{\"other\":\"\u{1b}\"}",
        "{\"items\":[1,]}",
        "{\"other\":[}",
        "\u{feff}{}",
        "{/* no */}",
    ];
    for payload in table {
        let error = error(payload);
        // An item that is no object is found before the comma behind it.
        let expected = matches!(error, DecodeError::Json { .. } | DecodeError::WrongType { .. });
        assert!(expected, "{payload}: {error:?}");
        assert_eq!(error.category(), Category::Deserialization);
    }
}

#[test]
fn text_behind_the_order() {
    for payload in ["{}{}", "{}x", "{} \n,", "{}\0"] {
        assert!(matches!(error(payload), DecodeError::TrailingData { .. }), "{payload}");
    }
    assert!(read(b" {} \r\n\t").is_ok());
}

#[test]
fn wrong_types_name_the_field_and_both_types() {
    let table = [
        ("[]", "", "an object", "an array"),
        (r#"["o-1",1,"paid"]"#, "", "an object", "an array"),
        ("\"o\"", "", "an object", "a string"),
        ("null", "", "an object", "null"),
        ("17", "", "an object", "a number"),
        ("true", "", "an object", "a boolean"),
        (r#"{"order_id":1}"#, "/order_id", "a string", "a number"),
        (r#"{"order_id":null}"#, "/order_id", "a string", "null"),
        (r#"{"sequence":"1"}"#, "/sequence", "an integer of 64 bits", "a string"),
        (r#"{"sequence":"\u0031"}"#, "/sequence", "an integer of 64 bits", "a string"),
        (r#"{"sequence":1.5}"#, "/sequence", "an integer of 64 bits", "a number of another form"),
        (r#"{"sequence":1e3}"#, "/sequence", "an integer of 64 bits", "a number of another form"),
        (
            r#"{"sequence":9223372036854775808}"#,
            "/sequence",
            "an integer of 64 bits",
            "a number out of range",
        ),
        (r#"{"tax":"1"}"#, "/tax", "a number", "a string"),
        (r#"{"tax":[]}"#, "/tax", "a number", "an array"),
        (r#"{"items":{}}"#, "/items", "an array", "an object"),
        (r#"{"items":null}"#, "/items", "an array", "null"),
        (r#"{"items":[{},[]]}"#, "/items/1", "an object", "an array"),
        (r#"{"items":[{},{"quantity":true}]}"#, "/items/1/quantity", "an integer of 64 bits", "a boolean"),
        (r#"{"customer_info":["c-1"]}"#, "/customer_info", "an object", "an array"),
        (r#"{"customer_info":{"name":{}}}"#, "/customer_info/name", "a string", "an object"),
        (r#"{"inventory_status":[{"in_stock":1}]}"#, "/inventory_status/0/in_stock", "a boolean", "a number"),
        (r#"{"metadata":{"version":1.1}}"#, "/metadata/version", "a string", "a number"),
    ];
    for (payload, expected_path, expected_type, found_type) in table {
        match error(payload) {
            DecodeError::WrongType { path, expected, found, line: 1, column } => {
                assert_eq!(
                    (&*path, expected, found),
                    (expected_path, expected_type, found_type),
                    "{payload}"
                );
                assert!(column <= payload.len(), "{payload}");
            }
            other => panic!("{payload}: {other:?}"),
        }
    }
}

#[test]
fn numbers_below_the_rules_are_not_type_errors() {
    let payload = br#"{"sequence":-9223372036854775808,"items":[{"quantity":-1,"unit_price":-0.5}]}"#;
    let order = read(payload).unwrap();
    assert_eq!((order.sequence, order.items[0].quantity), (i64::MIN, -1));
}

#[test]
fn duplicate_keys_at_every_level() {
    let table = [
        (r#"{"order_id":"a","order_id":"a"}"#, "order_id"),
        (r#"{"order_id":"a","order\u005fid":"a"}"#, "order_id"),
        (r#"{"items":[{"quantity":1,"quantity":1}]}"#, "quantity"),
        (r#"{"metadata":{},"metadata":{}}"#, "metadata"),
        (r#"{"customer_info":{"x":1,"x":1}}"#, "x"),
        (r#"{"x":1,"order_id":"a","x":2}"#, "x"),
        (r#"{"x":1,"\u0078":2}"#, "x"),
        (r#"{"x":{"y":1,"y":1}}"#, "y"),
        (r#"{"x":[[{"y":{"z":0,"a":1,"z":2}}]]}"#, "z"),
        (r#"{"":1,"":2}"#, ""),
    ];
    for (payload, expected) in table {
        match error(payload) {
            DecodeError::DuplicateKey { key, line: 1, .. } => assert_eq!(key, expected, "{payload}"),
            other => panic!("{payload}: {other:?}"),
        }
    }
    assert!(
        read(br#"{"x":{"y":1},"z":{"y":1},"y":[{"y":1},{"y":1}]}"#).is_ok(),
        "only siblings are duplicates"
    );
}

#[test]
fn a_duplicate_among_many_unknown_keys_is_found_in_little_time() {
    let keys: Vec<_> = (0..60_000).map(|n| format!("\"{n}\":0")).collect();
    let unique = format!("{{{}}}", keys.join(","));
    assert!(read(unique.as_bytes()).is_ok());
    let repeated = format!("{{{},\"77\":1}}", keys.join(","));
    assert!(matches!(error(repeated), DecodeError::DuplicateKey { key, .. } if key == "77"));
}

#[test]
fn errors_hold_no_payload_but_an_escaped_and_shortened_key() {
    let key = format!("\\u001b[31m{}", "k".repeat(500));
    let message = error(format!(r#"{{"{key}":"s3cret","{key}":"s3cret"}}"#)).to_string();
    assert!(message.starts_with(r#"duplicate key "\u{1b}[31mkkk"#), "{message}");
    assert!(message.contains("…") && message.len() < 150, "{message}");
    for payload in [r#"{"sequence":"s3cret"}"#, r#"{"s3cret":s3cret}"#, r#"{"tax":"s3cret"#, "s3cret"] {
        let message = error(payload).to_string();
        assert!(!message.contains("s3cret"), "{message}");
    }
}

#[test]
fn messages_read_well() {
    let table = [
        ("[]", "the payload must be an object, found an array at line 1 column 2"),
        (
            "{\n\"items\": [{\"quantity\": \"2\"}]}",
            "/items/0/quantity must be an integer of 64 bits, found a string at line 2 column 26",
        ),
        ("{\"tax\":1e400}", "not JSON: number out of range at line 1 column 12"),
        ("{} x", "text behind the order at line 1 column 4"),
    ];
    for (payload, message) in table {
        assert_eq!(error(payload).to_string(), message);
    }
}

fn nested(levels: usize, open: &str, close: &str) -> String {
    format!("{}0{}", open.repeat(levels), close.repeat(levels))
}

#[test]
fn depth_is_limited_in_ignored_fields_too() {
    let fits = format!(r#"{{"other":{}}}"#, nested(MAX_DEPTH - 1, "[", "]"));
    assert!(read(fits.as_bytes()).is_ok());
    // As the audit log holds it, one level deeper.
    assert!(serde_json::from_str::<serde_json::Value>(&format!(r#"{{"order_full":{fits}}}"#)).is_ok());
    for (open, close) in [("[", "]"), (r#"{"]":"#, "}"), ("[\n", "]"), (r#"[{"a\"[":"#, "}]")] {
        for levels in [MAX_DEPTH, 1_000] {
            let deep = format!(r#"{{"other":{}}}"#, nested(levels, open, close));
            assert!(matches!(error(deep), DecodeError::TooDeep { .. }), "{open} {levels}");
        }
    }
    let inside = format!(r#"{{"items":[{{"x":{}}}]}}"#, nested(MAX_DEPTH, "[", "]"));
    assert!(matches!(error(inside), DecodeError::TooDeep { .. }));
}

#[test]
fn a_hundred_thousand_levels_are_an_error_and_no_overflow() {
    let open_only = "[".repeat(100_000);
    assert!(matches!(error(&open_only), DecodeError::WrongType { .. }));
    for deep in [format!(r#"{{"x":{open_only}"#), r#"{"x":"#.repeat(100_000)] {
        assert!(matches!(error(deep), DecodeError::TooDeep { .. }));
    }
}

#[test]
fn a_mistake_in_a_deep_but_allowed_place_is_not_called_too_deep() {
    let open = "[".repeat(MAX_DEPTH - 1);
    assert!(matches!(error(format!(r#"{{"x":{open}nul"#)), DecodeError::Json { .. }));
}

proptest! {
    #[test]
    fn an_order_comes_back_as_it_was_written(order in any_order()) {
        let payload = serde_json::to_vec(&order).unwrap();
        prop_assert_eq!(&read(&payload).unwrap(), &order);
        prop_assert_eq!(&read(&payload).unwrap().into_owned(), &order);
        let pretty = serde_json::to_vec_pretty(&order).unwrap();
        prop_assert_eq!(&read(&pretty).unwrap(), &order);
    }

    #[test]
    fn any_bytes_are_an_order_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(read(&bytes));
    }

    #[test]
    fn whatever_is_decoded_can_be_read_by_others(cut in 0_usize..1500, byte in any::<u8>()) {
        let mut payload = serde_json::to_vec(&valid_order()).unwrap();
        let place = cut % payload.len();
        payload[place] = byte;
        let decoded = read(&payload).is_ok();
        if decoded {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&payload).is_ok());
        }
    }
}
