//! The client configuration that every consumer and producer starts from, what the client logs, and waiting for the
//! first broker.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError as ClientError;

use super::KafkaError;
use super::refusal::{Listener, Refusal, heard, is_host_name_alone};
use crate::config::KafkaSettings;

/// How long the first answer may take, and at most, each try having twice the time of the one before: where there are
/// thousands of topics, or much else is going on, half a second is too short for it.
const FIRST_TRY: Duration = Duration::from_millis(500);
const LONGEST_TRY: Duration = Duration::from_secs(8);
/// How often a start that waits for Kafka says so.
const WAIT_NOTICE: Duration = Duration::from_secs(5);
/// How long another broker of the list may still let the client in, after one has refused it.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(3);

/// Builds the configuration: the user's properties first, then ours, so that nothing passed through can undo a guarantee.
pub(crate) fn client_config(settings: &KafkaSettings, ours: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("client.id", &settings.client_id);
    // Reconnect quickly after an outage; the client's own default backs off up to 10 s.
    config.set("reconnect.backoff.max.ms", "2000");
    // An IPv6 `localhost` that nothing listens on costs a failed connection each time.
    config.set("broker.address.family", "any");
    for (key, value) in &settings.properties {
        config.set(key, value);
    }
    for (key, value) in &settings.secrets {
        config.set(key, value.expose());
    }
    config.set("bootstrap.servers", &settings.bootstrap_servers);
    for (key, value) in ours {
        config.set(*key, *value);
    }
    config.set_log_level(RDKafkaLogLevel::Warning);
    config
}

/// A context that only passes on what the client logs.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoggingContext;

impl ClientContext for LoggingContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_client_line(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        log_client_error(&error, reason);
    }
}

impl rdkafka::consumer::ConsumerContext for LoggingContext {}

/// One place for the client's log lines. Connection trouble is a warning here: the rooms that depend on the connection
/// say themselves when it has become somebody's problem.
pub(crate) fn log_client_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => {
            tracing::warn!(facility, "kafka client: {message}");
        }
        RDKafkaLogLevel::Warning => tracing::debug!(facility, "kafka client: {message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            tracing::trace!(facility, "kafka client: {message}");
        }
    }
}

/// One place for the errors that the client reports outside of any call.
pub(crate) fn log_client_error(error: &ClientError, reason: &str) {
    tracing::debug!(%error, "kafka client: {reason}");
}

/// Waits until a broker answers a metadata request, with a line every few seconds.
///
/// `stop` is asked between attempts; when it says true the wait ends with `Ok(false)`.
///
/// # Errors
/// [`KafkaError::Unreachable`] after the settings' connect timeout, [`KafkaError::Refused`] when the client tells why it
/// is not let in, [`KafkaError::Config`] when it cannot be built from the settings at all.
pub fn wait_until_reachable(settings: &KafkaSettings, stop: &dyn Fn() -> bool) -> Result<bool, KafkaError> {
    let mut config = client_config(settings, &[]);
    // A closed connection is worth no more than that to the client.
    config.set_log_level(RDKafkaLogLevel::Info);
    let probe: BaseConsumer<Listener> =
        config.create_with_context(Listener::default()).map_err(KafkaError::config)?;
    let begun = Instant::now();
    let mut noticed = begun;
    let mut tries = FIRST_TRY;
    let mut refused: Option<Instant> = None;
    loop {
        if stop() {
            return Ok(false);
        }
        let left = settings.connect_timeout.saturating_sub(begun.elapsed());
        let patience = left.clamp(Duration::from_millis(50), tries);
        tries = (tries * 2).min(LONGEST_TRY);
        let Err(error) = probe.client().fetch_metadata(None, patience) else { return Ok(true) };
        let is_over = begun.elapsed() >= settings.connect_timeout;
        // Its short pause keeps the loop from spinning.
        if let Some((refusal, reason)) = heard(&probe) {
            let since = *refused.get_or_insert_with(Instant::now);
            // A third of the time each, so that the second look is within it.
            let third = settings.connect_timeout / 3;
            if is_over || refusal.is_certain() && since.elapsed() >= REFUSAL_PATIENCE.min(third) {
                let is_name = refusal == Refusal::Certificate && is_host_name_alone(settings, third);
                return Err(KafkaError::Refused {
                    bootstrap_servers: settings.bootstrap_servers.clone(),
                    refusal: if is_name { Refusal::HostName } else { refusal },
                    reason,
                });
            }
        }
        if is_over {
            return Err(KafkaError::Unreachable {
                bootstrap_servers: settings.bootstrap_servers.clone(),
                waited_s: begun.elapsed().as_secs(),
                source: error,
            });
        }
        if noticed.elapsed() >= WAIT_NOTICE || noticed == begun {
            noticed = Instant::now();
            tracing::warn!(
                bootstrap_servers = settings.bootstrap_servers,
                waited_s = begun.elapsed().as_secs(),
                connect_timeout_s = settings.connect_timeout.as_secs(),
                %error,
                "Kafka does not answer yet at {}, still waiting",
                settings.bootstrap_servers,
            );
        }
    }
}
