//! Points in time on the wire: RFC 3339, UTC, milliseconds, such as `2026-03-01T12:34:56.789Z`. What is finer is cut
//! off; any offset and precision can be read.

use jiff::Timestamp;

/// The wire form.
///
/// ```
/// use pubsub_kafka::models::format_timestamp;
///
/// assert_eq!(format_timestamp(jiff::Timestamp::UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
/// ```
pub fn format_timestamp(timestamp: Timestamp) -> String {
    format!("{timestamp:.3}")
}

/// For `#[serde(with)]` on a [`Timestamp`].
pub(super) mod millis {
    use std::borrow::Cow;

    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(timestamp: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{timestamp:.3}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        parse(&Cow::deserialize(deserializer)?)
    }

    pub(super) fn parse<E: Error>(text: &str) -> Result<Timestamp, E> {
        // jiff's own message quotes the text.
        text.parse().map_err(|_| E::custom("not a timestamp of RFC 3339"))
    }
}

/// For `#[serde(with)]` on an `Option<Timestamp>`; add `default` where the field may be absent.
pub(super) mod optional_millis {
    use std::borrow::Cow;

    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(timestamp: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match timestamp {
            Some(timestamp) => super::millis::serialize(timestamp, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        Option::<Cow<'_, str>>::deserialize(deserializer)?.map(|text| super::millis::parse(&text)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn always_three_digits_cut_not_rounded() {
        let table = [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_999_999, "1970-01-01T00:00:00.001Z"),
            (1_772_368_496_789_999_999, "2026-03-01T12:34:56.789Z"),
        ];
        for (nanos, text) in table {
            assert_eq!(format_timestamp(Timestamp::from_nanosecond(nanos).unwrap()), text);
        }
    }
}
