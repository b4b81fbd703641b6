//! Why a Kafka that is there lets nobody in, and what to do about it. The client tells it in words only, outside of any
//! call; here those words become one of a few refusals, each with the setting that is to be looked at.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};

use super::client::{client_config, log_client_error, log_client_line};
use crate::config::KafkaSettings;

/// How long to listen between two questions: a refused connection answers at once, and a loop must not spin.
const PAUSE: Duration = Duration::from_millis(50);
/// The client counts in these.
const TICK: Duration = Duration::from_millis(1);
/// How long the second look at a certificate may take.
const SECOND_LOOK: Duration = Duration::from_secs(2);

/// What stands between this client and Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The broker's certificate comes from an authority that is not known here, or has expired.
    Certificate,
    /// The broker's certificate was made for another host name.
    HostName,
    /// The broker wants a certificate of the client.
    ClientCertificate,
    /// The broker does not accept user name, password or mechanism.
    Credentials,
    /// Perhaps the port speaks TLS, and the client does not.
    PerhapsTls,
    /// Perhaps the port speaks no TLS, and the client does.
    PerhapsPlaintext,
    /// Perhaps the broker wants credentials, and the client gives none.
    PerhapsSasl,
}

impl Refusal {
    /// Whether the broker said so, so that waiting does not help; otherwise it is what a broken connection looks like.
    pub fn is_certain(self) -> bool {
        match self {
            Self::Certificate | Self::HostName | Self::ClientCertificate | Self::Credentials => true,
            Self::PerhapsTls | Self::PerhapsPlaintext | Self::PerhapsSasl => false,
        }
    }

    /// Tells a refusal from the client's words; an error has a code as well, a log line has none.
    fn of(code: Option<RDKafkaErrorCode>, reason: &str) -> Option<Self> {
        // Now and then the client takes it for a transport failure.
        if reason.contains("certificate verify failed") {
            return Some(Self::Certificate);
        }
        if code == Some(RDKafkaErrorCode::Authentication) {
            return Some(Self::Credentials);
        }
        let words = [
            ("certificate required", Self::ClientCertificate),
            ("unexpected message", Self::ClientCertificate),
            ("bad certificate", Self::ClientCertificate),
            // Bytes that are no TLS.
            ("wrong version number", Self::PerhapsPlaintext),
            ("packet length too long", Self::PerhapsPlaintext),
            ("connecting to a PLAINTEXT broker listener", Self::PerhapsPlaintext),
        ];
        if let Some((_, refusal)) = words.into_iter().find(|(words, _)| reason.contains(words)) {
            return Some(refusal);
        }
        // Hung up at the first question, or right after it.
        let is_closed = |state| reason.contains("Disconnected") && reason.contains(state);
        if is_closed("in state APIVERSION_QUERY") && !reason.contains("ssl://") {
            return Some(Self::PerhapsTls);
        }
        (is_closed("in state UP") && !reason.contains("sasl_")).then_some(Self::PerhapsSasl)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => {
                "the broker's certificate is not from an authority that is known here, or it has expired; name the \
                 file with the authority's certificate: -X ssl.ca.location=FILE"
            }
            Self::HostName => {
                "the broker's certificate was made for another host name; use a name that is in it, in \
                 --bootstrap-servers and in the broker's advertised.listeners, or give the broker another certificate"
            }
            Self::ClientCertificate => {
                "the broker wants a certificate of this client, or does not accept the one it has; name it and its \
                 key: -X ssl.certificate.location=FILE -X ssl.key.location=FILE"
            }
            Self::Credentials => {
                "the broker does not accept the credentials; check sasl.username, sasl.mechanism and the password \
                 (KAFKA_SASL_PASSWORD, sasl-password-file)"
            }
            Self::PerhapsTls => {
                "it closes the connection, perhaps because this port speaks TLS; set -X security.protocol=ssl, or \
                 sasl_ssl"
            }
            Self::PerhapsPlaintext => {
                "it does not answer in TLS, perhaps because this port speaks none; check the port in \
                 --bootstrap-servers and -X security.protocol"
            }
            Self::PerhapsSasl => {
                "it closes the connection, perhaps because it wants credentials; set -X \
                 security.protocol=sasl_ssl, sasl.mechanism and sasl.username, and the password in \
                 KAFKA_SASL_PASSWORD or sasl-password-file"
            }
        })
    }
}

/// The client's own words, as the cause.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Reason(String);

/// Listens to what a client that only asks for metadata says.
#[derive(Debug, Default)]
pub(super) struct Listener {
    heard: Mutex<Option<(Refusal, Reason)>>,
    /// A broker has shown a certificate from a known authority.
    is_verified: AtomicBool,
}

impl Listener {
    fn hear(&self, code: Option<RDKafkaErrorCode>, reason: &str) {
        if let Some(refusal) = Refusal::of(code, reason) {
            let heard = Some((refusal, Reason(reason.to_owned())));
            *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = heard;
        }
    }
}

