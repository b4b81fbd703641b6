//! Orders, their validation, and the wire forms of dead letter, audit entry and health entry.

mod audit_entry;
mod bytes_field;
mod dead_letter;
mod dead_letter_json;
mod decode;
mod health_entry;
mod json;
mod order;
mod plain;
#[cfg(test)]
mod samples;
mod text;
mod time;
mod validation;
mod violation;
mod wide;
mod wire;

pub use audit_entry::{AuditEntry, Outcome};
pub use bytes_field::{BorrowedText, BytesField, BytesFieldError};
pub use dead_letter::{DeadLetter, DeadLetterHeader, OriginalPayload, dead_letter_id};
pub use decode::{DecodeError, DecodeLimits, MAX_DEPTH, decode};
pub use health_entry::{HealthEntry, HealthLevel};
pub use json::{SafeFormatter, escape_into, to_safe_string, to_safe_vec, write_safe};
#[cfg(any(feature = "tracker", feature = "audit", feature = "dlq"))]
pub(crate) use json::{escape_utf8_into, put, write_number};
pub use order::{CustomerInfo, InventoryStatus, Item, Metadata, Order};
pub use text::{is_unsafe, safe_short, safe_text, shorten, utf8};
pub use time::format_timestamp;
pub use validation::validate;
pub use violation::{ValidationError, Violation};
