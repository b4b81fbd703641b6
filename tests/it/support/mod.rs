//! What the flows stand on: a Kafka, a world of their own (topics, group, folder), the programs as processes, and
//! readers that share no code with what they check.

mod audit;
mod broker;
mod cluster;
#[cfg(feature = "dlq")]
mod dlq;
pub mod http;
pub mod orders;
pub mod otlp;
mod process;
mod proxy;
mod python;
#[cfg(all(feature = "tls", feature = "dlq", feature = "audit"))]
pub mod secure;
mod target;
mod topics;
mod wait;
mod watchdog;
mod world;

pub use audit::{Audit, counts, rechain};
pub use broker::{OwnKafka, has_java, not_run};
pub use cluster::Cluster;
#[cfg(feature = "dlq")]
pub use dlq::DLQ_PATIENCE;
pub use orders::{bytes, order};
pub use process::{Running, program};
pub use proxy::{Mode, Proxy};
pub use python::{python, run_script};
pub use target::{Answer, Target};
pub use topics::{Raw, Reader};
pub use wait::wait_for;
pub use world::World;

/// Polls until `done` says true.
pub fn wait_until(what: &str, seconds: u64, mut done: impl FnMut() -> bool) {
    wait_for(what, seconds, || done().then_some(()));
}
