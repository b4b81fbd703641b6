//! Settings: raw (as flags, environment and file give them) and checked (what the rooms work with).
//!
//! The raw form is one struct for each section of the file, every field optional, read by clap and by serde with the
//! same value types. Layers go over each other (`flags and environment` over `file` over `config/default.toml`), then
//! the result is checked as a whole. No other room is used from here.

#[cfg(feature = "cli")]
#[macro_use]
mod raw;

#[cfg(feature = "cli")]
mod audit_key;
#[cfg(feature = "cli")]
mod check;
#[cfg(feature = "cli")]
mod error;
#[cfg(feature = "cli")]
mod file;
mod kafka;
#[cfg(feature = "cli")]
mod producer;
#[cfg(feature = "cli")]
mod properties;
#[cfg(feature = "cli")]
mod sections;
#[cfg(feature = "cli")]
mod targets;
#[cfg(feature = "cli")]
mod tracker;
#[cfg(feature = "cli")]
pub mod values;
#[cfg(feature = "cli")]
mod web;

#[cfg(feature = "cli")]
pub use audit_key::AuditKey;
#[cfg(any(feature = "producer", feature = "dlq"))]
pub(crate) use check::need;
#[cfg(feature = "cli")]
pub use check::{SecretEnv, TopicCreation};
#[cfg(feature = "cli")]
pub use error::ConfigError;
#[cfg(feature = "cli")]
pub use file::{DEFAULTS, Files, Sections, default_of};
#[cfg(feature = "kafka")]
pub(crate) use kafka::is_secret;
pub use kafka::{KafkaSettings, Secret};
#[cfg(feature = "cli")]
pub use raw::Layer;
#[cfg(feature = "cli")]
pub use sections::{
    AuditRaw, AuditSettings, BrokerRaw, DlqRaw, KafkaRaw, MonitorRaw, MonitorSettings, ProducerRaw,
};
#[cfg(feature = "cli")]
pub use targets::{DeliverTarget, NotifySettings};
#[cfg(feature = "cli")]
pub use tracker::{
    AuditPayload, EventsCompress, GuardSettings, OnGap, Ordering, RetrySettings, TrackerRaw, TrackerSettings,
};
#[cfg(feature = "cli")]
pub use web::WebSettings;
