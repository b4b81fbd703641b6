//! Orders, their validation, and the wire forms.

mod decode;
mod json;
mod order;
#[cfg(test)]
mod samples;
mod text;
mod validation;
mod violation;
mod wire;

pub use decode::{DecodeError, DecodeLimits, MAX_DEPTH, decode};
pub use json::{SafeFormatter, escape_into, to_safe_string, to_safe_vec, write_safe};
pub use order::{CustomerInfo, InventoryStatus, Item, Metadata, Order};
pub use text::{is_unsafe, safe_short, safe_text, shorten};
pub use validation::validate;
pub use violation::{ValidationError, Violation};
