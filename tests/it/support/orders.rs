//! A valid order to start from.

use serde_json::{Value, json};

/// A valid order with this id.
pub fn order(id: &str) -> Value {
    json!({
        "order_id": id, "sequence": 1, "status": "new",
        "items": [{ "item_id": "i-1", "item_name": "Café", "quantity": 2, "unit_price": 3.5, "total_price": 7.0 }],
        "sub_total": 7.0, "tax": 0.2, "shipping_fee": 2.5, "total": 9.7, "currency": "EUR",
        "payment_method": "credit_card", "shipping_address": "1 rue de la Paix",
        "metadata": { "timestamp": "2026-01-02T03:04:05Z", "version": "1", "event_type": "order.created",
                      "source": "test", "correlation_id": "c" },
        "customer_info": { "customer_id": "c-1", "name": "Zoë", "email": "zoe@example.com" },
        "inventory_status": [],
    })
}

/// Its bytes on the wire.
pub fn bytes(order: &Value) -> Vec<u8> {
    serde_json::to_vec(order).expect("JSON")
}

/// A valid order of exactly so many bytes, two thirds of it items where it is large.
pub fn sized(id: &str, size: usize) -> Vec<u8> {
    let mut order = order(id);
    let item = order["items"][0].clone();
    let items = 1 + size.saturating_sub(2048) * 2 / 3 / (bytes(&item).len() + 1);
    let sub_total = items as f64 * 7.0;
    order["items"] = vec![item; items].into();
    order["sub_total"] = sub_total.into();
    order["total"] = (sub_total + 2.7).into();
    order["note"] = "".into();
    let missing = size.checked_sub(bytes(&order).len()).expect("room for an order");
    order["note"] = "n".repeat(missing).into();
    bytes(&order)
}
