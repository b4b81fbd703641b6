//! Failure categories, and the error that carries one. A category is chosen where the error arises, as a type:
//! nothing here or elsewhere looks into message text.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a record could not be handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Category {
    /// The payload is not what it should be: not UTF-8, not JSON, wrong types, duplicate keys, null, too deep, too large.
    #[serde(rename = "DESERIALIZATION_ERROR")]
    Deserialization,
    /// A business rule is broken, or the target says that this record is wrong (4xx but 408 and 429).
    #[serde(rename = "VALIDATION_ERROR")]
    Validation,
    /// The target refused, failed or could not be reached.
    #[serde(rename = "PROCESSING_ERROR")]
    Processing,
    /// One attempt ran past its time limit.
    #[serde(rename = "TIMEOUT_ERROR")]
    Timeout,
    /// Anything else, a panic of the processing code too.
    #[serde(rename = "UNKNOWN_ERROR")]
    Unknown,
}

impl Category {
    /// Every category, in the order of the documentation.
    pub const ALL: [Self; 5] =
        [Self::Deserialization, Self::Validation, Self::Processing, Self::Timeout, Self::Unknown];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deserialization => "DESERIALIZATION_ERROR",
            Self::Validation => "VALIDATION_ERROR",
            Self::Processing => "PROCESSING_ERROR",
            Self::Timeout => "TIMEOUT_ERROR",
            Self::Unknown => "UNKNOWN_ERROR",
        }
    }

    /// The category with this name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.as_str() == name)
    }

    /// Whether another attempt may succeed.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Processing | Self::Timeout => true,
            Self::Deserialization | Self::Validation | Self::Unknown => false,
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One failed attempt: its category, what happened, and the cause where there is one.
#[derive(Debug)]
pub struct Failure {
    category: Category,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    status: Option<u16>,
}

impl Failure {
    /// A failure without a further cause.
    pub fn new(category: Category, message: impl Into<String>) -> Self {
        Self { category, message: message.into(), source: None, status: None }
    }

    /// A failure with the error that caused it. `message` speaks for this level only.
    pub fn caused_by(
        category: Category,
        message: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { category, message: message.into(), source: Some(source.into()), status: None }
    }

    /// Notes the HTTP status that the target answered with.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// The category.
    pub fn category(&self) -> Category {
        self.category
    }

    /// The HTTP status that the target answered with, if it answered.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// The message of this level and of every cause below it, joined with `: `.
    pub fn chain(&self) -> String {
        chain_of(self)
    }

    /// One line for each level of the error, the outermost first.
    pub fn stack(&self) -> Vec<String> {
        levels(self)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|e| e.as_ref() as &(dyn Error + 'static))
    }
}

fn levels(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut levels = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let level = cause.to_string();
        // Some libraries repeat a cause in the text of the level above it.
        if !levels.last().is_some_and(|above: &String| above.ends_with(&level)) {
            levels.push(level);
        }
        next = cause.source();
    }
    levels
}

/// An error and its causes in one line, joined with `: `.
pub fn chain_of(error: &(dyn Error + 'static)) -> String {
    levels(error).join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processing_and_timeout_are_retried() {
        let retried: Vec<_> = Category::ALL.into_iter().filter(|c| c.is_retryable()).collect();
        assert_eq!(retried, [Category::Processing, Category::Timeout]);
    }

    #[test]
    fn the_wire_name_is_the_serialized_name() {
        for category in Category::ALL {
            let json = serde_json::to_string(&category).expect("a unit variant serializes");
            assert_eq!(json, format!("\"{}\"", category.as_str()));
        }
    }

    #[test]
    fn a_cause_that_the_level_above_repeats_is_named_once() {
        let inner = Failure::new(Category::Processing, "refused");
        let outer = Failure::caused_by(Category::Processing, "commit offsets: refused", inner);
        assert_eq!(outer.chain(), "commit offsets: refused");
    }

    #[test]
    fn a_chain_names_each_level_once() {
        let io = std::io::Error::other("connection refused");
        let failure = Failure::caused_by(Category::Processing, "post order", io);
        assert_eq!(failure.chain(), "post order: connection refused");
        assert_eq!(failure.stack(), ["post order", "connection refused"]);
    }
}
