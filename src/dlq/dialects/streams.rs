//! Kafka Streams (KIP-1034, since 4.2): the record's own key, value and timestamp, and beside them where it came from and
//! the exception, all as text. The record's headers are not copied.

use super::exception::{causes_in, class_of, of_classes};
use super::fields::Fields;
use crate::dlq::letter::{Dialect, Letter};
use crate::record::{Record, TimestampKind};

/// What its headers begin with.
pub(super) const PREFIX: &str = "__streams.errors.";

pub(super) fn read(record: &Record) -> Letter {
    let fields = Fields::of(record);
    let mut letter = Letter::plain(record, Dialect::Streams);
    let timestamp = record.timestamp.filter(|t| t.kind == TimestampKind::CreateTime);
    letter.origin = fields.origin_in_text(PREFIX, timestamp);
    letter.headers_omitted = true;
    letter.error_stack = fields.last_lossy("__streams.errors.stacktrace");
    // Java's toString of an exception: its class, and its message behind a colon.
    let thrown = fields.last_lossy("__streams.errors.exception");
    letter.exception = thrown.as_deref().map(|thrown| class_of(thrown).to_owned());
    letter.error = fields.last_lossy("__streams.errors.message").or(thrown).unwrap_or_default();
    let stack = letter.error_stack.as_deref().unwrap_or_default();
    letter.reason = of_classes(letter.exception.as_deref().into_iter().chain(causes_in(stack).map(class_of)));
    letter.identified(record)
}
