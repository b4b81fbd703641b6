//! The ways in which an order can break a rule, and how each is told: where, what was expected, what was found.

use std::borrow::Cow;
use std::fmt;

use crate::failure::Category;

/// One broken rule.
#[derive(Debug, Clone, PartialEq)]
pub enum Violation {
    /// `order_id` is blank.
    OrderIdBlank {
        /// The value found, escaped and shortened.
        found: String,
    },
    /// `status` is blank.
    StatusBlank {
        /// The value found, escaped and shortened.
        found: String,
    },
    /// `sequence` is not above zero.
    SequenceNotPositive {
        /// The value found.
        found: i64,
    },
    /// There is no item.
    NoItems,
    /// An item's `item_id` is blank.
    ItemIdBlank {
        /// The item's index, from 0.
        index: usize,
        /// The value found, escaped and shortened.
        found: String,
    },
    /// An item's `item_name` is blank.
    ItemNameBlank {
        /// The item's index, from 0.
        index: usize,
        /// The value found, escaped and shortened.
        found: String,
    },
    /// An item's `quantity` is not above zero.
    QuantityNotPositive {
        /// The item's index, from 0.
        index: usize,
        /// The value found.
        found: i64,
    },
    /// An item's `unit_price` is below zero.
    UnitPriceNegative {
        /// The item's index, from 0.
        index: usize,
        /// The value found.
        found: f64,
    },
    /// An item's `total_price` is not `quantity` × `unit_price`.
    TotalPriceMismatch {
        /// The item's index, from 0.
        index: usize,
        /// `quantity` × `unit_price`.
        expected: f64,
        /// The value found.
        found: f64,
    },
    /// `sub_total` is not the sum of the items' `total_price`.
    SubTotalMismatch {
        /// The sum.
        expected: f64,
        /// The value found.
        found: f64,
    },
    /// `total` is not `sub_total` + `tax` + `shipping_fee`.
    TotalMismatch {
        /// The sum.
        expected: f64,
        /// The value found.
        found: f64,
    },
    /// The customer's `customer_id` is blank.
    CustomerIdBlank {
        /// The value found, escaped and shortened.
        found: String,
    },
    /// The customer's `name` is blank.
    CustomerNameBlank {
        /// The value found, escaped and shortened.
        found: String,
    },
    /// The customer's `email` is not empty and does not look like an address.
    EmailMalformed {
        /// The value found, escaped and shortened.
        found: String,
    },
}

