//! What the current validator says of a payload: the first question before any replay.

use serde::Serialize;

use super::letter::Payload;
use crate::failure::{Category, chain_of};
use crate::models::{DecodeLimits, decode, validate};

/// What would become of a payload now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// It is a valid order.
    Passes,
    /// It is an order, and not a valid one; or it is no order at all.
    Fails {
        /// The category that it would die with again.
        reason: Category,
        /// Why.
        error: String,
    },
    /// The payload is not in the dead letter.
    Unknown,
}

/// Asks the validator.
pub fn verdict(payload: &Payload, limits: &DecodeLimits) -> Verdict {
    let bytes = match payload {
        Payload::Null => None,
        Payload::Inline(bytes) => Some(&**bytes),
        Payload::Omitted { .. } | Payload::Missing => return Verdict::Unknown,
    };
    match decode(bytes, limits) {
        Err(error) => Verdict::Fails { reason: error.category(), error: chain_of(&error) },
        Ok(order) => match validate(&order) {
            Ok(()) => Verdict::Passes,
            Err(error) => Verdict::Fails { reason: error.category(), error: chain_of(&error) },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_passes_fails_or_is_not_here() {
        let verdict = |payload: &Payload| verdict(payload, &DecodeLimits::default());
        assert_eq!(verdict(&Payload::Missing), Verdict::Unknown);
        let Verdict::Fails { reason, error } = verdict(&Payload::Null) else { panic!("a null passes") };
        assert_eq!((reason, &*error), (Category::Deserialization, "the payload is null"));
        let Verdict::Fails { reason, .. } = verdict(&Payload::Inline("{}".into())) else {
            panic!("{{}} passes")
        };
        assert_eq!(reason, Category::Validation);
    }

    #[test]
    fn a_payload_larger_than_the_tracker_takes_fails_for_its_size() {
        let (payload, limits) = (Payload::Inline("{}".into()), DecodeLimits { max_message_bytes: 1 });
        let Verdict::Fails { reason, .. } = verdict(&payload, &limits) else { panic!("it passes") };
        assert_eq!(reason, Category::Deserialization);
    }
}
