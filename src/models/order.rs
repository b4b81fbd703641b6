//! The order as it travels: a self-contained event (event-carried state transfer), borrowed from the payload that it
//! was decoded from. Fields and their order are the wire form; what makes an order right is `validation`'s to say.

use std::borrow::Cow;

use super::wire::{IntoOwned, objects};

objects! {
    /// One order, with everything that a reader of the event needs to know.
    ///
    /// Strings are borrowed from the payload wherever they hold no escape. `Order<'static>` is the owned form:
    ///
    /// ```
    /// use pubsub_kafka::models::{DecodeLimits, Order, decode};
    ///
    /// let order: Order<'static> = Order { order_id: "o-1".into(), sequence: 1, ..Order::default() };
    /// let payload = serde_json::to_vec(&order)?;
    /// assert_eq!(decode(Some(&payload), &DecodeLimits::default())?, order);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Order {
        /// The order's identity, the same in all of its events.
        order_id: Cow<'a, str>,
        /// The event's number within the order; a later event has a higher one.
        sequence: i64,
        /// Where the order is in its life, such as `pending`.
        status: Cow<'a, str>,
        /// What was ordered.
        items: Vec<Item<'a>>,
        /// The sum of the items' `total_price`.
        sub_total: f64,
        /// The tax, as an amount.
        tax: f64,
        /// What shipping costs.
        shipping_fee: f64,
        /// `sub_total` + `tax` + `shipping_fee`.
        total: f64,
        /// The currency of every amount, such as `EUR`.
        currency: Cow<'a, str>,
        /// How it is paid, such as `credit_card`.
        payment_method: Cow<'a, str>,
        /// Where it goes.
        shipping_address: Cow<'a, str>,
        /// About the event itself.
        metadata: Metadata<'a>,
        /// Who ordered.
        customer_info: CustomerInfo<'a>,
        /// The stock of the items when the event was made.
        inventory_status: Vec<InventoryStatus<'a>>,
    }

    /// One line of an order.
    Item {
        /// The article.
        item_id: Cow<'a, str>,
        /// Its name.
        item_name: Cow<'a, str>,
        /// How many.
        quantity: i64,
        /// The price of one.
        unit_price: f64,
        /// `quantity` × `unit_price`.
        total_price: f64,
    }

    /// About the event that carries the order.
    Metadata {
        /// When the event was made, RFC 3339; read as text.
        timestamp: Cow<'a, str>,
        /// The version of this wire form.
        version: Cow<'a, str>,
        /// What happened, such as `order.created`.
        event_type: Cow<'a, str>,
        /// Who made the event.
        source: Cow<'a, str>,
        /// What ties events of one cause together.
        correlation_id: Cow<'a, str>,
    }

    /// Who ordered.
    CustomerInfo {
        /// The customer's identity.
        customer_id: Cow<'a, str>,
        /// The customer's name.
        name: Cow<'a, str>,
        /// The e-mail address; may be empty.
        email: Cow<'a, str>,
        /// The phone number.
        phone: Cow<'a, str>,
        /// The postal address.
        address: Cow<'a, str>,
        /// The loyalty level, such as `gold`.
        loyalty_level: Cow<'a, str>,
    }

    /// The stock of one article.
    InventoryStatus {
        /// The article.
        item_id: Cow<'a, str>,
        /// Its name.
        item_name: Cow<'a, str>,
        /// How many can be sold.
        available_qty: i64,
        /// How many are promised to somebody.
        reserved_qty: i64,
        /// The price of one.
        unit_price: f64,
        /// Whether any can be sold.
        in_stock: bool,
        /// Where they are, such as `PARIS-01`.
        warehouse: Cow<'a, str>,
    }
}

impl Order<'_> {
    /// The same order, free of the payload that it was decoded from.
    #[must_use]
    pub fn into_owned(self) -> Order<'static> {
        IntoOwned::into_owned(self)
    }
}