impl Violation {
    /// The field as a JSON Pointer (RFC 6901), such as `/items/2/quantity`.
    pub fn path(&self) -> Cow<'static, str> {
        let item = |index: &usize, field: &str| Cow::Owned(format!("/items/{index}/{field}"));
        match self {
            Self::OrderIdBlank { .. } => Cow::Borrowed("/order_id"),
            Self::StatusBlank { .. } => Cow::Borrowed("/status"),
            Self::SequenceNotPositive { .. } => Cow::Borrowed("/sequence"),
            Self::NoItems => Cow::Borrowed("/items"),
            Self::ItemIdBlank { index, .. } => item(index, "item_id"),
            Self::ItemNameBlank { index, .. } => item(index, "item_name"),
            Self::QuantityNotPositive { index, .. } => item(index, "quantity"),
            Self::UnitPriceNegative { index, .. } => item(index, "unit_price"),
            Self::TotalPriceMismatch { index, .. } => item(index, "total_price"),
            Self::SubTotalMismatch { .. } => Cow::Borrowed("/sub_total"),
            Self::TotalMismatch { .. } => Cow::Borrowed("/total"),
            Self::CustomerIdBlank { .. } => Cow::Borrowed("/customer_info/customer_id"),
            Self::CustomerNameBlank { .. } => Cow::Borrowed("/customer_info/name"),
            Self::EmailMalformed { .. } => Cow::Borrowed("/customer_info/email"),
        }
    }

    /// What the rule asks for, to be read behind "must".
    pub fn expected(&self) -> Cow<'static, str> {
        match self {
            Self::OrderIdBlank { .. }
            | Self::StatusBlank { .. }
            | Self::ItemIdBlank { .. }
            | Self::ItemNameBlank { .. }
            | Self::CustomerIdBlank { .. }
            | Self::CustomerNameBlank { .. } => Cow::Borrowed("not be blank"),
            Self::SequenceNotPositive { .. } | Self::QuantityNotPositive { .. } => {
                Cow::Borrowed("be greater than 0")
            }
            Self::NoItems => Cow::Borrowed("hold at least 1 item"),
            Self::UnitPriceNegative { .. } => Cow::Borrowed("be 0 or more"),
            Self::TotalPriceMismatch { expected, .. } => {
                Cow::Owned(format!("be quantity × unit_price = {}", Amount(*expected)))
            }
            Self::SubTotalMismatch { expected, .. } => {
                Cow::Owned(format!("be the sum of the items' total_price = {}", Amount(*expected)))
            }
            Self::TotalMismatch { expected, .. } => {
                Cow::Owned(format!("be sub_total + tax + shipping_fee = {}", Amount(*expected)))
            }
            Self::EmailMalformed { .. } => Cow::Borrowed("be empty or look like name@example.com"),
        }
    }

    /// The value found: text quoted, escaped and shortened, numbers as they are.
    pub fn found(&self) -> String {
        match self {
            Self::OrderIdBlank { found }
            | Self::StatusBlank { found }
            | Self::ItemIdBlank { found, .. }
            | Self::ItemNameBlank { found, .. }
            | Self::CustomerIdBlank { found }
            | Self::CustomerNameBlank { found }
            | Self::EmailMalformed { found } => format!("\"{found}\""),
            Self::SequenceNotPositive { found } | Self::QuantityNotPositive { found, .. } => {
                found.to_string()
            }
            Self::NoItems => "0".to_owned(),
            Self::UnitPriceNegative { found, .. }
            | Self::TotalPriceMismatch { found, .. }
            | Self::SubTotalMismatch { found, .. }
            | Self::TotalMismatch { found, .. } => Amount(*found).to_string(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must {}, found {}", self.path(), self.expected(), self.found())
    }
}

/// An amount as people read it: without the last bits of binary arithmetic, and never hundreds of digits long.
struct Amount(f64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value) = self;
        let rounded = (value * 1e6).round() / 1e6;
        if value.abs() < 1e9 && (rounded != 0.0 || *value == 0.0) {
            write!(f, "{rounded}")
        } else {
            write!(f, "{value:e}")
        }
    }
}

/// An order that breaks rules: all that were found broken, in the order of the fields.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidationError {
    /// The broken rules, [`ValidationError::MAX_KEPT`] at most; never empty.
    pub violations: Vec<Violation>,
    /// How many more there were. A payload of a million empty items must not cost a million messages.
    pub omitted: usize,
}

impl ValidationError {
    /// How many broken rules are kept; the others are counted.
    pub const MAX_KEPT: usize = 1_000;

    /// How many broken rules the message lists.
    const MAX_LISTED: usize = 10;

    /// The number of broken rules, the omitted ones included.
    pub fn count(&self) -> usize {
        self.violations.len() + self.omitted
    }

    /// The failure category: the order stays wrong however often it is tried.
    pub fn category(&self) -> Category {
        Category::Validation
    }
}

impl std::error::Error for ValidationError {}

impl fmt::Display for ValidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.count();
        write!(f, "{count} {} broken: ", if count == 1 { "rule" } else { "rules" })?;
        for (n, violation) in self.violations.iter().take(Self::MAX_LISTED).enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            write!(f, "{separator}{violation}")?;
        }
        match count.saturating_sub(Self::MAX_LISTED) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}
