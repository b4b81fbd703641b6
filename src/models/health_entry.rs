//! One line of the health log: what the tracker says about itself, for people and machines.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::json::write_safe;
use super::time::millis;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HealthLevel {
    /// Worth knowing.
    Info,
    /// Something went wrong and was dealt with.
    Warn,
    /// Somebody must act.
    Error,
}

impl HealthLevel {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

impl fmt::Display for HealthLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One line. Fields are written in this order; unknown ones are ignored on reading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthEntry {
    /// When it was said.
    #[serde(with = "millis")]
    pub timestamp: Timestamp,
    /// How much it matters.
    pub level: HealthLevel,
    /// What happened; `metrics` for the regular counts.
    pub message: String,
    /// Who says it.
    pub service: String,
    /// The error and its causes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Facts by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

impl HealthEntry {
    /// The `service` of the tracker's lines.
    pub const TRACKER: &'static str = "order-tracker";

    /// The `message` of the lines with counts and rates.
    pub const METRICS: &'static str = "metrics";

    /// The line, its break included, with nothing in it that a terminal would obey.
    ///
    /// # Errors
    /// None that is known: every field has a form in JSON.
    pub fn to_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut line = Vec::with_capacity(256);
        write_safe(&mut line, self)?;
        line.push(b'\n');
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(message: &str) -> HealthEntry {
        HealthEntry {
            timestamp: Timestamp::from_millisecond(1_772_368_496_789).unwrap(),
            level: HealthLevel::Warn,
            message: message.to_owned(),
            service: HealthEntry::TRACKER.to_owned(),
            error: None,
            metadata: None,
        }
    }

    #[test]
    fn writes_the_documented_line() {
        let expected = concat!(
            r#"{"timestamp":"2026-03-01T12:34:56.789Z","level":"WARN","message":"a\u009b\nb","#,
            r#""service":"order-tracker"}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(entry("a\u{9b}\nb").to_line().unwrap()).unwrap(), expected);
    }

    #[test]
    fn a_full_line_comes_back() {
        let metadata = serde_json::json!({"processed": 12, "rate": 1.5, "k\u{202e}": [null]});
        let full = HealthEntry {
            error: Some("read: refused".to_owned()),
            metadata: metadata.as_object().cloned(),
            ..entry(HealthEntry::METRICS)
        };
        let line = full.to_line().unwrap();
        assert_eq!(serde_json::from_slice::<HealthEntry>(&line).unwrap(), full);
        assert!(line.is_ascii());
    }

    #[test]
    fn the_level_is_written_by_its_name() {
        for level in [HealthLevel::Info, HealthLevel::Warn, HealthLevel::Error] {
            assert_eq!(serde_json::to_value(level).unwrap(), level.as_str());
        }
    }
}
