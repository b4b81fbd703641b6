//! Share groups (KIP-1191, as proposed): where the record came from and how often it was delivered, all as text. Key and
//! value are copied only where the group is told to, the record's headers never.

use super::fields::Fields;
use crate::dlq::letter::{Dialect, Letter, Payload};
use crate::record::Record;

/// What its headers begin with.
pub(super) const PREFIX: &str = "__dlq.errors.";

pub(super) fn read(record: &Record) -> Letter {
    let fields = Fields::of(record);
    let mut letter = Letter::plain(record, Dialect::ShareGroup);
    letter.origin = fields.origin_in_text(PREFIX, None);
    letter.headers_omitted = true;
    // A record of which neither key nor value is there is one that was not copied.
    if record.key.is_none() && record.value.is_none() {
        letter.key_omitted = true;
        letter.payload = Payload::Missing;
    }
    letter.group = fields.last_text("__dlq.errors.group").map(str::to_owned);
    letter.error = fields.last_lossy("__dlq.errors.message").unwrap_or_default();
    let deliveries: u32 = fields.last_number("__dlq.errors.delivery.count").unwrap_or(0);
    letter.retry_count = deliveries.saturating_sub(1);
    letter.identified(record)
}
