//! Believable orders out of a seed: new ones, and the later events of those that are under way. Pure: the same seed
//! gives the same orders in the same sequence, and everything in them that is not the wall clock's.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use super::catalogue::{CUSTOMERS, PRODUCTS};
use super::settings::ProducerSettings;
use crate::models::{CustomerInfo, InventoryStatus, Item, Metadata, Order};

/// So many orders may be under way at once.
const MAX_OPEN: usize = 64;

/// Below so many, new orders are more likely than events of those under way.
const FEW_OPEN: usize = 8;

/// The life of an order: its status, and the type of the event that tells it.
const STEPS: [(&str, &str); 4] = [
    ("pending", "order.created"),
    ("confirmed", "order.confirmed"),
    ("shipped", "order.shipped"),
    ("delivered", "order.delivered"),
];

/// 2026-01-01T00:00:00Z, in seconds since the Unix epoch: when seeded orders begin.
const SEEDED_START_S: i64 = 1_767_225_600;

/// Where an event's time comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Clock {
    /// From the seed alone, so that a run can be repeated byte for byte.
    Seeded,
    /// From the system.
    Wall,
}

/// An endless sequence of order events.
#[derive(Debug)]
pub(super) struct Generator {
    rng: ChaCha8Rng,
    clock: Clock,
    seeded_now: Timestamp,
    /// Orders under way, each as its latest event told it.
    open: Vec<Order<'static>>,
    /// The order that the latest event delivered: lent out, then forgotten.
    delivered: Option<usize>,
    details: Details,
}

/// What all the orders have in common.
#[derive(Debug)]
struct Details {
    tax: i64,
    shipping_fee: i64,
    currency: String,
    payment_method: String,
    warehouse: String,
}

impl Generator {
    pub(super) fn new(seed: u64, clock: Clock, settings: &ProducerSettings) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let into_the_day = SignedDuration::from_millis(rng.random_range(0..86_400_000));
        let start = Timestamp::from_second(SEEDED_START_S).unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            rng,
            clock,
            seeded_now: start.checked_add(into_the_day).unwrap_or(start),
            open: Vec::with_capacity(MAX_OPEN),
            delivered: None,
            details: Details {
                tax: cents(settings.tax),
                shipping_fee: cents(settings.shipping_fee),
                currency: settings.currency.clone(),
                payment_method: settings.payment_method.clone(),
                warehouse: settings.warehouse.clone(),
            },
        }
    }

    /// The next event: an order as it is now.
    pub(super) fn next_order(&mut self) -> &Order<'static> {
        if let Some(done) = self.delivered.take() {
            self.open.swap_remove(done);
        }
        let at = self.now();
        let new_share = if self.open.len() < FEW_OPEN { 0.6 } else { 0.25 };
        let new = self.open.is_empty() || self.rng.random_bool(new_share);
        let index = if new && self.open.len() < MAX_OPEN {
            let order = self.create();
            self.open.push(order);
            self.open.len() - 1
        } else {
            let index = self.rng.random_range(0..self.open.len());
            self.open[index].sequence += 1;
            index
        };
        let order = &mut self.open[index];
        let step = usize::try_from(order.sequence - 1).unwrap_or(0).min(STEPS.len() - 1);
        let (status, event_type) = STEPS[step];
        order.status = Cow::Borrowed(status);
        order.metadata.event_type = Cow::Borrowed(event_type);
        order.metadata.timestamp = Cow::Owned(format!("{at:.3}"));
        if step == STEPS.len() - 1 {
            self.delivered = Some(index);
        }
        order
    }

    fn now(&mut self) -> Timestamp {
        // Drawn in either case: the clock must not change the orders.
        let step = SignedDuration::from_millis(self.rng.random_range(20..4_000));
        self.seeded_now = self.seeded_now.checked_add(step).unwrap_or(self.seeded_now);
        match self.clock {
            Clock::Seeded => self.seeded_now,
            Clock::Wall => Timestamp::now(),
        }
    }

    fn create(&mut self) -> Order<'static> {
        let Self { rng, details, .. } = self;
        let order_id = Uuid::from_u128(rng.random());
        let correlation_id =
            uuid::Builder::from_u128(rng.random()).with_version(uuid::Version::Random).into_uuid();
        let customer = &CUSTOMERS[rng.random_range(0..CUSTOMERS.len())];
        let mut items = Vec::new();
        let mut inventory_status = Vec::new();
        let mut sub_total = 0;
        let count = rng.random_range(1..=5);
        for index in rand::seq::index::sample(rng, PRODUCTS.len(), count) {
            let product = &PRODUCTS[index];
            let quantity = rng.random_range(1..=4);
            let available_qty = if rng.random_bool(0.03) { 0 } else { rng.random_range(quantity..400) };
            let total = quantity * product.price;
            sub_total += total;
            items.push(Item {
                item_id: product.id.into(),
                item_name: product.name.into(),
                quantity,
                unit_price: amount(product.price),
                total_price: amount(total),
            });
            inventory_status.push(InventoryStatus {
                item_id: product.id.into(),
                item_name: product.name.into(),
                available_qty,
                reserved_qty: quantity,
                unit_price: amount(product.price),
                in_stock: available_qty > 0,
                warehouse: details.warehouse.clone().into(),
            });
        }
        Order {
            order_id: format!("order-{}", order_id.simple()).into(),
            sequence: 1,
            status: "".into(),
            items,
            sub_total: amount(sub_total),
            tax: amount(details.tax),
            shipping_fee: amount(details.shipping_fee),
            total: amount(sub_total + details.tax + details.shipping_fee),
            currency: details.currency.clone().into(),
            payment_method: details.payment_method.clone().into(),
            shipping_address: customer.address.into(),
            metadata: Metadata {
                timestamp: "".into(),
                version: "1.0".into(),
                event_type: "".into(),
                source: "order-producer".into(),
                correlation_id: correlation_id.to_string().into(),
            },
            customer_info: CustomerInfo {
                customer_id: customer.id.into(),
                name: customer.name.into(),
                email: customer.email.into(),
                phone: customer.phone.into(),
                address: customer.address.into(),
                loyalty_level: customer.loyalty_level.into(),
            },
            inventory_status,
        }
    }
}

