//! Settings: raw (as flags, environment and file give them) and checked (what the rooms work with).

mod kafka;

pub use kafka::{KafkaSettings, Secret};
