//! Kafka Connect: a sink connector's dead letter queue, with `errors.deadletterqueue.context.headers.enable=true` (without
//! it nothing tells such a dead letter from any other record). The record's own key, value, headers and timestamp, and
//! beside them where it came from and the exception, all as text.

use super::exception::{causes_in, class_of, of_classes_if_any};
use super::fields::Fields;
use crate::dlq::letter::{Dialect, Letter};
use crate::failure::Category;
use crate::record::{Record, TimestampKind};

/// What its headers begin with.
pub(super) const PREFIX: &str = "__connect.errors.";

pub(super) fn read(record: &Record) -> Letter {
    let fields = Fields::of(record);
    let mut letter = Letter::plain(record, Dialect::Connect);
    // Connect keeps the record's timestamp, unless the dead letter topic sets its own.
    let timestamp = record.timestamp.filter(|t| t.kind == TimestampKind::CreateTime);
    letter.origin = fields.origin_in_text(PREFIX, timestamp);
    letter.group = fields.last_text("__connect.errors.connector.name").map(str::to_owned);
    letter.exception = fields.last_lossy("__connect.errors.exception.class.name");
    letter.error_stack = fields.last_lossy("__connect.errors.exception.stacktrace");
    letter.error = fields
        .last_lossy("__connect.errors.exception.message")
        .or_else(|| letter.exception.clone())
        .unwrap_or_default();
    let stack = letter.error_stack.as_deref().unwrap_or_default();
    let classes = letter.exception.as_deref().into_iter().chain(causes_in(stack).map(class_of));
    // A converter that fails fails to read bytes, whatever it throws.
    let converting = match fields.last_text("__connect.errors.stage") {
        Some("KEY_CONVERTER" | "VALUE_CONVERTER" | "HEADER_CONVERTER") => Some(Category::Deserialization),
        _ => None,
    };
    letter.reason = converting.or_else(|| of_classes_if_any(classes)).unwrap_or(Category::Unknown);
    letter.identified(record)
}
