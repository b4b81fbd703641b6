//! Valid orders of a wanted size. Only what makes each of them another one is written anew.

use pubsub_kafka::models::{
    CustomerInfo, DecodeLimits, InventoryStatus, Item, Metadata, Order, decode, validate,
};

/// Stands where an order's own id comes.
const PLACE: &str = "00000000-0000-4000-8000-000000000000";
/// Below this an order holds only what the rules ask for.
const WHOLE_BYTES: usize = 1000;

/// Writes orders that differ only in their ids.
pub struct Orders {
    before: String,
    after: String,
}

impl Orders {
    /// Orders of so many bytes.
    ///
    /// # Panics
    /// When an order cannot be as small as that.
    pub fn of_size(size: usize) -> Self {
        let fits = |items: &usize| size >= WHOLE_BYTES && whole(*items, "").len() <= size;
        let items = (1..).take_while(fits).last();
        let make = |padding: &str| items.map_or_else(|| small(padding), |items| whole(items, padding));
        let missing = size.checked_sub(make("").len()).expect("an order is not that small");
        let text = make(&"x".repeat(missing));
        let order = decode(Some(text.as_bytes()), &DecodeLimits { max_message_bytes: usize::MAX });
        validate(&order.expect("an order")).expect("a valid one");
        assert_eq!(text.len(), size, "the padding is written as it is");
        let (before, after) = text.split_once(PLACE).expect("the order has an id");
        Self { before: before.to_owned(), after: after.to_owned() }
    }

    /// The same with blanks as their status: no order of these is valid.
    ///
    /// # Panics
    /// When they are valid all the same.
    #[must_use]
    pub fn broken(self) -> Self {
        let after = self.after.replace("\"status\":\"new\"", "\"status\":\"   \"");
        let after = after.replace("\"status\":\"pending\"", "\"status\":\"       \"");
        let broken = Self { before: self.before, after };
        let (_, text) = broken.order(0);
        let order = decode(Some(text.as_bytes()), &DecodeLimits { max_message_bytes: usize::MAX });
        validate(&order.expect("an order")).expect_err("a blank status");
        broken
    }

    /// The id and the payload of an order.
    pub fn order(&self, number: u64) -> (String, String) {
        let id = format!("{:08x}-0000-4000-8000-{:012x}", number >> 32, number & 0xffff_ffff);
        let payload = [&*self.before, &id, &self.after].concat();
        (id, payload)
    }
}

/// What the rules ask for.
fn small(padding: &str) -> String {
    format!(
        "{{\"order_id\":\"{PLACE}\",\"sequence\":1,\"status\":\"new\",\"items\":[{{\"item_id\":\"a\",\"item_name\":\"b\",\
         \"quantity\":1,\"unit_price\":2.5,\"total_price\":2.5}}],\"sub_total\":2.5,\"total\":2.5,\
         \"customer_info\":{{\"customer_id\":\"c\",\"name\":\"{padding}n\"}}}}"
    )
}

/// Everything that an order can say, with so many items.
fn whole(count: usize, padding: &str) -> String {
    let items = (0..count).map(|number| Item {
        item_id: format!("SKU-{number:05}").into(),
        item_name: "Grüner Tee, groß".into(),
        quantity: 2,
        unit_price: 12.5,
        total_price: 25.0,
    });
    let stock = (0..count).map(|number| InventoryStatus {
        item_id: format!("SKU-{number:05}").into(),
        item_name: "Grüner Tee, groß".into(),
        available_qty: 117,
        reserved_qty: 2,
        unit_price: 12.5,
        in_stock: true,
        warehouse: "PARIS-01".into(),
    });
    let sub_total = 25.0 * count as f64;
    let order = Order {
        order_id: PLACE.into(),
        sequence: 1,
        status: "pending".into(),
        items: items.collect(),
        sub_total,
        tax: 0.2,
        shipping_fee: 2.5,
        total: sub_total + 2.7,
        currency: "EUR".into(),
        payment_method: "credit_card".into(),
        shipping_address: format!("12 rue de la Paix, 75002 Paris{padding}").into(),
        metadata: Metadata {
            timestamp: "2026-01-01T00:00:00.000Z".into(),
            version: "1.0".into(),
            event_type: "order.created".into(),
            source: "order-producer".into(),
            correlation_id: "5f6a2b1c-7d3e-4f80-9a1b-2c3d4e5f6071".into(),
        },
        customer_info: CustomerInfo {
            customer_id: "customer-0042".into(),
            name: "Amélie Durand".into(),
            email: "amelie.durand@shop.example".into(),
            phone: "+33 1 23 45 67 89".into(),
            address: "12 rue de la Paix, 75002 Paris".into(),
            loyalty_level: "gold".into(),
        },
        inventory_status: stock.collect(),
    };
    serde_json::to_string(&order).expect("an order is JSON")
}
