//! The producer: orders out of a seed, or given lines, into a topic; every record is accounted for. Knows nothing of
//! how its settings were given, nor of how its progress is shown.

mod catalogue;
mod error;
mod failures;
mod figures;
mod generator;
mod input;
mod outbox;
mod pace;
mod run;
mod settings;
mod spoil;
mod summary;

pub use error::ProducerError;
pub use figures::ProducerFigures;
pub use run::run;
pub use settings::{Input, Pace, ProducerSettings};
pub use summary::{Counts, Summary, Verdict};
