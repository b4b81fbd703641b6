//! What the flows stand on: a Kafka, a world of their own (topics, group, folder), the programs as processes, and
//! readers that share no code with what they check.

mod audit;
mod broker;
mod cluster;
#[cfg(feature = "dlq")]
mod dlq;
pub mod http;
pub mod orders;
mod process;
mod proxy;
mod python;
#[cfg(all(feature = "tls", feature = "dlq", feature = "audit"))]
pub mod secure;
mod target;
mod topics;
mod world;

use std::time::{Duration, Instant};

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
pub use world::World;

/// Polls until `found` gives something. Fails the test after the deadline, with what was waited for.
pub fn wait_for<T>(what: &str, seconds: u64, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {seconds} s in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Polls until `done` says true.
pub fn wait_until(what: &str, seconds: u64, mut done: impl FnMut() -> bool) {
    wait_for(what, seconds, || done().then_some(()));
}
