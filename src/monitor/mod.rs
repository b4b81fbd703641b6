//! What runs and how well, from the tracker's files and its metrics: never from Kafka, never from the pipeline, which
//! does not wait for it. The web page (`web`) alone reads Kafka, too: the dead letters, where the feature `dlq` is.
//!
//! Three steps: gather (`past`, `tail`, `scrape`, brought together by `gather`) fills the state (`state`, `window`,
//! `told`), of which [`Figures`] are made; these are drawn (`view`), printed (`once`), plotted
//! (`plot`), exported or served (`web`).

mod app;
mod causes;
mod compute;
mod detail;
mod error;
mod export;
mod figures;
mod gather;
mod lines;
mod once;
mod past;
mod plot;
mod run;
#[cfg(test)]
mod samples;
mod score;
mod scrape;
mod state;
mod tail;
mod terminal;
mod told;
mod view;
mod web;
mod window;
mod words;

pub use error::MonitorError;
pub use figures::{
    CauseFigures, Figures, LatencyFigures, NewestOutcome, OutcomeFigures, PartitionFigures,
    ProcessingFigures, SlotFigures, TrackerFigures, WindowFigures,
};
pub use gather::Sources;
pub use run::{Options, draw_plot, print_once, watch};
pub use score::Level;
pub use told::{Breaker, Life};
#[cfg(feature = "dlq")]
pub use web::LetterSettings;
pub use web::WebPage;
