//! What the validator of this version would say of a payload that is sent again, and which order it is. Looks at the
//! payload alone: whether a newer state was processed is asked elsewhere.

use std::borrow::Cow;

use serde::Deserialize;

use super::Prediction;
use crate::dlq::Dialect;
use crate::failure::{Category, chain_of};
use crate::models::{DecodeLimits, decode, validate};

/// Which state of which order a payload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The order.
    pub order_id: String,
    /// Its state's number.
    pub sequence: i64,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    order_id: Cow<'a, str>,
    #[serde(default)]
    sequence: i64,
}

impl Named {
    /// The order of a payload, if it is one, however wrong it may be otherwise.
    pub fn of(payload: &[u8]) -> Option<Self> {
        let Wire { order_id, sequence } = serde_json::from_slice(payload).ok()?;
        (!order_id.is_empty()).then(|| Self { order_id: order_id.into_owned(), sequence })
    }
}

/// What is to be expected of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Passes, fails again, or unknown.
    pub prediction: Prediction,
    /// What the validator objects to, or why it is not asked.
    pub why: Option<String>,
}

impl Verdict {
    fn unknown(why: &str) -> Self {
        Self { prediction: Prediction::Unknown, why: Some(why.to_owned()) }
    }
}

/// Predicts what the tracker of this version would say of a payload; `dialect` and `reason` tell whether it was the
/// tracker's own validator that refused it. Other programs' payloads are theirs to judge.
pub fn predict(payload: Option<&[u8]>, dialect: Dialect, reason: Category, limits: &DecodeLimits) -> Verdict {
    let is_order = payload.and_then(Named::of).is_some();
    let was_refused =
        dialect == Dialect::PubsubKafka && matches!(reason, Category::Deserialization | Category::Validation);
    if !is_order && !was_refused {
        return Verdict::unknown("the payload is no order");
    }
    let objection = match decode(payload, limits) {
        Err(error) => Some(chain_of(&error)),
        Ok(order) => validate(&order).err().map(|error| chain_of(&error)),
    };
    match objection {
        Some(why) => Verdict { prediction: Prediction::FailsAgain, why: Some(why) },
        None => Verdict { prediction: Prediction::Passes, why: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"order_id":"o-1","sequence":1,"status":"new","items":[{"item_id":"i","item_name":"Tea","quantity":1,"unit_price":1.0,"total_price":1.0}],"sub_total":1.0,"total":1.0,"customer_info":{"customer_id":"c","name":"Zoe"}}"#;

    #[test]
    fn the_validator_is_asked_about_orders_and_about_what_it_refused() {
        use Category::{Deserialization, Processing, Validation};
        use Dialect::{PubsubKafka, Spring};
        use Prediction::{FailsAgain, Passes, Unknown};
        let bad = GOOD.replace("\"quantity\":1", "\"quantity\":0");
        let table = [
            (Some(GOOD), PubsubKafka, Processing, Passes),
            (Some(GOOD), Spring, Category::Unknown, Passes),
            (Some(&bad), PubsubKafka, Validation, FailsAgain),
            (Some(&bad), Spring, Category::Unknown, FailsAgain),
            (Some("not an order"), PubsubKafka, Deserialization, FailsAgain),
            (Some("not an order"), Spring, Deserialization, Unknown),
            (Some(r#"{"payment":1}"#), PubsubKafka, Processing, Unknown),
            (Some(r#"{"payment":1}"#), Spring, Validation, Unknown),
            (None, PubsubKafka, Deserialization, FailsAgain),
            (None, Spring, Category::Unknown, Unknown),
        ];
        for (payload, dialect, reason, expected) in table {
            let found = predict(payload.map(str::as_bytes), dialect, reason, &DecodeLimits::default());
            assert_eq!(found.prediction, expected, "{payload:?} {dialect:?} {reason}");
            assert_eq!(found.why.is_some(), expected != Passes);
        }
    }

    #[test]
    fn an_order_is_known_however_wrong_it_is() {
        let named = |text: &str| Named::of(text.as_bytes()).map(|named| (named.order_id, named.sequence));
        assert_eq!(named(r#"{"order_id":"o\u002d1","sequence":-3,"items":7}"#), Some(("o-1".to_owned(), -3)));
        assert_eq!(named(r#"{"order_id":"o"}"#), Some(("o".to_owned(), 0)));
        for text in [r#"{"order_id":""}"#, r#"{"order_id":7}"#, "[]", "", r#"{"sequence":1}"#] {
            assert_eq!(named(text), None, "{text}");
        }
    }
}