/// An amount in cents: sums of these are exact.
pub(super) fn cents(amount: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "rounded; a float beyond the range saturates")]
    let cents = (amount * 100.0).round() as i64;
    cents
}

/// Cents as the wire form's number: the float that is nearest.
pub(super) fn amount(cents: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 90 trillion")]
    let whole = cents as f64;
    whole / 100.0
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::models::validate;

    fn generator(seed: u64, clock: Clock) -> Generator {
        Generator::new(seed, clock, &ProducerSettings::default())
    }

    fn payloads(seed: u64, count: usize) -> Vec<String> {
        let mut generator = generator(seed, Clock::Seeded);
        (0..count).map(|_| serde_json::to_string(generator.next_order()).expect("JSON")).collect()
    }

    proptest! {
        #[test]
        fn every_order_is_valid(seed: u64, tax in 0_i64..10_000, fee in 0_i64..10_000) {
            let settings =
                ProducerSettings { tax: amount(tax), shipping_fee: amount(fee), ..ProducerSettings::default() };
            let mut generator = Generator::new(seed, Clock::Seeded, &settings);
            for _ in 0..50 {
                let order = generator.next_order();
                prop_assert_eq!(validate(order), Ok(()));
                prop_assert!((1..=5).contains(&order.items.len()));
                prop_assert_eq!(order.items.len(), order.inventory_status.len());
                let sum: i64 = order.items.iter().map(|item| cents(item.total_price)).sum();
                prop_assert_eq!(order.total, amount(sum + tax + fee));
            }
        }

        #[test]
        fn the_same_seed_gives_the_same_bytes(seed: u64) {
            prop_assert_eq!(payloads(seed, 100), payloads(seed, 100));
            prop_assert_ne!(payloads(seed, 1), payloads(seed.wrapping_add(1), 1));
        }

        #[test]
        fn an_orders_events_count_up_and_move_on(seed: u64) {
            let mut generator = generator(seed, Clock::Seeded);
            let mut last = HashMap::<String, i64>::new();
            let mut timestamp = String::new();
            for _ in 0..500 {
                let order = generator.next_order();
                let before = last.insert(order.order_id.to_string(), order.sequence).unwrap_or(0);
                prop_assert_eq!(order.sequence, before + 1);
                let status = ["pending", "confirmed", "shipped", "delivered"][before as usize];
                prop_assert_eq!(&order.status, status);
                prop_assert!(*order.metadata.timestamp > *timestamp, "{} after {}", order.metadata.timestamp, timestamp);
                timestamp = order.metadata.timestamp.to_string();
            }
            prop_assert!(last.values().any(|sequence| *sequence == 4), "none was delivered");
            prop_assert!(last.len() > 100, "only {} orders", last.len());
        }
    }

    #[test]
    fn the_wall_clock_changes_nothing_but_the_time() {
        let (mut seeded, mut wall) = (generator(7, Clock::Seeded), generator(7, Clock::Wall));
        let today = Timestamp::now();
        for _ in 0..200 {
            let mut order = wall.next_order().clone();
            let seeded = seeded.next_order();
            let time: Timestamp = order.metadata.timestamp.parse().expect("RFC 3339");
            assert!(time.duration_since(today).abs() < SignedDuration::from_mins(5));
            order.metadata.timestamp = seeded.metadata.timestamp.clone();
            assert_eq!(&order, seeded);
        }
    }

    #[test]
    fn all_customers_and_products_appear() {
        let mut generator = generator(1, Clock::Seeded);
        let (mut customers, mut products) = (HashMap::new(), HashMap::new());
        for _ in 0..2_000 {
            let order = generator.next_order();
            *customers.entry(order.customer_info.customer_id.to_string()).or_insert(0) += 1;
            for item in &order.items {
                *products.entry(item.item_id.to_string()).or_insert(0) += 1;
            }
        }
        assert_eq!((customers.len(), products.len()), (CUSTOMERS.len(), PRODUCTS.len()));
    }

    #[test]
    fn this_seed_has_always_given_this_order() {
        let first = payloads(42, 1).remove(0);
        assert_eq!(first, include_str!("seed-42.json").trim_end());
    }
}
