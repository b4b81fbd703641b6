//! Orders that go wrong on purpose, to try what handles them: valid JSON that breaks exactly one business rule, and
//! payloads that no decoder reads. Seeded, and apart from the orders' own randomness: the good ones stay the same
//! whatever the ratios are.

use std::borrow::Cow;

use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::generator::{amount, cents};
use crate::models::Order;

/// The randomness of spoiling is another stream of the same seed.
const STREAM: u64 = 1;

/// The business rules of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Rule {
    OrderId,
    Status,
    Sequence,
    NoItems,
    ItemId,
    ItemName,
    Quantity,
    UnitPrice,
    TotalPrice,
    SubTotal,
    Total,
    CustomerId,
    CustomerName,
    Email,
}

impl Rule {
    pub(super) const ALL: [Self; 14] = [
        Self::OrderId,
        Self::Status,
        Self::Sequence,
        Self::NoItems,
        Self::ItemId,
        Self::ItemName,
        Self::Quantity,
        Self::UnitPrice,
        Self::TotalPrice,
        Self::SubTotal,
        Self::Total,
        Self::CustomerId,
        Self::CustomerName,
        Self::Email,
    ];
}

/// The ways in which a payload cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Damage {
    Truncated,
    WrongType,
    NotAnObject,
    InvalidUtf8,
    DuplicateKey,
    DeepNesting,
    NotANumber,
    NumberOutOfRange,
    LoneSurrogate,
    TrailingText,
    NotJson,
    Empty,
    Null,
}

impl Damage {
    pub(super) const ALL: [Self; 13] = [
        Self::Truncated,
        Self::WrongType,
        Self::NotAnObject,
        Self::InvalidUtf8,
        Self::DuplicateKey,
        Self::DeepNesting,
        Self::NotANumber,
        Self::NumberOutOfRange,
        Self::LoneSurrogate,
        Self::TrailingText,
        Self::NotJson,
        Self::Empty,
        Self::Null,
    ];
}

/// Turns some of the orders into bad ones.
#[derive(Debug)]
pub(super) struct Spoiler {
    rng: ChaCha8Rng,
    invalid_ratio: f64,
    malformed_ratio: f64,
}

impl Spoiler {
    pub(super) fn new(seed: u64, invalid_ratio: f64, malformed_ratio: f64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(STREAM);
        Self { rng, invalid_ratio, malformed_ratio }
    }

    /// The payload of an order: itself, or what was made of it; `None` is Kafka's null.
    pub(super) fn payload(&mut self, order: &Order<'static>) -> serde_json::Result<Option<Bytes>> {
        let draw: f64 = self.rng.random();
        if draw < self.malformed_ratio {
            let damage = Damage::ALL[self.rng.random_range(0..Damage::ALL.len())];
            return self.damage(order, damage);
        }
        if draw < self.malformed_ratio + self.invalid_ratio {
            let rule = Rule::ALL[self.rng.random_range(0..Rule::ALL.len())];
            return Ok(Some(self.break_rule(order, rule)?.into()));
        }
        Ok(Some(encode(order)?.into()))
    }

    /// The order with this one rule broken; sums that follow from what was changed are right.
    pub(super) fn break_rule(&mut self, order: &Order<'static>, rule: Rule) -> serde_json::Result<Vec<u8>> {
        let mut order = order.clone();
        let index = self.rng.random_range(0..order.items.len().max(1));
        let item = order.items.get_mut(index);
        // A blank is as bad as nothing, and so is an absent field.
        let blank = Cow::Borrowed(["", " ", "\t\u{a0}\n"][self.rng.random_range(0..3_usize)]);
        let mut absent = None;
        match (rule, item) {
            (Rule::OrderId, _) => {
                order.order_id = blank;
                absent = Some(("", "order_id"));
            }
            (Rule::Status, _) => {
                order.status = blank;
                absent = Some(("", "status"));
            }
            (Rule::Sequence, _) => {
                order.sequence = -self.rng.random_range(0..3_i64);
                absent = Some(("", "sequence"));
            }
            (Rule::ItemId, Some(item)) => item.item_id = blank,
            (Rule::ItemName, Some(item)) => item.item_name = blank,
            (Rule::Quantity, Some(item)) => {
                item.quantity = -self.rng.random_range(0..3_i64);
                item.total_price = amount(item.quantity * cents(item.unit_price));
                add_up(&mut order);
            }
            (Rule::UnitPrice, Some(item)) => {
                item.unit_price = amount(-self.rng.random_range(5..5_000_i64));
                item.total_price = amount(item.quantity * cents(item.unit_price));
                add_up(&mut order);
            }
            (Rule::TotalPrice, Some(item)) => {
                item.total_price = self.off(item.total_price);
                add_up(&mut order);
            }
            (Rule::SubTotal, _) => {
                order.sub_total = self.off(order.sub_total);
                order.total = amount(cents(order.sub_total) + cents(order.tax) + cents(order.shipping_fee));
            }
            (Rule::Total, _) => order.total = self.off(order.total),
            (Rule::CustomerId, _) => {
                order.customer_info.customer_id = blank;
                absent = Some(("/customer_info", "customer_id"));
            }
            (Rule::CustomerName, _) => {
                order.customer_info.name = blank;
                absent = Some(("/customer_info", "name"));
            }
            (Rule::Email, _) => {
                let bad = ["no address", "@example.com", "zoe@", "zoe at example.com", "a@b@example.com"];
                order.customer_info.email = bad[self.rng.random_range(0..bad.len())].into();
            }
            // Without an item there is nothing else left to break.
            (Rule::NoItems, _) | (_, None) => {
                order.items.clear();
                add_up(&mut order);
                absent = Some(("", "items"));
            }
        }
        let Some((parent, field)) = absent.filter(|_| self.rng.random_bool(0.3)) else {
            return encode(&order);
        };
        let mut value = serde_json::to_value(&order)?;
        if let Some(object) = value.pointer_mut(parent).and_then(serde_json::Value::as_object_mut) {
            object.remove(field);
        }
        serde_json::to_vec(&value)
    }

