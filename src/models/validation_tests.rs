use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::failure::Category;
use crate::models::samples::valid_order;

fn broken(change: impl FnOnce(&mut Order<'static>)) -> Vec<Violation> {
    let mut order = valid_order();
    change(&mut order);
    match validate(&order) {
        Ok(()) => Vec::new(),
        Err(error) => {
            assert_eq!(error.category(), Category::Validation);
            error.violations
        }
    }
}

#[test]
fn a_right_order_breaks_no_rule() {
    assert_eq!(validate(&valid_order()), Ok(()));
}

#[test]
fn each_rule_has_its_own_violation_with_path_expectation_and_finding() {
    type Change = fn(&mut Order<'static>);
    let table: [(Change, &str); 22] = [
        (|o| o.order_id = "".into(), r#"/order_id must not be blank, found """#),
        (|o| o.order_id = " \t\u{3000}".into(), "/order_id must not be blank, found \" \\t\u{3000}\""),
        (|o| o.status = " ".into(), r#"/status must not be blank, found " ""#),
        (|o| o.sequence = 0, "/sequence must be greater than 0, found 0"),
        (|o| o.sequence = -5, "/sequence must be greater than 0, found -5"),
        (|o| o.items[1].item_id = "\n".into(), r#"/items/1/item_id must not be blank, found "\n""#),
        (|o| o.items[0].item_name = "".into(), r#"/items/0/item_name must not be blank, found """#),
        (
            |o| {
                o.items[0].quantity = 0;
                o.items[0].total_price = 0.0;
                o.sub_total = 4.2;
                o.total = 8.54;
            },
            "/items/0/quantity must be greater than 0, found 0",
        ),
        (
            |o| {
                o.items[0].unit_price = -2.5;
                o.items[0].total_price = -5.0;
                o.sub_total = -0.8;
                o.total = 3.54;
            },
            "/items/0/unit_price must be 0 or more, found -2.5",
        ),
        (
            |o| {
                o.items[0].total_price = 5.02;
                o.sub_total = 9.22;
                o.total = 13.56;
            },
            "/items/0/total_price must be quantity × unit_price = 5, found 5.02",
        ),
        (
            |o| {
                o.sub_total = 9.0;
                o.total = 13.34;
            },
            "/sub_total must be the sum of the items' total_price = 9.2, found 9",
        ),
        (|o| o.total = 13.52, "/total must be sub_total + tax + shipping_fee = 13.54, found 13.52"),
        (|o| o.tax = 2.0, "/total must be sub_total + tax + shipping_fee = 13.7, found 13.54"),
        (|o| o.shipping_fee = 0.0, "/total must be sub_total + tax + shipping_fee = 11.04, found 13.54"),
        (
            |o| o.customer_info.customer_id = "".into(),
            r#"/customer_info/customer_id must not be blank, found """#,
        ),
        (|o| o.customer_info.name = " ".into(), r#"/customer_info/name must not be blank, found " ""#),
        (
            |o| o.customer_info.email = "no\u{1b}[2J".into(),
            r#"/customer_info/email must be empty or look like name@example.com, found "no\u{1b}[2J""#,
        ),
        (|o| o.total = f64::NAN, "/total must be sub_total + tax + shipping_fee = 13.54, found NaN"),
        (|o| o.tax = f64::INFINITY, "/total must be sub_total + tax + shipping_fee = inf, found 13.54"),
        (
            |o| {
                o.tax = f64::INFINITY;
                o.total = f64::INFINITY;
            },
            "/total must be sub_total + tax + shipping_fee = inf, found inf",
        ),
        (|o| o.total = 1e300, "/total must be sub_total + tax + shipping_fee = 13.54, found 1e300"),
        (|o| o.total = 1e-9, "/total must be sub_total + tax + shipping_fee = 13.54, found 1e-9"),
    ];
    for (change, message) in table {
        let found: Vec<_> = broken(change).iter().map(ToString::to_string).collect();
        assert_eq!(found, [message]);
    }
}

#[test]
fn an_order_without_items_says_so() {
    let violations = broken(|o| {
        o.items.clear();
        o.sub_total = 0.0;
        o.total = 4.34;
    });
    assert_eq!(violations, [Violation::NoItems]);
    assert_eq!(violations[0].to_string(), "/items must hold at least 1 item, found 0");
}

#[test]
fn a_unit_price_that_is_no_number_is_broken() {
    for price in [f64::NAN, f64::INFINITY] {
        let violations = broken(|o| o.items[0].unit_price = price);
        assert!(matches!(violations[0], Violation::UnitPriceNegative { index: 0, .. }), "{violations:?}");
    }
}

#[test]
fn an_empty_object_breaks_every_rule_that_needs_a_field() {
    let error = validate(&Order::default()).unwrap_err();
    let paths: Vec<_> = error.violations.iter().map(Violation::path).collect();
    let expected =
        ["/order_id", "/sequence", "/status", "/items", "/customer_info/customer_id", "/customer_info/name"];
    assert_eq!(paths, expected);
}

#[test]
fn the_message_counts_lists_and_stops() {
    let one = validate(&Order { sequence: 0, ..valid_order() }).unwrap_err();
    assert_eq!(one.to_string(), "1 rule broken: /sequence must be greater than 0, found 0");

    let mut order = valid_order();
    order.sequence = 0;
    order.total = 0.0;
    let two = validate(&order).unwrap_err().to_string();
    let expected = "2 rules broken: /sequence must be greater than 0, found 0; \
                    /total must be sub_total + tax + shipping_fee = 13.54, found 0";
    assert_eq!(two, expected);

    order.items = vec![Item::default(); 500];
    let many = validate(&order).unwrap_err();
    assert_eq!((many.violations.len(), many.count()), (ValidationError::MAX_KEPT, 1_503));
    let message = many.to_string();
    assert!(message.ends_with("; and 1493 more") && message.matches("; /").count() == 9, "{message}");
}

#[test]
fn a_long_value_is_quoted_in_part() {
    let violations = broken(|o| o.customer_info.email = "x".repeat(1_000).into());
    assert_eq!(violations[0].found(), format!("\"{}…\"", "x".repeat(64)));
}

#[test]
fn one_cent_is_within_the_tolerance_wherever_the_amounts_lie() {
    for (total, fits) in [(13.53, true), (13.54, true), (13.55, true), (13.529, false), (13.5501, false)] {
        assert_eq!(broken(|o| o.total = total).is_empty(), fits, "{total}");
    }
}

#[test]
fn e_mail_addresses() {
    let good = ["", "a@b.example", "a.b+c@d-e.f.example", "zoë@exämple.fr", "\"a\"@b.c", "a@b..c", "o'x@y.z"];
    let bad = [
        " ",
        "a",
        "@",
        "a@",
        "@b.c",
        "a@b",
        "a@.b",
        "a@b.",
        "a@@b.c",
        "a@b@c.d",
        "a b@c.d",
        "a@b.c ",
        "a@b\u{a0}.c",
        "a@b.c\n",
        "a\u{0}@b.c",
        "a@b.\u{9b}c",
        "a.b",
    ];
    for email in good {
        assert!(broken(|o| o.customer_info.email = email.into()).is_empty(), "{email:?}");
    }
    for email in bad {
        let violations = broken(|o| o.customer_info.email = email.into());
        assert!(matches!(violations[..], [Violation::EmailMalformed { .. }]), "{email:?}");
    }
}

/// Amounts in cents: what the oracle computes with, exactly.
#[derive(Debug, Clone)]
struct Cents {
    /// Quantity, unit price, total price.
    items: Vec<(i64, i64, i64)>,
    sub_total: i64,
    tax: i64,
    shipping_fee: i64,
    total: i64,
    sequence: i64,
    texts: [&'static str; 6],
}

fn cents() -> impl Strategy<Value = Cents> {
    let off = || prop_oneof![4 => Just(0_i64), 2 => -2..=2_i64, 1 => -100_000..100_000_i64];
    let item =
        (-1..1_000_i64, -1..2_000_000_i64, off()).prop_map(|(n, price, off)| (n, price, n * price + off));
    let text = || prop_oneof![6 => Just("x"), 1 => Just(""), 1 => Just(" \n")];
    let texts = (text(), text(), text(), text(), text(), prop_oneof![Just("a@b.c"), Just(""), Just("a@b")]);
    let amounts = (0..10_000_000_i64, 0..10_000_i64, off(), off());
    (prop::collection::vec(item, 0..6), amounts, -1..4_i64, texts).prop_map(
        |(items, (tax, shipping_fee, sub_off, total_off), sequence, t)| {
            let sub_total = items.iter().map(|item| item.2).sum::<i64>() + sub_off;
            let total = sub_total + tax + shipping_fee + total_off;
            let texts = [t.0, t.1, t.2, t.3, t.4, t.5];
            Cents { items, sub_total, tax, shipping_fee, total, sequence, texts }
        },
    )
}

fn decimal(cents: i64) -> String {
    format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100)
}

impl Cents {
    fn json(&self) -> String {
        let [order_id, status, item, customer_id, name, email] =
            self.texts.map(|text| serde_json::to_string(text).unwrap());
        let items: Vec<_> = self
            .items
            .iter()
            .map(|&(n, unit, total)| {
                let (unit, total) = (decimal(unit), decimal(total));
                format!(
                    r#"{{"item_id":{item},"item_name":{item},"quantity":{n},"unit_price":{unit},"total_price":{total}}}"#
                )
            })
            .collect();
        format!(
            r#"{{"order_id":{order_id},"sequence":{},"status":{status},"items":[{}],"sub_total":{},"tax":{},
                "shipping_fee":{},"total":{},
                "customer_info":{{"customer_id":{customer_id},"name":{name},"email":{email}}}}}"#,
            self.sequence,
            items.join(","),
            decimal(self.sub_total),
            decimal(self.tax),
            decimal(self.shipping_fee),
            decimal(self.total),
        )
    }
}

/// The rules once more, over plain JSON, amounts as integers of cents read from the number's own digits.
fn oracle(json: &str) -> Vec<String> {
    let order: Value = serde_json::from_str(json).unwrap();
    let cent = |v: &Value| (v.as_f64().unwrap() * 100.0).round() as i64;
    let at = |path: &str| order.pointer(path).unwrap();
    let mut paths = Vec::new();
    let mut rule = |path: String, holds: bool| {
        if !holds {
            paths.push(path);
        }
    };
    for path in ["/order_id", "/status", "/customer_info/customer_id", "/customer_info/name"] {
        rule(path.into(), at(path).as_str().unwrap().chars().any(|c| !c.is_whitespace()));
    }
    rule("/sequence".into(), at("/sequence").as_i64().unwrap() > 0);
    rule("/customer_info/email".into(), at("/customer_info/email") != "a@b");
    let items = at("/items").as_array().unwrap();
    rule("/items".into(), !items.is_empty());
    for (n, item) in items.iter().enumerate() {
        for field in ["item_id", "item_name"] {
            let visible = item[field].as_str().unwrap().chars().any(|c| !c.is_whitespace());
            rule(format!("/items/{n}/{field}"), visible);
        }
        let quantity = item["quantity"].as_i64().unwrap();
        let (unit, total) = (cent(&item["unit_price"]), cent(&item["total_price"]));
        rule(format!("/items/{n}/quantity"), quantity > 0);
        rule(format!("/items/{n}/unit_price"), unit >= 0);
        rule(format!("/items/{n}/total_price"), (quantity * unit - total).abs() <= 1);
    }
    let sum: i64 = items.iter().map(|item| cent(&item["total_price"])).sum();
    let [sub_total, tax, fee, total] = ["/sub_total", "/tax", "/shipping_fee", "/total"].map(|p| cent(at(p)));
    rule("/sub_total".into(), (sum - sub_total).abs() <= 1);
    rule("/total".into(), (sub_total + tax + fee - total).abs() <= 1);
    paths.sort();
    paths
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn agrees_with_an_oracle_in_whole_cents(cents in cents()) {
        let json = cents.json();
        let order = crate::models::decode(Some(json.as_bytes()), &Default::default()).unwrap();
        let mut found: Vec<_> = match validate(&order) {
            Ok(()) => Vec::new(),
            Err(error) => error.violations.iter().map(|v| v.path().into_owned()).collect(),
        };
        found.sort();
        prop_assert_eq!(found, oracle(&json));
    }
}
