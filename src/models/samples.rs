//! Orders for tests.

use std::borrow::Cow;

use proptest::prelude::*;

use super::{CustomerInfo, InventoryStatus, Item, Metadata, Order};

/// A believable order that breaks no rule; about 1.25 kB of JSON.
pub(crate) fn valid_order() -> Order<'static> {
    let item = |id: &'static str, name: &'static str, quantity: i64, unit_price: f64, total_price: f64| {
        Item { item_id: id.into(), item_name: name.into(), quantity, unit_price, total_price }
    };
    let stock = |id: &'static str, name: &'static str, available_qty: i64, unit_price: f64| InventoryStatus {
        item_id: id.into(),
        item_name: name.into(),
        available_qty,
        reserved_qty: 3,
        unit_price,
        in_stock: true,
        warehouse: "PARIS-01".into(),
    };
    Order {
        order_id: "3f0c2c5e-7f0b-5b5e-9a37-0f3c1d1f6a55".into(),
        sequence: 42,
        status: "pending".into(),
        items: vec![
            item("item-espresso", "Espresso", 2, 2.5, 5.0),
            item("item-latte", "Caffè latte", 1, 4.2, 4.2),
        ],
        sub_total: 9.2,
        tax: 1.84,
        shipping_fee: 2.5,
        total: 13.54,
        currency: "EUR".into(),
        payment_method: "credit_card".into(),
        shipping_address: "12 rue des Écoles, 75005 Paris".into(),
        metadata: Metadata {
            timestamp: "2026-03-01T12:34:56.789Z".into(),
            version: "1.1".into(),
            event_type: "order.created".into(),
            source: "producer".into(),
            correlation_id: "9c7a3a0e-58c5-4b7c-8f0a-6f1fbb3c0a11".into(),
        },
        customer_info: CustomerInfo {
            customer_id: "client-0117".into(),
            name: "Zoë Müller".into(),
            email: "zoe.mueller@example.com".into(),
            phone: "+33 1 23 45 67 89".into(),
            address: "12 rue des Écoles, 75005 Paris".into(),
            loyalty_level: "gold".into(),
        },
        inventory_status: vec![
            stock("item-espresso", "Espresso", 100, 2.5),
            stock("item-latte", "Caffè latte", 80, 4.2),
        ],
    }
}

fn text() -> impl Strategy<Value = Cow<'static, str>> {
    prop_oneof![any::<String>(), "[ -~]{0,20}"].prop_map(Cow::Owned)
}

fn amount() -> impl Strategy<Value = f64> {
    use prop::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    prop_oneof![
        POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO,
        (0..1_000_000_i32).prop_map(|c| f64::from(c) / 100.0)
    ]
}

fn item() -> impl Strategy<Value = Item<'static>> {
    (text(), text(), any::<i64>(), amount(), amount()).prop_map(
        |(item_id, item_name, quantity, unit_price, total_price)| Item {
            item_id,
            item_name,
            quantity,
            unit_price,
            total_price,
        },
    )
}

fn metadata() -> impl Strategy<Value = Metadata<'static>> {
    (text(), text(), text(), text(), text()).prop_map(
        |(timestamp, version, event_type, source, correlation_id)| Metadata {
            timestamp,
            version,
            event_type,
            source,
            correlation_id,
        },
    )
}

fn customer() -> impl Strategy<Value = CustomerInfo<'static>> {
    (text(), text(), text(), text(), text(), text()).prop_map(
        |(customer_id, name, email, phone, address, loyalty_level)| CustomerInfo {
            customer_id,
            name,
            email,
            phone,
            address,
            loyalty_level,
        },
    )
}

fn stock() -> impl Strategy<Value = InventoryStatus<'static>> {
    (text(), text(), any::<i64>(), any::<i64>(), amount(), any::<bool>(), text()).prop_map(
        |(item_id, item_name, available_qty, reserved_qty, unit_price, in_stock, warehouse)| {
            InventoryStatus {
                item_id,
                item_name,
                available_qty,
                reserved_qty,
                unit_price,
                in_stock,
                warehouse,
            }
        },
    )
}

/// Any order at all, right or wrong.
pub(crate) fn any_order() -> impl Strategy<Value = Order<'static>> {
    (
        (text(), any::<i64>(), text(), prop::collection::vec(item(), 0..4)),
        (amount(), amount(), amount(), amount()),
        (text(), text(), text()),
        (metadata(), customer(), prop::collection::vec(stock(), 0..3)),
    )
        .prop_map(|((order_id, sequence, status, items), amounts, texts, parts)| Order {
            order_id,
            sequence,
            status,
            items,
            sub_total: amounts.0,
            tax: amounts.1,
            shipping_fee: amounts.2,
            total: amounts.3,
            currency: texts.0,
            payment_method: texts.1,
            shipping_address: texts.2,
            metadata: parts.0,
            customer_info: parts.1,
            inventory_status: parts.2,
        })
}