    /// A payload that cannot be decoded.
    pub(super) fn damage(
        &mut self,
        order: &Order<'static>,
        damage: Damage,
    ) -> serde_json::Result<Option<Bytes>> {
        let good = encode(order)?;
        // The order with more text behind its opening brace.
        let with = |text: &str| [b"{", text.as_bytes(), b",", &good[1..]].concat();
        let bytes = match damage {
            Damage::Truncated => good[..self.rng.random_range(1..good.len())].to_vec(),
            Damage::WrongType => {
                let mut value = serde_json::to_value(order)?;
                let wrong = [
                    ("items", serde_json::json!("none")),
                    ("sequence", serde_json::json!("one")),
                    ("order_id", serde_json::json!(["not", "a", "string"])),
                    ("customer_info", serde_json::json!(7)),
                ];
                let (field, wrong) = wrong[self.rng.random_range(0..wrong.len())].clone();
                value[field] = wrong;
                serde_json::to_vec(&value)?
            }
            Damage::NotAnObject => [b"[", &good[..], b"]"].concat(),
            Damage::InvalidUtf8 => {
                let mut bytes = with("\"note\":\"??\"");
                if let Some(at) = bytes.iter().position(|byte| *byte == b'?') {
                    bytes[at] = 0xff;
                    bytes[at + 1] = 0xfe;
                }
                bytes
            }
            Damage::DuplicateKey => with("\"order_id\":\"another\""),
            Damage::DeepNesting => with(&format!("\"deep\":{}{}", "[".repeat(1_000), "]".repeat(1_000))),
            Damage::NotANumber => with("\"rate\":NaN"),
            Damage::NumberOutOfRange => with("\"rate\":1e400"),
            Damage::LoneSurrogate => with("\"note\":\"\\ud800\""),
            Damage::TrailingText => [&good[..], b" and more"].concat(),
            Damage::NotJson => b"<order>not JSON at all\x1b[31m</order>\n".to_vec(),
            Damage::Empty => Vec::new(),
            Damage::Null => return Ok(None),
        };
        Ok(Some(bytes.into()))
    }

    /// An amount that is off by the least that is too much, two cents, or by far more.
    fn off(&mut self, right: f64) -> f64 {
        let by = [2, -2, 100, -12_345][self.rng.random_range(0..4_usize)];
        amount(cents(right) + by)
    }
}

fn encode(order: &Order<'_>) -> serde_json::Result<Vec<u8>> {
    // Most orders are below this; growing step by step would copy each several times.
    let mut bytes = Vec::with_capacity(2048);
    serde_json::to_writer(&mut bytes, order)?;
    Ok(bytes)
}

