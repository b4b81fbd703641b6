//! A Kafka order pipeline whose dead letters are first-class.
//!
//! The rooms of the crate, and who uses whom (an arrow means "uses", nothing points back):
//!
//! ```text
//! bin, main → cli → {producer, pipeline, monitor, dlq, audit} → {kafka, models, record, failure, config}
//! pipeline  → {dlq handler, audit writer}
//! ```
//!
//! * [`models`]: the order, its validation, and the wire forms of dead letter, audit entry and health entry.
//! * [`record`]: one consumed Kafka record, owned.
//! * [`failure`]: the failure categories, and the error that carries one.
//! * [`config`]: settings, raw and checked.
//! * `dlq`: attempts, backoff, the handler and the dead letter sinks; usable by any consumer (feature `handler`).
//! * `audit`: the append-only journal of outcomes.
//! * `pipeline`: the tracker: one record → one outcome → one commit.
//! * `kafka`: the only room that names the Kafka client's types.
//! * `metrics`: figures for Prometheus and the address where they are served; knows no role.
//! * `monitor`: figures of what runs, from the tracker's files and metrics, on a terminal or in print.
//! * `producer`: the other role.
//! * `trace`: which trace a record belongs to, and spans for a collector; knows no role.
//! * `failpoint`: where tests let the tracker die; nothing without the feature `failpoints`.

#![cfg_attr(
    test,
    allow(
        clippy::expect_used,
        clippy::unwrap_used,
        clippy::panic,
        reason = "a test fails by panicking, its helpers too"
    )
)]

pub mod config;
pub mod failure;
pub mod models;
#[cfg(feature = "kafka")]
pub mod record;

#[cfg(any(feature = "tracker", feature = "audit", feature = "dlq"))]
pub mod audit;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "handler")]
pub mod dlq;
#[cfg(any(feature = "tracker", feature = "audit", feature = "dlq"))]
mod failpoint;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "monitor")]
pub mod monitor;
#[cfg(feature = "tracker")]
pub mod pipeline;
#[cfg(feature = "producer")]
pub mod producer;
#[cfg(feature = "otlp")]
pub mod trace;
