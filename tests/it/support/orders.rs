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