/// Makes `sub_total` and `total` follow from the items.
fn add_up(order: &mut Order<'_>) {
    let sub_total: i64 = order.items.iter().map(|item| cents(item.total_price)).sum();
    order.sub_total = amount(sub_total);
    order.total = amount(sub_total + cents(order.tax) + cents(order.shipping_fee));
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::mem::{Discriminant, discriminant};

    use proptest::prelude::*;

    use super::super::generator::{Clock, Generator};
    use super::super::settings::ProducerSettings;
    use super::*;
    use crate::models::{DecodeError, DecodeLimits, Violation, decode, validate};

    fn rule_of(violation: &Violation) -> Rule {
        match violation {
            Violation::OrderIdBlank { .. } => Rule::OrderId,
            Violation::StatusBlank { .. } => Rule::Status,
            Violation::SequenceNotPositive { .. } => Rule::Sequence,
            Violation::NoItems => Rule::NoItems,
            Violation::ItemIdBlank { .. } => Rule::ItemId,
            Violation::ItemNameBlank { .. } => Rule::ItemName,
            Violation::QuantityNotPositive { .. } => Rule::Quantity,
            Violation::UnitPriceNegative { .. } => Rule::UnitPrice,
            Violation::TotalPriceMismatch { .. } => Rule::TotalPrice,
            Violation::SubTotalMismatch { .. } => Rule::SubTotal,
            Violation::TotalMismatch { .. } => Rule::Total,
            Violation::CustomerIdBlank { .. } => Rule::CustomerId,
            Violation::CustomerNameBlank { .. } => Rule::CustomerName,
            Violation::EmailMalformed { .. } => Rule::Email,
        }
    }

    fn generator(seed: u64) -> Generator {
        Generator::new(seed, Clock::Seeded, &ProducerSettings::default())
    }

    proptest! {
        #[test]
        fn each_rule_is_broken_alone(seed: u64) {
            let (mut generator, mut spoiler) = (generator(seed), Spoiler::new(seed, 1.0, 0.0));
            for rule in Rule::ALL {
                let payload = spoiler.break_rule(generator.next_order(), rule).expect("JSON");
                let order = decode(Some(&payload), &DecodeLimits::default()).expect("an order");
                let broken = validate(&order).expect_err("a broken rule").violations;
                prop_assert_eq!(broken.iter().map(rule_of).collect::<Vec<_>>(), [rule]);
            }
        }

        #[test]
        fn no_damage_can_be_decoded(seed: u64) {
            let (mut generator, mut spoiler) = (generator(seed), Spoiler::new(seed, 0.0, 1.0));
            for damage in Damage::ALL {
                let payload = spoiler.damage(generator.next_order(), damage).expect("JSON");
                let decoded = decode(payload.as_deref(), &DecodeLimits::default());
                prop_assert!(decoded.is_err(), "{:?} was decoded", damage);
            }
        }

        #[test]
        fn the_ratios_leave_the_other_orders_as_they_are(seed: u64) {
            let (mut plain, mut same) = (generator(seed), generator(seed));
            let mut clean = Spoiler::new(seed, 0.0, 0.0);
            let mut dirty = Spoiler::new(seed, 0.2, 0.2);
            let mut unchanged = 0;
            for _ in 0..100 {
                let wanted = clean.payload(plain.next_order()).expect("JSON");
                let got = dirty.payload(same.next_order()).expect("JSON");
                unchanged += usize::from(wanted == got);
            }
            prop_assert!((35..=85).contains(&unchanged), "{} of 100", unchanged);
        }
    }

    #[test]
    fn the_ratios_are_met_and_every_kind_appears() {
        let (mut generator, mut spoiler) = (generator(3), Spoiler::new(3, 0.3, 0.1));
        let mut rules = HashSet::new();
        let mut damages = HashSet::<Discriminant<DecodeError>>::new();
        let (mut invalid, mut malformed) = (0, 0);
        for _ in 0..10_000 {
            let payload = spoiler.payload(generator.next_order()).expect("JSON");
            match decode(payload.as_deref(), &DecodeLimits::default()) {
                Err(error) => {
                    malformed += 1;
                    damages.insert(discriminant(&error));
                }
                Ok(order) => {
                    if let Err(error) = validate(&order) {
                        invalid += 1;
                        rules.extend(error.violations.iter().map(rule_of));
                    }
                }
            }
        }
        assert!((2_850..3_150).contains(&invalid), "{invalid} invalid");
        assert!((900..1_100).contains(&malformed), "{malformed} malformed");
        assert_eq!(rules.len(), Rule::ALL.len());
        // Every kind but TooLarge: null, empty, not UTF-8, not JSON, wrong type, too deep, duplicate, text behind.
        assert_eq!(damages.len(), 8);
    }

    #[test]
    fn the_same_seed_spoils_the_same_way() {
        let run = || {
            let (mut generator, mut spoiler) = (generator(9), Spoiler::new(9, 0.4, 0.4));
            (0..300).map(|_| spoiler.payload(generator.next_order()).expect("JSON")).collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
    }
}
