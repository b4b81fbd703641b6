//! Orders, their validation, and the wire forms.

mod decode;
mod order;
#[cfg(test)]
mod samples;
mod text;
mod validation;
mod violation;
mod wire;

pub use decode::{DecodeError, DecodeLimits, MAX_DEPTH, decode};
pub use order::{CustomerInfo, InventoryStatus, Item, Metadata, Order};
pub use text::{is_unsafe, safe_short, safe_text, shorten};
pub use validation::validate;
pub use violation::{ValidationError, Violation};
