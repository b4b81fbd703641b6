//! One file for each role: its flags, and how they become the settings that the role is started with.

#[cfg(feature = "audit")]
pub mod audit;
#[cfg(feature = "embedded")]
pub mod broker;
#[cfg(feature = "dlq")]
pub mod dlq;
#[cfg(feature = "monitor")]
pub mod monitor;
#[cfg(feature = "producer")]
pub mod producer;
#[cfg(feature = "tracker")]
pub mod tracker;

use super::Role;

/// The roles that are compiled in.
pub const ALL: &[Role] = &[
    #[cfg(feature = "producer")]
    producer::ROLE,
    #[cfg(feature = "tracker")]
    tracker::ROLE,
    #[cfg(feature = "monitor")]
    monitor::ROLE,
    #[cfg(feature = "dlq")]
    dlq::ROLE,
    #[cfg(feature = "audit")]
    audit::ROLE,
    #[cfg(feature = "embedded")]
    broker::ROLE,
];

/// Waits until Kafka answers, off the async threads; false when the stop came first.
#[cfg(feature = "kafka")]
async fn kafka_answers(
    settings: &crate::config::KafkaSettings,
    stop: &tokio_util::sync::CancellationToken,
) -> Result<bool, super::RunError> {
    let (settings, stop) = (settings.clone(), stop.clone());
    let waiting = tokio::task::spawn_blocking(move || {
        crate::kafka::wait_until_reachable(&settings, &|| stop.is_cancelled())
    });
    let answer =
        waiting.await.map_err(|e| super::RunError::io("wait for Kafka")(std::io::Error::other(e)))?;
    Ok(answer?)
}
