//! What the programs do as a whole, as one test binary.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cli;
mod man;
#[cfg(feature = "monitor")]
mod monitor;
#[cfg(all(feature = "producer", feature = "tracker"))]
mod secrets;

// The flows, on Kafka. The real one is an own one for the run, or that of KAFKA_BOOTSTRAP_SERVERS; with REQUIRE_KAFKA=1
// its absence is a failure, otherwise what the embedded broker cannot carry is named on stderr as not run.
#[cfg(all(feature = "producer", feature = "tracker"))]
mod flows {
    mod bad_input;
    mod crash;
    mod dead_letter_topic;
    mod delivery;
    mod deploy;
    #[cfg(feature = "dlq")]
    mod dlq_apply;
    #[cfg(feature = "dlq")]
    mod dlq_fix;
    #[cfg(feature = "dlq")]
    mod dlq_metrics;
    #[cfg(feature = "dlq")]
    mod dlq_read;
    #[cfg(feature = "dlq")]
    mod dlq_read_spring;
    #[cfg(feature = "dlq")]
    mod dlq_read_transfer;
    #[cfg(feature = "dlq")]
    mod dlq_replay;
    #[cfg(feature = "failpoints")]
    mod failpoints;
    mod faults;
    mod full_disk;
    mod group;
    mod guard;
    mod guards;
    mod hostile;
    #[cfg(feature = "audit")]
    mod journal;
    mod many_orders;
    mod memory;
    mod metrics;
    mod modes;
    #[cfg(feature = "monitor")]
    mod monitor;
    mod notify;
    mod other_client;
    mod positions;
    #[cfg(feature = "audit")]
    mod proof;
    mod shutdown;
    #[cfg(all(feature = "tls", feature = "dlq", feature = "audit"))]
    mod tls;
    mod topic_ends;
    mod traces;
    #[cfg(all(feature = "monitor", feature = "dlq"))]
    mod web;
}
#[cfg(all(feature = "producer", feature = "tracker"))]
mod support;
