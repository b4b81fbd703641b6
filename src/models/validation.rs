//! The rules of an order. All of them are looked at, so that one dead letter tells everything that is wrong with it.
//! Allocates nothing as long as no rule is broken.

use super::order::{CustomerInfo, Item, Order};
use super::text::safe_short;
use super::violation::{ValidationError, Violation};

/// How far a sum may be off: one cent.
const TOLERANCE: f64 = 0.01;

/// How much of a text an error quotes, in characters.
const QUOTED_CHARS: usize = 64;

/// Checks every rule of an order. `item_id`, `item_name` and `unit_price` are rules of the ordered items; the stock
/// list is information and has none.
///
/// # Errors
/// All the broken rules.
///
/// ```
/// use pubsub_kafka::models::{DecodeLimits, decode, validate};
///
/// let order = decode(Some(br#"{"order_id": "o-1", "sequence": 0}"#), &DecodeLimits::default())?;
/// let error = validate(&order).unwrap_err();
/// assert!(error.to_string().contains("/sequence must be greater than 0, found 0"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn validate(order: &Order<'_>) -> Result<(), ValidationError> {
    let mut broken = Broken::default();

    blank(&order.order_id, &mut broken, |found| Violation::OrderIdBlank { found });
    if order.sequence <= 0 {
        broken.add(Violation::SequenceNotPositive { found: order.sequence });
    }
    blank(&order.status, &mut broken, |found| Violation::StatusBlank { found });
    if order.items.is_empty() {
        broken.add(Violation::NoItems);
    }
    for (index, item) in order.items.iter().enumerate() {
        check_item(index, item, &mut broken);
    }
    check_sums(order, &mut broken);
    check_customer(&order.customer_info, &mut broken);

    broken.into_result()
}

fn check_item(index: usize, item: &Item<'_>, broken: &mut Broken) {
    blank(&item.item_id, broken, |found| Violation::ItemIdBlank { index, found });
    blank(&item.item_name, broken, |found| Violation::ItemNameBlank { index, found });
    if item.quantity <= 0 {
        broken.add(Violation::QuantityNotPositive { index, found: item.quantity });
    }
    // Infinity and NaN cannot come out of JSON, but an order can be made in other ways.
    if !(item.unit_price >= 0.0 && item.unit_price.is_finite()) {
        broken.add(Violation::UnitPriceNegative { index, found: item.unit_price });
    }
    let mut product = Sum::default();
    product.add(item.quantity as f64 * item.unit_price);
    if let Some((expected, found)) = product.differs_from(item.total_price) {
        broken.add(Violation::TotalPriceMismatch { index, expected, found });
    }
}

fn check_sums(order: &Order<'_>, broken: &mut Broken) {
    let mut sub_total = Sum::default();
    for item in &order.items {
        sub_total.add(item.total_price);
    }
    if let Some((expected, found)) = sub_total.differs_from(order.sub_total) {
        broken.add(Violation::SubTotalMismatch { expected, found });
    }

    let mut total = Sum::default();
    for part in [order.sub_total, order.tax, order.shipping_fee] {
        total.add(part);
    }
    if let Some((expected, found)) = total.differs_from(order.total) {
        broken.add(Violation::TotalMismatch { expected, found });
    }
}

fn check_customer(customer: &CustomerInfo<'_>, broken: &mut Broken) {
    blank(&customer.customer_id, broken, |found| Violation::CustomerIdBlank { found });
    blank(&customer.name, broken, |found| Violation::CustomerNameBlank { found });
    if !customer.email.is_empty() && !looks_like_email(&customer.email) {
        broken.add(Violation::EmailMalformed { found: quoted(&customer.email) });
    }
}

fn blank(text: &str, broken: &mut Broken, violation: impl FnOnce(String) -> Violation) {
    if text.chars().all(char::is_whitespace) {
        broken.add(violation(quoted(text)));
    }
}

fn quoted(text: &str) -> String {
    safe_short(text, QUOTED_CHARS)
}

/// Whether a text looks like an e-mail address: something, one `@`, and a domain with a dot inside. Only the owner of
/// the address can say more, so this refuses what is surely none and leaves the rest.
fn looks_like_email(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some(at) = bytes.iter().position(|byte| *byte == b'@') else { return false };
    let (local, domain) = (&bytes[..at], &bytes[at + 1..]);
    !local.is_empty()
        && !domain.contains(&b'@')
        && domain.first() != Some(&b'.')
        && domain.last() != Some(&b'.')
        && domain.contains(&b'.')
        && (bytes.iter().all(u8::is_ascii_graphic)
            || !text.contains(|c: char| c.is_whitespace() || c.is_control()))
}

/// A sum that knows how far binary rounding may have moved it.
#[derive(Default)]
struct Sum {
    value: f64,
    magnitude: f64,
    terms: f64,
}

impl Sum {
    fn add(&mut self, term: f64) {
        self.value += term;
        self.magnitude += term.abs();
        self.terms += 1.0;
    }

    /// The sum and `found`, if they are more than a cent apart.
    ///
    /// Most cent amounts have no exact binary form: 100.01 − 100.00 is 0.010000000000005116. So an amount that is
    /// exactly one cent off would be refused or not by chance. The allowance is what the conversions and additions
    /// can add up to: half a unit in the last place each, of values no larger than the magnitude. For amounts that
    /// people pay it is far below a millionth of a cent.
    fn differs_from(&self, found: f64) -> Option<(f64, f64)> {
        let magnitude = self.magnitude + found.abs();
        let rounding = f64::EPSILON * magnitude * (self.terms + 2.0);
        let close = magnitude.is_finite() && (self.value - found).abs() <= TOLERANCE + rounding;
        (!close).then_some((self.value, found))
    }
}

/// Collects violations, up to a bound.
#[derive(Default)]
struct Broken {
    violations: Vec<Violation>,
    omitted: usize,
}

impl Broken {
    #[cold]
    fn add(&mut self, violation: Violation) {
        if self.violations.len() < ValidationError::MAX_KEPT {
            self.violations.push(violation);
        } else {
            self.omitted += 1;
        }
    }

    fn into_result(self) -> Result<(), ValidationError> {
        if self.violations.is_empty() {
            return Ok(());
        }
        Err(ValidationError { violations: self.violations, omitted: self.omitted })
    }
}

#[cfg(test)]
#[path = "validation_tests.rs"]
mod tests;