impl ClientContext for Listener {
    /// What is no error to the client (a closed connection) is in its log alone.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_client_line(level, facility, message);
        match facility {
            "FAIL" => self.hear(None, message),
            "SSLVERIFY" => self.is_verified.store(true, Ordering::Relaxed),
            _ => {}
        }
    }

    fn error(&self, error: ClientError, reason: &str) {
        log_client_error(&error, reason);
        self.hear(error.rdkafka_error_code(), reason);
    }
}

impl ConsumerContext for Listener {}

/// What a probe has heard by the end of a short pause.
pub(super) fn heard(probe: &BaseConsumer<Listener>) -> Option<(Refusal, Reason)> {
    // Its errors wait in a queue that somebody has to empty; each call takes one, and one without any patience takes none.
    let begun = Instant::now();
    while let Some(left) = PAUSE.checked_sub(begun.elapsed()).filter(|left| *left >= TICK) {
        drop(probe.poll(left));
    }
    probe.context().heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The client's words do not tell a wrong host name from an unknown authority. So the handshake is done once more without
/// asking for the name, and without credentials: what goes through then failed because of the name alone.
pub(super) fn is_host_name_alone(settings: &KafkaSettings, limit: Duration) -> bool {
    const CHECK: &str = "ssl.endpoint.identification.algorithm";
    let mut anonymous = settings.clone();
    anonymous.properties.retain(|key, _| !key.starts_with("sasl."));
    anonymous.secrets.retain(|key, _| !key.starts_with("sasl."));
    let ours = [("security.protocol", "ssl"), (CHECK, "none"), ("debug", "security")];
    let mut config = client_config(&anonymous, &ours);
    // That a certificate is sound is worth a debug line to the client.
    config.set_log_level(RDKafkaLogLevel::Debug);
    let Ok(probe) = config.create_with_context::<_, BaseConsumer<Listener>>(Listener::default()) else {
        return false;
    };
    let begun = Instant::now();
    while begun.elapsed() < SECOND_LOOK.min(limit) {
        // Only to make it connect: a broker that wants credentials hangs up after the handshake.
        drop(probe.client().fetch_metadata(None, Duration::from_millis(100)));
        if probe.context().is_verified.load(Ordering::Relaxed) {
            return true;
        }
        if heard(&probe).is_some_and(|(refusal, _)| refusal == Refusal::Certificate) {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_words_become_refusals() {
        use RDKafkaErrorCode::{AllBrokersDown, Authentication, BrokerTransportFailure, SSL};
        for (code, reason, expected) in [
            (
                SSL,
                "ssl://a:1/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: \
                 broker certificate could not be verified, verify that ssl.ca.location is correctly configured",
                Some(Refusal::Certificate),
            ),
            (
                BrokerTransportFailure,
                "ssl://a:1/bootstrap: error:0A000086:SSL routines::certificate verify failed (after 1ms in state \
                 SSL_HANDSHAKE)",
                Some(Refusal::Certificate),
            ),
            (
                SSL,
                "ssl://a:1/1: SSL handshake failed: tlsv13 alert certificate required",
                Some(Refusal::ClientCertificate),
            ),
            (
                Authentication,
                "sasl_ssl://a:1/bootstrap: SASL authentication error: Authentication failed during authentication \
                 due to invalid credentials with SASL mechanism SCRAM-SHA-512",
                Some(Refusal::Credentials),
            ),
            (
                BrokerTransportFailure,
                "a:1/bootstrap: Disconnected: connection closed by peer: receive 0 after POLLIN (after 0ms in state \
                 APIVERSION_QUERY)",
                Some(Refusal::PerhapsTls),
            ),
            (
                BrokerTransportFailure,
                "ssl://a:1/bootstrap: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?",
                Some(Refusal::PerhapsPlaintext),
            ),
            (
                BrokerTransportFailure,
                "ssl://a:1/1: Disconnected: connection closed by peer: receive 0 after POLLIN (after 3ms in state UP)",
                Some(Refusal::PerhapsSasl),
            ),
            (
                BrokerTransportFailure,
                "a:1/bootstrap: Connect to ipv4#1.2.3.4:1 failed: Connection refused",
                None,
            ),
            (SSL, "ssl://a:1/bootstrap: SSL handshake failed: Connection reset by peer", None),
            (AllBrokersDown, "1/1 brokers are down", None),
        ] {
            assert_eq!(Refusal::of(Some(code), reason), expected, "{reason}");
            if code != Authentication {
                assert_eq!(Refusal::of(None, reason), expected, "{reason}");
            }
        }
    }

    #[test]
    fn each_refusal_names_a_setting() {
        for refusal in [
            Refusal::Certificate,
            Refusal::HostName,
            Refusal::ClientCertificate,
            Refusal::Credentials,
            Refusal::PerhapsTls,
            Refusal::PerhapsPlaintext,
            Refusal::PerhapsSasl,
        ] {
            let text = refusal.to_string();
            let settings = ["-X ", "--bootstrap-servers", "sasl-password-file"];
            assert!(settings.iter().any(|setting| text.contains(setting)), "{text}");
        }
    }
}
