//! Payload → order, in one pass (or in two, where the text is not plain), with every way in which a payload can be
//! unreadable as a type of its own. Errors hold no content of the payload but a duplicate key, shortened and escaped.

use std::str;

use thiserror::Error;

use super::order::Order;
use super::plain::read_plain;
use super::text::{safe_short, utf8};
use super::wire::{Fault, Read, Reading};
use crate::failure::Category;
use serde::de::DeserializeSeed;

/// The levels of arrays and objects that a payload may nest, the order itself being the first. It is one less than
/// serde_json's own limit: an audit line holds the order one level deeper, and must be readable too.
pub const MAX_DEPTH: usize = 126;

/// How much of a duplicate key an error names, in characters.
const KEY_CHARS: usize = 64;

/// What a payload may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// The size of the payload, in bytes. 1 MiB by default.
    pub max_message_bytes: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { max_message_bytes: 1_048_576 }
    }
}

/// Why a payload is not an order. Lines and columns count from 1, columns in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Kafka's null: a tombstone.
    #[error("the payload is null")]
    Null,
    /// No byte at all.
    #[error("the payload is empty")]
    Empty,
    /// More bytes than [`DecodeLimits::max_message_bytes`]; not looked at any further.
    #[error("the payload has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// The payload's size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Bytes that are not UTF-8.
    #[error("the payload is not UTF-8 from byte {valid_up_to} on")]
    NotUtf8 {
        /// The number of bytes before the first bad one.
        valid_up_to: usize,
    },
    /// Text that is not JSON, or a number beyond the range of a 64-bit float.
    #[error("not JSON: {reason} at line {line} column {column}")]
    Json {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
        /// What the parser says; never content of the payload.
        reason: String,
    },
    /// A value of another type than its field has.
    #[error("{} must be {expected}, found {found} at line {line} column {column}", place(path))]
    WrongType {
        /// The field as a JSON Pointer; empty for the whole payload.
        path: String,
        /// The type that the field has.
        expected: &'static str,
        /// The type that was found.
        found: &'static str,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// Arrays and objects nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels at line {line} column {column}")]
    TooDeep {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// An object that holds a key twice, known or not, at any level.
    #[error("duplicate key \"{key}\" at line {line} column {column}")]
    DuplicateKey {
        /// The key, escaped and shortened.
        key: String,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// Something other than white space behind the order.
    #[error("text behind the order at line {line} column {column}")]
    TrailingData {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
}

impl DecodeError {
    /// The failure category: reading again cannot help.
    pub fn category(&self) -> Category {
        match self {
            Self::Null
            | Self::Empty
            | Self::TooLarge { .. }
            | Self::NotUtf8 { .. }
            | Self::Json { .. }
            | Self::WrongType { .. }
            | Self::TooDeep { .. }
            | Self::DuplicateKey { .. }
            | Self::TrailingData { .. } => Category::Deserialization,
        }
    }
}

fn place(path: &str) -> &str {
    if path.is_empty() { "the payload" } else { path }
}

/// Decodes one payload. Absent fields take their zero value; whether the order is right is another question, see
/// [`validate`](super::validate).
///
/// # Errors
/// Whatever [`DecodeError`] names.
///
/// ```
/// use pubsub_kafka::models::{DecodeError, DecodeLimits, decode};
///
/// let limits = DecodeLimits::default();
/// let order = decode(Some(br#"{"order_id": "o-1", "sequence": 7, "unheard_of": [1]}"#), &limits)?;
/// assert_eq!((&*order.order_id, order.sequence), ("o-1", 7));
///
/// let twice = decode(Some(br#"{"sequence": 7, "sequence": 8}"#), &limits);
/// assert!(matches!(twice, Err(DecodeError::DuplicateKey { .. })));
/// # Ok::<(), DecodeError>(())
/// ```
pub fn decode<'a>(payload: Option<&'a [u8]>, limits: &DecodeLimits) -> Result<Order<'a>, DecodeError> {
    let payload = payload.ok_or(DecodeError::Null)?;
    if payload.is_empty() {
        return Err(DecodeError::Empty);
    }
    if payload.len() > limits.max_message_bytes {
        return Err(DecodeError::TooLarge { size: payload.len(), limit: limits.max_message_bytes });
    }
    let text = utf8(payload).map_err(|e| DecodeError::NotUtf8 { valid_up_to: e.valid_up_to() })?;

    if let Some(order) = read_plain(text) {
        return Ok(order);
    }

    let mut reading = Reading::default();
    let mut json = serde_json::Deserializer::from_str(text);
    let order = Read::<Order<'a>>::new(&mut reading)
        .deserialize(&mut json)
        .map_err(|error| explain(&error, reading))?;
    json.end().map_err(|e| DecodeError::TrailingData { line: e.line(), column: e.column() })?;
    Ok(order)
}

#[cold]
fn explain(error: &serde_json::Error, reading: Reading) -> DecodeError {
    let (line, column) = (error.line(), error.column());
    let path = reading.path();
    match reading.fault {
        Some(Fault::WrongType { expected, found }) => {
            DecodeError::WrongType { path, expected, found, line, column }
        }
        Some(Fault::DuplicateKey(key)) => {
            DecodeError::DuplicateKey { key: safe_short(&key, KEY_CHARS), line, column }
        }
        Some(Fault::TooDeep) => DecodeError::TooDeep { line, column },
        None => {
            let message = error.to_string();
            let position = format!(" at line {line} column {column}");
            let reason = message.strip_suffix(&position).unwrap_or(&message).to_owned();
            DecodeError::Json { line, column, reason }
        }
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
